"""Small objects that are read again come at once, and never wrong."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import objstore
from objstore import _hot_ranges, _hot_reads, _operations_read
from objstore._bucket_records import meta_subject_of
from objstore.blocking import ObjectStore, Store
from objstore.errors import (
    BucketNotFoundError,
    CorruptionError,
    LinkIsABucketError,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjStoreError,
)

CONTENT = b"content" * 100


@pytest.fixture(name="store")
def make_store(tmp_path: Path) -> Iterator[Store]:
    """Give a store whose object `hot` was read before."""
    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        bucket = store.create_object_store("b")
        bucket.put("hot", CONTENT)
        assert bucket.get("hot") == CONTENT
        yield store


@pytest.fixture(name="bucket")
def make_bucket(store: Store) -> ObjectStore:
    """Give its bucket."""
    return store.object_store("b")


def at_hand(bucket: ObjectStore, name: str) -> bytes | None:
    """Give what comes without the long way."""
    return _operations_read.get_at_hand(bucket._scope, name, wait=True)


def by_note(bucket: ObjectStore, name: str) -> bytes | None:
    """Give what comes by the note of a small object alone, without a range's places."""
    return _operations_read.get_at_hand(bucket._scope, name, wait=False)


def log_of(bucket: ObjectStore) -> Any:
    """Give the bucket's log, which keeps the notes of the fast way."""
    engine: Any = bucket._scope.engine
    return engine._store.bucket("b").log


def note_of(bucket: ObjectStore, name: str) -> tuple[Any, ...]:
    """Give what is noted of a name."""
    note = log_of(bucket).places.noted(meta_subject_of(name))
    return _hot_reads._NOTE.unpack(note)


def test_small_object_is_at_hand(bucket: ObjectStore) -> None:
    """It needs no look at the catalog and no decoding."""
    assert at_hand(bucket, "hot") == CONTENT


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("bucket.put('hot', b'other')", None),
        ("bucket.delete('hot')", ObjectDeletedError),
        ("bucket.rename('hot', 'cold')", ObjectNotFoundError),
        (
            "bucket.delete('hot'); bucket.add_bucket_link('hot', 'b')",
            LinkIsABucketError,
        ),
        ("store.delete_object_store('b')", BucketNotFoundError),
        (
            "store.delete_object_store('b'); store.create_object_store('b')",
            ObjectNotFoundError,
        ),
    ],
)
def test_change_of_another_process_is_seen(
    store: Store, bucket: ObjectStore, change: str, error: type[ObjStoreError] | None
) -> None:
    """With the next read, whatever was read before."""
    code = (
        "import objstore, sys\n"
        "with objstore.open(sys.argv[1], retention_interval=None) as store:\n"
        "    bucket = store.object_store('b')\n"
        f"    {change}\n"
    )
    subprocess.run([sys.executable, "-c", code, store.url], check=True, timeout=60)

    if error is None:
        assert bucket.get("hot") == b"other"
    else:
        with pytest.raises(error):
            bucket.get("hot")


def put_dead(bucket: ObjectStore) -> None:
    """Put what will have expired."""
    bucket.put("cold", CONTENT, ttl=3_600)


def put_large(bucket: ObjectStore) -> None:
    """Put what is not small."""
    bucket.put("cold", bytes(_hot_ranges.HOT_WHOLE_BYTES_MAX + 1))


def put_nothing(bucket: ObjectStore) -> None:
    """Put an empty object."""
    bucket.put("cold", b"")


def put_link(bucket: ObjectStore) -> None:
    """Make a link to a small object."""
    bucket.add_link("cold", bucket.get_info("hot"))


@pytest.mark.parametrize("put", [put_dead, put_large, put_nothing, put_link])
def test_what_is_not_small_and_plain_goes_the_long_way(
    bucket: ObjectStore, put: Callable[[ObjectStore], None]
) -> None:
    """What expires, has no chunk or many, or is a link is looked up each time."""
    put(bucket)
    content = bucket.get("cold")

    assert at_hand(bucket, "cold") is None
    assert bucket.get("cold") == content


