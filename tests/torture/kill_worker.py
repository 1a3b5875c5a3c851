"""The program of the campaign of kills; its arguments are a seed and a number of lives.

It never opens a store itself and has no thread, so that it can fork. Its children do:
one runs a program until it is killed, another one says what is left. Beside them there
is sometimes one that had the store open all the time and goes on in it.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from tests.torture.crash_model import Outcomes, contents_of, serve
from tests.torture.crash_programs import (
    LIFE,
    OTHER,
    STEPS_MAX,
    WORKLOADS,
    Programmer,
)
from tests.torture.crash_steps import Contents, Stage, Step
from tests.torture.failing_trials import without

from objstore._embedded import EmbeddedEngine
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore._store_directory import system_environment
from objstore.blocking import Store
from objstore_log import FileStorage, Storage
from objstore_log._file_storage import PosixFile
from objstore_log._storage import Buffer

Moment: TypeAlias = Literal["before", "inside", "behind"]
CALLS_MAX = 110
"""About so many changing calls a program of a few steps makes."""
OPENING_CALLS_MAX = 14
DELAY_S_MAX = 0.05
SERVED = "served by the next"
BEGUN, DONE = b"b", b"d"


@dataclass
class Switch:
    """Kills its process at a call that changes the directory."""

    call: int
    """From 1; 0 is never."""
    moment: Moment
    calls: int = 0

    def is_due(self, moment: Moment) -> bool:
        """Count a call (`before`), and say whether it is the one and the moment."""
        if moment == "before":
            self.calls += 1
        return self.calls == self.call and moment == self.moment

    def check(self, moment: Moment) -> None:
        """Kill the process if it is the call and the moment."""
        if self.is_due(moment):
            os.kill(os.getpid(), signal.SIGKILL)


class KillingFile(PosixFile):
    """A file whose changes may be the last thing that its process does."""

    switch: Switch

    def write_at(self, position: int, buffers: Sequence[Buffer]) -> int:
        """Write, or die before, with half of it written, or behind."""
        self.switch.check("before")
        if self.switch.is_due("inside"):
            whole = b"".join(buffers)
            super().write_at(position, [whole[: len(whole) // 2]])
            self.switch.check("inside")
        written = super().write_at(position, buffers)
        self.switch.check("behind")
        return written

    def sync(self) -> None:
        """Sync, or die."""
        self.switch.check("before")
        super().sync()
        self.switch.check("behind")

    def punch(self, position: int, length: int) -> bool:
        """Punch, or die."""
        self.switch.check("before")
        is_done = super().punch(position, length)
        self.switch.check("behind")
        return is_done


class KillingStorage(FileStorage):
    """A directory of which every change may be the last one."""

    def __init__(self, path: Path | str, switch: Switch, *, create: bool) -> None:
        """Use the directory at a path."""
        super().__init__(path, create=create, force_network=True)
        self.switch = switch

    def open(self, name: str, *, create: bool = False) -> PosixFile:
        """Open; making a file is a change."""
        is_change = create and name not in self.names()
        if is_change:
            self.switch.check("before")
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        file = KillingFile(self._join(name), name, flags)
        file.switch = self.switch
        if is_change:
            self.switch.check("behind")
        return file

    def directory(self, name: str, *, create: bool = False) -> KillingStorage:
        """Give a directory in it; making one is a change."""
        self.switch.check("before")
        super().directory(name, create=create)
        self.switch.check("behind")
        return KillingStorage(self._join(name), self.switch, create=False)

    def replace(self, source: str, target: str) -> None:
        """Rename, or die."""
        self.switch.check("before")
        super().replace(source, target)
        self.switch.check("behind")

    def remove(self, name: str) -> None:
        """Remove, or die."""
        self.switch.check("before")
        super().remove(name)
        self.switch.check("behind")

    def remove_directory(self, name: str) -> None:
        """Remove a directory, or die."""
        self.switch.check("before")
        super().remove_directory(name)
        self.switch.check("behind")

    def sync_directory(self) -> None:
        """Sync the names, or die."""
        self.switch.check("before")
        super().sync_directory()
        self.switch.check("behind")


def _opened(storage: Storage) -> Store:
    engine = EmbeddedEngine(open_on_storage(storage, system_environment()))
    return Store(Session(engine))


class Found(NamedTuple):
    """What a process found that opened the store."""

    contents: Contents
    sealed: list[str]


# --- children -----------------------------------------------------------------


def _forked(child: Callable[[int], None]) -> tuple[int, int]:
    """Run a function in a child; give its process id and where it writes to."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        os.close(reading)
        child(writing)
        status = 0
    except BaseException:  # noqa: BLE001 - told by the pipe, and the child ends here
        os.write(writing, b"!" + traceback.format_exc().encode())
    finally:
        os._exit(status)


