"""Giving space back: unlinking dead segments, punching out dead chunks, pins.

What is dead is judged by the catalog at one applied sequence; what lies above the
durable point of that moment, or may belong to a put that is under way in any living
process, is left alone. A reader's pin keeps a whole segment as it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from objstore_log._commit import Committer
from objstore_log._core import LogCore
from objstore_log._footer import Entry
from objstore_log._format import RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES
from objstore_log._reader import Reader
from objstore_log._record import SUBJECT_KINDS, Kind
from objstore_log._refusals import refusals
from objstore_log._rewrite import Rewriter
from objstore_log._rewrite_policy import Copy, Weighed, choose
from objstore_log._segment import Segment
from objstore_log._takeover import prepare_tail
from objstore_log._unfinished import unfinished
from objstore_log.errors import SequenceGoneError

RECLAIM_LOCK_NAME: Final = "reclaim"
PUNCH_BYTES_MIN: Final = 16 * 1024
"""Smaller dead bodies stay until their segment goes: a hole is whole blocks."""
HOLE_BYTES: Final = 4 * 1024
"""A body's whole blocks of this size become a hole, what it has of others stays."""
PIN_TRIES: Final = 500
PIN_PAUSE_S: Final = 0.002
"""A reclaimer holds a segment for a moment only."""


