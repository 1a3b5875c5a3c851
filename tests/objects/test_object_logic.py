"""The parts under the object logic: drivers, hashing, ranges, uploads."""

import hashlib
import threading
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.fake_engine import FakeEngine

from objstore._drivers import arun, run
from objstore._effects import Blocking, HashAhead, compute
from objstore._engine import Chunk, Extent, Steps, VisibleSequence, call
from objstore._ranges import plan_spans, slab_bytes, span_at, trim
from objstore._sources import Pieces, source_of
from objstore._upload import Upload

# --- drivers ----------------------------------------------------------------------


def logic(log: list[str]) -> Steps[int]:
    """Do three things, and clean up with a fourth whatever happens."""
    one = yield from call(Blocking(lambda: 1))
    two = yield from compute(lambda: 2, 0)
    try:
        yield from call(VisibleSequence("missing"))
    except FileNotFoundError:
        log.append("not found")
        return one + two
    finally:
        yield from call(Blocking(lambda: log.append("cleaned")))
    return 0


def test_blocking_driver_returns_result() -> None:
    """Answers and errors go into the logic, its result comes out."""
    log: list[str] = []

    assert 3 == run(FakeEngine(), logic(log))
    assert ["not found", "cleaned"] == log


@pytest.mark.anyio
async def test_awaiting_driver_returns_result() -> None:
    """Answers and errors go into the logic, its result comes out."""
    log: list[str] = []

    assert 3 == await arun(FakeEngine(), logic(log))
    assert ["not found", "cleaned"] == log


def failing(error: type[BaseException], log: list[str]) -> Steps[None]:
    """Meet an error, and clean up."""

    def work() -> None:
        raise error

    try:
        yield from call(Blocking(work))
    except BaseException:
        yield from call(Blocking(lambda: log.append("cleaned")))
        raise


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_blocking_driver_lets_logic_clean_up(error: type[BaseException]) -> None:
    """An error that the logic does not handle passes through its cleaning up."""
    log: list[str] = []
    with pytest.raises(error):
        run(FakeEngine(), failing(error, log))

    assert ["cleaned"] == log


@pytest.mark.anyio
async def test_awaiting_driver_hands_cancellation_in() -> None:
    """A cancellation reaches the logic, which can clean up."""
    log: list[str] = []

    def waiting() -> Steps[None]:
        try:
            yield from call(Sleeping())
        except BaseException:
            log.append("cancelled")
            raise

    with anyio.move_on_after(0.01) as scope:
        await arun(FakeEngine(), waiting())

    assert scope.cancelled_caught
    assert ["cancelled"] == log


class Sleeping(Blocking[None]):
    """An effect that ends only by cancellation."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    async def aperform(self, engine: Any) -> None:
        await anyio.sleep_forever()


# --- hashing ----------------------------------------------------------------------


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_hash_ahead_hashes_in_order(slabs: list[bytes]) -> None:
    """The digest is that of the slabs in the order of their submission."""
    hashing = HashAhead()
    for slab in slabs:
        hashing.submit(slab)
        run(FakeEngine(), hashing.hashed_below(3))
    run(FakeEngine(), hashing.hashed_below(1))

    assert hashlib.sha256(b"".join(slabs)).digest() == hashing.digest()


@pytest.mark.anyio
async def test_large_hash_leaves_event_loop() -> None:
    """Much is hashed in another thread, little at once."""
    threads: list[int] = []

    def note() -> None:
        threads.append(threading.get_ident())

    for size in (64 * 1024, 64 * 1024 + 1):
        await arun(FakeEngine(), compute(note, size))

    assert threading.get_ident() == threads[0]
    assert threading.get_ident() != threads[1]


# --- ranges -----------------------------------------------------------------------


@given(
    st.binary(max_size=200),
    st.integers(1, 30),
    st.integers(0, 200),
    st.integers(0, 200),
    st.integers(1, 100),
)
def test_spans_cover_range(
    data: bytes, chunk: int, offset: int, size: int, limit: int
) -> None:
    """The spans of a range, read from chunks, are the range; none is much too long."""
    offset = min(offset, len(data))
    size = min(size, len(data) - offset)
    chunks = [data[at : at + chunk] for at in range(0, len(data), chunk)]
    read: list[bytes] = []
    for span in plan_spans(offset, size, chunk_bytes=chunk, limit=limit):
        pieces = trim(chunks[span.index : span.index + span.count], span)
        read.append(b"".join(pieces))
        assert len(read[-1]) == span.size <= slab_bytes(chunk, limit)

    assert data[offset : offset + size] == b"".join(read)


def test_empty_span_has_no_chunk() -> None:
    """Nothing to read touches no chunk, also in an object without chunks."""

    assert 0 == span_at(5, 0, chunk_bytes=8).count
    assert 0 == span_at(0, 0, chunk_bytes=0).count


# --- uploads ----------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), max_size=6), st.integers(0, 4), st.integers(1, 5))
def test_upload_cuts_equal_chunks(slabs: list[int], rest: int, chunk: int) -> None:
    """Slabs become numbered chunks of one size but the last, nothing is lost."""
    upload = Upload(nuid=bytes(16), chunk_bytes=chunk)
    fed = b""
    chunks: list[Chunk] = []
    for number in [*(count * chunk for count in slabs), min(rest, chunk - 1)]:
        slab = bytes(len(fed) + at & 255 for at in range(number))
        fed += slab
        chunks += upload.feed(slab)

    assert fed == b"".join(bytes(each.data) for each in chunks)
    assert list(range(len(chunks))) == [each.index for each in chunks]
    assert all(len(each.data) == chunk for each in chunks[:-1])
    assert (len(fed), len(chunks)) == (upload.size, upload.count)


def test_upload_joins_neighbouring_extents() -> None:
    """Chunks whose sequences follow each other are one extent."""
    upload = Upload(nuid=bytes(16), chunk_bytes=4)
    upload.place(upload.feed(bytes(8)), 10)
    upload.place(upload.feed(bytes(8)), 12)
    upload.place(upload.feed(bytes(5)), 20)

    assert (Extent(10, 4, 16), Extent(20, 2, 5)) == upload.extents


# --- sources ----------------------------------------------------------------------


@given(st.lists(st.binary(max_size=20), max_size=10), st.integers(1, 15))
def test_source_gives_full_slabs(pieces: list[bytes], size: int) -> None:
    """A source gives what it is asked for, fewer bytes only at its end."""
    source = source_of(iter(pieces), is_async=False)
    read: list[bytes] = []
    while len(slab := bytes(source.read(size))) == size:
        read.append(slab)

    assert b"".join(pieces) == b"".join(read) + slab
    assert b"" == source.read(size)


def test_whole_piece_is_not_copied() -> None:
    """A piece that is a slab goes through as it is."""
    pieces = Pieces()
    data = bytes(10_000)
    pieces.add(data)
    taken = pieces.take(10_000)

    assert isinstance(taken, memoryview)
    assert taken.obj is data
