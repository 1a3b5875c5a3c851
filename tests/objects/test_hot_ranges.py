"""Ranges that are read again come at once, and never wrong."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import objstore
from objstore import _hot_ranges, _operations_read
from objstore.blocking import ObjectStore, Store
from objstore.errors import CorruptionError, InvalidRangeError, ObjStoreError

CHUNK = 1_000
CONTENT = random.Random(7).randbytes(10 * CHUNK + 123)


@pytest.fixture(name="store")
def make_store(tmp_path: Path) -> Iterator[Store]:
    """Give a store whose object `hot` has eleven chunks."""
    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        bucket = store.create_object_store("b")
        bucket.put("hot", CONTENT, chunk_size=CHUNK)
        yield store


@pytest.fixture(name="bucket")
def make_bucket(store: Store) -> ObjectStore:
    """Give its bucket."""
    return store.object_store("b")


def at_hand(
    bucket: ObjectStore, start: int, length: int, *, wait: bool = True
) -> bytes | None:
    """Give what comes of `hot` without the long way."""
    return _operations_read.range_at_hand(
        bucket._scope, "hot", start=start, end=None, length=length, wait=wait
    )


def ranges_of(bucket: ObjectStore) -> Any:
    """Give what the engine keeps for the fast way."""
    engine: Any = bucket._scope.engine
    return engine._store.bucket("b")._ranges


def flip(store: Store, content: bytes, at: int) -> None:
    """Change one byte near where some bytes stand on the disk."""
    for segment in Path(store.url).rglob("*.seg"):
        data = bytearray(segment.read_bytes())
        place = data.find(content)
        if place >= 0:
            data[place + at] ^= 1
            segment.write_bytes(data)


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, CHUNK),
        (3 * CHUNK, CHUNK),
        (3 * CHUNK, 1),
        (10 * CHUNK, 123),
        (10 * CHUNK + 5, 118),
        (999, 2),
        (1, 10 * CHUNK),
        (0, len(CONTENT)),
    ],
)
def test_range_is_at_hand(
    bucket: ObjectStore, start: int, length: int, *, wait: bool
) -> None:
    """It is what was put there, in one chunk, in parts of some, or in all of them."""
    found = at_hand(bucket, start, length, wait=wait)

    assert found == CONTENT[start : start + length]


def test_range_by_its_end_is_at_hand(bucket: ObjectStore) -> None:
    """Both ways to say a range are the same one."""
    found = _operations_read.range_at_hand(
        bucket._scope, "hot", start=500, end=2_500, length=None, wait=True
    )

    assert found == CONTENT[500:2_500]


def test_chunks_between_those_of_others_are_at_hand(bucket: ObjectStore) -> None:
    """Chunks far from each other take a read for each."""
    with bucket.open_writer("hot", chunk_size=200_000) as writer:
        for number in range(9):
            writer.write(bytes([number]) * 400_000)
            bucket.put("other", bytes(50_000))
    content = bucket.get("hot")

    for start in range(0, 3_000_000, 170_000):
        assert at_hand(bucket, start, 500_000) == content[start : start + 500_000]


def test_chunks_in_two_segments_are_at_hand(store: Store) -> None:
    """A range over the end of a segment takes a read of each file."""
    bucket = store.create_object_store("b2", segment_bytes=65_536)
    content = random.Random(8).randbytes(3 << 20)
    bucket.put("hot", content, chunk_size=16_384)
    bucket.get("hot")

    for start in range(0, 3_000_000, 40_000):
        assert at_hand(bucket, start, 40_000) == content[start : start + 40_000]


@pytest.mark.parametrize("change", ["put('hot', b'other')", "rename('hot', 'cold')"])
def test_change_of_another_process_is_seen(
    store: Store, bucket: ObjectStore, change: str
) -> None:
    """With the next range, whatever was read before."""
    assert bucket.get_range("hot", start=2, length=3) == CONTENT[2:5]
    code = (
        "import objstore, sys\n"
        "with objstore.open(sys.argv[1], retention_interval=None) as store:\n"
        f"    store.object_store('b').{change}\n"
    )
    subprocess.run([sys.executable, "-c", code, store.url], check=True, timeout=60)

    if "put" in change:
        assert bucket.get_range("hot", start=2, length=3) == b"her"
    else:
        with pytest.raises(ObjStoreError):
            bucket.get_range("hot", start=2, length=3)


def put_dead(bucket: ObjectStore) -> None:
    """Put what will have expired."""
    bucket.put("hot", CONTENT, ttl=3_600)


def put_link(bucket: ObjectStore) -> None:
    """Make a link to an object."""
    bucket.put("target", CONTENT)
    bucket.delete("hot")
    bucket.add_link("hot", bucket.get_info("target"))


@pytest.mark.parametrize("put", [put_dead, put_link])
def test_what_is_not_plain_goes_the_long_way(
    bucket: ObjectStore, put: Callable[[ObjectStore], None]
) -> None:
    """What expires or is a link is looked up each time."""
    put(bucket)

    assert at_hand(bucket, 5, 50) is None
    assert bucket.get_range("hot", start=5, length=50) == CONTENT[5:55]
    assert at_hand(bucket, 5, 50) is None


def test_range_behind_the_end_goes_the_long_way(bucket: ObjectStore) -> None:
    """It is clamped there, or refused."""
    size = len(CONTENT)

    assert at_hand(bucket, size - 5, 6) is None
    assert bucket.get_range("hot", start=size - 5, length=6) == CONTENT[-5:]
    with pytest.raises(InvalidRangeError):
        bucket.get_range("hot", start=size + 1, length=6)


@pytest.mark.parametrize(
    "asked",
    [
        {"start": -5, "length": 3},
        {"start": 0, "end": 5, "length": 5},
        {"start": "0", "length": 5},
        {"start": 0, "length": "5"},
        {"start": 0, "end": 5.0},
        {"start": 5, "end": 4},
        {"start": 0, "length": 0},
        {"start": 0},
        {"start": 0, "length": _operations_read.HOT_RANGE_BYTES_MAX + 1},
    ],
)
def test_range_that_is_not_plain_goes_the_long_way(
    bucket: ObjectStore, asked: dict[str, Any]
) -> None:
    """There it is counted from the end, clamped or refused as ever."""
    given: dict[str, Any] = {"end": None, "length": None, **asked}

    found = _operations_read.range_at_hand(bucket._scope, "hot", wait=True, **given)

    assert found is None


@pytest.mark.parametrize(("start", "length"), [(CHUNK, CHUNK), (CHUNK, 1)])
@pytest.mark.parametrize("at", [0, CHUNK - 1, -1, -80])
def test_damage_behind_a_first_read_is_found(
    store: Store, bucket: ObjectStore, start: int, length: int, at: int
) -> None:
    """A byte that changed on the disk, in header or body, fails each range."""
    assert at_hand(bucket, start, length) == CONTENT[start : start + length]
    flip(store, CONTENT[start : start + 50], at)

    assert at_hand(bucket, start, length) is None
    with pytest.raises(CorruptionError):
        bucket.get_range("hot", start=start, length=length)


def test_damage_to_a_neighbour_hides_nothing(store: Store, bucket: ObjectStore) -> None:
    """Only the ranges that touch the damaged chunk fail."""
    flip(store, CONTENT[CHUNK : CHUNK + 50], 10)

    assert at_hand(bucket, 2 * CHUNK, 500) == CONTENT[2 * CHUNK : 2 * CHUNK + 500]
    assert at_hand(bucket, 2 * CHUNK - 1, 500) is None


def test_moved_place_is_looked_up_anew(bucket: ObjectStore) -> None:
    """A place that holds something else by now is forgotten."""
    assert at_hand(bucket, 0, 10) == CONTENT[:10]
    (hot,) = ranges_of(bucket)._known.values()
    hot.chunks[0] = hot.chunks[0]._replace(position=hot.chunks[0].position + 1)

    assert at_hand(bucket, 0, 10) is None
    assert at_hand(bucket, 0, 10) == CONTENT[:10]


def test_chunk_of_another_object_is_never_given(bucket: ObjectStore) -> None:
    """A meta that refers to foreign records goes the long way, which refuses it."""
    assert at_hand(bucket, 0, 10) == CONTENT[:10]
    ranges = ranges_of(bucket)
    (hot,) = ranges._known.values()
    hot.chunks.clear()
    foreign = hot.stored._replace(nuid=bytes(16))
    ranges._known["hot"] = hot._replace(stored=foreign)

    assert at_hand(bucket, 0, 10) is None


def test_known_places_are_bounded(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are forgotten; every range is read right."""
    monkeypatch.setattr(_hot_ranges, "HOT_NAMES_MAX", 3)
    monkeypatch.setattr(_hot_ranges, "HOT_CHUNKS_MAX", 8)
    for number in range(9):
        bucket.put(f"n{number}", CONTENT, chunk_size=CHUNK)
    chosen = random.Random(1)
    for _ in range(300):
        start = chosen.randrange(len(CONTENT) - 2_500)
        name = f"n{chosen.randrange(9)}"
        assert (
            bucket.get_range(name, start=start, length=2_500)
            == (CONTENT[start : start + 2_500])
        )
        known = ranges_of(bucket)._known
        assert len(known) <= 3
        assert sum(len(hot.chunks) for hot in known.values()) <= 8


@pytest.mark.anyio
async def test_range_is_at_hand_for_tasks(tmp_path: Path) -> None:
    """Also on an event loop."""
    async with objstore.connect(tmp_path / "store") as store:
        bucket = await store.create_object_store("b")
        await bucket.put("hot", CONTENT, chunk_size=CHUNK)
        assert await bucket.get_range("hot", start=5, end=9_000) == CONTENT[5:9_000]
        assert (
            await bucket.get_range("hot", start=CHUNK, length=CHUNK)
            == (CONTENT[CHUNK : 2 * CHUNK])
        )
