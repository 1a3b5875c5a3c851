"""The harness of `make prove`, with what is installed everywhere: files, SQLite, us."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.prove.campaign import Campaign
from tests.prove.faults import (
    CONTROL,
    Fault,
    Trial,
    bit_flips,
    control,
    full_disk,
    kill,
    power_cut,
)
from tests.prove.judge import Verdict
from tests.prove.peers import BY_NAME
from tests.prove.subject import Subject
from tests.torture.disks import why_not

SEED = 20_263
AGAIN = f"python -m tests.prove --seed {SEED} --minutes 0"


def _sum(trials: Sequence[Trial]) -> Verdict:
    total = Verdict()
    for trial in trials:
        total.add(trial.verdict)
    return total


@pytest.mark.slow
@pytest.mark.parametrize("name", ["objstore", "sqlite-full", "files"])
def test_killed_process_loses_nothing(name: str) -> None:
    """A killed process takes nothing with it that is acknowledged."""
    verdict = _sum(kill(BY_NAME[name], SEED))

    assert verdict.acknowledged > 0, AGAIN
    assert (verdict.lost, verdict.trials_serving) == (0, 1), AGAIN


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sqlite-full", "files"])
def test_nothing_is_lost_without_a_fault(name: str) -> None:
    """The harness itself loses nothing, with more objects than a round has."""
    verdict = _sum(control(BY_NAME[name], SEED))

    assert verdict.objects > 500, AGAIN
    assert (verdict.lost, verdict.trials_serving) == (0, 1), AGAIN


@pytest.mark.slow
def test_flipped_bits_are_named_by_this_store_and_by_no_file() -> None:
    """The harness sees the difference: we name every loss, a file system none."""
    ours = _sum(bit_flips(BY_NAME["objstore"], SEED, 3))
    files = _sum(bit_flips(BY_NAME["files-synced"], SEED, 3))

    assert (ours.silent, ours.lost) == (0, ours.named), AGAIN
    assert (files.silent, files.wrong, files.lost) == (3, 3, 3), AGAIN


@pytest.mark.slow
@pytest.mark.skipif(why_not("ext4") is not None, reason=str(why_not("ext4")))
def test_power_cut_takes_what_was_not_synced() -> None:
    """The cut is a real one: unsynced files are gone, synced objects are not."""
    ours = _sum(power_cut("ext4", BY_NAME["objstore"], SEED))
    files = _sum(power_cut("ext4", BY_NAME["files"], SEED))

    assert (ours.lost, ours.trials_serving) == (0, 1), AGAIN
    assert files.silent > 0, AGAIN


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_full_disk_loses_nothing() -> None:
    """What was acknowledged before, on and after a full disk is there."""
    verdict = _sum(full_disk(BY_NAME["objstore"], SEED))

    assert (verdict.lost, verdict.full_went_on) == (0, 1), AGAIN


def test_broken_trial_is_a_problem_and_no_verdict() -> None:
    """What the harness cannot do is counted apart from what a peer does."""

    def broken(*_: object) -> list[Trial]:
        raise ZeroDivisionError

    peer = BY_NAME["files"]
    campaign = Campaign([(Fault("kill", "Killed", broken), [peer])], SEED)
    campaign.run(0)

    assert (campaign.problems, campaign.rounds) == (1, 1)
    assert campaign.verdicts["kill"]["files"] == Verdict()


def test_loss_without_a_fault_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """A peer that loses although nothing was done to it shows a fault of ours."""

    def careless(*_: object) -> list[Trial]:
        return [Trial(Verdict(trials=1, objects=5, lost=1), "no readers left")]

    peer = BY_NAME["files"]
    campaign = Campaign([(Fault(CONTROL, "No fault", careless), [peer])], SEED)
    campaign.run(0)

    assert campaign.problems == 1
    assert "no readers left" in capsys.readouterr().out


def test_late_acknowledgement_is_unknown(tmp_path: Path) -> None:
    """What a process was told after the power was cut, nobody was told."""
    subject = Subject(BY_NAME["files"], SEED, tmp_path)
    lines = ['["try", "a", "x"]', '["done", 1.0]', '["try", "b", "y"]', '["done", 3.0]']
    subject.account.write_text("\n".join(lines) + "\n")

    assert [act.end for act in subject.acts(2.0)] == ["done", "unknown"]
    assert [act.end for act in subject.acts()] == ["done", "done"]
