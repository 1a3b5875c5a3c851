"""Bringing the catalog up to the log: behind the commits, never in their way.

Only durable commits are applied. Any process may apply; the catalog itself says what
it has already. A catalog that the log does not agree with is rebuilt from the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

from objstore_log._catalog import Catalog, CatalogBusy, CatalogDamagedError
from objstore_log._catalog_file import OPEN_WAIT_S, WRITE_WAIT_S
from objstore_log._catalog_reader import Beside, CatalogSnapshot
from objstore_log._core import LogCore
from objstore_log._format import (
    COMMIT_BYTES,
    SEGMENT_HEADER_BYTES,
    RecordHeader,
    decode_record_header,
)
from objstore_log._overlay import Applied, NewestRecords
from objstore_log._record import Kind, Record
from objstore_log._replay import Replayed, replay
from objstore_log._scan import Damage
from objstore_log._segment import Segment
from objstore_log.errors import BusyError, ObjStoreError, StorageError

T = TypeVar("T")
APPLY_ROWS_MAX: Final = 10_000
"""Rows of one transaction: sorted batches of about this size are the fastest."""
REBUILD_TRIES: Final = 20
"""How often a catalog is made anew because another process did so, too."""
BUSY_TRIES: Final = 200
"""How often a rebuild waits for the applying of another process: 10 s in all."""

_logger = logging.getLogger("objstore")


class Applier:
    """Applies the overlay to the catalog, and rebuilds the catalog when it must."""

    def __init__(self, core: LogCore) -> None:
        self._core = core
        self._applied = Applied()
        self.refusal: StorageError | None = None
        """Why the last try to apply was refused, `None` when it was not."""

    def open_catalog(self) -> Applied:
        """Open the catalog; give the place from which the log has to be read."""
        applied = self._core.catalog.open()
        if not self.is_in_log(applied):
            _logger.warning(
                "%s: the catalog is of another history, it is rebuilt",
                self._core.storage.path,
            )
            applied = self._core.catalog.reset()
            while not self.is_in_log(applied):
                # another process has put its own there meanwhile, as bad as the last
                applied = self._core.catalog.reset()
        self._applied = applied
        return applied

    def is_in_log(self, applied: Applied) -> bool:
        """Say whether the log has exactly that commit, or had it until damage came."""
        if not applied.sequence and not applied.position:
            return True
        header = self._commit_at(applied)
        if header is None:
            return self._has_lost(applied)
        self._core.last_time_ns = max(self._core.last_time_ns, header.time_ns)
        return True

    def _commit_at(self, applied: Applied) -> RecordHeader | None:
        segments = self._core.segments
        if segments.get(applied.segment) is None:
            # another process may have made it since they were listed
            segments.refresh()
        segment = segments.get(applied.segment)
        start = applied.position - COMMIT_BYTES
        if segment is None or start < SEGMENT_HEADER_BYTES:
            return None
        try:
            data = segment.file.read_at(start, COMMIT_BYTES)
        except FileNotFoundError:
            return None
        header = decode_record_header(data, 0, segment.header.marker, start)
        is_it = (
            header is not None
            and header.kind == Kind.COMMIT
            and header.sequence == applied.sequence
            and header.header_checksum == applied.checksum
        )
        return header if is_it else None

    def _has_lost(self, applied: Applied) -> bool:
        """Say whether the log had that commit, and damage took it.

        The catalog then knows names that nobody else does; one made anew would show
        them as they were before. Another history has no damage where the commit
        should be, or ends before it.
        """
        core = self._core
        segment = core.segments.get(applied.segment)
        if segment is not None and not segment.knows_itself():
            return True
        if not self._was_durable(applied, segment):
            return False
        if segment is None or segment.file.size() < applied.position:
            return True
        place = applied.position - COMMIT_BYTES
        with suppress(FileNotFoundError):
            end = segment.file.size()
            for item in segment.scan(SEGMENT_HEADER_BYTES, end, verify_bodies=False):
                if not isinstance(item, Damage):
                    core.last_time_ns = max(core.last_time_ns, item.time_ns)
                elif item.position <= place < item.end:
                    core.note_damage(segment, item)
                    return True
        return False

    def _was_durable(self, applied: Applied, segment: Segment | None) -> bool:
        """Say whether the head, or the next segment, states that there was a commit."""
        if segment is not None and segment.is_rewritten:
            # what is not in a copy stood in the file that it was copied from
            return segment.header.usable >= applied.position
        head = self._core.head_file.read()
        if head is not None:
            stated = head.segment, head.durable_position
            has_it = head.durable_sequence >= applied.sequence
            return has_it and stated >= (applied.segment, applied.position)
        if segment is None or self._core.segments.following(segment) is None:
            return False
        return self._core.segments.usable(segment) >= applied.position

    def apply(self) -> bool:
        """Apply every durable commit of the overlay.

        Returns:
            False when another process is applying just now, or the disk is full: the
            overlay stays, and readers lay it over what the catalog has.
        """
        core, before = self._core, self.refusal
        self.refusal = None
        while True:
            with core.mutex:
                durable = core.progress.durable.sequence
                batch = core.overlay.take_batch(APPLY_ROWS_MAX, durable)
                after = self._applied
            if batch is None:
                return True
            try:
                applied = core.catalog.apply(batch.records, batch.through, after=after)
                if applied.place < after.place:
                    applied = self._rebuild_from(applied)
                elif applied.place == after.place and applied != after:
                    self.rebuild("it ends in another history")
                    continue
            except CatalogBusy:
                return False
            except StorageError as error:
                self.refusal = error
                if before is None or str(before) != str(error):
                    # told once, not by each look-up on a full disk
                    _logger.warning(
                        "%s: catalog not brought up: %s", core.storage.path, error
                    )
                return False
            except CatalogDamagedError as error:
                self.rebuild(str(error))
                continue
            with core.mutex:
                self._moved(applied)

    def apply_behind(self) -> None:
        """Apply where nobody waits for it: what fails is done by whoever needs it."""
        try:
            self.apply()
        except (ObjStoreError, OSError) as error:
            _logger.warning(
                "%s: catalog not brought up: %s", self._core.storage.path, error
            )

    def _moved(self, applied: Applied) -> None:
        if applied.place > self._applied.place:
            self._applied = applied
        self._core.overlay.drop_through(applied.sequence)

    def guarded(self, read: Callable[[], T]) -> T:
        """Read the catalog; rebuild it once and read again when it is damaged."""
        try:
            return read()
        except CatalogDamagedError as error:
            self.rebuild(str(error))
            return read()

    def subjects(
        self, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[bytes, int]]:
        """Lay the overlay over `Catalog.subjects`.

        It has something where another process is applying just now.
        """
        core = self._core
        with core.mutex:
            rows = self.guarded(lambda: core.catalog.subjects(start, stop, limit))
            return core.overlay.merge(rows, start, stop, limit)

    def subjects_beside(
        self, beside: Beside, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[Any, ...]]:
        """Lay the overlay over `Catalog.subjects_beside`.

        Returns:
            `(subject, sequence, checksum, *columns)`, sorted; from the checksum on
            `None` where the catalog has not that sequence. Columns are not checked.
        """
        core = self._core
        width = 3 + len(beside.columns)
        with core.mutex:
            rows = self.guarded(
                lambda: core.catalog.subjects_beside(beside, start, stop, limit)
            )
            return core.overlay.merge(rows, start, stop, limit, width=width)

    def snapshot(self) -> tuple[NewestRecords, CatalogSnapshot]:
        """Give what the catalog has and what lies above it, without a gap."""
        core = self._core
        while True:
            with core.mutex:
                # first what is above: what is applied meanwhile is in both then
                newest = core.overlay.copy()
                below = self._applied
            taken = self.guarded(core.catalog.snapshot)
            if taken.applied.place >= below.place:
                return newest, taken
            taken.release()
            # another process has begun a new one, which we help to fill
            self._rebuild_from(taken.applied)

    def rebuild(self, reason: str) -> None:
        """Make the catalog anew from the log.

        Raises:
            BusyError: a stopped process holds the catalog.
        """
        core = self._core
        _logger.warning(
            "%s: catalog rebuilt from the log: %s", core.storage.path, reason
        )
        with core.mutex:
            core.cache.clear()
            for _ in range(REBUILD_TRIES - 1):
                # another process may replace it meanwhile, too
                with suppress(CatalogDamagedError):
                    self._rebuild_once()
                    return
            self._rebuild_once()

    def _rebuild_once(self) -> None:
        try:
            applied = self._core.catalog.reset()
        except CatalogBusy as error:
            raise _busy(error, OPEN_WAIT_S) from error
        self._applied = applied
        self._moved(self._rebuild_from(applied))

    def _rebuild_from(self, start: Applied) -> Applied:
        """Read the log again from a place and apply it up to the durable point."""
        applied = start
        for records, through in self._batches(start, self._core.note_damage):
            applied = self._apply_at_last(records, through, applied)
        return applied

    def fill(
        self,
        twin: Catalog,
        last_sequence: int,
        on_damage: Callable[[Segment, Damage], None],
    ) -> None:
        """Apply to another catalog what the log says up to a sequence."""
        applied = twin.open()
        for records, through in self._batches(applied, on_damage, last_sequence):
            applied = twin.apply(records, through, after=applied)

    def _apply_at_last(
        self, records: list[Record], through: Applied, after: Applied
    ) -> Applied:
        """Apply commits although others apply, too."""
        for _ in range(BUSY_TRIES - 1):
            with suppress(CatalogBusy):
                return self._core.catalog.apply(records, through, after=after)
        try:
            return self._core.catalog.apply(records, through, after=after)
        except CatalogBusy as error:
            raise _busy(error, BUSY_TRIES * WRITE_WAIT_S) from error

    def _batches(
        self,
        start: Applied,
        on_damage: Callable[[Segment, Damage], None],
        last_sequence: int | None = None,
    ) -> Iterator[tuple[list[Record], Applied]]:
        core = self._core
        durable = core.progress.durable
        records: list[Record] = []
        through = start
        for segment in core.segments:
            if segment.number < start.segment or segment.number > durable.segment:
                continue
            is_first = segment.number == start.segment
            begin = start.position if is_first else SEGMENT_HEADER_BYTES
            end = durable.position if segment.number == durable.segment else None
            for item in self._replayed(segment, begin, end, on_damage):
                if item.through.sequence < through.sequence:
                    continue
                if last_sequence is not None and item.through.sequence > last_sequence:
                    break
                records += item.records
                through = item.through
                if len(records) >= APPLY_ROWS_MAX:
                    yield records, through
                    records = []
        if through.place > start.place:
            yield records, through

    def _replayed(
        self,
        segment: Segment,
        begin: int,
        end: int | None,
        on_damage: Callable[[Segment, Damage], None],
    ) -> Iterator[Replayed]:
        """Give the batches of a segment; `end` is `None` for its usable end."""
        # one that another process unlinks meanwhile holds nothing that is needed
        with suppress(FileNotFoundError):
            opened = segment.opened()
            if opened.header.is_rewritten:
                # places in a copy are others; what is known already is left out
                begin = SEGMENT_HEADER_BYTES
            if end is None:
                end = self._core.segments.usable(segment, opened.header)
            for item in replay(segment, begin, end, opened):
                if isinstance(item, Damage):
                    on_damage(segment, item)
                else:
                    yield item


def _busy(error: CatalogBusy, waited_s: float) -> BusyError:
    return BusyError(path=str(error.facts["path"]), holder_pid=None, waited_s=waited_s)
