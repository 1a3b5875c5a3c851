"""What the tests of logs share: a directory in memory and one on the disk."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from objstore_log._commit_loop import CommitLoop
from objstore_log._file_storage import FileStorage
from objstore_log._memory_storage import MemoryStorage
from objstore_log._storage import Storage


@pytest.fixture(params=["memory", "files"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Give an empty directory, once in memory and once of the operating system."""
    if request.param == "memory":
        return MemoryStorage()
    return FileStorage(tmp_path / "store", create=True)


def _start_nothing(_: CommitLoop) -> None:
    """Leave the idle commit to the test."""


@pytest.fixture
def single_threaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the committer's thread away: calls repeat, logs are left unclosed."""
    monkeypatch.setattr(CommitLoop, "_start_idle_commit", _start_nothing)
    monkeypatch.setattr(logging.getLogger("objstore"), "disabled", True)
