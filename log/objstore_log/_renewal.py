"""Giving a segment's name to a copy of the file.

A segment is written once, so that it is never mended in place; and a name that one
sync of the directory has missed is made durable by no later one, only a new name is.
Whoever has the old file open goes on reading it: it holds the same records at the
same positions. It must be finished, for what is added to the old file is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from objstore_log._format import SEGMENT_HEADER_BYTES
from objstore_log._scan import ReadAt, greatest_durable_position
from objstore_log._segment import SEGMENT_SUFFIX, Segment
from objstore_log._segments import TEMPORARY_SUFFIX, Segments
from objstore_log._storage import Buffer, File

COPY_BYTES: Final = 1024 * 1024
BLOCK_BYTES: Final = 4 * 1024
"""Blocks of zeros of this size stay holes."""


def renew_file(
    segment: Segment,
    read_at: ReadAt,
    end: int,
    *,
    header: Buffer,
    footer: Sequence[Buffer] = (),
) -> None:
    """Make a copy of a segment durable under its name.

    Guarantee: until the copy has the name, durably, the old file is as it was.

    Args:
        segment: which one.
        read_at: reads the old file.
        end: how much of it is copied.
        header: what the copy begins with, as long as a header is.
        footer: what is put behind the end.
    """
    storage = segment.storage
    temporary = segment.name.removesuffix(SEGMENT_SUFFIX) + TEMPORARY_SUFFIX
    if temporary in storage.names():
        storage.remove(temporary)
    file = storage.open(temporary, create=True)
    try:
        file.write_at(0, [header])
        _copy(read_at, file, end)
        if footer:
            file.write_at(end, footer)
        file.sync()
    except (OSError, _UnreadableError):
        # its bytes may be the last room that there was
        with suppress(OSError):
            storage.remove(temporary)
        raise
    finally:
        file.close()
    storage.replace(temporary, segment.name)
    storage.sync_directory()


def has_lasting_name(segment: Segment) -> bool:
    """Say whether the name of a segment that no head speaks of outlives a power cut.

    Its creator may have died, or was refused, before the directory was synced; and a
    sync that was refused once may be a success the next time, without the name. But
    nobody appends to a segment whose name does not last, and what was appended tells:
    by a durable point behind the header, which what it was born with never states, or
    by a footer.
    """
    if segment.is_own and segment.storage.is_named(segment.file):
        return True
    if segment.footer is not None:
        return True
    size, marker = segment.file.size(), segment.header.marker
    stated = greatest_durable_position(
        segment.file.read_at, SEGMENT_HEADER_BYTES, size, marker
    )
    return stated > SEGMENT_HEADER_BYTES


def make_name_last(segments: Segments, active: Segment) -> Segment:
    """Give the active segment's name to a copy, by a sync that this process sees.

    One that the disk refuses to read keeps its file, or what it gives the next time
    would be lost; a sync is the most that can be done for its name.

    Returns:
        The segment. Nothing may be appended to it: others may have the old file open.
    """
    read_at = _told_apart(active.file.read_at)
    try:
        header = read_at(0, SEGMENT_HEADER_BYTES)
        renew_file(active, read_at, active.file.size(), header=header)
    except _UnreadableError:
        segments.storage.sync_directory()
    else:
        segments.renew(active)
    return segments.active


class _UnreadableError(Exception):
    """The disk refused to read."""


def _told_apart(read_at: ReadAt) -> ReadAt:
    """Tell refused reads from whatever else is refused."""

    def read(position: int, length: int) -> bytes:
        try:
            return read_at(position, length)
        except OSError as error:
            raise _UnreadableError from error

    return read


def _copy(read_at: ReadAt, target: File, end: int) -> None:
    """Copy what lies behind the header, leaving blocks of zeros out."""
    for position in range(SEGMENT_HEADER_BYTES, end, COPY_BYTES):
        piece = read_at(position, min(COPY_BYTES, end - position))
        for start in range(0, len(piece), BLOCK_BYTES):
            block = piece[start : start + BLOCK_BYTES]
            is_last = position + start + len(block) >= end
            if is_last or block.count(0) < len(block):
                target.write_at(position + start, [block])