def _all_of(reading: int) -> bytes:
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


def _live(folder: Path, steps: Sequence[Step], switch: Switch, pipe: int) -> None:
    """Take steps until the kill; say which began and which were acknowledged."""
    store = _opened(KillingStorage(folder, switch, create=True))
    stage = Stage(lambda: store, lambda: store)
    for step in steps:
        os.write(pipe, BEGUN)
        step.act(stage)
        os.write(pipe, DONE)
    store.close()


def _inspect(folder: Path, switch: Switch, pipe: int) -> None:
    """Open what is left, check it, go on in it, and tell what it holds."""
    store = _opened(KillingStorage(folder, switch, create=True))
    # another one may have been killed while it served
    first = without(contents_of(store), SERVED)
    report = store.verify()
    assert report.ok, report
    serve(store, SERVED)
    assert contents_of(store) == first
    sealed = [
        name
        for name in store.object_store_names()
        if store.object_store(name).status().sealed
    ]
    store.close()
    os.write(pipe, pickle.dumps(Found(first, sealed)))


def _stay(folder: Path, asked: Connection, _: int) -> None:
    """Have the store open while others die; tell what it holds as often as asked."""
    store = _opened(KillingStorage(folder, Switch(0, "before"), create=True))
    asked.send(None)
    while True:
        half_made, retains = asked.recv()
        if retains and not half_made:
            # before anybody looked what the dead one had committed
            store.run_retention()
        looks = [contents_of(store, half_made)]
        if not half_made:
            # whoever commits next takes in what the dead one had written
            serve(store, "served by who stayed")
            looks.append(contents_of(store))
        asked.send(looks)


