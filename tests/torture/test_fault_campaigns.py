"""The campaigns of crash disks, failing calls and kills, each for a few seconds.

`make torture` runs them for long, with other seeds.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest
from tests.torture import crash_disks, failing_calls, kills
from tests.torture.crash_model import Outcomes
from tests.torture.crash_programs import LIFE, WORKLOADS, Workload, program
from tests.torture.crash_steps import Step, create, delete, put
from tests.torture.frame import Report

SEED = 20_261
NAMES = [workload.name for workload in WORKLOADS]
POINTS = 4


def again(campaign: str) -> str:
    """Give the command that repeats it."""
    return f"python -m tests.torture --only '{campaign}' --seed {SEED} --minutes 0"


@pytest.mark.slow
@pytest.mark.parametrize("workload", WORKLOADS, ids=NAMES)
def test_power_cut_under_a_random_program_leaves_what_was_acknowledged(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut anywhere, by any rules: old or new, in order, and watches have no gap."""
    monkeypatch.setattr(crash_disks, "POINTS_MAX", POINTS)
    monkeypatch.setattr(crash_disks, "RECOVERIES", 0.2)
    disks: set[bytes] = set()
    crash_disks.crash(SEED, Counter[str](), disks, workload)

    assert len(disks) >= POINTS


@pytest.mark.slow
def test_campaign_of_crash_disks_counts_what_its_processes_tell() -> None:
    """One round for each processor, and none when its time was over before."""
    report = Report("crash disks")
    counts = crash_disks.run(SEED, time.monotonic(), report)

    assert (report.violations, counts["programs"], counts["workloads"]) == (0, 1, 1)
    assert counts["distinct disks"] > POINTS


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
def test_failing_calls_lose_nothing_and_end_in_service(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of call fails: a documented error, reads, and service afterwards."""
    monkeypatch.setattr(failing_calls, "POSITIONS_MAX", 2)
    counts = Counter[str]()
    failing_calls.fail_calls(seed, counts)

    assert counts["failing calls"] > 10


@pytest.mark.torture
@pytest.mark.slow
def test_killed_processes_leave_what_was_acknowledged() -> None:
    """Each goes on where the one before was killed, in a recovery perhaps."""
    counts = Counter[str]()

    assert kills.kill(SEED, counts, lives=8) == [], again("kills")
    assert counts["kills"] >= 4


def test_seed_decides_a_program() -> None:
    """The same seed gives the same steps with the same bytes, another one others."""

    def told(seed: int) -> list[tuple[str, object]]:
        return [
            (str(step), step.changes)
            for workload in WORKLOADS
            for step in program(seed, workload, LIFE)
        ]

    assert told(5) == told(5)
    assert told(5) != told(6)


def _put(name: str) -> Step:
    return put("b", name, name.encode())


def test_model_takes_old_or_new_of_what_failed() -> None:
    """Behind a failure both are open; what was seen once stays."""
    outcomes = Outcomes.of({"b": {}})
    outcomes.unknown(_put("x"))
    outcomes.look({"b": {}})
    outcomes.look({"b": {"x": b"x"}})
    with pytest.raises(AssertionError):
        outcomes.look({"b": {}})


def test_model_takes_nothing_else() -> None:
    """Neither loss of what was acknowledged, nor a part, nor what nobody put."""
    for wrong in ({}, {"x": b""}, {"x": b"x", "y": b"y"}):
        outcomes = Outcomes.of({"b": {}})
        outcomes.done(_put("x"))
        with pytest.raises(AssertionError):
            outcomes.look({"b": wrong})


def test_model_leaves_open_what_failed_behind_an_acknowledgement() -> None:
    """It may happen yet, although nobody looked in between."""
    outcomes = Outcomes.of({})
    outcomes.done(create("b", {}))
    outcomes.unknown(_put("x"))
    outcomes.done(create("b", {}))
    outcomes.look({"b": {}})
    outcomes.look({"b": {"x": b"x"}})


def test_model_holds_what_came_before_for_decided() -> None:
    """What failed does not happen behind a later acknowledgement in its bucket."""
    outcomes = Outcomes.of({"b": {"y": b"y"}})
    outcomes.unknown(_put("x"))
    outcomes.done(delete("b", "y"))
    outcomes.look({"b": {}})
    with pytest.raises(AssertionError):
        outcomes.look({"b": {"x": b"x"}})
