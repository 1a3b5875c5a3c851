"""Files, memory and the crash simulator keep the same contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from objstore_log._file_storage import FileStorage
from objstore_log._memory_storage import MemoryStorage
from objstore_log._storage import Storage
from objstore_log.testing import STORAGE_CHECKS, CrashStorage, check_storage


@pytest.fixture(params=["file", "memory", "crash"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Give an empty storage of each kind."""
    made: dict[str, Callable[[], Storage]] = {
        "file": lambda: FileStorage(tmp_path),
        "memory": MemoryStorage,
        "crash": CrashStorage,
    }
    return made[request.param]()


@pytest.mark.parametrize("check", STORAGE_CHECKS, ids=lambda check: check.__name__)
def test_storage_conforms(check: Callable[[Storage], None], storage: Storage) -> None:
    """Every storage passes every check."""
    check(storage)


def test_conformance_suite_finds_a_storage_that_lies() -> None:
    """A storage that forgets removals fails the suite."""

    class Forgetful(MemoryStorage):
        def remove(self, name: str) -> None:
            pass

    with pytest.raises(AssertionError, match="names after removing"):
        check_storage(Forgetful)


def test_check_storage_runs_every_check() -> None:
    """Each check gets a storage of its own."""
    made: list[Storage] = []

    def make() -> Storage:
        made.append(MemoryStorage())
        return made[-1]

    check_storage(make)
    assert len(made) == len(STORAGE_CHECKS)


def test_database_of_a_file_storage_lies_in_its_directory(tmp_path: Path) -> None:
    """Only files have a database path; the others keep it in memory."""
    assert FileStorage(tmp_path).database_path("c.db") == str(tmp_path / "c.db")
    assert MemoryStorage().database_path("c.db") == ":memory:"
    assert CrashStorage().database_path("c.db") == ":memory:"
