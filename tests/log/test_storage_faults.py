"""The crash simulator: calls that fail once or until the disk is healed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from objstore_log.testing import CrashStorage
from objstore_log.testing.crash_trace import FaultKind


@pytest.fixture
def storage() -> CrashStorage:
    """Give an empty disk."""
    return CrashStorage()


def test_failed_write_leaves_the_stated_part(storage: CrashStorage) -> None:
    """A short write ends in an error with half of the bytes written."""
    file = storage.open("a", create=True)
    storage.fail("write", nth=2, code=errno.ENOSPC, written_part=0.5)
    file.write_at(0, [b"fine"])
    with pytest.raises(OSError, match="No space left"):
        file.write_at(4, [b"ab", b"cd"])
    assert file.read_at(0, 9) == b"fineab"
    file.write_at(4, [b"back"])
    assert file.read_at(0, 9) == b"fineback"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("open", errno.EMFILE),
        ("create", errno.ENOSPC),
        ("read", errno.EIO),
        ("write", errno.EDQUOT),
        ("sync", errno.EIO),
        ("punch", errno.EIO),
        ("replace", errno.EIO),
        ("remove", errno.EIO),
        ("sync_directory", errno.EIO),
    ],
)
def test_sticky_fault_lasts_until_healed(
    storage: CrashStorage, kind: FaultKind, code: int
) -> None:
    """Every kind of call can fail, once or until the disk is healed."""
    storage.open("a", create=True).write_at(0, [b"x"])
    file = storage.open("a")
    calls: dict[FaultKind, Callable[[], object]] = {
        "open": lambda: storage.open("a"),
        "create": lambda: storage.open("n", create=True),
        "read": lambda: file.read_at(0, 1),
        "write": lambda: file.write_at(0, [b"y"]),
        "sync": file.sync,
        "punch": lambda: file.punch(0, 1),
        "replace": lambda: storage.replace("a", "b"),
        "remove": lambda: storage.remove("a"),
        "sync_directory": storage.sync_directory,
    }
    storage.fail(kind, code=code, sticky=True)
    for _ in range(2):
        with pytest.raises(OSError, match=os.strerror(code)):
            calls[kind]()
    assert storage.names() == ["a"]
    storage.heal()
    calls[kind]()


def test_fault_hits_the_nth_call_only(storage: CrashStorage) -> None:
    """A fault that is not sticky passes."""
    storage.fail("create", nth=2)
    storage.open("a", create=True)
    with pytest.raises(OSError, match="Input/output error"):
        storage.open("b", create=True)
    storage.open("c", create=True)
    assert storage.names() == ["a", "c"]


def test_disk_without_holes_says_so(storage: CrashStorage) -> None:
    """A punch that fails as unsupported is `False`, as on such a file system."""
    storage.open("a", create=True).write_at(0, [b"x"])
    storage.fail("punch", code=errno.EOPNOTSUPP, sticky=True)
    assert not storage.open("a").punch(0, 1)
