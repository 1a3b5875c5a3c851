"""A catalog that cannot be written costs nothing: it is only a cache of the log."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

import objstore
from objstore._embedded import EmbeddedEngine
from objstore.blocking import Store
from objstore_log import Log

NAMES = [f"{number:04}" for number in range(1_500)]
BIG_META = {"X-Long": "x" * 4_000}
"""So that few changes fill what room there is."""


def log_of(store: Store) -> Log:
    """Give the log of the bucket `b`."""
    engine = store._session.engine
    assert isinstance(engine, EmbeddedEngine)
    return engine._store.bucket("b").log


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Store]:
    """Give a store whose catalog is as large as its disk lets it be."""
    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        bucket = store.create_object_store("b", sync="never")
        bucket.put("first", b"1")
        bucket.list()
        db = log_of(store).catalog._file.writer.opened()
        db.execute("PRAGMA max_page_count = 1")
        for name in NAMES:
            bucket.put(name, b"x" * 10, headers=BIG_META)
        yield store


def test_everything_is_read_and_written(full: Store) -> None:
    """Puts, gets, lists of one page and of many, and changes of names go on."""
    bucket = full.object_store("b")
    bucket.rename("0000", "renamed")
    bucket.delete("0001")
    names = sorted([*NAMES[2:], "first", "renamed"])

    assert bucket.get("renamed") == b"x" * 10
    assert names == [info.name for info in bucket.list()]
    assert names[:10] == [info.name for info in bucket.list(limit=10)]
    assert names == [info.name for info in bucket.list_directory().objects]


def test_store_closes_and_has_everything_when_it_opens_again(
    full: Store, tmp_path: Path
) -> None:
    """The log alone is enough."""
    full.close()
    with objstore.open(tmp_path / "store", retention_interval=None) as again:
        bucket = again.object_store("b")
        assert sorted([*NAMES, "first"]) == [info.name for info in bucket.list()]
        assert bucket.status().count == len(NAMES) + 1


def test_catalog_catches_up_once_there_is_room(full: Store) -> None:
    """Nobody has to open the store again."""
    db = log_of(full).catalog._file.writer.opened()
    db.execute("PRAGMA max_page_count = 1000000")

    assert full.object_store("b").status().count == len(NAMES) + 1


# --- the first opening of a place ---------------------------------------------------


def test_place_where_a_store_was_being_made_is_opened(tmp_path: Path) -> None:
    """A process that is killed while it makes the store leaves a temporary file."""
    (tmp_path / "STORE.tmp").write_bytes(b"half")
    (tmp_path / "STORE.lock").touch()
    with objstore.open(tmp_path) as store:
        store.create_object_store("b").put("a", b"1")
    with objstore.open(tmp_path) as store:
        assert store.object_store("b").get("a") == b"1"


def _put_into_new_store(path: str, name: str) -> None:
    with objstore.open(path, retention_interval=None) as store:
        store.create_object_store("b").put(name, name.encode())


def test_processes_make_one_store_together(tmp_path: Path) -> None:
    """However many open a new place at once, they meet in one store."""
    spawn = multiprocessing.get_context("spawn")
    for turn in range(3):
        path = str(tmp_path / f"{turn}")
        workers = [
            spawn.Process(target=_put_into_new_store, args=(path, str(number)))
            for number in range(6)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        assert [worker.exitcode for worker in workers] == [0] * 6
        with objstore.open(path) as store:
            names = [info.name for info in store.object_store("b").list()]
        assert names == [str(number) for number in range(6)]
