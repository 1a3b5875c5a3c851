"""Changes of buckets that fail, and what is acknowledged in the bucket behind them."""

from __future__ import annotations

import errno

import pytest

from objstore.errors import BucketNotFoundError, StorageError
from objstore_log.testing import CrashStorage

from .crash_world import Clock, CrashStore, open_store, simulated


def is_put(store: CrashStore) -> bool:
    """Put an object; say whether its bucket was there."""
    try:
        store.object_store("b").put("x", b"x")
    except BucketNotFoundError:
        return False
    return True


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_put_behind_a_failed_delete_of_its_bucket_is_not_lost(part: float) -> None:
    """What became of the deletion is decided before anything is put there again."""
    disk, clock = CrashStorage(), Clock()
    with simulated():
        store = open_store(disk, clock, seed=1)
        store.create_object_store("b")
        disk.fail("write", written_part=part)
        with pytest.raises(StorageError):
            store.delete_object_store("b")
        assert is_put(store) == (part < 1)
        other = open_store(disk.process(), clock, seed=2)
        assert other.object_store_names() == ["b"] * (part < 1)


def test_put_into_a_bucket_that_could_not_be_taken_back_is_not_lost() -> None:
    """Making it failed, and so did taking it back, which may have come about yet."""
    disk, clock = CrashStorage(), Clock()
    with simulated():
        store = open_store(disk, clock, seed=1)
        disk.fail("write", nth=4, code=errno.EIO, written_part=1.0, sticky=True)
        with pytest.raises(StorageError):
            store.create_object_store("b")
        disk.heal()
        was_put = is_put(store)
        other = open_store(disk.process(), clock, seed=2)
        assert other.object_store_names() == ["b"] * was_put
