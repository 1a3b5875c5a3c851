"""Links to objects and to buckets, chains, loops and dangling ones."""

from typing import Any

import pytest

from objstore import (
    BadObjectMetaError,
    BucketNotFoundError,
    LinkIsABucketError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectNotFoundError,
    ObjectStore,
    Store,
)
from objstore._links import LINK_HOPS_MAX

pytestmark = pytest.mark.anyio


def link_meta(bucket: str, name: str | None, /, **said: Any) -> ObjectMeta:
    """Give the meta that makes a link."""
    return ObjectMeta(options=ObjectMetaOptions(link=ObjectLink(bucket, name)), **said)


async def test_link_is_followed(bucket: ObjectStore) -> None:
    """Content behind a link is that of its target; its info is its own."""
    target = await bucket.put("a", b"content")
    link = await bucket.add_link("link", target)

    assert b"content" == await bucket.get("link")
    assert (ObjectLink("b", "a"), ["b/a"], 0, "") == (
        link.link,
        link.links,
        link.size,
        link.digest,
    )
    assert link == await bucket.get_info("link")
    async with bucket.open_reader("link") as reader:
        assert target == reader.info


@pytest.mark.parametrize("target", ["a", ObjectLink("b", "a")])
async def test_link_by_name(bucket: ObjectStore, target: str | ObjectLink) -> None:
    """A target may be given by its name or its place."""
    await bucket.put("a", b"content")
    await bucket.add_link("link", target)

    assert b"content" == await bucket.get("link")


async def test_link_follows_its_target(bucket: ObjectStore) -> None:
    """A link leads to the current version of its target."""
    await bucket.put("a", b"old")
    await bucket.add_link("link", "a")
    await bucket.put("a", b"new")

    assert b"new" == await bucket.get("link")


async def test_link_into_other_bucket(store: Store, bucket: ObjectStore) -> None:
    """A link may lead into another bucket."""
    other = await store.create_object_store(bucket="other")
    await bucket.add_link("link", await other.put("a", b"content"))

    assert b"content" == await bucket.get("link")


async def test_bucket_link_has_no_content(bucket: ObjectStore) -> None:
    """A link to a whole bucket can be listed and described, not read."""
    link = await bucket.add_bucket_link("link", "b")

    assert (ObjectLink("b"), ["b/"]) == (link.link, link.links)
    assert [link] == await bucket.list()
    for read in (bucket.get("link"), bucket.get_range("link")):
        with pytest.raises(LinkIsABucketError, match="'b'"):
            await read


async def test_link_needs_target(bucket: ObjectStore) -> None:
    """`add_link` makes no link to what does not exist, or is deleted."""
    with pytest.raises(ObjectNotFoundError):
        await bucket.add_link("link", "missing")
    deleted = await bucket.put("a", b"content")
    await bucket.delete("a")
    with pytest.raises(ObjectDeletedError):
        await bucket.add_link("link", deleted)
    with pytest.raises(BucketNotFoundError):
        await bucket.add_bucket_link("link", "missing")

    assert [] == await bucket.list()


async def test_link_does_not_hide_object(bucket: ObjectStore) -> None:
    """The name of an object is not free for a link."""
    await bucket.put("a", b"1")
    await bucket.put("z", b"2")
    with pytest.raises(ObjectAlreadyExists):
        await bucket.add_link("a", "z")
    with pytest.raises(ObjectAlreadyExists):
        await bucket.update_meta("a", link_meta("b", "z"))

    assert b"1" == await bucket.get("a")


async def test_link_takes_deleted_name(bucket: ObjectStore) -> None:
    """The name of a deleted object is free for a link."""
    await bucket.put("a", b"1")
    await bucket.put("z", b"2")
    await bucket.delete("a")
    await bucket.add_link("a", "z")

    assert b"2" == await bucket.get("a")


async def test_link_points_elsewhere(bucket: ObjectStore) -> None:
    """A link may be made again with another target."""
    await bucket.put("a", b"1")
    await bucket.put("z", b"2")
    await bucket.add_link("link", "a")
    await bucket.add_link("link", "z")

    assert b"2" == await bucket.get("link")


async def test_put_replaces_link(bucket: ObjectStore) -> None:
    """A put over a link replaces the link, not its target."""
    await bucket.put("a", b"1")
    await bucket.add_link("link", "a")
    await bucket.put("link", b"2")

    assert (b"1", b"2") == (await bucket.get("a"), await bucket.get("link"))
    assert (await bucket.get_info("link")).link is None


