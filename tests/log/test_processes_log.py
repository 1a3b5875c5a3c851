"""Several processes on one log, killed, stopped and forked."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from objstore_log._file_storage import FileStorage
from objstore_log._record import Kind
from objstore_log.errors import BusyError

from .harness import (
    OpenedLog,
    contents,
    current,
    everything,
    open_log,
    opened,
    put,
    subject,
)

ROOT = Path(__file__).parents[2]
MODULE = "tests.log.log_worker"
SOON_S = 20.0


class Worker:
    """A running program of `log_worker`."""

    running: ClassVar[list[Worker]] = []

    def __init__(self, place: Path, program: str, *arguments: str) -> None:
        """Start it; what it says goes into a file, so that it is never held up."""
        self._said = place.parent / f"{program}-{time.monotonic_ns()}.txt"
        with self._said.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.log.log_worker",
                    program,
                    place,
                    *arguments,
                ],
                cwd=ROOT,
                stdout=output,
            )
        self.pid = self._process.pid
        Worker.running.append(self)

    def said(self, word: str) -> list[list[str]]:
        """Give what it said with that first word, whole lines only."""
        text = self._said.read_text()
        whole = text[: text.rfind("\n") + 1].splitlines()
        lines = [line.split(" ", 2) for line in whole]
        return [line[1:] for line in lines if line[0] == word]

    def wait_for(self, word: str, count: int = 1) -> list[list[str]]:
        """Wait until it has said something so often."""
        deadline = time.monotonic() + SOON_S
        while len(self.said(word)) < count:
            assert self._process.poll() in {None, 0}, "it died"
            assert time.monotonic() < deadline, f"it never said {word}"
            time.sleep(0.002)
        return self.said(word)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Wait for its own end."""
        return self._process.wait(SOON_S)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Give the place of a store; whoever still works on it afterwards is killed."""
    yield tmp_path / "store"
    for worker in Worker.running:
        worker.kill()
    Worker.running.clear()


@pytest.fixture
def one(directory: Path) -> Iterator[OpenedLog]:
    """Open the log in this process too; an append waits half a second."""
    storage = FileStorage(directory, create=True)
    log = open_log(storage, seed=1, lock_timeout_s=0.5)
    yield log
    log.close()


def _acked(workers: list[Worker]) -> dict[int, bytes]:
    acked: dict[int, bytes] = {}
    for worker in workers:
        for sequence, body in worker.said("acked"):
            assert int(sequence) not in acked
            acked[int(sequence)] = body.encode()
    return acked


def _run_and_kill(directory: Path, sync: str, chance: random.Random) -> None:
    reader = Worker(directory, "follow")
    writers = [Worker(directory, "write", "60", sync) for _ in range(3)]
    victim = chance.choice(writers)
    victim.wait_for("acked", chance.randrange(1, 40))
    victim.kill()
    survivors = [writer for writer in writers if writer is not victim]
    assert [writer.end() for writer in survivors] == [0, 0]
    with opened(FileStorage(directory), seed=1) as log:
        put(log, "stop", b"stop")
        reader.wait_for("closed")
        found = contents(log)
        acked = _acked(writers)
        assert {sequence: found.get(sequence) for sequence in acked} == acked
        assert len(acked) >= 120
        bodies = [body for body in found.values() if b"/" in body]
        assert len(bodies) % 2 == 0
        assert sorted(set(bodies)) == sorted(bodies[::2])
        saw = {int(seq): body.encode() for seq, body in reader.said("saw")}
        assert {key: body[:40] for key, body in found.items()} == saw
        assert list(saw) == sorted(saw)
        newest = {
            record.subject: record.sequence
            for record in everything(log)
            if record.kind == Kind.META
        }
        assert current(log) == newest
        assert log.damages == []


@pytest.mark.parametrize("sync", ["always", "never"])
def test_killed_writer_loses_nothing_acknowledged(directory: Path, sync: str) -> None:
    """Three write, one reads, one is killed: all acked is there once, in order."""
    _run_and_kill(directory, sync, random.Random(1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sync", ["always", "never"])
def test_killed_writers_campaign(directory: Path, sync: str, seed: int) -> None:
    """The same at twenty other moments."""
    _run_and_kill(directory, sync, random.Random(100 + seed))


@pytest.mark.parametrize("program", ["hold", "half"])
def test_killed_holder_delays_nobody(
    directory: Path, one: OpenedLog, program: str
) -> None:
    """Its lock is free at once, and what it left half-written is not in the way."""
    put(one.log, "a")
    worker = Worker(directory, program)
    worker.wait_for("holding")
    worker.kill()
    began = time.monotonic()
    put(one.log, "b")

    assert time.monotonic() - began < 0.4
    names = [record.key for record in everything(one.log)]
    assert names == [b"a", b"before", b"b"]
    with opened(FileStorage(directory), seed=2) as log:
        assert contents(log) == contents(one.log)
        assert log.damages == []


def test_stopped_holder_stops_writers_only(directory: Path, one: OpenedLog) -> None:
    """Appends end with `BusyError` that names it; reads and opening go on."""
    put(one.log, "a")
    worker = Worker(directory, "hold")
    worker.wait_for("holding")
    worker.send(signal.SIGSTOP)
    with pytest.raises(BusyError) as caught:
        put(one.log, "b")

    assert caught.value.holder_pid == worker.pid
    assert 0.5 <= caught.value.waited_s < 5
    assert [record.key for record in everything(one.log)] == [b"a", b"before"]
    assert one.log.last(subject("a"))[0] == 1
    assert set(current(one.log)) == {subject("a"), subject("before")}
    other = open_log(FileStorage(directory), seed=2, lock_timeout_s=0.1)
    assert list(contents(other.log)) == [1, 2]
    worker.kill()
    assert put(one.log, "c").first_sequence == 3
    other.close()


def test_child_of_a_fork_keeps_no_lock(directory: Path, one: OpenedLog) -> None:
    """A child that lives on does not hold what its killed parent held."""
    worker = Worker(directory, "fork_holding")
    ((child,),) = worker.wait_for("child")
    try:
        with pytest.raises(BusyError):
            put(one.log, "a")
        worker.kill()
        os.kill(int(child), 0)
        assert put(one.log, "b").first_sequence == 2
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)


def test_log_in_the_child_of_a_fork_says_so(directory: Path) -> None:
    """Every use is a `ForkedError`; the parent's log is as before."""
    worker = Worker(directory, "fork_using")

    assert worker.end() == 0
    assert worker.said("child") == [["ended", "with 7"]]
    with opened(FileStorage(directory), seed=1) as log:
        assert list(contents(log)) == [1, 2]
        assert log.damages == []


def test_clean_end_of_one_process_is_clean_for_the_next(directory: Path) -> None:
    """No tail is copied and no gap is left when nobody was killed."""
    for _ in range(2):
        assert Worker(directory, "write", "5", "never").end() == 0
    with opened(FileStorage(directory), seed=1, sync="never") as log:
        found = contents(log)
        assert list(found) == list(range(1, 23))
        assert log.segment_count == 1
