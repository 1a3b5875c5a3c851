"""The frame of `make torture`: what it prints, its exit status, its seeds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice

import pytest
from tests.torture import failed_sync, full_disk, power_cuts
from tests.torture.__main__ import main
from tests.torture.campaigns import CAMPAIGNS
from tests.torture.disk_steps import steps
from tests.torture.frame import Campaign, Report, run_campaigns


def _holds(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Find nothing wrong in two rounds at most."""
    for _ in islice(report.rounds(seed, deadline), 2):
        report.counts["rounds"] += 1
    return report.counts


def _violates(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Find something wrong in the second round."""
    for number, _ in enumerate(islice(report.rounds(seed, deadline), 2)):
        if number == 1:
            report.violation("one byte is gone")
    return report.counts


def _breaks(_seed: int, _deadline: float, _report: Report) -> Mapping[str, int]:
    raise ZeroDivisionError


def _cannot(_seed: int, _deadline: float, report: Report) -> Mapping[str, int]:
    report.skip("no such disk here")
    return {}


def test_violation_gives_status_one_and_its_seed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The seed of the round and the command that repeats it are printed."""
    rows = [Campaign("first row", 1, _violates), Campaign("second row", 1, _holds)]

    assert main(["--seed", "7", "--minutes", "1"], rows) == 1
    told = capsys.readouterr().out
    report = Report("first row")
    _, seed = islice(report.rounds(7, time.monotonic() + 60), 2)
    assert "torture: seed 7, 1 minutes\n" in told
    assert f"VIOLATION (seed {seed}): one byte is gone\n" in told
    again = f"python -m tests.torture --only 'first row' --seed {seed} --minutes 0\n"
    assert f"again: {again}" in told
    assert "second row: 2 rounds; 0 violations" in told


def test_round_is_repeated_by_its_seed() -> None:
    """The first round's seed is the one that was given."""
    assert list(Report("r").rounds(12345, time.monotonic() - 1)) == [12345]


def test_status_is_zero_when_all_held(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever selects one row runs that one alone."""
    rows = [Campaign("one", 1, _holds), Campaign("two", 1, _breaks)]

    assert main(["--only", "one", "--minutes", "0"], rows) == 0
    assert "one: 1 rounds; 0 violations" in capsys.readouterr().out


def test_broken_campaign_is_a_violation(capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the campaign itself is told with the seed, and others go on."""
    rows = [Campaign("one", 1, _breaks), Campaign("two", 1, _holds)]

    assert not run_campaigns(rows, 7, 0)
    told = capsys.readouterr().out
    assert "VIOLATION (seed 7): Traceback" in told
    assert "ZeroDivisionError" in told
    assert "two: 1 rounds" in told


def test_skipped_campaign_tells_why(capsys: pytest.CaptureFixture[str]) -> None:
    """What this machine cannot run is no violation, and never silent."""
    assert run_campaigns([Campaign("one", 1, _cannot)], 7, 0)
    assert "one: SKIPPED: no such disk here;" in capsys.readouterr().out


def test_minutes_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`TORTURE_MINUTES` is the budget unless an option says another."""
    monkeypatch.setenv("TORTURE_MINUTES", "0.5")
    assert main(["--seed", "1"], [Campaign("one", 1, _cannot)]) == 0
    assert "torture: seed 1, 0.5 minutes" in capsys.readouterr().out


def test_same_seed_gives_the_same_workload() -> None:
    """Steps and plans are the seed's alone; another seed gives others."""

    def made(seed: int) -> list[object]:
        return [
            list(islice(steps(seed, "0.1"), 200)),
            next(islice(steps(seed, "0.1"), 50, None)).content(),
            power_cuts.plan(seed, "ext4"),
            power_cuts.plan(seed, "xfs"),
            failed_sync.plan(seed),
            full_disk.plan(seed),
        ]

    assert made(5) == made(5)
    assert made(5)[:3] != made(6)[:3]


def test_names_of_campaigns_are_unique() -> None:
    """A name selects one row."""
    names = [campaign.name for campaign in CAMPAIGNS]
    assert sorted(set(names)) == sorted(names)
