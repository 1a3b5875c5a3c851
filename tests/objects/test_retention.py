"""Retention over all buckets when one of them cannot be opened."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.golden.independent_reader import START, scan

import objstore
from objstore.blocking import Store
from objstore.errors import CorruptionError

WAIT_S = 30
SIZE = 5_000
SOUND = "ace"
RUNS = 3


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make buckets with something to give back; `b`'s and `d`'s records are damaged."""
    place = tmp_path / "store"
    with objstore.open(place, retention_interval=None) as store:
        for name in "abcde":
            bucket = store.create_object_store(
                bucket=name, segment_bytes=4_096, chunk_size=512, changes_ttl=0
            )
            for _ in range(6):
                bucket.put("gone", bytes(SIZE))
            bucket.delete("gone")
    damage(place, b"b")
    damage(place, b"d")
    return place


def damage(place: Path, name: bytes) -> None:
    """Flip a byte in both of the registry's records of a bucket."""
    (segment,) = (place / "logs" / "00000000").glob("*.seg")
    data = bytearray(segment.read_bytes())
    records = scan(bytes(data), bytes(data[START : START + 8]), START, len(data))
    found = [record for record in records if record.key == name]
    assert len(found) == 2
    for record in found:
        data[record.stop - 1] ^= 1
    segment.write_bytes(data)


def segments(store: Store) -> dict[str, int]:
    """Count the segments of the sound buckets."""
    return {name: store.object_store(name).status().segments for name in SOUND}


def are_reclaimed(store: Store, before: dict[str, int]) -> bool:
    """Tell whether all sound buckets have given segments back."""
    now = segments(store)
    return all(now[name] < before[name] for name in SOUND)


def test_retention_passes_over_damaged_buckets(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All other buckets are done; then the first failure is raised, the other told."""
    with objstore.open(place, create=False, retention_interval=None) as store:
        before = segments(store)
        caplog.clear()
        with pytest.raises(CorruptionError) as raised:
            store.run_retention()

        assert are_reclaimed(store, before)
    assert raised.value.name == "b"
    (told,) = [record.args for record in caplog.records]
    assert isinstance(told, tuple)
    assert isinstance(told[1], CorruptionError)
    assert told[1].name == "d"


def test_plan_passes_over_damaged_buckets(place: Path) -> None:
    """A dry run looks at all buckets, too, before it raises."""
    with objstore.open(place, create=False, retention_interval=None) as store:
        before = segments(store)
        with pytest.raises(CorruptionError):
            store.run_retention(dry_run=True)

        assert before == segments(store)


def test_background_outlives_damaged_buckets(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The schedule does the other buckets, says what failed, and runs again."""
    with objstore.open(place, create=False, retention_interval=None) as store:
        before = segments(store)
    with objstore.open(place, create=False, retention_interval=0.05) as store:
        end = time.monotonic() + WAIT_S
        while not are_reclaimed(store, before) or failures(caplog) < RUNS * 2:
            assert time.monotonic() < end
            time.sleep(0.01)


def failures(caplog: pytest.LogCaptureFixture) -> int:
    """Count what retention has told; each run tells of two buckets."""
    return sum("retention failed" in record.getMessage() for record in caplog.records)
