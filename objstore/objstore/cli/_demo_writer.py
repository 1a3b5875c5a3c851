"""The process that the demo kills: puts objects and tells every acknowledgement.

Each line it prints is an event, a name, and what belongs to it:
`ack NAME SEQUENCE DIGEST` after a put was acknowledged, `half NAME` when half of an
object that is never finished has gone into the store.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from typing import Final

import objstore

PUTS: Final = 200
KIB: Final = 1024
PIECE: Final = 1024 * KIB
PIECES: Final = 32
PAUSE_S: Final = 0.05


def content_of(name: str, size: int) -> bytes:
    """Make content that differs from name to name."""
    seed = hashlib.sha256(name.encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


def _unfinished(name: str) -> Iterator[bytes]:
    """Give pieces, slowly once half of them are through: time to be killed in."""
    piece = content_of(name, PIECE)
    for count in range(PIECES):
        if count == PIECES // 2:
            print("half", name, flush=True)
        if count >= PIECES // 2:
            time.sleep(PAUSE_S)
        yield piece


def write(directory: str, bucket_name: str) -> None:
    """Put objects of many sizes, then one that takes long."""
    with objstore.open(directory, create=False, retention_interval=None) as store:
        bucket = store.object_store(bucket_name)
        for index in range(PUTS):
            name = f"writer/{index:04}"
            content = content_of(name, (index * 7 % 300 + 1) * KIB)
            info = bucket.put(name, content)
            print("ack", name, info.seq, info.digest, flush=True)
        bucket.put("writer/unfinished", _unfinished("writer/unfinished"))
        print("ack", "writer/unfinished", 0, "-", flush=True)


if __name__ == "__main__":
    write(*sys.argv[1:])
