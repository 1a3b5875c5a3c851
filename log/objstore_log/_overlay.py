"""Committed records that the catalog does not have yet, and a cache of subjects.

Owns memory only: no I/O, no clock, no locks; the log calls it under its own lock,
except `Overlay.last` and `SubjectCache.get`, which may run beside everything.
Invariants:
- Commits are kept whole and in log order, so a batch always ends at a commit.
- A superseded record stays until it was applied: projections count every change.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from objstore_log._notes import Notes
from objstore_log._record import SUBJECT_KINDS, Kind, Record
from objstore_log._value_class import value_class

OVERLAY_BYTES_MAX = 32 * 1024 * 1024
"""Bodies that an overlay keeps before it says that it is full."""
CACHED_BODY_BYTES_MAX = 8 * 1024
"""A record with a larger body is cached by its sequence alone."""

CATALOG_KINDS = SUBJECT_KINDS | {Kind.ABORT}
"""Kinds that reach the catalog; of the others it learns only where they end."""


@value_class
class Applied:
    """Up to where the catalog has the log: a commit record."""

    sequence: int = 0
    """The last sequence of that commit, 0 for nothing."""
    checksum: int = 0
    """Of the commit record, so that another history is noticed."""
    segment: int = 0
    position: int = 0
    """The end of the commit record in its segment."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Give what orders two of them; an empty commit only moves the position."""
        return self.sequence, self.segment, self.position


@value_class
class OverlayBatch:
    """Whole commits to apply, oldest first."""

    records: list[Record]
    through: Applied


class NewestRecords:
    """The newest record of each subject, to be laid over what the catalog has."""

    def __init__(self, newest: dict[bytes, Record] | None = None) -> None:
        self._newest: dict[bytes, Record] = {} if newest is None else newest
        self._sorted: list[bytes] | None = None

    def copy(self) -> NewestRecords:
        """Give what is kept now, which changes no more."""
        return NewestRecords(dict(self._newest))

    def last(self, subject: bytes) -> Record | None:
        """Give the newest kept record of a subject."""
        return self._newest.get(subject)

    def subjects(self, start: bytes, stop: bytes | None) -> list[tuple[bytes, Record]]:
        """List kept subjects in `[start, stop)` with their newest records, sorted."""
        if self._sorted is None:
            self._sorted = sorted(self._newest)
        first = bisect_left(self._sorted, start)
        end = len(self._sorted) if stop is None else bisect_left(self._sorted, stop)
        newest = self._newest
        return [(subject, newest[subject]) for subject in self._sorted[first:end]]

    def merge(
        self,
        page: Sequence[tuple[Any, ...]],
        start: bytes,
        stop: bytes | None,
        limit: int,
        *,
        width: int = 2,
    ) -> list[tuple[Any, ...]]:
        """Lay the overlay over a page of the catalog: `subjects` or `subjects_beside`.

        Args:
            page: rows of a subject, its last sequence and whatever is beside them.
            start: where the page begins.
            stop: where it ends, `None` for nowhere.
            limit: what it was asked for.
            width: how long a row is; what the catalog cannot have yet is `None`.

        Returns:
            At most `limit` rows, sorted, as if everything had been applied.
        """
        if not self._newest:
            return list(page)
        # Behind the end of a full page the catalog may have rows that it did not show.
        if len(page) == limit:
            stop = page[-1][0] + b"\0" if page else start
        merged = {row[0]: row for row in page}
        unknown = (None,) * (width - 2)
        for subject, record in self.subjects(start, stop):
            row = merged.get(subject)
            if row is None or row[1] < record.sequence:
                merged[subject] = (subject, record.sequence, *unknown)
        return sorted(merged.values(), key=itemgetter(0))[:limit]


