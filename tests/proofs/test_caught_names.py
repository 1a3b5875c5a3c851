"""What a store on real files asks of the system before it says that a put is done.

The simulated disk proves the order of the calls; this proves that each of them reaches
the system, for the bytes and for every name above them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore import blocking
from objstore.blocking import Store
from objstore.errors import StorageError


class Spy:
    """Notes what each sync of the system covers at its moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes: dict[int, int] = {}
        """Synced length of files, by inode."""
        self.names: dict[int, set[str]] = {}
        """Synced names of directories, by inode."""
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._noting(getattr(os, name)))

    def _noting(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def noting(descriptor: int) -> None:
            found = os.fstat(descriptor)
            sync(descriptor)
            if stat.S_ISDIR(found.st_mode):
                self.names[found.st_ino] = set(os.listdir(descriptor))
            else:
                self.bytes[found.st_ino] = found.st_size

        return noting

    def has_name(self, path: Path) -> bool:
        """Say whether a name would survive a power cut now."""
        return path.name in self.names.get(path.parent.stat().st_ino, set())

    def has_bytes(self, path: Path, content: bytes) -> bool:
        """Say whether the bytes of a file would survive a power cut now."""
        end = path.read_bytes().index(content) + len(content)
        return end <= self.bytes.get(path.stat().st_ino, 0)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """Watch the system's syncs."""
    return Spy(monkeypatch)


def new_store(path: Path) -> Store:
    """Make a store below directories that are missing."""
    return blocking.open(path / "new" / "deep" / "store")


def test_put_has_synced_its_bytes_when_it_returns(spy: Spy, tmp_path: Path) -> None:
    """The file that holds the content was synced behind it."""
    with new_store(tmp_path) as store:
        store.create_object_store("b").put("a", b"the content of a")
        (segment,) = (tmp_path / "new/deep/store/logs/00000001").glob("*.seg")
        assert spy.has_bytes(segment, b"the content of a")


@pytest.mark.parametrize("made", ["", "new", "new/deep/store"])
def test_put_has_synced_every_name_above_its_bytes(
    spy: Spy, tmp_path: Path, made: str
) -> None:
    """Also those of directories whose maker may have been killed before its sync."""
    (tmp_path / made).mkdir(parents=True, exist_ok=True)
    with new_store(tmp_path) as store:
        store.create_object_store("b").put("a", b"the content of a")
        root = tmp_path / "new/deep/store"
        (segment,) = (root / "logs/00000001").glob("*.seg")
        (registry,) = (root / "logs/00000000").glob("*.seg")
        places = [segment, *segment.parents, registry, registry.parent]
        needed = {place for place in places if place.is_relative_to(tmp_path)}
        needed = (needed | {root / "STORE"}) - {tmp_path}
        assert [place for place in sorted(needed) if not spy.has_name(place)] == []


def test_directory_whose_sync_is_refused_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next sync would be a success, and its name still not on the disk."""
    place = tmp_path / "new"

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, f"no sync of {descriptor}")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match="no sync"):
            blocking.open(place)
    assert not place.exists()
    blocking.open(place).close()
    assert place.exists()


def test_download_has_its_bytes_before_its_name(spy: Spy, tmp_path: Path) -> None:
    """A power cut never leaves the name with an empty file behind it."""
    with blocking.open(tmp_path / "store") as store:
        bucket = store.create_object_store("b")
        bucket.put("a", b"the content of a")
        bucket.download("a", tmp_path / "file")
        assert spy.has_bytes(tmp_path / "file", b"the content of a")
        assert spy.has_name(tmp_path / "file")
