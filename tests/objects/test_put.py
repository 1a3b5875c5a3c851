"""Putting objects, small and large."""

import hashlib
import io
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.fakes.worlds import Told, World, asynchronous

from objstore import (
    BadObjectMetaError,
    DigestMismatchError,
    LimitExceededError,
    ObjectAlreadyExists,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectStore,
    PreconditionFailedError,
    StorageError,
    Store,
)
from objstore._operations_write import LARGE_SLAB_BYTES, SLAB_BYTES

pytestmark = pytest.mark.anyio

LARGE = bytes(range(256)) * (3 * LARGE_SLAB_BYTES // 256) + b"tail"
SIZES = [0, 1, 7, 8, 9, 16, 1_000, SLAB_BYTES, SLAB_BYTES + 1, len(LARGE)]


@pytest.mark.parametrize("size", SIZES)
async def test_put_content_is_got_back(store: Store, size: int) -> None:
    """What was put is what get gives, whatever its size."""
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("name", LARGE[:size])

    assert LARGE[:size] == await bucket.get("name")


@pytest.mark.parametrize("chunk_size", [1, 7, 4_096, 700_000, 1024 * 1024])
async def test_put_cuts_chunks(store: Store, chunk_size: int) -> None:
    """Every chunk has the size that was asked for, and the last one the rest."""
    bucket = await store.create_object_store(bucket="b")
    data = LARGE[: min(len(LARGE), 1_000 * chunk_size + 1)]
    info = await bucket.put("name", data, chunk_size=chunk_size)

    assert -(-len(data) // chunk_size) == info.chunks
    assert data == await bucket.get("name")


async def test_put_gives_info(bucket: ObjectStore) -> None:
    """A put gives the object as it was stored, and get_info gives the same."""
    info = await bucket.put(
        "docs/a.txt",
        b"hello world",
        "A greeting",
        "a.txt",
        {"Author": "Alice"},
        metadata={"team": "sales"},
        content_type="text/plain",
    )

    assert ("docs/a.txt", "b") == (info.name, info.bucket)
    assert (11, 2) == (info.size, info.chunks)
    assert ("A greeting", "a.txt") == (info.description, info.filename)
    assert {"Author": "Alice", "Content-Type": "text/plain"} == info.headers
    assert {"team": "sales"} == info.metadata
    assert hashlib.sha256(b"hello world").hexdigest() == info.digest.removeprefix(
        "SHA-256="
    )
    assert info == await bucket.get_info("docs/a.txt")


async def test_put_replaces(bucket: ObjectStore) -> None:
    """A second put replaces content and meta, and has a greater sequence."""
    first = await bucket.put("a", b"one", "first")
    second = await bucket.put("a", b"second one")

    assert b"second one" == await bucket.get("a")
    assert second.description is None
    assert second.seq > first.seq
    assert second.nuid != first.nuid


async def test_meta_in_third_place_is_meta(bucket: ObjectStore) -> None:
    """An `ObjectMeta` where the description goes is taken as `meta`."""
    options = ObjectMetaOptions(max_chunk_size=4)
    info = await bucket.put("a", b"12345", ObjectMeta(description="d", options=options))

    assert ("d", 2) == (info.description, info.chunks)


async def test_create_refuses_taken_name(bucket: ObjectStore) -> None:
    """With `create` a taken name is an error, and its content stays."""
    await bucket.put("a", b"old")
    with pytest.raises(ObjectAlreadyExists):
        await bucket.put("a", b"new", create=True)

    assert b"old" == await bucket.get("a")


async def test_create_takes_deleted_name(bucket: ObjectStore) -> None:
    """With `create` a deleted name is free."""
    await bucket.put("a", b"old")
    await bucket.delete("a")
    await bucket.put("a", b"new", create=True)

    assert b"new" == await bucket.get("a")


async def test_large_create_refuses_before_reading_all(bucket: ObjectStore) -> None:
    """A large put that cannot succeed does not read its whole source."""
    await bucket.put("a", b"old")
    read = 0

    def pieces() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield bytes(1024 * 1024)

    with pytest.raises(ObjectAlreadyExists):
        await bucket.put("a", pieces(), create=True, chunk_size=65_536)

    assert read < 10


async def test_if_match_accepts_current_sequence(bucket: ObjectStore) -> None:
    """With the current sequence `if_match` lets the put pass."""
    info = await bucket.put("a", b"old")
    await bucket.put("a", b"new", if_match=info.seq)

    assert b"new" == await bucket.get("a")


@pytest.mark.parametrize("size", [3, 3 * SLAB_BYTES])
async def test_if_match_refuses_other_sequence(store: Store, size: int) -> None:
    """With another sequence `if_match` refuses, and the error names both."""
    bucket = await store.create_object_store(bucket="b")
    first = await bucket.put("a", b"old")
    second = await bucket.put("a", b"newer")
    with pytest.raises(PreconditionFailedError) as caught:
        await bucket.put("a", bytes(size), if_match=first.seq)

    assert (first.seq, second.seq) == (caught.value.expected, caught.value.actual)
    assert b"newer" == await bucket.get("a")


async def test_if_match_zero_means_absent(bucket: ObjectStore) -> None:
    """`if_match=0` passes only while there is no object."""
    await bucket.put("a", b"one", if_match=0)
    with pytest.raises(PreconditionFailedError):
        await bucket.put("a", b"two", if_match=0)


@pytest.mark.parametrize("size", [5, 2 * SLAB_BYTES])
async def test_expected_digest_is_checked(store: Store, size: int) -> None:
    """Other content than `expected_digest` says is refused; the old one stays."""
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", b"old")
    data = bytes(size)
    with pytest.raises(DigestMismatchError):
        await bucket.put("a", data, expected_digest="00" * 32)
    assert b"old" == await bucket.get("a")

    await bucket.put("a", data, expected_digest=hashlib.sha256(data).hexdigest())
    assert data == await bucket.get("a")


async def test_progress_is_told_per_slab(store: Store) -> None:
    """Progress grows, knows the total, and ends with all."""
    bucket = await store.create_object_store(bucket="b")
    told = Told()
    await bucket.put("a", LARGE, progress=told)

    assert len(told.steps) > 3
    assert sorted(told.steps) == told.steps
    assert (len(LARGE), len(LARGE)) == told.steps[-1]


# --- sources ----------------------------------------------------------------------

TEXT = b"some content of several chunks"


def _odd_pieces() -> Iterator[bytes]:
    yield from (TEXT[:1], b"", TEXT[1:20], TEXT[20:])


SOURCES: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda _: TEXT,
    "bytearray": lambda _: bytearray(TEXT),
    "memoryview": lambda _: memoryview(TEXT),
    "reversed view": lambda _: memoryview(TEXT[::-1])[::-1],
    "text": lambda _: TEXT.decode(),
    "path": lambda path: path,
    "file": lambda path: path.open("rb"),
    "unbuffered file": lambda path: path.open("rb", buffering=0),
    "BytesIO": lambda _: io.BytesIO(TEXT),
    "generator": lambda _: _odd_pieces(),
    "list": lambda _: [TEXT[:3], TEXT[3:]],
}


@pytest.mark.parametrize("kind", SOURCES)
async def test_source_is_read(bucket: ObjectStore, kind: str, tmp_path: Path) -> None:
    """Every form of content is stored as its bytes."""
    path = tmp_path / "content"
    path.write_bytes(TEXT)
    data = SOURCES[kind](path)
    await bucket.put("a", data)
    if hasattr(data, "close"):
        data.close()

    assert TEXT == await bucket.get("a")


async def test_file_is_read_from_its_place(bucket: ObjectStore) -> None:
    """A file is read from where it stands, and the total is its rest."""
    file = io.BytesIO(TEXT)
    file.seek(5)
    told = Told()
    await bucket.put("a", file, progress=told)

    assert TEXT[5:] == await bucket.get("a")
    assert [(len(TEXT) - 5,) * 2] == told.steps


async def test_large_generator_is_stored(store: Store) -> None:
    """Pieces of odd sizes over many slabs become one content."""
    bucket = await store.create_object_store(bucket="b")
    step = 999_983
    pieces = (LARGE[at : at + step] for at in range(0, len(LARGE), step))
    await bucket.put("a", pieces)

    assert LARGE == await bucket.get("a")


async def _coming() -> AsyncIterator[bytes]:
    for at in range(0, len(TEXT), 4):
        await anyio.sleep(0)
        yield TEXT[at : at + 4]


@asynchronous
async def test_async_iterable_is_stored(bucket: ObjectStore) -> None:
    """An asynchronous iterable is a source."""
    await bucket.put("a", _coming())

    assert TEXT == await bucket.get("a")


@asynchronous
async def test_async_file_is_stored(bucket: ObjectStore, tmp_path: Path) -> None:
    """An asynchronous file is a source."""
    path = tmp_path / "content"
    path.write_bytes(TEXT)
    async with await anyio.open_file(path, "rb") as file:
        await bucket.put("a", file)

    assert TEXT == await bucket.get("a")


@asynchronous
async def test_byte_stream_is_stored(bucket: ObjectStore) -> None:
    """The receiving end of an anyio stream of bytes is a source."""
    sending, receiving = anyio.create_memory_object_stream[bytes](10)
    with sending, receiving:
        for at in range(0, len(TEXT), 4):
            await sending.send(TEXT[at : at + 4])
        sending.close()
        await bucket.put("a", receiving)

    assert TEXT == await bucket.get("a")


async def test_shrinking_file_is_an_error(
    bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that ends before the size that it had is an error, and nothing is put."""
    path = tmp_path / "content"
    path.write_bytes(TEXT)

    def longer(_file: object) -> int:
        return len(TEXT) + 1

    monkeypatch.setattr("objstore._sources._rest_of", longer)
    with pytest.raises(StorageError, match="ended after 30 of 31 bytes"):
        await bucket.put("a", path)

    assert not await bucket.exists("a")


BAD_SOURCES: dict[str, Any] = {
    "a number": 7,
    "none": None,
    "text pieces": ["text"],
    "number pieces": [7],
    "a text file": io.StringIO("text"),
    "a surrogate": "\ud800",
}


@pytest.mark.parametrize("kind", BAD_SOURCES)
async def test_bad_source_is_refused(bucket: ObjectStore, kind: str) -> None:
    """What is not bytes is refused, with the field that is wrong."""
    with pytest.raises(BadObjectMetaError) as caught:
        await bucket.put("a", BAD_SOURCES[kind])

    assert "data" == caught.value.field


async def test_upload_takes_name_and_type(bucket: ObjectStore, tmp_path: Path) -> None:
    """An upload keeps the file's name and guesses its type."""
    path = tmp_path / "report.pdf"
    path.write_bytes(TEXT)
    info = await bucket.upload("a", path)

    assert ("report.pdf", "application/pdf") == (info.filename, info.content_type)
    assert TEXT == await bucket.get("a")


async def test_upload_takes_what_is_given(bucket: ObjectStore, tmp_path: Path) -> None:
    """A given file name and type go before those of the path."""
    path = tmp_path / "report.pdf"
    path.write_bytes(TEXT)
    info = await bucket.upload(
        "a", str(path), filename="b.txt", headers={"content-type": "text/plain"}
    )

    assert ("b.txt", "text/plain") == (info.filename, info.content_type)


async def test_upload_takes_a_path_of_bytes(
    bucket: ObjectStore, tmp_path: Path
) -> None:
    """A path may be bytes, as the system itself has it; so may its name be no text."""
    for name in (b"x.gz", b"\xff.gz"):
        path: Any = os.fsencode(tmp_path) + b"/" + name
        Path(os.fsdecode(path)).write_bytes(b"content")
        info = await bucket.upload("a", path)

        assert (b"content", info.filename) == (
            await bucket.get("a"),
            "x.gz" if name == b"x.gz" else None,
        )


@pytest.mark.parametrize("said", [{"meta": {"a": "b"}}, {"headers": 7}], ids=str)
async def test_upload_checks_what_is_said(
    bucket: ObjectStore, tmp_path: Path, said: dict[str, Any]
) -> None:
    """What an upload finds by itself does not get in the way of its checks."""
    (tmp_path / "file").touch()
    with pytest.raises(BadObjectMetaError):
        await bucket.upload("a", tmp_path / "file", **said)  # type: ignore[arg-type, unused-ignore]


async def test_upload_of_missing_file(bucket: ObjectStore, tmp_path: Path) -> None:
    """A missing file is the system's own error."""
    with pytest.raises(FileNotFoundError):
        await bucket.upload("a", tmp_path / "missing")


# --- limits -----------------------------------------------------------------------


async def test_limit_refuses_small_put(store: Store) -> None:
    """A put beyond `max_bytes` is refused, and the old content stays."""
    bucket = await store.create_object_store(bucket="b", max_bytes=10)
    await bucket.put("a", b"12345")
    with pytest.raises(LimitExceededError):
        await bucket.put("a", b"12345678901")

    assert b"12345" == await bucket.get("a")


async def test_limit_refuses_large_put(store: Store) -> None:
    """A put that passes `max_bytes` in the middle leaves the old content whole."""
    bucket = await store.create_object_store(bucket="b", max_bytes=2 * SLAB_BYTES)
    await bucket.put("a", b"old")
    pieces = (bytes(SLAB_BYTES) for _ in range(8))
    with pytest.raises(LimitExceededError):
        await bucket.put("a", pieces)
    await store.run_retention()

    assert b"old" == await bucket.get("a")
    assert 3 == (await bucket.status()).size


async def test_limit_counts_what_is_replaced(store: Store) -> None:
    """An object may be replaced by one that fits in its place, small or large."""
    bucket = await store.create_object_store(bucket="b", max_bytes=3 * SLAB_BYTES)
    for _ in range(3):
        await bucket.put("a", bytes(3 * SLAB_BYTES))

    assert 3 * SLAB_BYTES == (await bucket.status()).size


async def test_expired_objects_make_room(store: Store, world: World) -> None:
    """What has expired does not count against `max_bytes`."""
    bucket = await store.create_object_store(bucket="b", max_bytes=10)
    await bucket.put("a", b"1234567890", ttl=1)
    world.advance(2)
    await bucket.put("b", b"0987654321")

    assert b"0987654321" == await bucket.get("b")