async def test_delete_deletes_link(bucket: ObjectStore) -> None:
    """The deletion of a link leaves its target."""
    await bucket.put("a", b"1")
    await bucket.add_link("link", "a")
    await bucket.delete("link")

    assert ["a"] == [info.name for info in await bucket.list()]


async def test_dangling_link_exists(store: Store, bucket: ObjectStore) -> None:
    """A link whose target went is still there; reading names target and link."""
    other = await store.create_object_store(bucket="other")
    await other.put("a", b"1")
    await bucket.add_link("link", ObjectLink("other", "a"))
    await other.delete("a")
    with pytest.raises(ObjectDeletedError) as caught:
        await bucket.get("link")
    assert ("a", "b/link") == (caught.value.name, caught.value.link)

    await store.delete_object_store("other")
    with pytest.raises(ObjectNotFoundError, match="'b/link'"):
        await bucket.get("link")
    assert await bucket.exists("link")


async def test_chain_is_followed(bucket: ObjectStore) -> None:
    """Links lead through other links, up to a limit."""
    await bucket.put("0", b"content")
    for number in range(LINK_HOPS_MAX + 1):
        await bucket.add_link(str(number + 1), str(number))

    assert b"content" == await bucket.get(str(LINK_HOPS_MAX))
    with pytest.raises(BadObjectMetaError, match=f"more than {LINK_HOPS_MAX} links"):
        await bucket.get(str(LINK_HOPS_MAX + 1))


async def test_loop_is_an_error(bucket: ObjectStore) -> None:
    """Links in a circle end in an error, which says where it began."""
    await bucket.put("a", b"content")
    await bucket.add_link("x", "a")
    await bucket.add_link("y", "x")
    await bucket.add_link("x", "y")
    for read in (bucket.get("x"), bucket.copy("x", "copy")):
        with pytest.raises(BadObjectMetaError, match=r"'b/x' leads.*circle"):
            await read


async def test_link_to_itself_is_refused(bucket: ObjectStore) -> None:
    """A link cannot point to its own name."""
    with pytest.raises(BadObjectMetaError, match="itself"):
        await bucket.add_link("link", "link")
    with pytest.raises(BadObjectMetaError, match="itself"):
        await bucket.update_meta("link", link_meta("b", "link"))


async def test_update_makes_link(bucket: ObjectStore) -> None:
    """`update_meta` with a link on a free name makes it, whether its target exists."""
    link = await bucket.update_meta(
        "link", link_meta("b", "later", name="link", description="d")
    )
    await bucket.put("later", b"content")

    assert ("d", ObjectLink("b", "later")) == (link.description, link.link)
    assert b"content" == await bucket.get("link")


async def test_update_repoints_link(bucket: ObjectStore) -> None:
    """`update_meta` points a link elsewhere, and keeps what it does not say."""
    await bucket.put("a", b"1")
    await bucket.update_meta("link", link_meta("b", "missing", description="d"))
    link = await bucket.update_meta("link", link_meta("b", "a", filename="f"))

    assert ("d", "f") == (link.description, link.filename)
    assert b"1" == await bucket.get("link")


async def test_update_makes_no_link_elsewhere(bucket: ObjectStore) -> None:
    """A link is not made and renamed in one call."""
    with pytest.raises(BadObjectMetaError, match=r"'other'.*'link'"):
        await bucket.update_meta("link", link_meta("b", "a", name="other"))


async def test_link_is_described_and_renamed(bucket: ObjectStore) -> None:
    """What is said about a link changes as for objects, and it can be renamed."""
    await bucket.put("a", b"1")
    await bucket.add_link("link", "a")
    await bucket.update_meta("link", ObjectMeta(description="d"))
    moved = await bucket.rename("link", "moved")

    assert ("moved", "d", ObjectLink("b", "a")) == (
        moved.name,
        moved.description,
        moved.link,
    )
    assert b"1" == await bucket.get("moved")


async def test_copy_follows_link(bucket: ObjectStore) -> None:
    """The copy of a link is a copy of the object behind it."""
    await bucket.put("a", b"1")
    await bucket.add_link("link", "a")
    info = await bucket.copy("link", "z")
    await bucket.delete("a")

    assert info.link is None
    assert b"1" == await bucket.get("z")
