"""Stores to back up: small segments, some of them sealed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import objstore
from objstore import blocking

SEGMENT_BYTES = 64 * 1024
OBJECT_BYTES = 20_000


def content_of(number: int) -> bytes:
    """Give the content of an object, which is like no other one's."""
    return bytes((number * 7 + place) % 251 for place in range(OBJECT_BYTES))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[blocking.Store]:
    """Give a store with twelve objects in several sealed segments."""
    with objstore.open(tmp_path / "store", retention_interval=None) as opened:
        bucket = opened.create_object_store("b", segment_bytes=SEGMENT_BYTES)
        for number in range(12):
            bucket.put(f"o{number:02}", content_of(number))
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Give where the backups go."""
    return tmp_path / "backups"
