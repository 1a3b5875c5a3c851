"""Forks, clocks that jump, few files, little memory: nothing is lost by any of them."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.torture.crowd import SOON_S, Crowd, Program, crowd_in, judge
from tests.torture.crowd_worker import KEPT, MORTAL, watch, write
from tests.torture.frame import Report
from tests.torture.history import DONE
from tests.torture.surroundings_worker import fork, jump, squeeze

import objstore

FORKS: Mapping[str, Program] = {
    "forking": (fork,),
    "writer": (write, "sync:1"),
    "watcher": (watch, "sync"),
}
CLOCKS: Mapping[str, Program] = {
    "writer": (jump, "write sync:1"),
    "writer on trio": (jump, "write trio:2"),
    "reader": (jump, "read"),
    "retention": (jump, "retain"),
    "watcher": (watch, "sync"),
}
LIMITS: Mapping[str, Program] = {"squeezed": (squeeze,)}


def _count(crowd: Crowd, counts: Counter[str]) -> None:
    for who in crowd.programs:
        counts.update(crowd.journal(who).counted)


def forked(crowd: Crowd, seconds: float) -> list[str]:
    """Fork for a while, then kill the parent while a child lives on."""
    time.sleep(seconds)
    crowd.kill("forking")
    crowd.start("forking")
    crowd.wait_ready("forking")
    return []


def jumped(crowd: Crowd, seconds: float) -> list[str]:
    """Let clocks jump, also beside a retention that begins anew."""
    time.sleep(seconds / 2)
    crowd.kill("retention")
    crowd.start("retention")
    time.sleep(seconds / 2)
    return []


def squeezed(crowd: Crowd, seconds: float) -> list[str]:
    """Wait until it has tried all limits.

    A library that does not look whether it got its memory ends the process like a kill.
    """
    process = crowd.running["squeezed"]
    process.join(seconds + SOON_S)
    if process.exitcode == -signal.SIGSEGV:
        crowd.running.pop("squeezed")
    else:
        crowd.end("squeezed")
    return []


def _mortals(crowd: Crowd) -> list[str]:
    """What lives for a day is there, by a clock that is right."""
    with objstore.open(crowd.place, retention_interval=None) as store:
        bucket = store.object_store(KEPT)
        there = {info.name: info.digest for info in bucket.list(MORTAL)}
    return [
        f"purged or hidden by a clock that jumped: {call}"
        for who in crowd.programs
        for call in crowd.journal(who).calls
        if call.name.startswith(MORTAL)
        and call.outcome == DONE
        and there.get(call.name) != call.answer["digest"]
    ]


def run_in(
    programs: Mapping[str, Program],
    work: Callable[[Crowd, float], list[str]],
    seed: int,
    seconds: float,
    counts: Counter[str],
) -> list[str]:
    """Run programs in their surroundings; give what is wrong."""
    with (
        tempfile.TemporaryDirectory() as folder,
        crowd_in(Path(folder), random.Random(seed), programs) as crowd,
    ):
        try:
            for who in programs:
                crowd.start(who)
            for who in programs:
                crowd.wait_ready(who)
            wrong = work(crowd, seconds)
            wrong += judge(crowd, counts)
            wrong += _mortals(crowd)
            _count(crowd, counts)
        finally:
            for child in crowd.children():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        return wrong


def run_all(seed: int, seconds: float, counts: Counter[str]) -> list[str]:
    """Go through all surroundings, for so long each."""
    return [
        *run_in(FORKS, forked, seed, seconds, counts),
        *run_in(CLOCKS, jumped, seed, seconds, counts),
        *run_in(LIMITS, squeezed, seed, seconds, counts),
    ]


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Go through all surroundings again and again."""
    for round_seed in report.rounds(seed, deadline):
        for wrong in run_all(round_seed, 4.0, report.counts):
            report.violation(wrong)
    return report.counts