class Needs(Protocol):
    """What the layer above still needs, as of the applied catalog."""

    def live_runs(self, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Give runs (first, count) of needed chunks that touch a range, sorted."""
        ...

    def has_current(self, first: int, last: int) -> bool:
        """Say whether a current META lies in a range of sequences."""
        ...

    def current(self, first: int, last: int) -> set[int]:
        """Give the sequences of the current METAs in a range."""
        ...

    @property
    def floor(self) -> int:
        """Changes above it stay readable."""
        ...

    @property
    def replaced(self) -> frozenset[bytes]:
        """Subjects whose last record is as good as superseded."""
        ...


class ReclaimResult(NamedTuple):
    """What was (or would be) given back."""

    bytes: int
    contents: int
    """Versions whose content went."""


@dataclass(slots=True)
class _Judged:
    """What of a segment is dead."""

    segment: Segment
    dead: list[Entry]
    fresh: list[Entry]
    """Those of the large dead chunks that were not punched out yet."""
    is_dead: bool
    """All of it."""
    known: int
    """How many large dead chunks there are."""
    stored_bytes: int = 0
    """What it takes now, where a copy of it would take less."""
    copy: Copy | None = None
    """What a copy of it would hold, when that is worth it."""


@dataclass(slots=True)
class _Given:
    """What went, or would go, of a segment."""

    judged: _Judged
    bytes: int = 0
    entries: list[Entry] = field(default_factory=list[Entry])
    is_rewritten: bool = False


class SegmentPin:
    """Keeps the segments that hold some runs as they are until it is released."""

    def __init__(
        self,
        core: LogCore,
        runs: Sequence[tuple[int, int]],
        sleep: Callable[[float], None],
    ) -> None:
        self._core = core
        self._held: list[Segment] = []
        with refusals(core.storage.path, "pin"):
            for _ in range(PIN_TRIES):
                # the catalog may name what this process has not followed yet
                core.catch_up()
                if self._hold(runs, without_lock=False):
                    return
                sleep(PIN_PAUSE_S)
            # a reclaimer that was stopped half-way must not stop readers; what it
            # judged dead is not what they read
            if not self._hold(runs, without_lock=True):
                raise SequenceGoneError(sequence=runs[0][0])

    def _hold(self, runs: Sequence[tuple[int, int]], *, without_lock: bool) -> bool:
        """Hold all or none; false when a reclaimer is at one or one is gone."""
        is_held = False
        with self._core.mutex:
            try:
                for segment in _segments_of(self._core, runs):
                    if not segment.pins:
                        is_locked = segment.file.try_lock(shared=True)
                        if not is_locked and not without_lock:
                            return False
                    segment.pins += 1
                    self._held.append(segment)
                is_held = True
            except FileNotFoundError:
                self._core.segments.refresh()
            finally:
                if not is_held:
                    self.release()
        return is_held

    @property
    def segments(self) -> list[Segment]:
        """Give what it holds, whatever became of the log."""
        return list(self._held)

    def release(self) -> None:
        """Let go; idempotent."""
        with self._core.mutex:
            held, self._held = self._held, []
            for segment in held:
                segment.pins -= 1
                if segment.pins:
                    continue
                # its name may be gone: a file that was closed is not opened again
                segment.release_lock()
                known = self._core.segments.get(segment.number) is segment
                if self._core.is_closed or not known:
                    segment.close()


def _segments_of(core: LogCore, runs: Sequence[tuple[int, int]]) -> list[Segment]:
    found: dict[int, Segment] = {}
    for first, count in runs:
        sequence = first
        while sequence < first + count:
            segment = core.segments.locate(sequence)
            found[segment.number] = segment
            following = core.segments.following(segment)
            if following is None:
                break
            sequence = max(following.first_sequence, sequence + 1)
    return list(found.values())


class Reclaimer:
    """Gives dead space of one log back."""

    def __init__(self, core: LogCore, committer: Committer, reader: Reader) -> None:
        self._core = core
        self._committer = committer
        self._reader = reader
        self._rewriter = Rewriter(core, committer)
        self._punched: dict[int, int] = {}
        """Dead chunks that were punched out already, by segment."""
        self._makes_holes = True
        """As far as it is known of the file system."""

    def run(
        self, needs: Needs, apply: Callable[[], bool], *, dry_run: bool
    ) -> ReclaimResult:
        """Reclaim what nobody needs of all that is decided and in the catalog.

        Guarantee: a crash at any moment leaves every needed record as it was; never
        waits for a reader, a writer or another reclaimer: what is held is left for
        the next time.

        Args:
            needs: what the layer above needs.
            apply: brings the catalog up to the durable end; false when it cannot.
            dry_run: only judge.
        """
        lock = self._core.storage.try_lock(RECLAIM_LOCK_NAME)
        if lock is None:
            return ReclaimResult(0, 0)
        try:
            with refusals(self._core.storage.path, "reclaim"):
                return self._run(needs, apply, dry_run=dry_run)
        finally:
            lock.release()

    def _run(
        self, needs: Needs, apply: Callable[[], bool], *, dry_run: bool
    ) -> ReclaimResult:
        limit = self._limit(apply)
        if limit is None:
            return ReclaimResult(0, 0)
        with self._core.mutex:
            # nobody else reclaims now, but somebody has
            self._core.segments.refresh()
        judged = _with_work(
            found
            for segment in self._core.segments
            if (found := self._judge(segment, needs, limit)) is not None
        )
        if not dry_run:
            self._rewriter.sweep()
        if not judged:
            return ReclaimResult(0, 0)
        if not dry_run:
            self._prove(judged)
            self._rewriter.stamp()
        given = [self._take(item, dry_run=dry_run) for item in judged]
        if not dry_run and any(item.is_rewritten for item in given):
            self._rewriter.stamp()
        return ReclaimResult(sum(item.bytes for item in given), _count_contents(given))

    def _limit(self, apply: Callable[[], bool]) -> int | None:
        """Give the sequence up to which the catalog knows what became of all chunks.

        The order of the looks is the proof: a put that begins behind the first is
        above the durable point, one that goes on at the second is announced, and one
        that ended before the second is in the catalog by the last.
        """
        core = self._core
        core.catch_up()
        durable = core.progress.durable.sequence
        bound, dead = unfinished(core)
        if dead or self._has_open_end():
            # a killed process may have committed its put and told nobody, and one
            # whose write or sync failed has ended a put that may happen yet
            with self._committer.locked(), core.mutex:
                prepare_tail(core)
            for name in dead:
                # missing when its process has just closed the log, and itself behind it
                with suppress(FileNotFoundError):
                    core.storage.remove(name)
        core.catch_up()
        shown = core.visible_sequence
        if not apply():
            return None
        with core.mutex:
            if core.overlay.has_batch(shown):
                return None
        return durable if bound is None else min(durable, bound - 1)

    def _has_open_end(self) -> bool:
        """Say whether there are bytes that nobody published: a batch, or none."""
        core = self._core
        core.catch_up()
        with core.mutex:
            if not len(core.segments):
                return False
            return core.segments.active.file.size() > core.progress.written.position

    def _judge(self, segment: Segment, needs: Needs, limit: int) -> _Judged | None:
        """Say what of a segment is dead; `None` when nothing new is."""
        index = self._reader.index(segment)
        if not len(index):
            return None
        first, last = index.first_sequence, index.last_sequence
        live = needs.live_runs(first, last)
        starts = [run[0] for run in live]
        dead: list[Entry] = []
        is_dead = last <= limit and segment is not self._core.segments.active
        for place in range(len(index)):
            entry = index.entry(place)
            if entry.kind == Kind.CHUNK:
                if entry.sequence > limit or _is_in(entry.sequence, live, starts):
                    is_dead = False
                else:
                    dead.append(entry)
            elif entry.kind in SUBJECT_KINDS and entry.sequence > needs.floor:
                is_dead = False
        is_dead = (
            is_dead
            and not needs.has_current(first, last)
            and not self._has_other_needs(segment, needs)
            and self._predecessor_is_sealed(segment)
            and not _has_unread(segment)
        )
        large = [entry for entry in dead if entry.length >= PUNCH_BYTES_MIN]
        fresh = large
        if len(large) <= self._punched.get(segment.number, 0):
            fresh = []
        # another process may have punched them, or this one before it was opened
        fresh = [entry for entry in fresh if segment.file.data_bytes(*_hole_of(entry))]
        judged = _Judged(segment, dead, fresh, is_dead, len(large))
        if not is_dead and segment is not self._core.segments.active:
            self._plan_copy(judged, needs, limit)
        if not is_dead and not fresh and judged.copy is None:
            self._punched[segment.number] = len(large)
            return None
        return judged

    def _plan_copy(self, judged: _Judged, needs: Needs, limit: int) -> None:
        """Say what a copy would hold, if one is worth its cost."""
        file = judged.segment.file
        stored = file.data_bytes(0, file.size())
        judged.stored_bytes = stored
        if self._makes_holes:
            stored -= sum(file.data_bytes(*_hole_of(entry)) for entry in judged.fresh)
        judged.copy = self._rewriter.plan(
            judged.segment, judged.dead, needs, limit=limit, stored_bytes=stored
        )

    def _has_other_needs(self, segment: Segment, needs: Needs) -> bool:
        """Say whether a record other than METAs is the last of its subject."""
        index = self._reader.index(segment)
        for place in range(len(index)):
            entry = index.entry(place)
            if entry.kind in SUBJECT_KINDS and entry.kind != Kind.META:
                records = segment.read_entries([entry])
                assert records is not None
                subject = records[0].subject
                is_last = self._committer.last(subject) == entry.sequence
                if is_last and subject not in needs.replaced:
                    return True
        return False

    def _predecessor_is_sealed(self, segment: Segment) -> bool:
        """Say whether the segment before it ends without this one's header."""
        before = [item for item in self._core.segments if item.number < segment.number]
        return not before or before[-1].footer is not None

    def _prove(self, judged: list[_Judged]) -> None:
        """Have the log itself state that what is to be punched is durable.

        A power cut may take the head, and then a hole above the last stated point
        would look like a torn end, which makes void what was committed behind it.
        """
        if any(item.segment is self._core.segments.active for item in judged):
            self._committer.close_batches(lambda: True)

    def _take(self, judged: _Judged, *, dry_run: bool) -> _Given:
        """Rewrite where that is planned; else, and where it fails, unlink or punch."""
        segment, copy = judged.segment, judged.copy
        if copy is None or not (dry_run or self._rewriter.rewrite(segment, copy)):
            return self._give_back(judged, dry_run=dry_run)
        if not dry_run:
            self._punched.pop(segment.number, None)
        size = judged.stored_bytes - copy.length
        return _Given(judged, size, judged.dead, is_rewritten=True)

    def _give_back(self, judged: _Judged, *, dry_run: bool) -> _Given:
        """Unlink or punch, unless a reader holds the segment."""
        segment = judged.segment
        with self._core.mutex:
            if segment.pins or not segment.file.try_lock(shared=False):
                return _Given(judged)
            try:
                if judged.is_dead:
                    return self._unlink(judged, dry_run=dry_run)
                return self._punch(judged, dry_run=dry_run)
            finally:
                segment.release_lock()

    def _unlink(self, judged: _Judged, *, dry_run: bool) -> _Given:
        segment = judged.segment
        size = segment.file.data_bytes(0, segment.file.size())
        if not dry_run:
            covered = self._core.segments.mark(segment)
            self._core.storage.remove(segment.name)
            for mark in covered:
                self._core.storage.remove(mark.name)
            self._core.storage.sync_directory()
            self._core.segments.forget(segment)
            self._punched.pop(segment.number, None)
        return _Given(judged, size, judged.dead)

    def _punch(self, judged: _Judged, *, dry_run: bool) -> _Given:
        file = judged.segment.file
        given = _Given(judged)
        for entry in judged.fresh:
            start, length = _hole_of(entry)
            size = file.data_bytes(start, length)
            if not dry_run:
                if not file.punch(start, length):
                    self._makes_holes = False
                    return given
                size -= file.data_bytes(start, length)
            given.bytes += size
            given.entries.append(entry)
        if not dry_run:
            self._punched[judged.segment.number] = judged.known
        return given


def _with_work(judged: Iterable[_Judged]) -> list[_Judged]:
    """Drop copies beyond what one run makes, and what has nothing left to do."""
    found = list(judged)
    chosen = choose(
        Weighed(item.segment.number, item.stored_bytes, item.copy.length)
        for item in found
        if item.copy is not None
    )
    for item in found:
        if item.segment.number not in chosen:
            item.copy = None
    return [item for item in found if item.is_dead or item.fresh or item.copy]


def _has_unread(segment: Segment) -> bool:
    """Say whether a stretch of it is damaged of which nobody knows what it held."""
    return any(found.position >= SEGMENT_HEADER_BYTES for found in segment.damages)


def _hole_of(entry: Entry) -> tuple[int, int]:
    """Give position and length of the whole blocks of an entry's body."""
    start = entry.position + RECORD_HEADER_BYTES + entry.key_length
    first = -(-start // HOLE_BYTES) * HOLE_BYTES
    end = (entry.position + entry.length) // HOLE_BYTES * HOLE_BYTES
    return first, max(end - first, 0)


def _is_in(
    sequence: int, runs: Sequence[tuple[int, int]], starts: Sequence[int]
) -> bool:
    place = bisect_right(starts, sequence) - 1
    return place >= 0 and sequence < runs[place][0] + runs[place][1]


def _count_contents(given: Sequence[_Given]) -> int:
    """Count runs of consecutive sequences: the contents, but for interleaved puts.

    One of which something went in an earlier run was counted then.
    """
    count, previous, was_counted = 0, -1, False
    for item in given:
        fresh = {entry.sequence for entry in item.judged.fresh}
        now = {entry.sequence for entry in item.entries}
        for entry in item.judged.dead:
            is_earlier = entry.length >= PUNCH_BYTES_MIN and entry.sequence not in fresh
            if entry.sequence != previous + 1:
                was_counted = False
            if is_earlier:
                was_counted = True
            elif entry.sequence in now and not was_counted:
                count += 1
                was_counted = True
            previous = entry.sequence
    return count
