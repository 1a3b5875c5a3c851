"""Delete, update_meta, rename and copy."""

from datetime import timedelta

import pytest
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.worlds import on_fake

from objstore import (
    BadObjectMetaError,
    BucketNotFoundError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    Store,
)
from objstore._operations_write import SLAB_BYTES

pytestmark = pytest.mark.anyio

DATA = b"some content of several chunks"


# --- delete -----------------------------------------------------------------------


async def test_delete_hides_object(bucket: ObjectStore) -> None:
    """A deleted object is gone from reads and lists."""
    await bucket.put("a", DATA)

    assert await bucket.delete("a")
    assert not await bucket.exists("a")
    assert [] == await bucket.list()


async def test_delete_of_missing_object(bucket: ObjectStore) -> None:
    """There is nothing to delete: an error, or `False` where that is fine."""
    with pytest.raises(ObjectNotFoundError):
        await bucket.delete("a")

    assert not await bucket.delete("a", missing_ok=True)


async def test_delete_of_deleted_object(bucket: ObjectStore) -> None:
    """A second delete finds nothing."""
    await bucket.put("a", DATA)
    await bucket.delete("a")
    with pytest.raises(ObjectNotFoundError):
        await bucket.delete("a")

    assert not await bucket.delete("a", missing_ok=True)


async def test_delete_checks_sequence(bucket: ObjectStore) -> None:
    """`if_match` protects a newer version."""
    first = await bucket.put("a", DATA)
    second = await bucket.put("a", DATA)
    with pytest.raises(PreconditionFailedError):
        await bucket.delete("a", if_match=first.seq)

    assert await bucket.delete("a", if_match=second.seq)


# --- update_meta ------------------------------------------------------------------


async def test_update_keeps_what_is_not_said(bucket: ObjectStore) -> None:
    """Fields of `None` stay, empty ones are cleared, content stays."""
    before = await bucket.put("a", DATA, "old", headers={"K": "v"}, filename="f")
    after = await bucket.update_meta("a", ObjectMeta(description="new", filename=""))

    assert ("new", {"K": "v"}, None) == (
        after.description,
        after.headers,
        after.filename,
    )
    assert (before.digest, before.nuid, before.chunks) == (
        after.digest,
        after.nuid,
        after.chunks,
    )
    assert after.seq > before.seq
    assert DATA == await bucket.get("a")


@pytest.mark.parametrize("gone", [False, True])
async def test_update_of_missing_object(bucket: ObjectStore, gone: bool) -> None:
    """A missing or deleted object cannot be described."""
    if gone:
        await bucket.put("a", DATA)
        await bucket.delete("a")
    expected = ObjectDeletedError if gone else ObjectNotFoundError
    with pytest.raises(expected):
        await bucket.update_meta("a", ObjectMeta(description="d"))


async def test_update_renames(bucket: ObjectStore) -> None:
    """Another name in the meta renames, with the other fields changed too."""
    await bucket.put("a", DATA, "old", metadata={"k": "v"})
    info = await bucket.update_meta("a", ObjectMeta(name="z", description="new"))

    assert ("z", "new", {"k": "v"}) == (info.name, info.description, info.metadata)
    assert ["z"] == [info.name for info in await bucket.list()]
    assert DATA == await bucket.get("z")


async def test_update_does_not_overwrite(bucket: ObjectStore) -> None:
    """A taken name stops the renaming; both objects stay."""
    await bucket.put("a", b"1")
    await bucket.put("z", b"2")
    with pytest.raises(ObjectAlreadyExists):
        await bucket.update_meta("a", ObjectMeta(name="z"))

    assert (b"1", b"2") == (await bucket.get("a"), await bucket.get("z"))


