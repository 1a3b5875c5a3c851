"""How much do four processes write that share one store?

Hypothesis: they take turns with the lock, so together they write as much as one that
writes alone; nobody starves.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks import child
from benchmarks.bench import Bench, Subject
from benchmarks.figures import Taken
from benchmarks.peers import ADAPTERS

TOGETHER = "put 1 KiB, {} process(es) with one store"
SIZE = 1024
COUNT = 200
SUBJECTS = ("objstore sync", "SQLite FULL", "LMDB", "files synced")
"""Those that several processes may open and that sync before they acknowledge."""


def written(name: str, folder: str, writer: int, count: int) -> dict[str, float]:
    """Put objects in a process of its own, when all of them are ready."""
    peer = ADAPTERS[name].open(Path(folder))
    calls = [(f"{writer}/{number}", os.urandom(SIZE)) for number in range(count)]
    peer.run([(f"{writer}/first", bytes(SIZE))])
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.monotonic()
    peer.run(calls)
    ended = time.monotonic()
    peer.close()
    return {"started": started, "ended": ended}


def _round(bench: Bench, name: str, writers: int) -> Taken:
    folder, count = str(bench.folder(name)), bench.size(COUNT, 30)
    ADAPTERS[name].open(Path(folder)).close()
    place = "questions.processes:written"
    processes = [
        child.start(place, name=name, folder=folder, writer=writer, count=count)
        for writer in range(writers)
    ]
    for process in processes:
        assert process.stdout is not None, "asked for"
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None, "asked for"
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [child.result_of(process) for process in processes]
    first = min(each["started"] for each in found)
    last = max(each["ended"] for each in found)
    return Taken((last - first) / (count * writers))


def run(bench: Bench) -> None:
    """Answer with what one put takes, of all processes together."""
    for writers in (1, 4):
        subjects = [
            Subject(
                name,
                partial(_round, bench, name, writers),
                ADAPTERS[name].durability,
            )
            for name in SUBJECTS
            if ADAPTERS[name].missing() is None
            and (bench.with_peers or ADAPTERS[name].is_ours)
        ]
        rounds = min(3, bench.rounds)
        bench.compare(TOGETHER.format(writers), subjects, rounds=rounds)
