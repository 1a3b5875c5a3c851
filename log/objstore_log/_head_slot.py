"""The head file's two slots and the STORE file: small values, one checksum each.

The head is a lower bound of the log's end, never an end. Law: docs/format.md, "Head".
Pure.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from objstore_log._format import checksum

HEAD_MAGIC: Final = b"OBJHEAD\n"
_HEAD = Struct("<8s16sQQQQQQQ8sI28x")
HEAD_SLOT_BYTES: Final = _HEAD.size + 8
HEAD_BYTES: Final = 2 * HEAD_SLOT_BYTES
STORE_MAGIC: Final = b"OBJSTORE"
STORE_VERSION: Final = 1
"""The format version that this code writes, and the newest that it reads."""
_STORE = Struct("<8sHHI16sQ16x")
STORE_BYTES: Final = _STORE.size + 8
"""The length of one copy in the file `STORE`."""
_U64 = Struct("<Q")


class Head(NamedTuple):
    """What every process of a log agrees on."""

    log_id: bytes
    generation: int
    """Grows by one with every publication."""
    segment: int
    written_position: int
    written_sequence: int
    durable_position: int
    durable_sequence: int
    reclaim_generation: int
    """Grows whenever stored bytes were given back."""
    marker: bytes
    """The active segment's sync marker."""
    poison: int
    """The writer id whose sync failed, as 1; 0 when none."""


def encode_head_slot(head: Head) -> bytes:
    """Give the bytes of one slot."""
    assert head.durable_position <= head.written_position
    assert head.durable_sequence <= head.written_sequence
    fields = _HEAD.pack(HEAD_MAGIC, *head)
    return fields + _U64.pack(checksum(fields))


def slot_position(generation: int) -> int:
    """Give where the slot of a generation stands: the two take turns."""
    return (generation % 2) * HEAD_SLOT_BYTES


def decode_head(data: bytes, log_id: bytes | None = None) -> Head | None:
    """Give the newest valid slot, `None` when there is none.

    Args:
        data: both slots.
        log_id: of the log whose head it must be: a block that was never written may
            hold the head of another one. `None` takes any.
    """
    slots = (
        _decode_slot(data[start : start + HEAD_SLOT_BYTES])
        for start in (0, HEAD_SLOT_BYTES)
    )
    valid = [
        slot for slot in slots if slot is not None and log_id in {None, slot.log_id}
    ]
    return max(valid, key=lambda slot: slot.generation) if valid else None


def _decode_slot(data: bytes) -> Head | None:
    if len(data) < HEAD_SLOT_BYTES:
        return None
    fields = data[: _HEAD.size]
    if _U64.unpack_from(data, _HEAD.size)[0] != checksum(fields):
        return None
    magic, *rest = _HEAD.unpack(fields)
    return Head(*rest) if magic == HEAD_MAGIC else None


class StoreHeader(NamedTuple):
    """What makes a directory a store."""

    version: int
    store_id: bytes
    created_ns: int


def encode_store_header(header: StoreHeader) -> bytes:
    """Give the bytes of the STORE file, two equal copies."""
    fields = _STORE.pack(
        STORE_MAGIC, header.version, 0, 0, header.store_id, header.created_ns
    )
    return (fields + _U64.pack(checksum(fields))) * 2


def decode_store_header(data: bytes) -> StoreHeader | None:
    """Read the STORE file; `None` when both copies are bad."""
    for start in (0, STORE_BYTES):
        part = data[start : start + STORE_BYTES]
        if len(part) < STORE_BYTES:
            continue
        fields = part[: _STORE.size]
        magic, version, _, _, store_id, created = _STORE.unpack(fields)
        if magic == STORE_MAGIC and _U64.unpack_from(part, _STORE.size)[0] == checksum(
            fields
        ):
            return StoreHeader(version, store_id, created)
    return None
