"""Reading objects: whole, in part, into buffers and files, piece by piece."""

import gc
import io
import os
import shutil
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.worlds import Told, asynchronous, on_fake

from objstore import (
    BadObjectMetaError,
    ClosedError,
    CorruptionError,
    DigestMismatchError,
    InvalidRangeError,
    LinkIsABucketError,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjectStore,
    Store,
    blocking,
)
from objstore._engine import Capability, Chunk, ReadChunks
from objstore._handles import Session
from objstore._operations_read import SLAB_BYTES

pytestmark = pytest.mark.anyio

DATA = bytes(range(50))
LARGE = bytes(range(256)) * (3 * SLAB_BYTES // 256) + b"tail"


async def test_get_of_missing_object(bucket: ObjectStore) -> None:
    """A name that was never put is not found, which names it."""
    with pytest.raises(ObjectNotFoundError) as caught:
        await bucket.get("missing")

    assert ("b", "missing") == (caught.value.bucket, caught.value.name)
    assert not isinstance(caught.value, ObjectDeletedError)


async def test_get_of_deleted_object(bucket: ObjectStore) -> None:
    """A deleted object says so, and at which sequence."""
    await bucket.put("a", DATA)
    await bucket.delete("a")
    marker = await bucket.get_info("a", show_deleted=True)
    with pytest.raises(ObjectDeletedError) as caught:
        await bucket.get("a")

    assert marker.seq == caught.value.sequence
    assert (True, 0) == (marker.deleted, marker.size)


async def test_get_gives_bytes(bucket: ObjectStore) -> None:
    """Content comes as `bytes`, from one chunk and from several."""
    await bucket.put("one", b"1")
    await bucket.put("several", DATA)

    assert bytes is type(await bucket.get("one"))
    assert bytes is type(await bucket.get("several"))


# --- ranges -----------------------------------------------------------------------


RANGES: list[tuple[dict[str, int], slice]] = [
    ({}, slice(None)),
    ({"start": 3}, slice(3, None)),
    ({"start": 8, "end": 16}, slice(8, 16)),
    ({"start": 7, "end": 9}, slice(7, 9)),
    ({"start": 5, "length": 20}, slice(5, 25)),
    ({"start": 45, "end": 1_000}, slice(45, None)),
    ({"start": 45, "length": 1_000}, slice(45, None)),
    ({"start": -4}, slice(-4, None)),
    ({"start": -10, "length": 3}, slice(-10, -7)),
    ({"start": -1_000}, slice(None)),
    ({"start": 50}, slice(0, 0)),
    ({"start": 10, "end": 10}, slice(0, 0)),
    ({"start": 10, "length": 0}, slice(0, 0)),
]


@pytest.mark.parametrize(("arguments", "expected"), RANGES)
async def test_range_is_slice(
    bucket: ObjectStore, arguments: dict[str, int], expected: slice
) -> None:
    """A range gives what the slice of the content gives."""
    await bucket.put("a", DATA)

    assert DATA[expected] == await bucket.get_range("a", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"start": 51},
        {"start": 10, "end": 9},
        {"start": 10, "length": -1},
        {"start": 60, "end": 70},
        {"start": -1, "end": 3},
    ],
)
async def test_bad_range_is_refused(
    bucket: ObjectStore, arguments: dict[str, int]
) -> None:
    """A range behind the end, or reversed, is refused, with the object's size."""
    await bucket.put("a", DATA)
    with pytest.raises(InvalidRangeError) as caught:
        await bucket.get_range("a", **arguments)

    assert 50 == caught.value.size


async def test_end_and_length_exclude_each_other(bucket: ObjectStore) -> None:
    """Two ends are a mistake in the call."""
    await bucket.put("a", DATA)
    with pytest.raises(TypeError, match="end=3, length=4"):
        await bucket.get_range("a", end=3, length=4)


async def test_wide_range_is_whole(store: Store) -> None:
    """A range over many slabs is complete."""
    bucket = await store.create_object_store(bucket="b", chunk_size=10_007)
    await bucket.put("a", LARGE)

    assert LARGE[5:-5] == await bucket.get_range("a", start=5, end=len(LARGE) - 5)


# --- buffers and files ------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", DATA, LARGE])
async def test_get_into_fills_buffer(store: Store, content: bytes) -> None:
    """The content goes into the buffer's beginning, and its size comes back."""
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", content)
    buffer = bytearray(len(content) + 2)

    assert len(content) == await bucket.get_into("a", buffer)
    assert content + b"\0\0" == buffer


