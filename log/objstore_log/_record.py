"""Values that cross the log's facade: kinds, subjects and records."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct

from objstore_log._storage import Buffer
from objstore_log._value_class import value_class

RECORD_KEY_BYTES_MAX = 1_024
RECORD_PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
"""A larger record is refused before anything is allocated or written."""
NUID_BYTES = 16
NO_NUID = bytes(NUID_BYTES)
_RUN = Struct("<QI4x")


class Kind(IntEnum):
    """What a record is. Format: docs/format.md, "Record kinds"."""

    CHUNK = 1
    META = 2
    COMMIT = 3
    FOOTER = 4
    ABORT = 5
    BUCKET = 6
    SEAL = 7
    FLOOR = 8
    KEY = 9
    CONSUMER = 10
    LEASE = 11
    ACK = 12
    HOLD = 13
    PURGE = 14
    JOB = 15


STRUCTURAL_KINDS = frozenset({Kind.COMMIT, Kind.FOOTER})
"""Written by the log itself; they take no sequence and are never handed out."""

SUBJECT_KINDS = frozenset(Kind) - STRUCTURAL_KINDS - {Kind.CHUNK, Kind.ABORT}
"""Kinds with a subject: the catalog keeps the last sequence of each."""


def subject_of(kind: int, key: bytes) -> bytes:
    """Give the subject of a record: its kind as one byte, then its key.

    This is the form that expectations, the overlay and the catalog use; the ADR-20
    text form is rendered by the object layer.
    """
    return bytes((kind,)) + key


def encode_runs(runs: Sequence[tuple[int, int]]) -> bytes:
    """Give the body of an ABORT record: (first sequence, count) of each run."""
    return b"".join(_RUN.pack(first, count) for first, count in runs)


def decode_runs(body: Buffer) -> list[tuple[int, int]]:
    """Read the body of an ABORT record; bytes behind the last whole run are left."""
    whole = len(body) - len(body) % _RUN.size
    return [(first, count) for first, count in _RUN.iter_unpack(body[:whole])]


@value_class
class NewRecord:
    """A record to append; the log gives it its sequence, time and place."""

    kind: Kind
    body: Buffer
    """The stored bytes: compressed and encrypted already, if at all."""
    key: bytes = b""
    """The subject's key (for a META the object's name in UTF-8)."""
    nuid: bytes = NO_NUID
    chunk_index: int = 0
    plain_length: int = 0
    codec: int = 0
    flags: int = 0
    relative: tuple[int, ...] = ()
    """Places in `body` of little-endian u64 words that hold an index into this append
    and are turned into that record's sequence when it is numbered."""
    after_commit: tuple[int, ...] = ()
    """Places in `body` of little-endian u64 words that hold nanoseconds and are turned
    into the time that many nanoseconds after the record's own."""


@value_class
class Record:
    """A record as read from the log."""

    kind: Kind
    sequence: int
    time_ns: int
    """Nanoseconds since 1970, never smaller than that of an earlier record."""
    key: bytes
    body: Buffer
    nuid: bytes
    chunk_index: int
    plain_length: int
    codec: int
    flags: int

    @property
    def subject(self) -> bytes:
        """Give the subject in the log's own form."""
        return subject_of(self.kind, self.key)


@value_class
class Appended:
    """Where an append went."""

    first_sequence: int
    last_sequence: int
    time_ns: int
