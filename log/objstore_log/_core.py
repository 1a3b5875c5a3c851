"""What one process knows of a log, and how it catches up with the others.

`LogCore` is the shared state below the committer, the reader and the reclaimer.
Its mutex guards memory; it is never held during a commit's sync or a wait for the
log's lock (making a segment, which is rare, happens under it).
Every batch, own or foreign, passes `observe`, and becomes visible in log order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, NamedTuple, TypeAlias

from objstore_log._catalog import Catalog, Projection
from objstore_log._format import SEGMENT_HEADER_BYTES
from objstore_log._head import HeadFile
from objstore_log._head_slot import Head
from objstore_log._openers import Openers
from objstore_log._overlay import Applied, Overlay, SubjectCache
from objstore_log._progress import End, Progress
from objstore_log._record import Record
from objstore_log._refusals import storage_error
from objstore_log._replay import Replayed, replay
from objstore_log._scan import Damage
from objstore_log._segment import Opened, Segment
from objstore_log._segments import Environment, Segments
from objstore_log._storage import Storage
from objstore_log._writers import Writers
from objstore_log.errors import ClosedError, ObjStoreError, StorageError

SyncMode: TypeAlias = Literal["always", "never"] | float
OVERLAY_ROWS_MAX: Final = 20_000
CACHED_SUBJECTS_MAX: Final = 20_000
SEGMENT_BYTES_DEFAULT: Final = 64 * 1024 * 1024
CATALOG_NAME: Final = "catalog.sqlite"
VANISHED_MAX: Final = 100
"""How often a look begins again because segments vanished during it."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How a log behaves."""

    sync: SyncMode = "always"
    """Sync before every acknowledgement, every so many seconds, or never."""
    segment_bytes: int = SEGMENT_BYTES_DEFAULT
    """A segment is sealed before a batch would take it beyond this."""
    lock_timeout_s: float | None = None
    """How long an append waits for another process; `None` waits without end."""

    @property
    def is_relaxed(self) -> bool:
        """Say whether readers may see what is not durable yet."""
        return self.sync != "always"


class SegmentDamage(NamedTuple):
    """Damage with the segment it lies in."""

    segment: int
    damage: Damage


class _Observed(NamedTuple):
    records: list[Record]
    through: Applied


@dataclass(slots=True)
class Poison:
    """Why this process writes no more."""

    reason: str
    errno: int | None = field(default=None)


Listener: TypeAlias = Callable[[Sequence[Record]], None]


