"""The text of a cursor: a place in one bucket of one store, for any process.

Layout of version 1, big-endian, in base64url without padding: version (u8),
sequence (u64), flags (u8, bit 0: a subject follows, bit 1: a witness), then store,
bucket, incarnation and, if flagged, subject and witness (sequence and time in decimal,
a colon between them), each a u16 length and UTF-8; at the end the XXH3-64 of all before
it.
The checksum is there so that a shortened or mistyped cursor is an error and never
another place; it is no protection against forgery.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import NamedTuple

from xxhash import xxh3_64_digest

from objstore_watch._stream import Place
from objstore_watch.errors import BadCursorError, CursorForeignError

CURSOR_VERSION = 1

_HEAD = struct.Struct(">BQB")
_LENGTH = struct.Struct(">H")
_CHECKSUM_BYTES = 8
_HAS_SUBJECT = 1
_HAS_WITNESS = 2
_ORIGIN_FIELDS = 3
_WITNESS_LETTERS_MAX = 41
"""Two numbers of 64 bits."""
_FLAGS_MAX = _HAS_SUBJECT | _HAS_WITNESS


@dataclass(frozen=True, slots=True)
class Origin:
    """The one bucket that a place belongs to."""

    store: str
    """The store's id."""
    bucket: str
    """The bucket's name."""
    incarnation: str
    """Distinguishes a recreated bucket from the one before it."""

    def __str__(self) -> str:
        return (
            f"bucket {self.bucket!r} (made as {self.incarnation}) of store {self.store}"
        )


class Witness(NamedTuple):
    """A change at or below a place, by which its history is known again.

    Two copies of one store go on with the same sequences, at other times.
    """

    sequence: int
    time_ns: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place and the bucket it belongs to."""

    origin: Origin
    place: Place
    witness: Witness | None = None


def encode_cursor(cursor: Cursor) -> str:
    """Give a cursor as text of letters, digits, `-` and `_`."""
    origin, place = cursor.origin, cursor.place
    fields = [origin.store, origin.bucket, origin.incarnation]
    flags = 0
    if place.subject is not None:
        flags |= _HAS_SUBJECT
        fields.append(place.subject)
    if cursor.witness is not None:
        flags |= _HAS_WITNESS
        fields.append(f"{cursor.witness.sequence}:{cursor.witness.time_ns}")
    body = bytearray(_HEAD.pack(CURSOR_VERSION, place.sequence, flags))
    for field in fields:
        raw = field.encode()
        body += _LENGTH.pack(len(raw)) + raw
    body += xxh3_64_digest(body)
    return _to_text(bytes(body))


def decode_cursor(text: str) -> Cursor:
    """Read the text of a cursor.

    Raises:
        BadCursorError: it is not the text of a cursor, was changed, or was made by a
            newer version.
    """
    body = _checked_body(text)
    version, sequence, flags = _HEAD.unpack_from(body)
    if version != CURSOR_VERSION or flags > _FLAGS_MAX:
        raise BadCursorError(
            cursor=text,
            reason=f"is of version {version}.{flags}, this library reads "
            f"{CURSOR_VERSION}.{_FLAGS_MAX} and older",
        )
    fields = _fields_of(text, body)
    if len(fields) != _ORIGIN_FIELDS + flags.bit_count():
        raise BadCursorError(cursor=text, reason="has a wrong number of fields")
    subject = fields[_ORIGIN_FIELDS] if flags & _HAS_SUBJECT else None
    witness = _witness_of(text, fields[-1]) if flags & _HAS_WITNESS else None
    origin = Origin(*fields[:_ORIGIN_FIELDS])
    return Cursor(origin, Place(sequence, subject), witness)


def _witness_of(text: str, field: str) -> Witness:
    sequence, colon, time_ns = field.partition(":")
    is_number = sequence.isdecimal() and time_ns.isdecimal() and field.isascii()
    if not colon or not is_number or len(field) > _WITNESS_LETTERS_MAX:
        raise BadCursorError(cursor=text, reason="has a damaged field")
    return Witness(int(sequence), int(time_ns))


def check_origin(found: Origin, expected: Origin) -> None:
    """Check that a place belongs to the bucket that is watched.

    Raises:
        CursorForeignError: it is in another store or bucket, or in an earlier bucket
            of the same name.
    """
    if found != expected:
        raise CursorForeignError(found=str(found), expected=str(expected))


def _to_text(body: bytes) -> str:
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode("ascii")


def _checked_body(text: str) -> bytes:
    try:
        raw = text.encode("ascii")
        padded = raw + b"=" * (-len(raw) % 4)
        body = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadCursorError(cursor=text, reason="is not a cursor's text") from error
    # The unused bits of the last letter are not under the checksum.
    if _to_text(body) != text or len(body) < _HEAD.size + _CHECKSUM_BYTES:
        raise BadCursorError(cursor=text, reason="is not a whole cursor")
    content, checksum = body[:-_CHECKSUM_BYTES], body[-_CHECKSUM_BYTES:]
    if xxh3_64_digest(content) != checksum:
        raise BadCursorError(cursor=text, reason="was shortened or changed")
    return content


def _fields_of(text: str, body: bytes) -> list[str]:
    fields: list[str] = []
    at = _HEAD.size
    try:
        while at < len(body):
            (length,) = _LENGTH.unpack_from(body, at)
            at += _LENGTH.size + length
            if at > len(body):
                raise BadCursorError(cursor=text, reason="has a field cut short")
            fields.append(body[at - length : at].decode())
    except (struct.error, UnicodeDecodeError) as error:
        raise BadCursorError(cursor=text, reason="has a damaged field") from error
    return fields
