"""Backups and restorings that are killed, or run out of space, half-way."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS_MIN = 20


@pytest.mark.parametrize(
    ("work", "stride"),
    [
        ("fill_disk", 1),
        ("kill_backups", 6),
        pytest.param("kill_backups", 1, marks=pytest.mark.slow),
        pytest.param("kill_prunes", 3, marks=pytest.mark.slow),
        pytest.param("kill_restores", 1, marks=pytest.mark.slow),
    ],
)
def test_what_was_there_stays_whole(
    path: Path, target: Path, work: str, stride: int
) -> None:
    """Killed before any change of a name, nothing half-made has a name."""
    places = [str(path), str(target), str(stride)]
    run = subprocess.run(
        [sys.executable, "-m", "tests.backups.kill_worker", work, *places],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert 0 == run.returncode, run.stderr
    assert int(run.stdout) >= (STEPS_MIN if work.startswith("kill") else 1)
