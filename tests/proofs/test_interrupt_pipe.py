"""Ctrl-C while a put reads from a pipe that delivers slowly, or not at all.

`python -m tests.proofs.test_interrupt_pipe PLACE FACE` is the process that puts.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import objstore

ROOT = Path(__file__).parents[2]
WAIT_S = 30
SOON_S = 5
"""Far above what it takes, far below a wait for the pipe or for a shield's end."""
LARGE = bytes(6 * 1024 * 1024)
"""More than a slab: a part of it is stored when the interrupt comes."""


# --- the process that puts ------------------------------------------------------------


def put(place: str) -> None:
    """Put what comes, blocking."""
    with objstore.open(place, retention_interval=None) as store:
        bucket = store.object_store("b")
        told()
        bucket.put("piped", sys.stdin.buffer)


async def aput(place: str) -> None:
    """Put what comes, on an event loop."""
    async with objstore.connect(place, retention_interval=None) as store:
        bucket = await store.object_store("b")
        told()
        await bucket.put("piped", sys.stdin.buffer)


def told(**facts: Any) -> None:
    """Tell the test a line."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main(place: str, face: str) -> None:
    """Put until it is interrupted, then tell what it left."""
    try:
        if face == "blocking":
            put(place)
        else:
            anyio.run(aput, place, backend=face)
    except KeyboardInterrupt:
        with objstore.open(place, retention_interval=None) as store:
            exists = store.object_store("b").exists("piped")
            reclaimed = store.run_retention().bytes_reclaimed
        told(exists=exists, reclaimed=reclaimed)


# --- the tests ------------------------------------------------------------------------


@contextmanager
def putting(place: Path, face: str) -> Generator[subprocess.Popen[bytes]]:
    """Start a process that puts from its standard input."""
    with objstore.open(place, retention_interval=None) as store:
        store.create_object_store(bucket="b", changes_ttl=0)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.proofs.test_interrupt_pipe", str(place), face],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"{}\n"
            yield process
        finally:
            process.kill()


@contextmanager
def trickling(process: subprocess.Popen[bytes]) -> Generator[None]:
    """Deliver a byte now and then, until the block ends or nobody reads."""
    is_over = threading.Event()

    def trickle() -> None:
        assert process.stdin is not None
        while not is_over.wait(0.002):
            try:
                process.stdin.write(b"x")
            except BrokenPipeError:
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def deliver(process: subprocess.Popen[bytes], content: bytes) -> None:
    """Write all of it: when it is through, the put has read most of it."""
    assert process.stdin is not None
    left = memoryview(content)
    while left:
        left = left[process.stdin.write(left) :]


@pytest.mark.parametrize("is_trickling", [False, True])
@pytest.mark.parametrize("face", ["blocking", "asyncio", "trio"])
def test_interrupt_does_not_wait_for_the_pipe(
    tmp_path: Path, face: str, is_trickling: bool
) -> None:
    """The put ends at once, nothing is visible, and its bytes are given back."""
    place = tmp_path / "store"
    with putting(place, face) as process:
        deliver(process, LARGE)
        before_s = time.monotonic()
        if is_trickling:
            with trickling(process):
                time.sleep(0.1)
                before_s = time.monotonic()
                process.send_signal(signal.SIGINT)
                status = process.wait(WAIT_S)
        else:
            process.send_signal(signal.SIGINT)
            status = process.wait(WAIT_S)
        took_s = time.monotonic() - before_s
        assert process.stdout is not None
        left = json.loads(process.stdout.readline())

    assert status == 0
    assert took_s < SOON_S
    assert not left["exists"]
    assert left["reclaimed"] >= 4 * 1024 * 1024


@pytest.mark.parametrize("face", ["blocking", "asyncio", "trio"])
def test_slow_pipe_is_put_whole(tmp_path: Path, face: str) -> None:
    """What comes in small pieces, with pauses, is all there in the end."""
    place = tmp_path / "store"
    pieces = [bytes([number]) * (number * 3_000) for number in range(1, 60)]
    with putting(place, face) as process:
        assert process.stdin is not None
        for number, piece in enumerate(pieces):
            deliver(process, piece)
            if number % 10 == 0:
                time.sleep(0.02)
        process.stdin.close()
        assert process.wait(WAIT_S) == 0

    with objstore.open(place, retention_interval=None) as store:
        assert store.object_store("b").get("piped") == b"".join(pieces)


@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.parametrize("is_blocking", [True, False])
def test_pipe_of_this_process_is_put_whole(is_blocking: bool, buffering: int) -> None:
    """What a buffer holds already counts; that nothing has come yet is no end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, is_blocking)

    def write() -> None:
        for _ in range(3):
            time.sleep(0.15)
            os.write(writing, b"later ")
        os.close(writing)

    os.write(writing, b"taken, first ")
    writer = threading.Thread(target=write)
    with (
        objstore.open("memory:") as store,
        os.fdopen(reading, "rb", buffering=buffering) as file,
    ):
        assert file.read(7) == b"taken, "
        writer.start()
        bucket = store.create_object_store("b")
        bucket.put("piped", file)
        writer.join()

        assert bucket.get("piped") == b"first later later later "


if __name__ == "__main__":
    main(*sys.argv[1:])
