"""Every branch of the code that recovers a log is taken by its tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECOVERY = [
    "_batch",
    "_footer",
    "_head",
    "_head_slot",
    "_marks",
    "_openers",
    "_progress",
    "_recovery",
    "_renewal",
    "_replay",
    "_scan",
    "_seal",
    "_segments",
    "_takeover",
    "_writers",
]
"""What decides, at opening and at every takeover, what of a log counts: its tail, its
damage, its ends, its segments and who else has it."""
TESTS = [
    "tests/log",
    "tests/proofs/test_foreign_files.py",
    "tests/proofs/test_handles.py",
    "tests/proofs/test_lost_heads.py",
    "tests/proofs/test_repair.py",
]


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_every_branch_of_recovery_is_taken(tmp_path: Path) -> None:
    """A branch that no test takes is one that no fault was ever tried on."""
    settings = tmp_path / "coverage.ini"
    included = "\n    ".join(f"*/objstore_log/{name}.py" for name in RECOVERY)
    # nothing is left out, whatever a comment says
    settings.write_text(
        f"[run]\nbranch = true\ndata_file = {tmp_path / 'data'}\n"
        f"include =\n    {included}\n"
        "[report]\nshow_missing = true\nfail_under = 100\nprecision = 2\n"
        "exclude_lines =\n    ^nothing is left out$\n"
    )
    coverage = [sys.executable, "-m", "coverage"]
    chosen = ["-q", "-p", "no:cacheprovider", "-m", "not slow and not torture"]
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "HYPOTHESIS_PROFILE"
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*coverage, arguments[0], f"--rcfile={settings}", *arguments[1:]],
            check=False,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )

    tested = run("run", "-m", "pytest", *chosen, *TESTS)
    assert tested.returncode == 0, tested.stdout[-4_000:]
    measured = run("report")
    assert measured.returncode == 0, measured.stdout
    assert all(f"{name}.py" in measured.stdout for name in RECOVERY)