class Overlay(NewestRecords):
    """The commits above the catalog, bounded by rows and by bytes.

    The bound is a signal (`is_full`), not a refusal: what is committed must be kept.
    """

    def __init__(self, limit: int, *, bytes_limit: int = OVERLAY_BYTES_MAX) -> None:
        super().__init__()
        self._limit = limit
        self._bytes_limit = bytes_limit
        self._commits: deque[OverlayBatch] = deque()
        self._bytes = 0
        self.rows = 0
        """Records that are kept, superseded ones included."""

    @property
    def is_full(self) -> bool:
        """Tell whether the log should apply before it commits more."""
        return self.rows >= self._limit or self._bytes >= self._bytes_limit

    @property
    def through(self) -> Applied | None:
        """Give where the newest commit ends, `None` when there is none."""
        return self._commits[-1].through if self._commits else None

    def add(self, records: Sequence[Record], through: Applied) -> None:
        """Keep one commit.

        Args:
            records: its records of `CATALOG_KINDS` in order, may be empty.
            through: where the commit ends.
        """
        newest = self.through
        assert newest is None or newest.place < through.place, (newest, through)
        for record in records:
            assert record.kind in CATALOG_KINDS, record.kind
            self._bytes += len(record.body)
            if record.kind in SUBJECT_KINDS:
                self._replace(record)
        self.rows += len(records)
        # A long put is a run of commits without rows; one of them stands for all.
        if not records and self._commits and not self._commits[-1].records:
            self._commits.pop()
        self._commits.append(OverlayBatch(list(records), through))

    def _replace(self, record: Record) -> None:
        subject = record.subject
        if subject not in self._newest:
            self._sorted = None
        self._newest[subject] = record

    def has_batch(self, durable_sequence: int) -> bool:
        """Say whether `take_batch` would give a commit."""
        commits = self._commits
        return bool(commits) and commits[0].through.sequence <= durable_sequence

    def take_batch(self, max_rows: int, durable_sequence: int) -> OverlayBatch | None:
        """Give the oldest commits to apply; they stay kept until `drop_through`.

        Args:
            max_rows: stop before the commit that would pass it; the first commit
                is given whole, whatever its size.
            durable_sequence: commits above it are left out.

        Returns:
            `None` when no commit may be applied.
        """
        records: list[Record] = []
        through: Applied | None = None
        for commit in self._commits:
            if commit.through.sequence > durable_sequence:
                break
            if through is not None and len(records) + len(commit.records) > max_rows:
                break
            records += commit.records
            through = commit.through
        return None if through is None else OverlayBatch(records, through)

    def drop_through(self, sequence: int) -> None:
        """Forget the commits at or below a sequence that the catalog has."""
        while self._commits and self._commits[0].through.sequence <= sequence:
            for record in self._commits.popleft().records:
                self.rows -= 1
                self._bytes -= len(record.body)
                if record.kind in SUBJECT_KINDS:
                    self._forget(record)

    def _forget(self, record: Record) -> None:
        subject = record.subject
        if self._newest[subject] is record:
            del self._newest[subject]
            self._sorted = None

    def clear(self) -> None:
        """Forget everything: another process has moved the catalog beyond it."""
        self._commits.clear()
        self._newest.clear()
        self._sorted = []
        self._bytes = self.rows = 0


class SubjectCache:
    """The least recently used subjects are forgotten first.

    A value is `(sequence, record)`: `(0, None)` is a subject known to be absent,
    `(sequence, None)` one whose record has to be read.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.notes = Notes()
        """Of the newest records; a commit takes those of its subjects."""
        self._values: OrderedDict[bytes, tuple[int, Record | None]] = OrderedDict()
        self.generation = 0
        """Moves with every commit; read it before a look-up that ends in `fill`."""

    def __len__(self) -> int:
        """Count the cached subjects."""
        return len(self._values)

    def get(self, subject: bytes) -> tuple[int, Record | None] | None:
        """Give what is known of a subject."""
        value = self._values.get(subject)
        if value is not None:
            try:
                self._values.move_to_end(subject)
            except KeyError:
                # another thread has evicted it meanwhile
                return value
        return value

    def sequence(self, subject: bytes) -> int | None:
        """Give a subject's last sequence if it is cached."""
        value = self.get(subject)
        return None if value is None else value[0]

    def update(self, records: Sequence[Record]) -> None:
        """Keep what a commit made of its subjects."""
        self.generation += 1
        for record in records:
            if record.kind in SUBJECT_KINDS:
                subject = record.subject
                self.notes.discard(subject)
                self._put(subject, record.sequence, record)

    def fill(
        self, subject: bytes, sequence: int, record: Record | None, generation: int
    ) -> None:
        """Keep the result of a look-up unless a commit may have outdated it.

        Args:
            subject: what was looked up.
            sequence: its last sequence, 0 when it is absent.
            record: the record with that sequence, if it was read.
            generation: as it was before the look-up began.
        """
        if generation == self.generation:
            self._put(subject, sequence, record)

    def _put(self, subject: bytes, sequence: int, record: Record | None) -> None:
        if record is not None and len(record.body) > CACHED_BODY_BYTES_MAX:
            record = None
        self._values[subject] = sequence, record
        self._values.move_to_end(subject)
        while len(self._values) > self._limit:
            self._values.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self.generation += 1
        self._values.clear()
        self.notes.clear()