async def test_update_checks_meta(bucket: ObjectStore) -> None:
    """A meta that is not allowed is refused, and named."""
    await bucket.put("a", DATA)
    with pytest.raises(BadObjectMetaError, match="object name"):
        await bucket.update_meta("a", ObjectMeta(name=""))
    with pytest.raises(BadObjectMetaError, match="meta"):
        await bucket.update_meta("a", {"description": "d"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- rename -----------------------------------------------------------------------


async def test_rename_moves(bucket: ObjectStore) -> None:
    """A rename keeps all but the name; the old name is deleted."""
    before = await bucket.put("a", DATA, "d")
    after = await bucket.rename("a", "z")

    assert ("z", "d", before.digest) == (after.name, after.description, after.digest)
    assert DATA == await bucket.get("z")
    with pytest.raises(ObjectDeletedError):
        await bucket.get("a")


@pytest.mark.parametrize("overwrite", [False, True])
async def test_rename_onto_object(bucket: ObjectStore, overwrite: bool) -> None:
    """A taken name is replaced only when that was asked for."""
    await bucket.put("a", b"new")
    await bucket.put("z", b"old")
    if overwrite:
        await bucket.rename("a", "z", overwrite=True)
        assert b"new" == await bucket.get("z")
        assert 3 == (await bucket.status()).size
    else:
        with pytest.raises(ObjectAlreadyExists):
            await bucket.rename("a", "z")
        assert b"old" == await bucket.get("z")


async def test_rename_onto_deleted_name(bucket: ObjectStore) -> None:
    """A deleted name is free."""
    await bucket.put("z", b"old")
    await bucket.delete("z")
    await bucket.put("a", b"new")
    await bucket.rename("a", "z")

    assert b"new" == await bucket.get("z")


async def test_rename_to_itself_changes_nothing(bucket: ObjectStore) -> None:
    """The same name again is fine, and no change."""
    info = await bucket.put("a", DATA)

    assert info == await bucket.rename("a", "a")


async def test_rename_of_missing_object(bucket: ObjectStore) -> None:
    """What is not there cannot be renamed, also onto itself."""
    for new_name in ("a", "z"):
        with pytest.raises(ObjectNotFoundError):
            await bucket.rename("a", new_name)


@on_fake
async def test_renamed_content_is_kept(store: Store, fake: FakeEngine) -> None:
    """Content that was renamed and copied is reclaimed with its last name."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    await bucket.put("a", DATA)
    await bucket.rename("a", "z")
    await bucket.copy("z", "y")
    await bucket.delete("z")
    await store.run_retention()
    assert DATA == await bucket.get("y")

    await bucket.delete("y")
    await store.run_retention()
    assert {} == fake.buckets["b"].chunks


# --- copy -------------------------------------------------------------------------


@on_fake
async def test_copy_shares_content(store: Store, fake: FakeEngine) -> None:
    """A copy in the same bucket appends no chunk, and counts as content."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    await bucket.put("a", DATA, "d", headers={"K": "v"})
    count = len(fake.buckets["b"].chunks)
    info = await bucket.copy("a", "z")

    assert ("z", "d", {"K": "v"}) == (info.name, info.description, info.headers)
    assert (DATA, DATA) == (await bucket.get("a"), await bucket.get("z"))
    assert count == len(fake.buckets["b"].chunks)
    assert 2 * len(DATA) == (await bucket.status()).size


async def test_copy_overwrites_unless_told(bucket: ObjectStore) -> None:
    """A copy replaces what is there, unless `overwrite=False`."""
    await bucket.put("a", b"new")
    await bucket.put("z", b"old")
    with pytest.raises(ObjectAlreadyExists):
        await bucket.copy("a", "z", overwrite=False)
    assert b"old" == await bucket.get("z")

    await bucket.copy("a", "z")
    assert b"new" == await bucket.get("z")


async def test_copy_onto_itself(bucket: ObjectStore) -> None:
    """A copy onto its own name is a new version with the same content."""
    before = await bucket.put("a", DATA)
    after = await bucket.copy("a", "a")

    assert after.seq > before.seq
    assert DATA == await bucket.get("a")


@pytest.mark.parametrize("size", [0, 30, 3 * SLAB_BYTES + 5])
async def test_copy_to_other_bucket(store: Store, size: int) -> None:
    """Content and meta go to another bucket, whose own they are then."""
    data = bytes(range(256)) * (size // 256 + 1)
    bucket = await store.create_object_store(bucket="b", chunk_size=10_007)
    other = await store.create_object_store(bucket="other", ttl=timedelta(hours=1))
    before = await bucket.put("a", data[:size], "d", filename="f")
    after = await bucket.copy("a", "z", bucket="other")
    await store.delete_object_store("b")

    assert ("other", "z", "d", "f") == (
        after.bucket,
        after.name,
        after.description,
        after.filename,
    )
    assert before.digest == after.digest
    assert after.expires is not None
    assert data[:size] == await other.get("z")


@pytest.mark.parametrize(
    ("ttl", "source_ttl", "target_ttl", "expected"),
    [
        (100, None, None, 100),
        (100, 50, 20, 100),
        (0, 50, 20, None),
        (None, 50, 20, 20),
        (None, 50, None, None),
        (None, None, 20, 20),
        (None, 50, 50, 50),
        (0, 50, 50, None),
    ],
)
async def test_copy_to_other_bucket_keeps_its_own_ttl(
    store: Store,
    ttl: int | None,
    source_ttl: int | None,
    target_ttl: int | None,
    expected: int | None,
) -> None:
    """A TTL of the object begins anew in the copy; one of its bucket does not travel.

    Between buckets of equal settings it is as inside one.
    """
    source = await store.create_object_store(bucket="b", ttl=source_ttl)
    await store.create_object_store(bucket="other", ttl=target_ttl)
    await source.put("a", DATA, ttl=ttl)
    copies = [await source.copy("a", "copy", bucket="other")]
    if source_ttl == target_ttl:
        copies.append(await source.copy("a", "copy"))

    for copy in copies:
        age = copy.expires and copy.expires - copy.mtime
        assert (None if expected is None else timedelta(seconds=expected)) == age


async def test_copy_to_other_bucket_respects_overwrite(store: Store) -> None:
    """`overwrite=False` protects names of another bucket, too."""
    bucket = await store.create_object_store(bucket="b")
    other = await store.create_object_store(bucket="other")
    await bucket.put("a", b"new")
    await other.put("a", b"old")
    with pytest.raises(ObjectAlreadyExists):
        await bucket.copy("a", "a", bucket="other", overwrite=False)

    assert b"old" == await other.get("a")


async def test_copy_of_missing_object(bucket: ObjectStore) -> None:
    """What is not there cannot be copied."""
    with pytest.raises(ObjectNotFoundError):
        await bucket.copy("a", "z")


async def test_copy_to_missing_bucket(bucket: ObjectStore) -> None:
    """A bucket that is not there takes no copy."""
    await bucket.put("a", DATA)
    with pytest.raises(BucketNotFoundError):
        await bucket.copy("a", "z", bucket="missing")


# --- limits -----------------------------------------------------------------------


async def test_updates_do_not_pass_the_limit_of_text(bucket: ObjectStore) -> None:
    """Text that is small call by call stays within the limit of one object."""
    await bucket.put("a", DATA, description="d" * 60_000)
    await bucket.add_link("l", "a")
    options = ObjectMetaOptions(link=ObjectLink("b", "a"))
    await bucket.update_meta("l", ObjectMeta(description="d" * 60_000))
    for name, update in {
        "a": ObjectMeta(name="c", metadata={"k": "x" * 60_000}),
        "l": ObjectMeta(options=options, headers={"k": "x" * 60_000}),
    }.items():
        with pytest.raises(BadObjectMetaError, match=r"leaves 120,001 bytes of text"):
            await bucket.update_meta(name, update)

    assert ["a", "l"] == [info.name for info in await bucket.list()]
