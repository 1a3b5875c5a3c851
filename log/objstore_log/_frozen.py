"""A log as it was at one moment, held still so that its files can be copied.

The log is frozen at its durable end: all of it below that end never changes, but for
what a reclaimer takes. So the reclaimer's lock is held, and writers write on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from objstore_log._commit import Committer
from objstore_log._core import LogCore
from objstore_log._footer import TRAILER_BYTES, decode_trailer
from objstore_log._head import HEAD_NAME
from objstore_log._head_slot import HEAD_BYTES, Head, decode_head, encode_head_slot
from objstore_log._interrupts import uninterrupted
from objstore_log._marks import Mark, marks_in
from objstore_log._patience import lock_timeout_s
from objstore_log._progress import End
from objstore_log._refusals import refusals
from objstore_log._segment import Segment, parse_segment_name
from objstore_log._segments import log_id_in
from objstore_log._space import RECLAIM_LOCK_NAME
from objstore_log._storage import File, Lock, Storage
from objstore_log._takeover import prepare_tail, roll
from objstore_log.errors import (
    BusyError,
    CorruptionError,
    PoisonedError,
    SequenceGoneError,
)

LOCK_PAUSE_S: Final = 0.005


class FrozenSegment(NamedTuple):
    """A segment as far as it belongs to the moment."""

    name: str
    number: int
    first_sequence: int
    length: int
    """Bytes of the file that are to be copied."""
    is_sealed: bool
    """It ends in a footer, so that no writer touches it any more."""


class FrozenLog:
    """The files of a log at one moment; they stay as they are until it is released."""

    def __init__(
        self,
        storage: Storage,
        segments: list[FrozenSegment],
        head: bytes,
        sequence: int,
        lock: Lock | None = None,
        *,
        marks: list[Mark],
    ) -> None:
        self.segments = segments
        self.marks = marks
        """What was reclaimed; a copy without them would have lost it."""
        self.head = head
        """What the head file of a copy holds."""
        self.sequence = sequence
        """The last one of the moment; 0 when nobody knows."""
        self._storage = storage
        self._lock = lock

    @property
    def length(self) -> int:
        """Give the bytes of all segments."""
        return sum(segment.length for segment in self.segments)

    @property
    def log_id(self) -> bytes:
        """Give what the head says that the log is, else its segments; empty: nobody."""
        head = decode_head(self.head)
        return head.log_id if head is not None else log_id_in(self._storage) or b""

    @property
    def marker(self) -> tuple[int, bytes] | None:
        """Give the number and the marker of the last segment, as the head has them."""
        head = decode_head(self.head)
        return None if head is None else (head.segment, head.marker)

    def open(self, segment: FrozenSegment) -> File:
        """Open a segment's file.

        Raises:
            SequenceGoneError: the whole log was deleted meanwhile.
        """
        try:
            return self._storage.open(segment.name)
        except FileNotFoundError:
            raise SequenceGoneError(sequence=segment.first_sequence) from None

    def release(self) -> None:
        """Let the reclaimers go on; idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


class Freezer:
    """Holds a log still, and parts the histories of a log and its copy."""

    def __init__(
        self, core: LogCore, committer: Committer, sleep: Callable[[float], None]
    ) -> None:
        self._core = core
        self._committer = committer
        self._sleep = sleep

    def freeze(self) -> FrozenLog:
        """Hold the log still at its durable end; reclaiming waits, writers do not.

        Raises:
            BusyError: another process reclaims or freezes it, and patience is over.
        """
        core = self._core
        if core.is_closed:
            raise core.why_closed()
        with refusals(core.storage.path, "freeze"), uninterrupted:
            lock = _reclaim_lock(core, self._sleep)
            try:
                if core.options.is_relaxed:
                    # so that what was acknowledged is in it; a reader waits for nobody
                    with suppress(BusyError, PoisonedError):
                        self._committer.sync(lambda: False)
                return _frozen(core, lock)
            except BaseException:
                lock.release()
                raise

    def leave_gap(self, count: int) -> None:
        """Leave so many sequences out: a place among them is told that it is lost."""
        core = self._core
        path = core.storage.path
        with refusals(path, "append to"), self._committer.locked(), core.mutex:
            prepare_tail(core)
            self._committer.sync_active()
            roll(core, core.progress.written.sequence + count + 1)


