"""The index of a sealed segment, read from its footer as it is asked for.

A segment of small records has a footer of a tenth of its size, and a store of a million
objects tens of megabytes of them. Such a footer is read through once, and what is kept
is a checksum of each block of it; a look-up reads its block and proves it. Law:
docs/format.md, "Footer". Pure: bytes come from a `ReadAt` that the caller gives.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Callable
from typing import Final

from xxhash import xxh3_64

from objstore_log._footer import (
    ENTRY_BYTES,
    FOOTER_PREFIX_BYTES,
    Footer,
    SegmentIndex,
    Trailer,
    decode_footer,
    decode_footer_prefix,
    sequence_at,
)
from objstore_log._format import checksum
from objstore_log._scan import ReadAt

LOADED_BYTES_MAX: Final = 64 * 1024
"""A smaller footer is kept whole."""
BLOCK_BYTES: Final = 4 * 1024
"""What a look-up reads; a multiple of an entry."""
_PIECE_BYTES: Final = 64 * BLOCK_BYTES


class FooterChangedError(FileNotFoundError):
    """A footer was damaged since it was read: look at its segment anew.

    As when the whole segment was unlinked meanwhile, which readers know to repeat.
    """


class SealedIndex(SegmentIndex):
    """Numbered records as a footer has them. Nothing can be added.

    Every look-up raises what reading raises, and `FooterChangedError`.
    """

    __slots__ = ("_block", "_count", "_ends", "_lose", "_position", "_read_at", "_sums")

    def __init__(
        self,
        read_at: ReadAt,
        position: int,
        count: int,
        *,
        ends: tuple[int, int],
        sums: array[int],
        lose: Callable[[], None],
    ) -> None:
        """Keep where the entries are.

        Args:
            read_at: reads the segment's file.
            position: of the first entry.
            count: of all entries; at least one.
            ends: the first and the last sequence.
            sums: the checksum of each block of them.
            lose: called when the footer is not what it was any more.
        """
        super().__init__()
        self._read_at = read_at
        self._position = position
        self._count = count
        self._ends = ends
        self._sums = sums
        self._lose = lose
        self._block: tuple[int, bytes] = (-1, b"")

    def __len__(self) -> int:
        """Give the number of records."""
        return self._count

    @property
    def first_sequence(self) -> int:
        """Give the first sequence."""
        return self._ends[0]

    @property
    def last_sequence(self) -> int:
        """Give the last sequence."""
        return self._ends[1]

    def _at(self, place: int) -> tuple[bytes | bytearray, int]:
        number, start = divmod(place * ENTRY_BYTES, BLOCK_BYTES)
        known, block = self._block
        if known != number:
            block = self._read(number)
            # both at a stroke: other threads look here, too
            self._block = number, block
        return block, start

    def _read(self, number: int) -> bytes:
        start = number * BLOCK_BYTES
        length = min(BLOCK_BYTES, self._count * ENTRY_BYTES - start)
        try:
            block = self._read_at(self._position + start, length)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            block = b""
        if checksum(block) != self._sums[number]:
            self._lose()
            raise FooterChangedError(errno.ENOENT, "the footer is another one by now")
        return block

    def entry_bytes(self) -> bytes:
        """Give all entries as the footer stores them."""
        places = range(0, self._count, BLOCK_BYTES // ENTRY_BYTES)
        return b"".join(bytes(self._at(place)[0]) for place in places)


def read_footer(
    trailer: Trailer, read_at: ReadAt, read_later_at: ReadAt, lose: Callable[[], None]
) -> Footer | None:
    """Read a footer's body through; `None` when it is damaged.

    Args:
        trailer: says where it is.
        read_at: reads the file that the trailer is of.
        read_later_at: reads the segment's file for every look-up; it may be another.
        lose: called when it is not what it was any more.
    """
    position, length = trailer.body_position, trailer.body_length
    if length <= LOADED_BYTES_MAX:
        return decode_footer(trailer, read_at(position, length))
    prefix = read_at(position, FOOTER_PREFIX_BYTES)
    whole = xxh3_64(prefix)
    sums: array[int] = array("Q")
    ends: list[int] = []
    first = position + FOOTER_PREFIX_BYTES
    for start in range(first, position + length, _PIECE_BYTES):
        piece = read_at(start, min(_PIECE_BYTES, position + length - start))
        whole.update(piece)
        view = memoryview(piece)
        if len(piece) >= ENTRY_BYTES:
            ends += [
                sequence_at(piece, 0),
                sequence_at(piece, len(piece) - ENTRY_BYTES),
            ]
        sums.extend(
            checksum(view[at : at + BLOCK_BYTES])
            for at in range(0, len(piece), BLOCK_BYTES)
        )
    decoded = decode_footer_prefix(prefix, length)
    if decoded is None or whole.intdigest() != trailer.body_checksum:
        return None
    header, last, count = decoded
    index = SealedIndex(
        read_later_at, first, count, ends=(ends[0], ends[-1]), sums=sums, lose=lose
    )
    return Footer(header, last, index, trailer.record_position)