class Survivor:
    """A process that stays while others die."""

    def __init__(self, folder: Path) -> None:
        """Wait until it has opened the store."""
        self._asked, asked = Pipe()
        self._pid, self._reading = _forked(partial(_stay, folder, asked))
        asked.close()
        self._asked.recv()

    def look(
        self, half_made: Collection[str], *, retains: bool
    ) -> list[Contents] | str:
        """Have it look, and look behind a commit; gives why it could not."""
        try:
            self._asked.send((half_made, retains))
            looks: list[Contents] = self._asked.recv()
        except (EOFError, OSError):
            return _all_of(self._reading).decode()
        return looks

    def end(self) -> None:
        """Kill it as well."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._asked.close()
        with suppress(OSError):
            os.close(self._reading)


def _forget_catalogs(folder: Path) -> None:
    """Leave the next process the log alone; nobody has the store open."""
    for path in folder.glob("logs/*/catalog.sqlite*"):
        path.unlink()


# --- one round ----------------------------------------------------------------


@dataclass
class Round:
    """Lives of processes in one directory."""

    folder: Path
    chance: random.Random
    counts: Counter[str]
    found: Found
    survivor: Survivor | None = None

    def live(self) -> str | None:
        """Let one process run and be killed, another one look; say what is wrong."""
        chance = self.chance
        if self.survivor is None and chance.random() < 0.4:
            self.survivor = Survivor(self.folder)
        workload = chance.choice(WORKLOADS)
        contents = {name: dict(of) for name, of in self.found.contents.items()}
        sealed = set(self.found.sealed)
        programmer = Programmer(chance, workload.configs, contents, sealed)
        count = chance.randint(2, STEPS_MAX)
        steps = programmer.program(workload, count, LIFE | OTHER)
        self.counts[f"of {workload.name}"] += 1
        outcomes = Outcomes.of(self.found.contents)
        wrong = self._run(steps, outcomes)
        if wrong is None and self.survivor is not None:
            half_made, retains = outcomes.half_made(), chance.random() < 0.5
            looks = self.survivor.look(half_made, retains=retains)
            wrong = self._compare(outcomes, looks)
            self.counts["looks of who stayed"] += 1
            if chance.random() < 0.3:
                self.end()
        if wrong is None:
            wrong = self._look(outcomes)
        if wrong is not None:
            wrong += f"\n{workload.name}: {'; '.join(map(str, steps))}"
        return wrong

    def _run(self, steps: Sequence[Step], outcomes: Outcomes) -> str | None:
        chance = self.chance
        is_timed = chance.random() < 0.2
        moments: list[Moment] = ["before", "inside", "behind"]
        call = 0 if is_timed else chance.randint(1, CALLS_MAX)
        switch = Switch(call, chance.choice(moments))
        pid, reading = _forked(partial(_live, self.folder, steps, switch))
        if is_timed:
            time.sleep(chance.uniform(0, DELAY_S_MAX))
            os.kill(pid, signal.SIGKILL)
        told = _all_of(reading)
        was_killed = self._ended(pid)
        events, _, error = told.partition(b"!")
        if error:
            return error.decode()
        for step, event in zip(steps, events.split(BEGUN)[1:], strict=False):
            (outcomes.done if event == DONE else outcomes.unknown)(step)
        self.counts["kills" if was_killed else "lives to the end"] += 1
        self.counts["acknowledged steps"] += events.count(DONE)
        return None

    def end(self) -> None:
        """Let nobody stay."""
        if self.survivor is not None:
            self.survivor.end()
            self.survivor = None

    def _compare(self, outcomes: Outcomes, looks: list[Contents] | str) -> str | None:
        if isinstance(looks, str):
            return f"who stayed: {looks}"
        try:
            for found in looks:
                outcomes.look(found)
        except AssertionError as error:
            return f"after {self.counts['kills']} kills: {error}"
        return None

    def _look(self, outcomes: Outcomes) -> str | None:
        """Open what is left, sometimes killed in that as well."""
        if self.survivor is None and self.chance.random() < 0.3:
            _forget_catalogs(self.folder)
            self.counts["lost catalogs"] += 1
        while self.chance.random() < 0.3:
            call = self.chance.randint(1, OPENING_CALLS_MAX)
            switch = Switch(call, self.chance.choice(["before", "behind"]))
            pid, reading = _forked(partial(_inspect, self.folder, switch))
            told = _all_of(reading)
            if self._ended(pid):
                self.counts["kills"] += 1
                self.counts["kills of recoveries"] += 1
            elif told.startswith(b"!"):
                return told[1:].decode()
        pid, reading = _forked(partial(_inspect, self.folder, Switch(0, "before")))
        told = _all_of(reading)
        self._ended(pid)
        if told.startswith(b"!"):
            return told[1:].decode()
        self.found = pickle.loads(told)
        return self._compare(outcomes, [self.found.contents])

    def _ended(self, pid: int) -> bool:
        """Wait for a process; say whether it was killed."""
        _, status = os.waitpid(pid, 0)
        return os.WIFSIGNALED(status)


def main(seed: int, lives: int) -> None:
    """Run one round; tell what came of it."""
    logging.getLogger("objstore").disabled = True
    chance = random.Random(seed)
    counts = Counter[str]()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        going_on = Round(Path(place) / "store", chance, counts, Found({}, []))
        try:
            for _ in range(lives):
                text = going_on.live()
                if text is not None:
                    wrong.append(text)
                    break
        finally:
            going_on.end()
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps({"counts": counts, "wrong": wrong}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