class LogCore:
    """The state of one log in one process."""

    def __init__(
        self,
        storage: Storage,
        log_id: bytes,
        *,
        options: LogOptions,
        environment: Environment,
        writers: Writers,
        projections: Sequence[Projection] = (),
    ) -> None:
        self.storage = storage
        self.log_id = log_id
        self.options = options
        self.environment = environment
        self.writers = writers
        self.openers = Openers(storage)
        self.mutex = threading.RLock()
        self.segments = Segments(storage, log_id, environment)
        self.head_file = HeadFile(storage, log_id)
        self.catalog = Catalog(
            storage.database_path(CATALOG_NAME),
            identity=log_id,
            projections=projections,
        )
        self.overlay = Overlay(OVERLAY_ROWS_MAX)
        self.cache = SubjectCache(CACHED_SUBJECTS_MAX)
        self.progress = Progress(
            End(0, SEGMENT_HEADER_BYTES, 0), is_relaxed=options.is_relaxed
        )
        self.last_time_ns = 0
        self.unsynced_writers: set[int] = set()
        """Writers of the batches between durable and written."""
        self.is_closed_tail = True
        """The last batch is an empty one, or may be: nothing was written behind it."""
        self.poison: Poison | None = None
        self.damages: list[SegmentDamage] = []
        self.listeners: list[Listener] = []
        self.wake_waiters: Callable[[], None] = lambda: None
        self.apply_overlay: Callable[[], object] = lambda: None
        """Empties a full overlay into the catalog."""
        self.hole_listeners: list[Callable[[], None]] = []
        """Called when records were never seen that the catalog has, or that are lost.

        Everything below was shown by then, and nothing above it.
        """
        self.visible_sequence = 0
        self._followed: Head | None = None
        """The last head that was read on to; a failure on the way leaves it behind."""
        self._reclaim_generation = 0
        """As of the last head: it moves when files were given back or copied."""
        self._vanished = 0
        """Counts stretches that could not be read because they were gone."""
        self.is_closed = False
        self.why_closed: Callable[[], ObjStoreError] = partial(
            ClosedError, what=f"the log at {storage.path}"
        )
        """Makes the error of every use behind the end."""
        self._observed: deque[_Observed] = deque()

    # --- catching up ----------------------------------------------------------

    def catch_up(self) -> None:
        """Take in what other processes published since the last look."""
        try:
            # in this order: behind the look another thread may have read a newer head,
            # and goes on reading on to it
            if not self.head_file.changed() and self._followed is self.head_file.newest:
                return
            with self.mutex:
                self._follow_newest()
        except OSError as error:
            if isinstance(error, ObjStoreError):
                raise
            raise storage_error(self.storage.path, "read", error) from error

    def _follow_newest(self) -> None:
        """Read on to the newest head; again when segments went on the way there.

        What stood in them was superseded, and perhaps behind the head that was read.
        """
        for _ in range(VANISHED_MAX):
            head = self.head_file.read()
            if head is not None:
                vanished = self._vanished
                self.follow_head(head)
                has_all = self.progress.written.segment >= head.segment
                self._followed = head
                if has_all and vanished == self._vanished:
                    return
            if not self.head_file.changed():
                return

    def note_published(self) -> None:
        """Take the head that was just published for read on to: it states own ends.

        Only under the log's lock, behind which nobody else has published, and once it
        is shown: who finds the head read on to looks at what is shown, and others may
        have seen the batch by then.
        """
        self._followed = self.head_file.newest

    def follow_head(self, head: Head) -> None:
        """Read on to the published end."""
        ends = self.progress
        if (head.segment, head.written_position) > ends.written[:2]:
            if head.segment != ends.written.segment:
                self.segments.fallback_marker = (head.segment, head.marker)
                self.segments.refresh()
            self.read_on(head.segment, head.written_position)
            if self.progress.written.segment == head.segment:
                self.claim(head.written_sequence)
        self._advance_durable(head)
        self.show()
        if head.reclaim_generation != self._reclaim_generation:
            self._reclaim_generation = head.reclaim_generation
            self.segments.renew_rewritten()

    def claim(self, sequence: int) -> None:
        """Take sequences for used that something states and damage may hide."""
        written = self.progress.written
        if sequence > written.sequence:
            self.progress.advance(written=written._replace(sequence=sequence))

    def _advance_durable(self, head: Head) -> None:
        written, durable = self.progress.written, self.progress.durable
        sequence = min(max(head.durable_sequence, durable.sequence), written.sequence)
        published = End(head.segment, head.durable_position, sequence)
        if published[:2] > durable[:2] and published[:2] <= written[:2]:
            self.progress.advance(durable=published)
            self.unsynced_writers &= {self.writers.writer_id}

    def read_on(self, last_segment: int, last_position: int) -> None:
        """Observe everything from the own written end to a place that is committed.

        Another process may unlink a segment on the way: nothing in it is needed.
        """
        for _ in range(VANISHED_MAX):
            try:
                self._read_on(last_segment, last_position)
            except FileNotFoundError:
                self.segments.refresh()
                self._vanished += 1
            else:
                return
        raise StorageError(
            path=self.storage.path,
            operation="read",
            reason="its segments vanish as fast as they can be listed",
        )

    def _read_on(self, last_segment: int, last_position: int) -> None:
        for segment in self.segments:
            written = self.progress.written
            if segment.number < written.segment:
                continue
            if segment.number > last_segment:
                break
            is_last = segment.number == last_segment
            # of one file all along: its name may be a copy's any moment
            opened = segment.opened()
            end = last_position
            if not is_last:
                end = self.segments.usable(segment, opened.header)
            if segment.number == written.segment and not opened.header.is_rewritten:
                if end < written.position:
                    # its tail was copied into the next segment; look at it anew
                    segment.drop_index()
                start = written.position
            else:
                # a place in what another process has copied says nothing: all of it is
                # read again, and what was observed before is left out
                start = SEGMENT_HEADER_BYTES
                self.enter(segment)
            self._read_segment(segment, opened, start, end)

    def enter(self, segment: Segment) -> None:
        """Move on to the start of the next segment."""
        # a segment is created only after everything below it was synced
        below = segment.first_sequence - 1
        has_hole = self.progress.written.sequence < below or (
            # what was left out of it was never seen, and the catalog has its effect
            segment.is_rewritten
            and self.progress.written.sequence < segment.header.covers_final
        )
        written = max(self.progress.written.sequence, below)
        durable = max(self.progress.durable.sequence, below)
        start = End(segment.number, SEGMENT_HEADER_BYTES, written)
        self.progress.advance(written=start, durable=start._replace(sequence=durable))
        self.segments.followed = segment.number
        self.is_closed_tail = True
        self.show()
        if has_hole:
            self._vanished += 1
            for listener in self.hole_listeners:
                listener()
            # what was superseded in the hole may have gone with it
            self.cache.clear()

    def _read_segment(
        self, segment: Segment, opened: Opened, start: int, end: int
    ) -> None:
        for item in replay(segment, start, end, opened):
            if isinstance(item, Damage):
                self.note_damage(segment, item)
            else:
                self._observe_replayed(segment, item)
        if end > self.progress.written.position:
            # damage at the very end: the numbers it held are not used again
            last = self.progress.written.sequence
            self.progress.advance(written=End(segment.number, end, last))

    def _observe_replayed(self, segment: Segment, batch: Replayed) -> None:
        known = self.progress.written.sequence
        index = segment.loaded_index
        if index is not None:
            for header in batch.headers:
                if header.sequence > index.last_sequence:
                    index.add(header)
        if batch.commit is not None:
            self.unsynced_writers.add(batch.commit.writer_id)
        fresh = [record for record in batch.records if record.sequence > known]
        self.observe(fresh, batch.through, batch.time_ns, is_empty=not batch.headers)
        sequence = max(known, batch.through.sequence)
        self.progress.advance(
            written=End(segment.number, batch.through.position, sequence)
        )

    def note_damage(self, segment: Segment, damage: Damage) -> None:
        """Keep what was found damaged."""
        found = SegmentDamage(segment.number, damage)
        if found not in self.damages:
            self.damages.append(found)

    @property
    def lost(self) -> list[SegmentDamage]:
        """Give the segments that are missing and were not reclaimed."""
        return [
            SegmentDamage(
                item.numbers.first,
                Damage(0, SEGMENT_HEADER_BYTES, item.reason, is_missing=True),
            )
            for item in self.segments.lost
        ]

    # --- observing ------------------------------------------------------------

    def observe(
        self, records: list[Record], through: Applied, time_ns: int, *, is_empty: bool
    ) -> None:
        """Take in a batch that was written; it is shown when readers may see it.

        Comes before the written end moves: a batch above that end is what Ctrl-C left
        of a commit, which is observed anew.
        """
        limit = self.progress.written.sequence
        while self._observed and self._observed[-1].through.sequence > limit:
            self._observed.pop()
        self.last_time_ns = max(self.last_time_ns, time_ns)
        self._observed.append(_Observed(records, through))
        self.is_closed_tail = is_empty

    def show(self) -> None:
        """Show every observed batch that readers may see by now."""
        limit = self.progress.visible_sequence
        while self._observed and self._observed[0].through.sequence <= limit:
            # taken out last: Ctrl-C in between shows it once more, never not at all
            batch = self._observed[0]
            newest = self.overlay.through
            if newest is None or newest.place < batch.through.place:
                self.overlay.add(batch.records, batch.through)
            self.cache.update(batch.records)
            for listener in self.listeners:
                listener(batch.records)
            self._observed.popleft()
            if self.overlay.is_full:
                self.apply_overlay()
        assert limit >= self.visible_sequence
        if limit > self.visible_sequence:
            self.visible_sequence = limit
            self.wake_waiters()

    def close(self, *, keeps_pinned: bool = False) -> None:
        """Close files and catalog, whichever of them fails."""
        self.is_closed = True
        with ExitStack() as closing:
            closing.callback(self.storage.close)
            closing.callback(self.openers.leave)
            closing.callback(self.catalog.close)
            closing.callback(self.head_file.close)
            self.segments.close(keeps_pinned=keeps_pinned)
