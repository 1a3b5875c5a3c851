"""The judge of `make prove`: planted losses are counted as what they are."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from tests.prove.judge import ABSENT, Act, Found, Verdict, judge
from tests.prove.workload import KIB, steps

OLD, NEW, KEPT, GONE = "old digest", "new digest", "kept digest", "gone digest"
ACTS = [
    Act("over", OLD, "done"),
    Act("kept", KEPT, "done"),
    Act("gone", GONE, "done"),
    Act("over", NEW, "done"),
    Act("gone", ABSENT, "done"),
]
SOUND = Found(
    listed=frozenset({"over", "kept"}),
    digests={"over": NEW, "kept": KEPT, "gone": ABSENT},
    check=[],
    serves=True,
)


def _losses(verdict: Verdict) -> dict[str, int]:
    """Give the counts of losses that are not zero."""
    names = ("lost", "named", "told", "silent", "wrong", "old", "back", "unlisted")
    return {name: vars(verdict)[name] for name in names if vars(verdict)[name]}


def _with(name: str, digest: str) -> Found:
    return replace(SOUND, digests={**SOUND.digests, name: digest})


def test_sound_store_has_lost_nothing() -> None:
    """What shows every acknowledged state is sound, and its objects are counted."""
    verdict = judge(ACTS, SOUND)

    assert _losses(verdict) == {}
    assert (verdict.acknowledged, verdict.objects) == (5, 3)
    assert (verdict.trials, verdict.trials_serving) == (1, 1)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (_with("kept", ABSENT), {"lost": 1, "silent": 1}),
        (_with("kept", "?"), {"lost": 1, "silent": 1, "wrong": 1}),
        (_with("over", OLD), {"lost": 1, "silent": 1, "old": 1}),
        (_with("gone", GONE), {"lost": 1, "silent": 1, "back": 1}),
        (
            replace(SOUND, listed=frozenset({"kept"})),
            {"lost": 1, "silent": 1, "unlisted": 1},
        ),
        (
            replace(_with("kept", ABSENT), told=["'kept' is damaged"]),
            {"lost": 1, "named": 1},
        ),
        (
            replace(_with("kept", ABSENT), told=["something is damaged"]),
            {"lost": 1, "told": 1},
        ),
        (
            replace(SOUND, errors={"kept": "checksum"}, listed=None),
            {"lost": 1, "named": 1},
        ),
        (Found(open_error="malformed"), {"lost": 2, "told": 2}),
    ],
)
def test_planted_loss_is_counted(found: Found, expected: dict[str, int]) -> None:
    """Each kind of loss is counted as that kind, once."""

    assert _losses(judge(ACTS, found)) == expected


@pytest.mark.parametrize("end", ["unknown", "failed"])
@pytest.mark.parametrize("shown", [KEPT, "later digest"])
def test_change_in_flight_may_be_there_or_not(end: str, shown: str) -> None:
    """A change that nobody was told of shows its old or its new state."""
    acts = [
        *ACTS,
        Act("kept", "later digest", "unknown" if end == "unknown" else "failed"),
    ]

    assert _losses(judge(acts, _with("kept", shown))) == {}


def test_error_in_place_of_a_deleted_object_is_no_loss() -> None:
    """What was deleted cannot be lost by an error."""

    assert _losses(judge(ACTS, replace(SOUND, errors={"gone": "checksum"}))) == {}


def test_name_that_was_never_acknowledged_binds_nobody() -> None:
    """A put that was cut off may leave anything."""
    verdict = judge([Act("a", OLD, "unknown")], Found(digests={"a": "?"}))

    assert (verdict.objects, verdict.lost) == (0, 0)


@pytest.mark.parametrize(("check", "seen"), [([], 0), (["row 7"], 1)])
def test_own_check_counts_where_something_is_lost(check: list[str], seen: int) -> None:
    """A peer's own check is asked for each fault with a loss, and only then."""
    lossy = judge(ACTS, replace(_with("kept", ABSENT), check=check))
    sound = judge(ACTS, replace(SOUND, check=check))
    without = judge(ACTS, replace(_with("kept", ABSENT), check=None))

    assert (lossy.lossy_checked, lossy.lossy_seen) == (1, seen)
    assert (sound.lossy_checked, without.lossy_checked) == (0, 0)


def test_verdicts_add_up() -> None:
    """The counts of several faults are summed."""
    total = Verdict()
    total.add(judge(ACTS, SOUND))
    total.add(judge(ACTS, _with("kept", "?")))

    assert (total.trials, total.lost, total.wrong, total.trials_silent) == (2, 1, 1, 1)


def test_workload_is_decided_by_its_seed() -> None:
    """The same seed gives the same changes; what is changed again is there."""
    row = list(islice(steps(7), 200))
    present: set[str] = set()
    for step in row:
        if step.kind == "delete":
            present.remove(step.name)
        else:
            present.add(step.name)

    assert row == list(islice(steps(7), 200))
    assert row != list(islice(steps(8), 200))
    assert row[0].content() == next(steps(7)).content()
    assert {step.kind for step in row} == {"put", "delete"}
    assert {step.size_bytes for step in islice(steps(7, is_small=True), 99)} <= {0, KIB}