@pytest.mark.parametrize(
    ("buffer", "text"), [(bytearray(49), "49 bytes"), (bytes(50), "read-only")]
)
async def test_get_into_refuses_buffer(
    bucket: ObjectStore, buffer: bytearray, text: str
) -> None:
    """A buffer that is too small or read-only is refused."""
    await bucket.put("a", DATA)
    with pytest.raises(ValueError, match=text):
        await bucket.get_into("a", buffer)


async def test_download_writes_file(store: Store, tmp_path: Path) -> None:
    """A download replaces the file, and leaves nothing beside it."""
    bucket = await store.create_object_store(bucket="b")
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(b"something longer" * 1_000_000)
    told = Told()
    info = await bucket.put("a", LARGE)
    got = await bucket.download("a", path, progress=told)

    assert (info, LARGE) == (got, path.read_bytes())
    assert [path] == list(path.parent.iterdir())
    assert (len(LARGE), len(LARGE)) == told.steps[-1]


async def test_download_onto_link(bucket: ObjectStore, tmp_path: Path) -> None:
    """A download replaces what a link points to, and the link stays."""
    await bucket.put("a", b"new")
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    await bucket.download("a", link)
    assert (link.is_symlink(), target.read_bytes()) == (True, b"new")


async def test_download_onto_pipe(bucket: ObjectStore, tmp_path: Path) -> None:
    """A download replaces no device and no pipe, and says so."""
    await bucket.put("a", b"new")
    pipe = tmp_path / "folder" / "pipe"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match="Not a file"):
        await bucket.download("a", pipe)
    assert [(pipe, True)] == [(path, path.is_fifo()) for path in pipe.parent.iterdir()]


@on_fake
async def test_failed_download_leaves_file(
    store: Store, fake: FakeEngine, tmp_path: Path
) -> None:
    """A download of damaged content leaves the old file and nothing else."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    path = tmp_path / "file"
    path.write_bytes(b"old")
    info = await bucket.put("a", DATA)
    fake.buckets["b"].damaged.add(info.seq - 1)
    with pytest.raises(CorruptionError):
        await bucket.download("a", path)

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


async def test_download_onto_folder(bucket: ObjectStore, tmp_path: Path) -> None:
    """A folder is not replaced by a file."""
    await bucket.put("a", DATA)
    with pytest.raises(IsADirectoryError):
        await bucket.download("a", tmp_path)


# --- damage -----------------------------------------------------------------------


@on_fake
async def test_corruption_names_object(store: Store, fake: FakeEngine) -> None:
    """A damaged chunk is an error with the name of the object; ranges elsewhere go."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    info = await bucket.put("a", DATA)
    fake.buckets["b"].damaged.add(info.seq - 1)
    with pytest.raises(CorruptionError, match="'a'") as caught:
        await bucket.get("a")

    assert "a" == caught.value.facts["name"]
    assert DATA[:8] == await bucket.get_range("a", end=8)


def spoil(fake: FakeEngine, bucket: str, sequence: int) -> None:
    """Change stored bytes in a way that no checksum sees."""
    chunks = fake.buckets[bucket].chunks
    chunk = chunks[sequence]
    chunks[sequence] = Chunk(chunk.nuid, chunk.index, b"\xff" * len(chunk.data))


@on_fake
@pytest.mark.parametrize("content", [DATA, LARGE])
async def test_digest_is_verified(
    store: Store, fake: FakeEngine, content: bytes
) -> None:
    """Other content than was put is an error, unless the caller does not verify."""
    bucket = await store.create_object_store(bucket="b", chunk_size=65_536)
    info = await bucket.put("a", content)
    spoil(fake, "b", info.seq - 1)
    with pytest.raises(DigestMismatchError) as caught:
        await bucket.get("a")

    assert caught.value.stored
    assert content != await bucket.get("a", verify=False)


@on_fake
async def test_reader_verifies_digest(store: Store, fake: FakeEngine) -> None:
    """A reading from beginning to end checks the digest before the last bytes."""
    bucket = await store.create_object_store(bucket="b", chunk_size=65_536)
    info = await bucket.put("a", LARGE)
    spoil(fake, "b", info.seq - 1)
    async with bucket.open_reader("a") as reader:
        read = [await reader.read(1_000_000) for _ in range(2)]
        with pytest.raises(DigestMismatchError):
            await reader.read()

    assert LARGE[:2_000_000] == b"".join(read)


# --- overwritten meanwhile --------------------------------------------------------


