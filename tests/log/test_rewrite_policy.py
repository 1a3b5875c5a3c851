"""What is worth being copied: one row for every combination, and bounds that hold."""

from __future__ import annotations

import itertools

import pytest

from objstore_log._footer import SegmentIndex
from objstore_log._rewrite_policy import (
    BATCH_BYTES_MIN,
    COPIED_BYTES_MAX,
    GAIN_BYTES_MIN,
    TABLE,
    Facts,
    Move,
    Weighed,
    choose,
    is_worth_it,
    judge,
    plan_copy,
)

EVERY = [Facts(*facts) for facts in itertools.product([False, True], repeat=6)]
MIB = 1024 * 1024


@pytest.mark.parametrize("facts", EVERY)
def test_every_segment_has_one_row(facts: Facts) -> None:
    """Exactly one row of the table matches, and it is the one that decides."""
    rows = [
        row
        for row in TABLE
        if all(
            want is None or want is fact
            for want, fact in zip(row[:-1], facts, strict=True)
        )
    ]

    assert len(rows) == 1
    assert judge(facts) is rows[0].move


def test_only_what_is_safe_and_worth_it_is_rewritten() -> None:
    """One fact that is otherwise, and the segment stays as it is."""
    rewritten = [facts for facts in EVERY if judge(facts) is Move.REWRITE]

    assert rewritten == [Facts(True, True, True, False, False, True)]


@pytest.mark.parametrize(
    ("stored", "copied", "is_worth"),
    [
        (GAIN_BYTES_MIN, 1, False),
        (GAIN_BYTES_MIN + 1, 1, True),
        (9 * MIB, 8 * MIB, True),
        (9 * MIB - 1, 8 * MIB, False),
        (8 * MIB, 9 * MIB, False),
    ],
)
def test_gain_must_be_worth_the_copy(stored: int, copied: int, is_worth: bool) -> None:
    """An eighth of what is copied, and never a trifle."""
    assert is_worth_it(stored, copied) is is_worth


def test_one_run_copies_the_cheapest_gains_up_to_its_bound() -> None:
    """The rest has its turn in the next run."""
    half = COPIED_BYTES_MAX // 2
    weighed = [
        Weighed(1, 3 * half, half + 1),
        Weighed(2, 4 * half, half),
        Weighed(3, 5 * half, half),
    ]

    assert choose(weighed) == {2, 3}
    assert choose([]) == set()


def test_segment_beyond_the_bound_has_its_turn() -> None:
    """Else its room would never come back."""
    assert choose([Weighed(7, 9 * COPIED_BYTES_MAX, 2 * COPIED_BYTES_MAX)]) == {7}


def _index(batches: list[list[int]]) -> SegmentIndex:
    """Make the index of batches of records of some lengths."""
    index = SegmentIndex()
    position, sequence = 256, 1
    for batch in batches:
        for length in batch:
            index.add_fields(sequence, position, length, 1, 0, b"")
            position += length
            sequence += 1
        position += 144
    return index


def test_small_batches_are_joined_and_none_is_torn_apart() -> None:
    """A batch of the copy ends where one of the segment ended."""
    large = BATCH_BYTES_MIN
    index = _index([[100, 100], [100, large, 100], [100, 100], [large], [100]])
    copy = plan_copy(index, 9, lambda entry: entry.sequence not in {2, 6})

    assert copy is not None
    assert [[entry.sequence for entry in batch] for batch in copy.batches] == [
        [1, 3, 4, 5],
        [7, 8],
        [9],
    ]
    assert [entry.sequence for entry in copy.left_out] == [2, 6]
    assert not copy.ends_in_a_gap


def test_copy_of_nothing_is_none() -> None:
    """Such a segment goes as a whole, when it may."""
    assert plan_copy(_index([[100]]), 1, lambda _: False) is None