def _reclaim_lock(core: LogCore, sleep: Callable[[float], None]) -> Lock:
    limit = lock_timeout_s(core.options.lock_timeout_s)
    started = core.environment.monotonic_s()
    while True:
        lock = core.storage.try_lock(RECLAIM_LOCK_NAME)
        if lock is not None:
            return lock
        waited = core.environment.monotonic_s() - started
        uninterrupted.deliver()
        if limit is not None and waited >= limit:
            raise BusyError(
                path=core.storage.path,
                holder_pid=core.storage.lock_holder(RECLAIM_LOCK_NAME),
                waited_s=waited,
            )
        sleep(LOCK_PAUSE_S)


def _frozen(core: LogCore, lock: Lock) -> FrozenLog:
    with core.mutex:
        core.catch_up()
        core.segments.refresh()
        end = core.progress.durable
        last = core.segments.get(end.segment)
        if last is None:
            # its file is lost: what there is is copied as it is
            return frozen_files(core.storage, lock)
        segments = [
            _without_void(core, segment)
            for segment in core.segments
            if segment.number < end.segment
        ]
        size = min(end.position, last.file.size())
        segments.append(
            FrozenSegment(
                last.name,
                last.number,
                last.first_sequence,
                size,
                is_sealed=False,
            )
        )
        head = _encode_head(core.log_id, last, end)
        marks = marks_in(core.storage.names())
        return FrozenLog(core.storage, segments, head, end.sequence, lock, marks=marks)


def _without_void(core: LogCore, segment: Segment) -> FrozenSegment:
    """Cut off what lies above the end that the next segment states."""
    frozen = _frozen_segment(core.storage, segment.name)
    # what is too damaged to say where it ends is copied whole
    with suppress(CorruptionError):
        # a trailer alone may be what a power cut left of an unfinished footer
        if segment.footer is not None or core.segments.is_stated_sealed(segment):
            return frozen._replace(is_sealed=True)
        usable = min(core.segments.usable(segment), frozen.length)
        return frozen._replace(length=usable, is_sealed=False)
    return frozen


def _encode_head(log_id: bytes, last: Segment, end: End) -> bytes:
    """Say that a copy ends here, so that one that is shorter is known to be damaged."""
    marker = last.header.marker
    place = (end.position, end.sequence)
    heads = [
        Head(log_id, generation, last.number, *place, *place, 0, marker, 0)
        for generation in (2, 1)
    ]
    return b"".join(map(encode_head_slot, heads))


def _frozen_segment(storage: Storage, name: str) -> FrozenSegment:
    parsed = parse_segment_name(name)
    assert parsed is not None
    file = storage.open(name)
    try:
        size = file.size()
        tail = file.read_at(max(size - TRAILER_BYTES, 0), TRAILER_BYTES)
    finally:
        file.close()
    is_sealed = len(tail) == TRAILER_BYTES and decode_trailer(tail) is not None
    return FrozenSegment(name, *parsed, size, is_sealed)


def frozen_files(storage: Storage, lock: Lock | None = None) -> FrozenLog:
    """Give the files of a log that nobody writes, or that cannot be opened, as is."""
    names = storage.names()
    segments = [
        _frozen_segment(storage, name)
        for name in names
        if parse_segment_name(name) is not None
    ]
    head = b""
    if HEAD_NAME in names:
        file = storage.open(HEAD_NAME)
        try:
            head = file.read_at(0, HEAD_BYTES)
        finally:
            file.close()
    return FrozenLog(storage, segments, head, 0, lock, marks=marks_in(names))