@on_fake
@pytest.mark.parametrize("times", [1, 5])
async def test_get_looks_up_again(store: Store, fake: FakeEngine, times: int) -> None:
    """A version that was reclaimed after it was looked up is looked up again."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    await bucket.put("a", DATA)
    writer = blocking.Store(Session(fake)).object_store("b")
    left = times

    def before(op: object) -> None:
        nonlocal left
        if type(op).__name__ in {"ReadChunks", "Pin"} and left:
            left -= 1
            writer.put("a", b"new content %d" % left)
            blocking.Store(Session(fake)).run_retention()

    fake.before = before

    assert b"new content 0" == await bucket.get("a")


async def test_reader_keeps_its_version(store: Store) -> None:
    """A reader reads on after its object was overwritten, deleted and reclaimed."""
    bucket = await store.create_object_store(bucket="b", chunk_size=4_096)
    await bucket.put("a", LARGE)
    async with bucket.open_reader("a") as reader:
        start = await reader.read(10)
        await bucket.put("a", b"new")
        await bucket.delete("a")
        await store.run_retention()
        rest = await reader.read()

    assert LARGE == start + rest
    assert len(LARGE) == reader.info.size


@on_fake
async def test_closed_reader_lets_content_go(store: Store, fake: FakeEngine) -> None:
    """Content that only a reader held is reclaimed after its end."""
    bucket = await store.create_object_store(bucket="b", chunk_size=8)
    await bucket.put("a", DATA)
    reader = await bucket.open_reader("a")
    await bucket.delete("a")
    await store.run_retention()
    held = len(fake.buckets["b"].chunks)
    await reader.aclose()
    await reader.aclose()
    report = await store.run_retention()

    assert (7, 0) == (held, len(fake.buckets["b"].chunks))
    assert (1, 50) == (report.removed, report.bytes_reclaimed)


# --- readers ----------------------------------------------------------------------


async def test_reader_is_a_file(bucket: ObjectStore) -> None:
    """A reader reads, tells and seeks as a file does."""
    await bucket.put("a", DATA)
    file = io.BytesIO(DATA)
    async with bucket.open("a") as reader:
        for offset, whence, size in [(0, 0, 3), (2, 1, 9), (-5, 2, 99), (60, 0, 4)]:
            assert file.seek(offset, whence) == reader.seek(offset, whence)
            assert file.read(size) == await reader.read(size)
            assert file.tell() == reader.tell()
        reader.seek(0)
        assert DATA == await reader.read()
        assert b"" == await reader.read()
        assert (True, True, False) == (
            reader.readable(),
            reader.seekable(),
            reader.writable(),
        )
    assert reader.closed


@pytest.mark.parametrize(("offset", "whence"), [(-1, 0), (-51, 2), (0, 3)])
async def test_reader_refuses_place(
    bucket: ObjectStore, offset: int, whence: int
) -> None:
    """A place before the beginning, and an unknown base, are mistakes."""
    await bucket.put("a", DATA)
    async with bucket.open_reader("a") as reader:
        with pytest.raises(ValueError, match=r"beginning|whence"):
            reader.seek(offset, whence)


async def test_readinto_fills(bucket: ObjectStore) -> None:
    """`readinto` fills a buffer as far as there is content."""
    await bucket.put("a", DATA)
    buffer = bytearray(30)
    async with bucket.open_reader("a") as reader:
        counts = [await reader.readinto(buffer) for _ in range(3)]

    assert [30, 20, 0] == counts
    assert DATA[30:] == buffer[:20]


async def test_reader_iterates_chunks(bucket: ObjectStore) -> None:
    """Iteration gives chunks, the first one from the place on."""
    await bucket.put("a", DATA)
    async with bucket.open_reader("a") as reader:
        await reader.read(3)
        chunks = [chunk async for chunk in reader]

    assert [DATA[3:8], *(DATA[at : at + 8] for at in range(8, 50, 8))] == chunks


@on_fake
@asynchronous
@pytest.mark.parametrize("can_block", [True, False])
async def test_large_content_is_read_and_hashed_in_threads(
    store: Store, fake: FakeEngine, *, can_block: bool
) -> None:
    """The event loop does neither, unless the engine can only be awaited."""
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", LARGE)
    threads: set[int] = set()

    def before(op: object) -> None:
        if isinstance(op, ReadChunks) and op.count > 1:
            threads.add(threading.get_ident())

    fake.before = before
    if not can_block:
        fake.capabilities -= {Capability.SYNCHRONOUS}
    assert LARGE == await bucket.get("a")
    async with bucket.open_reader("a") as reader:
        assert LARGE == b"".join([chunk async for chunk in reader])

    assert (threading.get_ident() in threads) is not can_block


@on_fake
async def test_reader_reads_ahead(store: Store, fake: FakeEngine) -> None:
    """Small reads in a row take one slab at a time, a lone one only its chunk."""
    bucket = await store.create_object_store(bucket="b", chunk_size=1_024)
    await bucket.put("a", LARGE)
    counts: list[int] = []
    fake.before = lambda op: counts.append(getattr(op, "count", 0))
    async with bucket.open_reader("a") as reader:
        for _ in range(300):
            await reader.read(10)
        reader.seek(2_000_000)
        await reader.read(10)

    assert [1, 1_024, 1] == [count for count in counts if count]


async def test_closed_reader_refuses(bucket: ObjectStore) -> None:
    """A reader after its end says that it is closed."""
    await bucket.put("a", DATA)
    reader = await bucket.open_reader("a")
    await reader.aclose()
    with pytest.raises(ClosedError, match="the reader of 'a'"):
        await reader.read()
    with pytest.raises(ClosedError):
        reader.seek(0)


async def test_closed_reader_is_not_entered(bucket: ObjectStore) -> None:
    """A block is not begun with a reader that has ended."""
    await bucket.put("a", DATA)
    reader = await bucket.open_reader("a")
    await reader.aclose()
    with pytest.raises(ClosedError, match="the reader of 'a'"):
        async with reader:
            pass


async def test_reader_takes_whole_numbers(bucket: ObjectStore) -> None:
    """What counts as a number of bytes is what Python can index with."""

    class Three:
        def __index__(self) -> int:
            return 3

    await bucket.put("a", DATA)
    number: Any = Three()
    async with bucket.open_reader("a") as reader:
        assert 3 == reader.seek(number)
        assert DATA[3:6] == await reader.read(number)
        others: list[Any] = [1.5, "1"]
        for other in others:
            with pytest.raises(BadObjectMetaError, match="whole number"):
                reader.seek(other)
            with pytest.raises(BadObjectMetaError, match="whole number"):
                await reader.read(other)
        assert 6 == reader.tell()


def test_reader_is_a_binary_file() -> None:
    """What reads from files reads from a reader: buffers, archives, copies, text."""
    bucket = blocking.Store(Session(FakeEngine())).create_object_store("b")
    bucket.put("a", DATA, chunk_size=7)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as target:
        target.addfile(tarfile.TarInfo("one"))
    bucket.put("tar", archive.getvalue())
    raw: Any = bucket.open_reader("a")
    with io.TextIOWrapper(io.BufferedReader(raw), "latin-1", newline="") as text:
        assert DATA.decode() == text.read()
    dropped: Any = bucket.open_reader("a")
    assert DATA[:3] == io.BufferedReader(dropped).read(3)
    gc.collect()
    copied = io.BytesIO()
    with bucket.open_reader("a") as reader:
        shutil.copyfileobj(reader, copied)
    packed: Any = bucket.open_reader("tar")
    with packed, tarfile.open(fileobj=packed) as source:
        assert ["one"] == source.getnames()

    assert DATA == copied.getvalue()
    assert (True, True) == (raw.closed, dropped.closed)


async def test_reader_of_bucket_link(store: Store, bucket: ObjectStore) -> None:
    """A link to a bucket has no content."""
    await bucket.add_bucket_link("link", "b")
    with pytest.raises(LinkIsABucketError):
        await bucket.open_reader("link")


READS = st.lists(
    st.tuples(st.integers(-5, 70), st.integers(0, 2), st.integers(-1, 60)), max_size=8
)


@given(READS, st.binary(max_size=60), st.integers(1, 20))
def test_reader_equals_file(
    reads: list[tuple[int, int, int]], data: bytes, chunk_size: int
) -> None:
    """Any row of seeks and reads gives what a file gives."""
    bucket = blocking.Store(Session(FakeEngine())).create_object_store("b")
    bucket.put("a", data, chunk_size=chunk_size)
    file = io.BytesIO(data)
    with bucket.open_reader("a") as reader:
        for offset, whence, size in reads:
            base = (0, file.tell(), len(data))[whence]
            place = max(base + offset, 0)
            assert file.seek(place) == reader.seek(place)
            assert file.read(size) == reader.read(size)


@asynchronous
async def test_reader_is_for_one_task(bucket: ObjectStore) -> None:
    """A second reading while one goes on is refused, not mixed."""
    await bucket.put("a", DATA)
    async with bucket.open_reader("a") as reader:
        with reader._guard, pytest.raises(Exception, match="already reading from"):
            await reader.read()
