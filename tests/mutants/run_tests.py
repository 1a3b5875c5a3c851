"""Runs tests in a copy of the tree and writes down which of them failed.

Usage, with the copy as the working directory and its packages in PYTHONPATH:
python -m tests.mutants.run_tests RESULT SEED TEST_ID...
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ("objstore", "objstore_log", "objstore_watch", "objstore_command")
TEST_TIMEOUT_S = 60


class Outcomes:
    """A plugin that notes what became of each test."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.passed: list[str] = []

    def pytest_collection(self) -> None:
        """Refuse to test what is installed instead of what is patched."""
        for name in PACKAGES:
            place = Path(str(import_module(name).__file__))
            if not place.is_relative_to(Path.cwd()):
                raise pytest.UsageError(f"{name} was imported from {place}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that failed in any of its phases, or passed."""
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.append(report.nodeid)


def main(result: str, seed: str, *tests: str) -> None:
    """Run tests and write their outcomes as JSON."""
    outcomes = Outcomes()
    options = [
        "--quiet",
        "--tb=short",
        "--override-ini=addopts=--import-mode=importlib",
        "-pno:cacheprovider",
        f"--timeout={TEST_TIMEOUT_S}",
        f"--hypothesis-seed={seed}",
    ]
    status = pytest.main([*options, *tests], plugins=[outcomes])
    Path(result).write_text(
        json.dumps(
            {
                "status": int(status),
                "failed": outcomes.failed,
                "passed": outcomes.passed,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
