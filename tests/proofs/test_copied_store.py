"""A store's directory that was copied or moved: its cursors, its names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import objstore
from objstore.blocking import ObjectStore
from objstore.errors import HistoryRewoundError


def put(bucket: ObjectStore, *names: str) -> None:
    """Put a little under each name."""
    for name in names:
        bucket.put(name, name.encode())


def read(bucket: ObjectStore, after: str | None = None) -> tuple[list[str], str]:
    """Give the names that changed behind a cursor, and the cursor at the end."""
    start = {} if after else {"start": "all"}
    names: list[str] = []
    with bucket.watch(after=after, **start) as watch:  # type: ignore[arg-type]
        while True:
            try:
                change = watch.updates(0)
            except TimeoutError:
                break
            if change is not None:
                names.append(change.name)
        assert watch.cursor is not None
        return names, watch.cursor


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Give a store and a copy of its directory."""
    one, two = tmp_path / "one", tmp_path / "two"
    with objstore.open(one) as store:
        put(store.create_object_store("b"), "a", "b")
    shutil.copytree(one, two)
    return one, two


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_cursor_of_a_copy_that_went_another_way_is_refused(
    pair: tuple[Path, Path], count: int
) -> None:
    """Whether the other one is behind it, as far, or ahead: nothing is left out."""
    one, two = pair
    with objstore.open(one) as store:
        put(store.object_store("b"), "c", "d", "e")
        _, cursor = read(store.object_store("b"))
    with objstore.open(two) as store:
        bucket = store.object_store("b")
        put(bucket, *(f"other {number}" for number in range(count)))
        with pytest.raises(HistoryRewoundError):
            read(bucket, cursor)


def test_cursor_from_before_the_copy_goes_on_in_both(pair: tuple[Path, Path]) -> None:
    """Up to there they have one history."""
    with objstore.open(pair[0]) as store:
        _, cursor = read(store.object_store("b"))
    for place, name in zip(pair, ("c", "d"), strict=True):
        with objstore.open(place) as store:
            bucket = store.object_store("b")
            put(bucket, name)
            assert read(bucket, cursor)[0] == [name]


def test_cursor_within_current_values_is_refused_by_another_way(
    pair: tuple[Path, Path],
) -> None:
    """What it goes on with would be the values of the other store."""
    one, two = pair
    for place, names in ((one, "cde"), (two, "fghij")):
        with objstore.open(place) as store:
            put(store.object_store("b"), *names)
    with objstore.open(one) as store, store.object_store("b").watch() as watch:
        for _ in range(3):
            assert next(watch).name
        cursor = watch.cursor
    assert cursor is not None
    with objstore.open(two) as store, pytest.raises(HistoryRewoundError):
        read(store.object_store("b"), cursor)


def test_moved_store_goes_on(pair: tuple[Path, Path]) -> None:
    """Its place is part of nothing."""
    with objstore.open(pair[0]) as store:
        _, cursor = read(store.object_store("b"))
    moved = pair[0].rename(pair[0].parent / "moved")
    with objstore.open(moved, create=False) as store:
        bucket = store.object_store("b")
        put(bucket, "c")
        assert read(bucket, cursor)[0] == ["c"]
        assert [bucket.get(name) for name in "abc"] == [b"a", b"b", b"c"]
        assert store.verify().ok
