"""Both tables of recovery: every combination of facts has exactly one row."""

from __future__ import annotations

import itertools

import pytest

from objstore_log._recovery import (
    DAMAGE_TABLE,
    TAIL_TABLE,
    Place,
    Tail,
    TailAction,
    Verdict,
    judge_damage,
    judge_tail,
)

PLACES = [Place(*facts) for facts in itertools.product([False, True], repeat=3)]
TAILS = [Tail(*facts) for facts in itertools.product([False, True], repeat=7)]


def _matches(row: tuple[object, ...], facts: tuple[bool, ...]) -> bool:
    return all(
        want is None or want is fact for want, fact in zip(row[:-1], facts, strict=True)
    )


@pytest.mark.parametrize("place", PLACES)
def test_every_place_of_damage_has_one_row(place: Place) -> None:
    """Exactly one row of the table matches, and it is the one that decides."""
    rows = [row for row in DAMAGE_TABLE if _matches(row, place)]

    assert len(rows) == 1
    assert judge_damage(place) is rows[0].verdict


@pytest.mark.parametrize("tail", TAILS)
def test_every_tail_has_one_row(tail: Tail) -> None:
    """Exactly one row of the table matches, and it is the one that decides."""
    rows = [row for row in TAIL_TABLE if _matches(row, tail)]

    assert len(rows) == 1
    assert judge_tail(tail) is rows[0].action


@pytest.mark.parametrize("table", [DAMAGE_TABLE, TAIL_TABLE])
def test_every_row_is_reached(table: tuple[tuple[object, ...], ...]) -> None:
    """No row is dead."""
    width = len(table[0]) - 1
    for row in table:
        facts = [
            [want] if isinstance(want, bool) else [False, True] for want in row[:-1]
        ]
        assert any(len(one) == width for one in itertools.product(*facts))
        assert any(
            _matches(row, one) for one in itertools.product([False, True], repeat=width)
        )


@pytest.mark.parametrize("place", PLACES)
def test_synced_bytes_are_never_taken_for_torn(place: Place) -> None:
    """Damage that was durable ends no log, and what was not is not reported."""
    verdict = judge_damage(place)

    if place.is_last_segment:
        assert (verdict is Verdict.CORRUPT) == place.below_durable
        assert verdict is not Verdict.VOID
    else:
        assert (verdict is Verdict.CORRUPT) == place.below_usable
        assert verdict is not Verdict.TORN


@pytest.mark.parametrize("tail", TAILS)
def test_only_a_proven_tail_is_continued(tail: Tail) -> None:
    """Nothing is appended behind bytes that are unproven or unexplained."""
    is_proven = not tail.has_batches_above_durable or tail.writers_alive
    is_plain = not (
        tail.is_sealed
        or tail.has_unproven_name
        or tail.is_poisoned
        or tail.has_bytes_above_written
        or tail.is_shorter_than_written
    )

    assert (judge_tail(tail) is TailAction.CONTINUE) == (is_plain and is_proven)
    assert (judge_tail(tail) is TailAction.ROLL) == tail.is_sealed
