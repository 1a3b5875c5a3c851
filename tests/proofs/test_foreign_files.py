"""Files that others put into a store's directory: its own work goes on beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

import objstore
from objstore.blocking import Store
from objstore_log import FileStorage, Storage, Writers


@pytest.mark.parametrize(
    "place",
    [
        "logs/.DS_Store",
        "logs/00000001.old",
        "logs/00000001/.DS_Store",
        "logs/00000001/unfinished-0000000000000012.tmp",
        "logs/00000001/00000001-0000000000000001.seg~",
        "writers/.DS_Store",
    ],
)
def test_foreign_file_is_left_alone(tmp_path: Path, place: str) -> None:
    """Retention, verify and deleting a bucket pass it over, and so does opening."""
    with objstore.open(tmp_path, retention_interval=None) as store:
        bucket = store.object_store("b", create=True)
        bucket.put("large", bytes(100_000))
        bucket.delete("large")
        foreign = tmp_path / place
        foreign.write_bytes(b"not of the store")
        assert store.run_retention().bytes_reclaimed
    with objstore.open(tmp_path, retention_interval=None) as store:
        assert foreign.read_bytes() == b"not of the store"
        assert store.verify().ok
        store.delete_object_store("b")
        assert store.object_store_names() == []


def test_foreign_directory_costs_no_bucket_its_retention(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is left of a deleted bucket is told once, and the others get their turn."""
    store.create_object_store("gone")
    (tmp_path / "store" / "logs" / "00000001" / "directory").mkdir()
    bucket = store.create_object_store("kept")
    bucket.put("large", bytes(100_000))
    bucket.delete("large")
    store.delete_object_store("gone")
    assert store.run_retention().bytes_reclaimed
    store.run_retention()

    assert sum("left of a deleted bucket" in text for text in caplog.messages) == 1


class OvertakenStorage(FileStorage):
    """A directory in which another process removes each file a moment earlier."""

    def remove(self, name: str) -> None:
        super().remove(name)
        super().remove(name)


def test_engines_that_clear_the_same_dead_away_both_open(tmp_path: Path) -> None:
    """One of them finds the file gone that it wanted to remove."""
    storage: Storage = OvertakenStorage(tmp_path)
    (tmp_path / f"{1:016x}").touch()
    Writers(storage, 2).enter()

    assert [f"{2:016x}"] == storage.names()
