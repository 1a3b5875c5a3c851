"""Lists of many pages beside changes: what they give was true at one moment."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import objstore
from objstore import _engine as ops
from objstore._embedded import EmbeddedEngine
from objstore._expiry import PAGE_ROWS
from objstore.blocking import ObjectStore, Store
from objstore.errors import BucketNotFoundError

KEPT = [f"k{number:04}" for number in range(2 * PAGE_ROWS + 20)]
"""Three pages of names that nobody touches."""
RENAMES = [("b", "z"), ("z", "b"), ("k0500+", "k1500+"), ("k1500+", "k0500+")]
"""From one page to another, forwards and backwards."""


@pytest.fixture(params=["file", "memory"], scope="module")
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Give a store whose bucket `b` has three pages of names."""
    folder = tmp_path_factory.mktemp("store")
    url = "memory:" if request.param == "memory" else str(folder)
    with objstore.open(url, retention_interval=None) as made:
        bucket = made.create_object_store("b", sync="never", changes_max_bytes=1)
        for name in KEPT:
            bucket.put(name, b"")
        yield made


def listed(bucket: ObjectStore) -> list[str]:
    """Give all names as a list does."""
    return [info.name for info in bucket.list()]


def listed_to_a_limit(bucket: ObjectStore) -> list[str]:
    """Give all names as a list with a limit does."""
    return [info.name for info in bucket.list(limit=3 * PAGE_ROWS)]


def listed_directory(bucket: ObjectStore) -> list[str]:
    """Give all names as a directory does."""
    return [info.name for info in bucket.list_directory().objects]


LISTS: list[Callable[[ObjectStore], list[str]]] = [
    listed,
    listed_to_a_limit,
    listed_directory,
]


def before_operation(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]
) -> None:
    """Have something happen before so many operations of lists have run."""
    run, count = EmbeddedEngine.run, itertools.count()
    watched = ops.Page | ops.Snapshot

    def counted(engine: EmbeddedEngine, op: ops.Op[object]) -> object:
        if isinstance(op, watched) and next(count) == number:
            act()
        return run(engine, op)

    monkeypatch.setattr(EmbeddedEngine, "run", counted)


@pytest.mark.parametrize("read", LISTS)
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("names", RENAMES)
def test_list_beside_a_rename_has_one_of_the_names(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[ObjectStore], list[str]],
    number: int,
    names: tuple[str, str],
) -> None:
    """Whenever it happens, though retention gives back the changes at once."""
    bucket = store.object_store("b")
    old, new = names
    bucket.put(old, b"")

    def rename() -> None:
        bucket.rename(old, new)
        bucket.put("x", b"")
        bucket.delete("x")
        store.run_retention()

    with monkeypatch.context() as beside:
        before_operation(beside, number, rename)
        found = read(bucket)
    bucket.delete(new)

    assert found in (sorted([*KEPT, old]), sorted([*KEPT, new]))
    assert sorted(KEPT) == read(bucket)


@pytest.mark.parametrize("read", LISTS)
def test_list_outlives_a_rebuild_of_the_catalog(
    store: Store, monkeypatch: pytest.MonkeyPatch, read: Callable[..., list[str]]
) -> None:
    """A catalog that is made anew in the middle of a list hides no name."""
    bucket = store.object_store("b")
    engine = store._session.engine
    assert isinstance(engine, EmbeddedEngine)
    log = engine._store.bucket("b").log

    with monkeypatch.context() as beside:
        before_operation(beside, 2, lambda: log.rebuild_catalog("a test asks"))
        names = read(bucket)

    assert sorted(KEPT) == names


@pytest.mark.parametrize("read", LISTS)
@pytest.mark.parametrize("number", [2, 3, 4])
def test_list_goes_on_in_no_other_bucket(
    monkeypatch: pytest.MonkeyPatch, read: Callable[..., list[str]], number: int
) -> None:
    """A bucket that is deleted and made again meanwhile is another one."""
    with objstore.open("memory:", retention_interval=None) as store:
        bucket = store.create_object_store("b")
        for name in KEPT:
            bucket.put(name, b"")

        def make_again() -> None:
            store.delete_object_store("b")
            store.create_object_store("b").put("z", b"")

        with monkeypatch.context() as beside:
            before_operation(beside, number, make_again)
            with suppress(BucketNotFoundError):
                assert sorted(KEPT) == read(bucket)


@pytest.mark.parametrize("read", LISTS)
def test_interrupted_list_gives_its_snapshot_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[..., list[str]]
) -> None:
    """A list that ends by an error holds no file of the catalog open."""
    with objstore.open(tmp_path / "s", retention_interval=None) as store:
        bucket = store.create_object_store("b", sync="never")
        for name in KEPT:
            bucket.put(name, b"")

        def interrupt() -> None:
            raise KeyboardInterrupt

        counts: list[int] = []
        for _ in range(4):
            with monkeypatch.context() as beside:
                before_operation(beside, 3, interrupt)
                with pytest.raises(KeyboardInterrupt):
                    read(bucket)
            counts.append(open_catalogs())

        # SQLite keeps one for the next connection
        assert len(set(counts)) == 1


def open_catalogs() -> int:
    """Count the descriptors of this process that are of a catalog."""
    links = Path("/proc/self/fd").iterdir()
    return sum("catalog" in str(link.readlink()) for link in links if link.is_symlink())
