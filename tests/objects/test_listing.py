"""Listing: by prefix, in pages, by directory."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.fake_engine import FakeEngine

from objstore import BadObjectMetaError, ObjectStore, Store, blocking
from objstore._expiry import PAGE_ROWS
from objstore._handles import Session

pytestmark = pytest.mark.anyio

NAMES = ["a", "a/1", "a/2", "a/b/1", "b/1", "c", "ä", "\uffff", "\U00010000"]


async def fill(bucket: ObjectStore, names: Sequence[str]) -> None:
    """Put an object under each name, in an order that is not theirs."""
    for name in reversed(names):
        await bucket.put(name, name.encode())


async def test_empty_bucket_lists_nothing(bucket: ObjectStore) -> None:
    """An empty bucket gives an empty list."""
    listing = await bucket.list_directory()

    assert [] == await bucket.list()
    assert ([], [], None) == (
        listing.objects,
        listing.prefixes,
        listing.next_start_after,
    )


async def test_names_come_in_order_of_bytes(bucket: ObjectStore) -> None:
    """Names are ordered as their UTF-8 is."""
    await fill(bucket, NAMES)

    assert NAMES == [info.name for info in await bucket.list()]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("a", 4), ("a/", 3), ("a/b/1", 1), ("z", 0), ("ä", 1)],
)
async def test_prefix_selects(bucket: ObjectStore, prefix: str, expected: int) -> None:
    """A prefix selects the names that begin with it."""
    await fill(bucket, NAMES)
    found = [info.name for info in await bucket.list(prefix)]

    assert [name for name in NAMES if name.startswith(prefix)] == found
    assert expected == len(found)


async def test_list_in_pages(bucket: ObjectStore) -> None:
    """Pages that start after each other's last name give all names once."""
    await fill(bucket, NAMES)
    found: list[str] = []
    place = None
    while page := await bucket.list(limit=2, start_after=place):
        found += [info.name for info in page]
        place = found[-1]

    assert NAMES == found
    assert [] == await bucket.list(limit=0)


async def test_deleted_are_shown_when_asked(bucket: ObjectStore) -> None:
    """Deleted objects are listed only when that was asked for."""
    await fill(bucket, ["a", "b", "c"])
    await bucket.delete("b")
    shown = await bucket.list(show_deleted=True)

    assert ["a", "c"] == [info.name for info in await bucket.list()]
    assert [False, True, False] == [info.deleted for info in shown]
    assert ["a", "c"] == [info.name for info in await bucket.list(limit=2)]


async def test_iterate_goes_through_pages(store: Store) -> None:
    """Iteration gives every object, over pages with deleted ones in between."""
    bucket = await store.create_object_store(bucket="b")
    names = [f"{number:06}" for number in range(2 * PAGE_ROWS + 1)]
    await fill(bucket, names)
    for name in names[10 : PAGE_ROWS + 10]:
        await bucket.delete(name)
    kept = names[:10] + names[PAGE_ROWS + 10 :]

    assert kept == [info.name async for info in bucket.iterate()]
    assert kept == [info.name for info in await bucket.list()]
    assert names[-1:] == [
        info.name async for info in bucket.iterate(start_after=names[-2])
    ]


async def test_bad_arguments_are_refused(bucket: ObjectStore) -> None:
    """A limit below 0, text without UTF-8 and an empty delimiter are refused."""
    for call, field in (
        (bucket.list(limit=-1), "limit"),
        (bucket.list("\ud800"), "prefix"),
        (bucket.list(start_after="\ud800"), "start_after"),
        (bucket.list_directory(delimiter=""), "delimiter"),
    ):
        with pytest.raises(BadObjectMetaError) as caught:
            await call
        assert field == caught.value.field


async def test_directory_gives_objects_and_prefixes(bucket: ObjectStore) -> None:
    """A directory has what is right in it."""
    await fill(bucket, NAMES)
    top = await bucket.list_directory()
    inner = await bucket.list_directory("a/")

    assert ["a", "c", "ä", "\uffff", "\U00010000"] == [i.name for i in top.objects]
    assert ["a/", "b/"] == top.prefixes
    assert (["a/1", "a/2"], ["a/b/"]) == (
        [info.name for info in inner.objects],
        inner.prefixes,
    )


async def test_object_that_is_called_like_a_directory_is_in_it(
    bucket: ObjectStore,
) -> None:
    """Who walks down finds it, and comes to an end."""
    await fill(bucket, ["a/", "a/b", "a//", "/"])
    top = await bucket.list_directory()
    inner = await bucket.list_directory("a/")
    root = await bucket.list_directory("/")

    assert (["/", "a/"], []) == (top.prefixes, top.objects)
    assert (["a/", "a/b"], ["a//"]) == (
        [info.name for info in inner.objects],
        inner.prefixes,
    )
    assert (["/"], []) == ([info.name for info in root.objects], root.prefixes)


async def test_directory_of_deleted_objects_is_gone(bucket: ObjectStore) -> None:
    """A directory is there as long as an object is in it."""
    await fill(bucket, ["a/1", "a/2"])
    await bucket.delete("a/1")
    assert ["a/"] == (await bucket.list_directory()).prefixes

    await bucket.delete("a/2")
    assert [] == (await bucket.list_directory()).prefixes


async def test_large_directory_is_skipped(store: Store) -> None:
    """What follows a directory of several pages is found behind it."""
    bucket = await store.create_object_store(bucket="b")
    names = [f"a/{number:06}" for number in range(PAGE_ROWS + 10)]
    await fill(bucket, [*names, "a/\U0010ffff\U0010ffff", "a0", "b"])
    listing = await bucket.list_directory()

    assert (["a/"], ["a0", "b"]) == (
        listing.prefixes,
        [info.name for info in listing.objects],
    )


PIECES = st.lists(
    st.sampled_from(["a", "b", "/", "//", "0", "-", "\U0010ffff"]),
    min_size=1,
    max_size=5,
).map("".join)


@given(
    st.sets(PIECES, max_size=12),
    st.sampled_from(["", "a", "a/", "/"]),
    st.integers(1, 4),
)
def test_directory_pages_equal_model(names: set[str], prefix: str, limit: int) -> None:
    """Pages of a directory give each entry once, in order, at any page size."""
    bucket = blocking.Store(Session(FakeEngine())).create_object_store("b")
    for name in names:
        bucket.put(name, b"")
    objects: set[str] = set()
    prefixes: set[str] = set()
    for name in names:
        if name.startswith(prefix):
            head, delimiter, _ = name[len(prefix) :].partition("/")
            (prefixes if delimiter else objects).add(prefix + head + delimiter)
    found: list[str] = []
    place: str | None = None
    while True:
        page = bucket.list_directory(prefix, start_after=place, limit=limit)
        entries = [info.name for info in page.objects] + page.prefixes
        assert objects.issuperset(info.name for info in page.objects)
        assert prefixes.issuperset(page.prefixes)
        assert len(entries) <= limit
        found += sorted(entries, key=str.encode)
        place = page.next_start_after
        if place is None:
            break

    assert sorted(objects | prefixes, key=str.encode) == found
