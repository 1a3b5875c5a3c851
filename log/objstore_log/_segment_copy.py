"""Copying a frozen segment to another directory, piece by piece, and reading it back.

Holes stay holes. What is damaged is copied as it is: a copy has failed only where its
bytes are others than those of the source.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Final

from objstore_log._file_storage import PosixFile
from objstore_log._format import NO_MARKER, SEGMENT_HEADER_BYTES
from objstore_log._frozen import FrozenLog, FrozenSegment
from objstore_log._head import HEAD_NAME
from objstore_log._scan import Damage
from objstore_log._segment import Segment
from objstore_log._storage import File, Storage
from objstore_log.errors import StorageError

PIECE_BYTES: Final = 4 * 1024 * 1024
BLOCK_BYTES: Final = 4 * 1024
"""The smallest hole that is looked for."""


class SegmentCopy:
    """Copies one segment, then checks every record of the copy.

    Guarantee: behind the last step the copy is durable, but for its name, and holds
    what the source holds.
    """

    def __init__(
        self, frozen: FrozenLog, segment: FrozenSegment, target: Storage
    ) -> None:
        self.segment = segment
        self.data_bytes = 0
        """What of the source lies in no hole."""
        self.frame_damages: list[Damage] = []
        """Of the source: its header or its footer."""
        self.record_damages: list[Damage] = []
        """Records that do not hold; holes of dead chunks look so, too."""
        self._target = target
        self._log_id = frozen.log_id
        self._marker = frozen.marker
        self._closing = ExitStack()
        self._source = frozen.open(segment)
        self._closing.callback(self._source.close)
        self._pieces = self._run()

    def step(self) -> int | None:
        """Do a piece of the work; give the bytes copied, `None` behind the last.

        Raises:
            StorageError: the copy reads differently from what was written.
            OSError: the system refused.
        """
        return next(self._pieces, None)

    def close(self) -> None:
        """Close both files; idempotent."""
        self._pieces.close()
        self._closing.close()

    def _run(self) -> Generator[int]:
        copy = self._target.open(self.segment.name, create=True)
        self._closing.callback(copy.close)
        yield from self._copy(copy)
        copy.sync()
        if isinstance(copy, PosixFile):
            copy.forget_cached()
        for damage in self._damages_of_copy():
            if damage is not None:
                self._compare(copy, damage)
            yield 0

    # --- copying --------------------------------------------------------------

    def _copy(self, copy: File) -> Iterator[int]:
        length = self.segment.length
        self.data_bytes = self._source.data_bytes(0, length)
        if isinstance(copy, PosixFile) and isinstance(self._source, PosixFile):
            is_cloned = copy.clone(self._source, length)
        else:
            is_cloned = False
        if is_cloned:
            yield length
            return
        for position in range(0, length, PIECE_BYTES):
            count = min(PIECE_BYTES, length - position)
            self._copy_range(copy, position, count)
            yield count
        if copy.size() < length:
            copy.write_at(length - 1, [b"\0"])

    def _copy_range(self, copy: File, position: int, length: int) -> None:
        """Copy a range without its holes, which are found by halving it."""
        data_bytes = self._source.data_bytes(position, length)
        if not data_bytes:
            return
        if data_bytes < length and length > BLOCK_BYTES:
            half = -(-length // 2 // BLOCK_BYTES) * BLOCK_BYTES or BLOCK_BYTES
            self._copy_range(copy, position, half)
            self._copy_range(copy, position + half, length - half)
            return
        copy.write_at(position, [self._source.read_at(position, length)])

    # --- checking -------------------------------------------------------------

    def _damages_of_copy(self) -> Iterator[Damage | None]:
        """Give what does not hold in the copy; `None` between whole stretches."""
        segment = self._opened()
        self.frame_damages = segment.check_header()
        yield from self.frame_damages
        if segment.header.marker == NO_MARKER:
            whole = Damage(0, self.segment.length, "segment header")
            self.frame_damages = [whole]
            yield whole
            return
        end = self.segment.length
        if self.segment.is_sealed:
            footer = segment.footer
            end = end if footer is None else footer.usable
            if footer is None:
                damage = Damage(SEGMENT_HEADER_BYTES, self.segment.length, "footer")
                self.frame_damages.append(damage)
                yield damage
        yield from self._damaged_records(segment, end)

    def _opened(self) -> Segment:
        number = self.segment.number
        marker = self._marker
        own = marker[1] if marker is not None and marker[0] == number else None
        first_sequence = self.segment.first_sequence
        segment = Segment(self._target, self._log_id, number, first_sequence, own)
        self._closing.callback(segment.close)
        return segment

    def _damaged_records(self, segment: Segment, end: int) -> Iterator[Damage | None]:
        told = SEGMENT_HEADER_BYTES
        for item in segment.scan(SEGMENT_HEADER_BYTES, end, verify_bodies=True):
            if isinstance(item, Damage):
                self.record_damages.append(item)
                yield item
            elif item.end - told >= PIECE_BYTES:
                told = item.end
                yield None

    def _compare(self, copy: File, damage: Damage) -> None:
        """Check that the source is damaged in the same way."""
        for position in range(damage.position, damage.end, PIECE_BYTES):
            count = min(PIECE_BYTES, damage.end - position)
            if copy.read_at(position, count) != self._source.read_at(position, count):
                raise StorageError(
                    path=f"{self._target.path}/{self.segment.name}",
                    operation="copy",
                    reason=f"what was written reads differently at {position}; the "
                    "disk of the copy is not to be trusted",
                )


def is_same_segment(
    frozen: FrozenLog, segment: FrozenSegment, other: Storage
) -> int | None:
    """Say whether another directory has the same sealed segment.

    Returns:
        What of the source lies in no hole; `None` when it is another segment.
    """
    try:
        theirs = other.open(segment.name)
    except FileNotFoundError:
        return None
    try:
        own = frozen.open(segment)
        try:
            tail = segment.length - BLOCK_BYTES
            is_same = (
                segment.is_sealed
                and theirs.size() == segment.length
                and theirs.read_at(0, SEGMENT_HEADER_BYTES)
                == own.read_at(0, SEGMENT_HEADER_BYTES)
                and theirs.read_at(max(tail, 0), BLOCK_BYTES)
                == own.read_at(max(tail, 0), BLOCK_BYTES)
            )
            return own.data_bytes(0, segment.length) if is_same else None
        finally:
            own.close()
    finally:
        theirs.close()


def write_head(frozen: FrozenLog, target: Storage) -> None:
    """Give a copy its marks and its head, synced, and make all its names durable."""
    for mark in frozen.marks:
        target.open(mark.name, create=True).close()
    if frozen.head:
        file = target.open(HEAD_NAME, create=True)
        try:
            file.write_at(0, [frozen.head])
            file.sync()
        finally:
            file.close()
    target.sync_directory()
