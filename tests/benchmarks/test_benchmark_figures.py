"""The statistics of the benchmark, and what it calls a valid run."""

from dataclasses import asdict

import pytest
from benchmarks.figures import (
    Canary,
    Series,
    Taken,
    percentile,
    rotated,
    series_from,
    spread_of,
)


@pytest.mark.parametrize(
    ("p50_us", "p95_us", "pressure", "busy", "expected"),
    [
        (100, 149, 0.0, 0.0, True),
        (100, 150, 0.0, 0.0, False),
        (100, 149, 0.049, 0.09, True),
        (100, 149, 0.05, 0.0, False),
        (100, 149, 0.0, 0.1, False),
    ],
)
def test_quiet_machine_is_steady_and_idle(
    p50_us: float, p95_us: float, pressure: float, busy: float, expected: bool
) -> None:
    """A p95 below 1.5 times the p50, pressure below 5 % and others below 10 %."""
    seen = Canary(p50_us, p95_us, pressure, busy, 0.0)

    assert expected == seen.is_quiet


@pytest.mark.parametrize(
    ("part", "expected"), [(0.01, 1), (0.5, 5), (0.91, 10), (0.99, 10), (1.0, 10)]
)
def test_percentile_is_a_value_that_was_taken(part: float, expected: int) -> None:
    """A percentile is the nearest value above, whatever the order."""

    assert expected == percentile([10, *range(1, 10)], part)


def test_series_gives_the_middle_of_its_rounds() -> None:
    """One slow round moves no median, neither of times nor of percentiles."""
    series = Series("question", "group", "subject")
    for value in (1.0, 90.0, 2.0):
        series.add(Taken(value, cpu_s=value / 2, spread=spread_of([value, value])))

    assert 2.0 == series.median
    assert 1.0 == series.median_cpu_s
    assert 2.0 == series.median_of("p99")


def test_series_survives_json() -> None:
    """What was kept reads back as what was taken; other keys are no matter."""
    series = Series("question", "group", "subject", "B", "synced", 7, 3.0, True)
    series.add(Taken(1.0, spread={"p50": 1.0}))

    assert series == series_from({**asdict(series), "median": 1.0})


def test_order_of_rounds_changes() -> None:
    """Everybody works once a round, and everybody is the first one in some round."""
    orders = [list(rotated(3, number)) for number in range(6)]

    assert all([0, 1, 2] == sorted(order) for order in orders)
    assert {0, 1, 2} == {order[0] for order in orders}
    assert 6 == len({tuple(order) for order in orders})
