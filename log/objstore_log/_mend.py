"""Mending what carries records: headers and footers of segments that are finished.

A copy of the segment, byte for byte but for what is mended, takes its name.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from objstore_log._commit import Committer
from objstore_log._core import LogCore
from objstore_log._footer import encode_footer
from objstore_log._format import (
    SEGMENT_HEADER_BYTES,
    RecordHeader,
    SegmentHeader,
    decode_segment_header,
    encode_segment_header,
)
from objstore_log._record import STRUCTURAL_KINDS
from objstore_log._refusals import refusals
from objstore_log._renewal import renew_file
from objstore_log._scan import Damage, past_refusals
from objstore_log._segment import Segment
from objstore_log._space import RECLAIM_LOCK_NAME
from objstore_log._storage import Buffer
from objstore_log.errors import BusyError

ALONE_WAIT_S: Final = 30.0
"""How long it waits for the retention of another process."""
_PAUSE_S: Final = 0.01


class Mender:
    """Mends segments of one log, and reads what of them cannot be read as records."""

    def __init__(self, core: LogCore, committer: Committer) -> None:
        self._core = core
        self._committer = committer

    @contextmanager
    def alone(self) -> Generator[None]:
        """Keep every reclaimer of this log away; what is dead stays as it is.

        Raises:
            BusyError: another process has been reclaiming for too long.
        """
        storage = self._core.storage
        deadline = time.monotonic() + ALONE_WAIT_S
        while (lock := storage.try_lock(RECLAIM_LOCK_NAME)) is None:
            if time.monotonic() >= deadline:
                pid = storage.lock_holder(RECLAIM_LOCK_NAME)
                raise BusyError(
                    path=storage.path, holder_pid=pid, waited_s=ALONE_WAIT_S
                )
            time.sleep(_PAUSE_S)
        try:
            yield
        finally:
            lock.release()

    def raw(self, number: int, position: int, end: int) -> bytes:
        """Give the bytes of a stretch as they are, none where there is no file."""
        with refusals(self._core.storage.path, "read"):
            segment = self._core.segments.get(number)
            if segment is None:
                return b""
            try:
                read = past_refusals(segment.file.read_at)
                return read(position, max(end - position, 0))
            except FileNotFoundError:
                return b""

    def heal(self, number: int, *, dry_run: bool = False) -> bool:
        """Write a segment anew with whole headers and a whole footer.

        Guarantee: what it holds between them is copied as it is, damage included;
        until the copy has its name, durably, the old file is as it was. The one that
        is appended to is ended first.

        Returns:
            False when that cannot be done: no copy of its header is whole, or nobody
            knows what stood in a damaged stretch.
        """
        with refusals(self._core.storage.path, "mend"), self.alone():
            segment = self._segment(number)
            if segment is None or _whole_header(segment) is None:
                return False
            if dry_run:
                return self._can_heal(segment)
            self._committer.end_segment(number)
            segment = self._segment(number)
            try:
                return segment is not None and self._heal(segment)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                # a copy would have other bytes where the disk gives none
                return False

    def _segment(self, number: int) -> Segment | None:
        self._core.catch_up()
        with self._core.mutex:
            self._core.segments.refresh()
            return self._core.segments.get(number)

    def _can_heal(self, segment: Segment) -> bool:
        if segment is self._core.segments.active:
            # it is ended first, by a footer that is whole
            return True
        header = _whole_header(segment)
        return header is not None and self._end_of(segment, header)[1] is not None

    def _end_of(
        self, segment: Segment, header: SegmentHeader
    ) -> tuple[int, list[Buffer] | None]:
        """Give how much is copied, and the footer behind it if that is made anew."""
        is_stated = self._core.segments.is_stated_sealed(segment)
        if not segment.footer_is_damaged(is_stated=is_stated):
            return segment.file.size(), []
        usable = self._core.segments.usable(segment)
        return usable, self._footer(segment, header, usable)

    def _heal(self, segment: Segment) -> bool:
        header = _whole_header(segment)
        if header is None:
            return False
        end, footer = self._end_of(segment, header)
        if footer is None:
            return False
        renew_file(
            segment,
            segment.file.read_at,
            end,
            header=encode_segment_header(header),
            footer=footer,
        )
        with self._core.mutex:
            self._core.segments.renew(segment)
        return True

    def _footer(
        self, segment: Segment, header: SegmentHeader, usable: int
    ) -> list[Buffer] | None:
        """Make the footer anew; `None` when a record of it may be missing."""
        last = self._last_of(segment)
        if last is None:
            return None
        segment.drop_index()
        last_time_ns = 0
        for item in segment.scan(SEGMENT_HEADER_BYTES, usable, verify_bodies=False):
            if isinstance(item, Damage):
                return None
            last_time_ns = max(last_time_ns, _time_of(item))
        if segment.file.size() < usable:
            return None
        index = segment.index(usable)
        return [*encode_footer(header, usable, last, last_time_ns, index)]

    def _last_of(self, segment: Segment) -> int | None:
        """Give the last sequence of a finished segment, `None` when nobody says."""
        if segment.is_rewritten:
            return segment.header.covers_final
        following = self._core.segments.following(segment)
        if following is None or following.header.previous_number != segment.number:
            return None
        return following.header.previous_last_sequence


def _time_of(header: RecordHeader) -> int:
    return 0 if header.kind in STRUCTURAL_KINDS else header.time_ns


def _whole_header(segment: Segment) -> SegmentHeader | None:
    """Give the header from any whole copy of it in the file."""
    decoded = decode_segment_header(segment.file.read_at(0, SEGMENT_HEADER_BYTES))
    if decoded is not None:
        return decoded.header
    footer = segment.footer
    return None if footer is None else footer.header
