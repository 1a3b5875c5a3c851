"""Bytes of contents that flip under a store that is open.

Opening reads none of them, so that one store serves for all: a byte is flipped, the
names that share it are read, its segment is scrubbed, and the byte is flipped back.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from tests.torture.rot_damage import WHOLE
from tests.torture.rot_oracle import Layout
from tests.torture.rot_store import Place, Sample, Truth, open_kept, storage_of

from objstore._engine import VerifyRecords
from objstore.blocking import Store
from objstore.errors import CorruptionError
from objstore_log import ScrubToken, Storage
from objstore_log._format import SEGMENT_HEADER_BYTES, RecordHeader
from objstore_log._record import Kind
from objstore_log._segment import parse_segment_name


def bodies(layouts: Mapping[Place, Layout]) -> dict[Place, frozenset[int]]:
    """Give the positions of the bytes of contents."""
    return {
        place: frozenset(
            position
            for record in layout.records
            if record.kind == Kind.CHUNK
            for position in range(record.body_position, record.end)
        )
        for place, layout in layouts.items()
    }


def flip_bodies(
    sample: Sample,
    layouts: Mapping[Place, Layout],
    places: Sequence[tuple[Place, int]],
    until_s: float,
) -> tuple[int, list[str]]:
    """Flip bytes one at a time; count them, and tell what does not hold."""
    storage = storage_of(sample.now.files)
    store = open_kept(storage, sample.now.images)
    buckets = {truth.log: (name, truth) for name, truth in sample.truths.items()}
    wrong: list[str] = []
    count = 0
    for place, position in places:
        if time.monotonic() > until_s or wrong:
            break
        count += 1
        if place.log not in buckets:
            continue
        name, truth = buckets[place.log]
        _flip(storage, place, position)
        record = _record_at(layouts[place], position)
        text = _check(store, name, truth, place, record)
        _flip(storage, place, position)
        if text is not None:
            wrong.append(f"{place.path}, byte {position}, open store: {text}")
    for name, truth in sample.truths.items():
        for key, content in truth.contents.items():
            if store.object_store(name).get(key) != content:
                wrong.append(f"{key} is not what it was, flipped back")
    store.close()
    return count, wrong


def _flip(storage: Storage, place: Place, position: int) -> None:
    for name in place.folders:
        storage = storage.directory(name)
    file = storage.open(place.name)
    (byte,) = file.read_at(position, 1)
    file.write_at(position, [bytes((byte ^ WHOLE,))])
    file.close()


def _record_at(layout: Layout, position: int) -> RecordHeader:
    starts = [record.position for record in layout.records]
    return layout.records[bisect_right(starts, position) - 1]


def _check(
    store: Store, name: str, truth: Truth, place: Place, record: RecordHeader
) -> str | None:
    """Say what is wrong with a store whose one chunk is damaged."""
    sharers = {
        key for key, one in truth.needed.items() if record.sequence in one.chunks
    }
    bucket = store.object_store(name)
    for key in sharers & set(truth.contents):
        try:
            bucket.get(key)
        except CorruptionError:
            continue
        return f"{key} is read"
    parsed = parse_segment_name(place.name)
    assert parsed is not None
    token = ScrubToken(parsed[0], SEGMENT_HEADER_BYTES)
    page = store._engine.run(VerifyRecords(name, token))
    named = {found.name for found in page.damaged}
    if sharers & set(truth.contents) <= named <= sharers:
        return None
    return f"a scrub names {named}, not {sharers}"
