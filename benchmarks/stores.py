"""Stores to measure with: filled, weighed, pushed out of the page cache."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import objstore
from benchmarks.peers.ours import BUCKET, Sync
from objstore._document import Document, encode_document
from objstore._engine import Append, Chunk, Meta
from objstore._names import nuid_text

FOLDERS = 100
OBJECT_BYTES = 100
AT_ONCE = 64
"""Objects that one append holds."""


def name_of(number: int) -> str:
    """Name an object of a filled store; every hundredth is in one folder."""
    return f"folder-{number % FOLDERS:02}/object-{number:08}"


def fill(
    folder: Path,
    count: int,
    seed: int,
    *,
    size_bytes: int = OBJECT_BYTES,
    sync: Sync = "never",
    segment_bytes: int | None = None,
    at_end: Callable[[], object] | None = None,
) -> None:
    """Fill a store with small objects, many an append.

    The engine takes what the object logic would give it: one call a put would need
    many minutes for a million.
    """
    random_ = random.Random(seed)
    with objstore.open(folder / "store", sync=sync) as store:
        bucket = store.create_object_store(BUCKET, segment_bytes=segment_bytes)
        engine = bucket._session.engine
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, count))
            records: list[Chunk | Meta] = []
            for number in numbers:
                records += _object(number, random_.randbytes(size_bytes))
            expect = {name_of(number): 0 for number in numbers}
            size = size_bytes * len(numbers)
            engine.run(Append(BUCKET, tuple(records), expect, size_delta=size))
        if at_end is not None:
            at_end()


def _object(number: int, data: bytes) -> tuple[Chunk, Meta]:
    """Make the records of a small object, as a put makes them."""
    nuid = os.urandom(16)
    document = Document(
        name_of(number),
        BUCKET,
        nuid=nuid_text(nuid),
        chunk_bytes=objstore.DEFAULT_CHUNK_SIZE,
        size=len(data),
        chunks=1,
        digest=hashlib.sha256(data).digest(),
    )
    meta = Meta(
        name=document.name,
        document=encode_document(document),
        change="put",
        nuid=nuid,
        size=len(data),
        chunk_bytes=objstore.DEFAULT_CHUNK_SIZE,
    )
    return Chunk(nuid, 0, data), meta


def disk_bytes(folder: Path) -> int:
    """Count what a folder takes on the disk; holes take nothing."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def drop_page_cache(folder: Path) -> None:
    """Have the system forget the files of a folder; what is mapped it keeps."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
