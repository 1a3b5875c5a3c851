"""The campaigns of crash disks, failing calls and kills, each for a few seconds.

`make torture` runs them for long, with other seeds.
"""

from __future__ import annotations

import errno
import random
import time
from collections import Counter

import pytest
from tests.proofs.crash_world import simulated
from tests.torture import crash_disks, failing_calls, kills
from tests.torture.crash_model import Outcomes
from tests.torture.crash_programs import LIFE, WORKLOADS, Workload, program
from tests.torture.crash_steps import Step, create, delete, put, retention
from tests.torture.failing_plans import KINDS, PARTS, Failure, walk
from tests.torture.failing_trials import Trial
from tests.torture.frame import Report

SEED = 20_261
NAMES = [workload.name for workload in WORKLOADS]
POINTS = 4
POSITIONS = 60


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
@pytest.mark.parametrize("workload", [failing_calls.PUNCHES, *WORKLOADS[8:10]])
def test_failing_calls_lose_nothing_and_end_in_service(workload: Workload) -> None:
    """Every kind of call fails: a documented error, reads, and service afterwards."""
    with simulated():
        walking = failing_calls.prepare(SEED, workload)
        failures = walking.failures[:: len(walking.failures) // POSITIONS]
        counts = failing_calls.fail_calls(walking, failures)

    assert counts["failing calls"] >= POSITIONS
    assert counts["of openings"] > 0


def test_walk_has_every_position_once_and_for_good() -> None:
    """The errors and parts of one kind take turns, for both in the same way."""
    failures = walk({"write": 60, "sync": 4, "remove": 0}, random.Random(SEED))

    assert Counter((one.kind, one.is_sticky) for one in failures) == {
        ("write", False): 60,
        ("write", True): 60,
        ("sync", False): 4,
        ("sync", True): 4,
    }
    for kind in ("write", "sync"):
        for is_sticky in (False, True):
            found = [
                one
                for one in failures
                if (one.kind, one.is_sticky) == (kind, is_sticky)
            ]
            assert [one.nth for one in found] == [*range(1, len(found) + 1)]
            assert {one.code for one in found} == set(KINDS[kind])
            if kind == "write":
                assert {one.part for one in found} == set(PARTS)


def test_rounds_of_a_walk_are_the_walk() -> None:
    """Together they have each failure once, and programs of punches punch."""
    with simulated():
        walking = failing_calls.prepare(SEED, failing_calls.PUNCHES)
    rounds = [walking.of_round(number) for number in range(walking.rounds)]

    assert Counter(one for part in rounds for one in part) == Counter(walking.failures)
    assert {one.kind for one in walking.failures if not one.is_of_opening} >= {
        "write",
        "sync",
        "punch",
    }


ROLLING = {"chunk_size": 300, "segment_bytes": 1_024, "changes_ttl": 0}


def test_name_refused_to_one_process_hides_nothing_that_another_puts_there() -> None:
    """One segment's name is refused to a process, and the other gives it away."""
    steps = [
        create("b", ROLLING),
        put("b", "d", b""),
        delete("b", "d", other=True),
        put("b", "b", b"b" * 301),
        put("b", "c", b"c", other=True),
        put("b", "c", b"c" * 302),
        retention(),
        put("b", "d", b"d" * 80, other=True),
    ]
    for nth in range(1, 9):
        failure = Failure("sync_directory", nth, errno.EIO, False, 0.0)
        with simulated():
            Trial(steps, SEED, failure).run()


def test_process_may_not_see_what_another_could_not_publish() -> None:
    """A full disk refuses the head, and the other process's delete finds nothing."""
    steps = [
        create("b", ROLLING),
        retention(other=True),
        put("b", "c", b"c" * 1_151),
        delete("b", "c", other=True),
        retention(other=True),
        put("b", "d", b"d" * 521, other=True),
    ]
    for nth in range(1, 12):
        failure = Failure("write", nth, errno.ENOSPC, True, 0.2)
        with simulated():
            Trial(steps, SEED, failure).run()


@pytest.mark.slow
def test_killed_processes_leave_what_was_acknowledged() -> None:
    """Each goes on where the one before was killed, in a recovery perhaps."""
    counts = Counter[str]()

    assert kills.kill(SEED, counts, lives=8) == [], again("kills")
    assert counts["kills"] >= 4
    assert counts["looks of who stayed"] >= 1


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
