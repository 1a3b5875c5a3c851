"""Ending a segment: its footer, durable before anybody builds on it."""

from __future__ import annotations

import errno
from contextlib import suppress

from objstore_log._footer import TRAILER_BYTES, encode_footer
from objstore_log._segment import Segment


def write_footer(
    segment: Segment, end: int, last_sequence: int, time_ns: int, usable: int
) -> None:
    """Seal a segment: append its footer and sync it.

    Guarantee: until the sync returns the segment is as it was; a torn footer is no
    footer, and the records below `end` do not change. A footer whose sync failed is
    taken back.
    """
    index = segment.index(usable)
    if segment.loaded_index is None:
        # the footer would say for good that there is nothing in a bad sector
        raise OSError(errno.EIO, "a bad sector hides records", segment.path)
    pieces = encode_footer(segment.header, end, last_sequence, time_ns, index)
    segment.file.write_at(end, pieces)
    sync_footer(segment, end + sum(map(len, pieces)))


def sync_footer(segment: Segment, size: int) -> None:
    """Make a footer durable before anybody builds on it, or take it back.

    Args:
        segment: what it ends.
        size: of the file; the trailer's bytes are the last.
    """
    try:
        segment.file.sync()
    except OSError:
        # everybody would read this seal, and a power cut may take it: then only the
        # next segment says where this one ends, and must not go. One byte, which no
        # cut can tear.
        with suppress(OSError):
            segment.file.write_at(size - TRAILER_BYTES, [b"\0"])
        segment.lose_footer()
        raise
