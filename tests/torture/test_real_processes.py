"""Real processes on one directory, for a few seconds each.

The campaigns of `make torture` are their long form.
"""

from __future__ import annotations

from collections import Counter

import pytest
from tests.torture import surroundings
from tests.torture.crowd import run_crowd
from tests.torture.holders import run_holders
from tests.torture.interrupted import run_storm
from tests.torture.long_put import run_long_put

SEED = 20_261
WHERE = {
    "forks": (surroundings.FORKS, surroundings.forked),
    "clocks": (surroundings.CLOCKS, surroundings.jumped),
    "limits": (surroundings.LIMITS, surroundings.squeezed),
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_history_of_killed_and_stopped_processes_is_explained() -> None:
    """What seven of them were told has one order, and it is the log's."""
    counts = Counter[str]()
    assert run_crowd(SEED, 5, counts) == [], f"seed {SEED}"
    assert counts["kills"] >= 2
    assert counts["operations"] > 100
    assert counts["changes watched"] > 5


def test_stopped_holder_stops_writers_alone() -> None:
    """They give up or are cancelled; all others go on; a dead one is no holder."""
    counts = Counter[str]()
    assert run_holders(SEED, counts) == [], f"seed {SEED}"
    assert counts["stopped holders"] == counts["killed holders"] == 1


def test_retention_leaves_a_long_put_its_chunks() -> None:
    """They stay while it goes on, and go when it was killed."""
    counts = Counter[str]()
    assert run_long_put(SEED, 2, counts) == [], f"seed {SEED}"
    assert counts["killed long puts"] == 1


def test_interrupted_puts_have_happened_or_never_do() -> None:
    """Also when SIGINT comes inside a commit, and on both faces."""
    counts = Counter[str]()
    assert run_storm(SEED, 3, counts) == [], f"seed {SEED}"
    assert counts["interrupts inside a commit"] >= 1
    assert counts["interrupted calls"] >= 2


@pytest.mark.parametrize(
    ("where", "counted"),
    [
        ("forks", ["forks", "processes of multiprocessing"]),
        ("clocks", ["jumps of clocks", "answers: done"]),
        ("limits", ["done under a limit", "refused: StorageError"]),
    ],
)
def test_nothing_is_lost_in_odd_surroundings(where: str, counted: list[str]) -> None:
    """Forked, with a clock that jumps, with few files and little memory."""
    counts = Counter[str]()
    programs, work = WHERE[where]
    wrong = surroundings.run_in(programs, work, SEED, 2, counts)

    assert wrong == [], f"seed {SEED}"
    assert [what for what in counted if not counts[what]] == []