@pytest.mark.parametrize(
    ("size", "chunk_bytes"), [(700, 100), (200_000, 1 << 20), (1 << 20, 1 << 17)]
)
def test_content_of_a_slab_is_at_hand_where_it_may_be_waited_for(
    store: Store, bucket: ObjectStore, size: int, chunk_bytes: int
) -> None:
    """It is proven anew each time: damage that comes later is found."""
    content = random.Random(size).randbytes(size)
    bucket.put("cold", content, chunk_size=chunk_bytes)

    assert at_hand(bucket, "cold") == content
    assert _operations_read.get_at_hand(bucket._scope, "cold", wait=False) is None
    for segment in Path(store.url).rglob("*.seg"):
        data = bytearray(segment.read_bytes())
        place = data.find(content[:90])
        if place >= 0:
            data[place + 50] ^= 1
            segment.write_bytes(data)
    assert at_hand(bucket, "cold") is None
    with pytest.raises(CorruptionError):
        bucket.get("cold")


@pytest.mark.anyio
async def test_content_of_a_slab_is_read_in_a_thread(tmp_path: Path) -> None:
    """An event loop gets the same, hashed elsewhere."""
    content = random.Random(3).randbytes(300_000)
    async with objstore.connect(tmp_path / "store") as store:
        bucket = await store.create_object_store("b")
        await bucket.put("hot", content)
        for _ in range(2):
            assert await bucket.get("hot") == content
        with pytest.raises(ObjectNotFoundError):
            await bucket.get("cold")


@pytest.mark.parametrize("found", ["", "\ud83d", 7, None, b"hot", ["hot"]])
def test_name_that_is_none_is_refused_as_ever(
    bucket: ObjectStore, found: object
) -> None:
    """The long way says what is wrong with it."""
    assert at_hand(bucket, found) is None  # type: ignore[arg-type]
    with pytest.raises(ObjStoreError):
        bucket.get(found)  # type: ignore[arg-type]


def test_damage_behind_a_first_read_is_found(store: Store, bucket: ObjectStore) -> None:
    """Bytes that changed on the disk are never given out."""
    for segment in Path(store.url).rglob("*.seg"):
        data = bytearray(segment.read_bytes())
        place = data.find(CONTENT)
        if place >= 0:
            data[place + 50] ^= 1
            segment.write_bytes(data)

    with pytest.raises(CorruptionError):
        bucket.get("hot")


def test_rewritten_content_is_proven_again(
    bucket: ObjectStore,
) -> None:
    """A place that holds something else by now is forgotten, and looked up anew."""
    places = log_of(bucket).places
    fields = note_of(bucket, "hot")
    places.note(
        meta_subject_of("hot"),
        _hot_reads._NOTE.pack(*fields[:2], fields[2] + 1, *fields[3:]),
        places.generation,
    )

    assert by_note(bucket, "hot") is None
    assert by_note(bucket, "hot") == CONTENT


def test_content_of_another_segment_is_looked_up_anew(bucket: ObjectStore) -> None:
    """A note of a segment that another one has replaced is forgotten."""
    places = log_of(bucket).places
    fields = note_of(bucket, "hot")
    places.note(
        meta_subject_of("hot"),
        _hot_reads._NOTE.pack(fields[0], fields[1] + 1, *fields[2:]),
        places.generation,
    )

    assert by_note(bucket, "hot") is None
    assert by_note(bucket, "hot") == CONTENT


def test_known_places_are_bounded(
    bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest are forgotten; every object is read right."""
    notes = log_of(bucket)._core.cache.notes
    monkeypatch.setattr(notes, "_limit_bytes", 2_500)
    contents = {f"n{number}": b"%d" % number * 50 for number in range(30)}
    for name, content in contents.items():
        bucket.put(name, content)
    names = random.Random(1).choices(list(contents), k=200)

    assert [bucket.get(name) for name in names] == [contents[name] for name in names]
    assert 5 <= len(notes) <= 10


def test_catalog_is_asked_once_for_what_no_cache_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that was opened anew reads a name's meta with one look-up."""
    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        store.create_object_store("b").put("hot", CONTENT)
    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        bucket = store.object_store("b")
        asked: list[str] = []
        engine: Any = bucket._scope.engine
        log = engine._store.bucket("b").log
        query: Any = log.query

        def note(sql: str, *arguments: Any) -> Any:
            asked.append(sql)
            return query(sql, *arguments)

        monkeypatch.setattr(log, "query", note)
        content = bucket.get("hot")

    assert content == CONTENT
    assert len(asked) == 1
