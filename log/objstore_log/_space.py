"""Giving space back: unlinking dead segments, punching out dead chunks, pins.

What is dead is judged by the catalog at one applied sequence; what lies above the
durable point of that moment, or may belong to a put that is under way in any living
process, is left alone. A reader's pin keeps a whole segment as it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple, Protocol

from objstore_log._commit import Committer
from objstore_log._core import LogCore
from objstore_log._footer import Entry
from objstore_log._format import RECORD_HEADER_BYTES
from objstore_log._reader import Reader
from objstore_log._record import SUBJECT_KINDS, Kind
from objstore_log._segment import Segment
from objstore_log._storage import File
from objstore_log._takeover import prepare_tail, publish

RECLAIM_LOCK_NAME: Final = "reclaim"
UNFINISHED_PREFIX: Final = "unfinished-"
PUNCH_BYTES_MIN: Final = 16 * 1024
"""Smaller dead bodies stay until their segment goes: a hole is whole blocks."""
_BOUND: Final = Struct("<Q")


class Needs(Protocol):
    """What the layer above still needs, as of the applied catalog."""

    def live_runs(self, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Give runs (first, count) of needed chunks that touch a range, sorted."""
        ...

    def has_current(self, first: int, last: int) -> bool:
        """Say whether a current META lies in a range of sequences."""
        ...

    @property
    def floor(self) -> int:
        """Changes above it stay readable."""
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
    is_dead: bool
    """All of it."""


class Announcer:
    """Tells other processes from where on this one has unfinished puts."""

    def __init__(self, core: LogCore) -> None:
        self._core = core
        self._name = f"{UNFINISHED_PREFIX}{core.writers.writer_id:016x}"
        self._file: File | None = None

    def announce(self, first_sequence: int | None) -> None:
        """Say that chunks from a sequence on may still get a meta (`None`: none)."""
        if self._file is None:
            if first_sequence is None:
                return
            self._file = self._core.storage.open(self._name, create=True)
        self._file.write_at(0, [_BOUND.pack(first_sequence or 0)])

    def close(self) -> None:
        """Take the announcement back."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._core.storage.remove(self._name)


def unfinished_bound(core: LogCore) -> int | None:
    """Give the lowest sequence that an unfinished put of a living process may have."""
    bounds: list[int] = []
    for name in core.storage.names():
        if not name.startswith(UNFINISHED_PREFIX):
            continue
        writer_id = int(name.removeprefix(UNFINISHED_PREFIX), 16)
        if not core.writers.is_alive(writer_id):
            core.storage.remove(name)
            continue
        file = core.storage.open(name)
        try:
            data = file.read_at(0, _BOUND.size)
        finally:
            file.close()
        value = _BOUND.unpack(data)[0] if len(data) == _BOUND.size else 1
        if value:
            bounds.append(value)
    return min(bounds) if bounds else None


class SegmentPin:
    """Keeps the segments that hold some runs as they are until it is released."""

    def __init__(self, core: LogCore, runs: Sequence[tuple[int, int]]) -> None:
        self._core = core
        self._held: list[Segment] = []
        with core.mutex:
            for segment in _segments_of(core, runs):
                if not segment.pins:
                    # a reclaimer in another process holds it for a moment at most;
                    # then the checksum of what is read decides
                    segment.file.try_lock(shared=True)
                segment.pins += 1
                self._held.append(segment)

    def release(self) -> None:
        """Let go; idempotent."""
        with self._core.mutex:
            held, self._held = self._held, []
            for segment in held:
                segment.pins -= 1
                if segment.pins:
                    continue
                segment.file.unlock()
                if self._core.segments.get(segment.number) is not segment:
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
        self._punched: dict[int, int] = {}
        """Dead chunks that were punched out already, by segment."""

    def run(
        self, needs: Needs, durable_sequence: int, *, dry_run: bool
    ) -> ReclaimResult:
        """Reclaim what nobody needs at or below a sequence that the catalog has.

        Guarantee: a crash at any moment leaves every needed record as it was; never
        waits for a reader, a writer or another reclaimer: what is held is left for
        the next time.
        """
        lock = self._core.storage.try_lock(RECLAIM_LOCK_NAME)
        if lock is None:
            return ReclaimResult(0, 0)
        try:
            bound = unfinished_bound(self._core)
            limit = (
                durable_sequence if bound is None else min(durable_sequence, bound - 1)
            )
            judged = [
                found
                for segment in self._core.segments
                if (found := self._judge(segment, needs, limit)) is not None
            ]
            if not judged:
                return ReclaimResult(0, 0)
            if dry_run:
                return self._sum([(item, item.dead) for item in judged])
            self._stamp()
            return self._sum([(item, self._give_back(item)) for item in judged])
        finally:
            lock.release()

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
            and not self._has_other_needs(segment)
            and self._predecessor_is_sealed(segment)
        )
        large = sum(1 for entry in dead if entry.length >= PUNCH_BYTES_MIN)
        if not is_dead and large <= self._punched.get(segment.number, 0):
            return None
        return _Judged(segment, dead, is_dead)

    def _has_other_needs(self, segment: Segment) -> bool:
        """Say whether a record other than METAs is the last of its subject."""
        index = self._reader.index(segment)
        for place in range(len(index)):
            entry = index.entry(place)
            if entry.kind in SUBJECT_KINDS and entry.kind != Kind.META:
                records = segment.read_entries([entry])
                assert records is not None
                if self._committer.last(records[0].subject) == entry.sequence:
                    return True
        return False

    def _predecessor_is_sealed(self, segment: Segment) -> bool:
        """Say whether the segment before it ends without this one's header."""
        before = [item for item in self._core.segments if item.number < segment.number]
        return not before or before[-1].footer is not None

    def _stamp(self) -> None:
        """Have every process look its places up again."""
        with self._committer.locked(), self._core.mutex:
            prepare_tail(self._core)
            publish(self._core, reclaimed=1)

    def _give_back(self, judged: _Judged) -> list[Entry]:
        """Unlink or punch; gives the chunks that went."""
        segment = judged.segment
        with self._core.mutex:
            if segment.pins or not segment.file.try_lock(shared=False):
                return []
            try:
                if judged.is_dead:
                    self._core.storage.remove(segment.name)
                    self._core.storage.sync_directory()
                    self._core.segments.forget(segment)
                    return judged.dead
                return self._punch(judged)
            finally:
                segment.release_lock()

    def _punch(self, judged: _Judged) -> list[Entry]:
        gone: list[Entry] = []
        for entry in judged.dead:
            if entry.length < PUNCH_BYTES_MIN:
                continue
            head = RECORD_HEADER_BYTES + entry.key_length
            if not judged.segment.file.punch(
                entry.position + head, entry.length - head
            ):
                break
            gone.append(entry)
        self._punched[judged.segment.number] = len(gone)
        return gone

    def _sum(self, given: Sequence[tuple[_Judged, list[Entry]]]) -> ReclaimResult:
        total = contents = 0
        for judged, entries in given:
            if judged.is_dead and entries is judged.dead:
                index = judged.segment.index(0)
                total += sum(index.entry(at).length for at in range(len(index)))
            else:
                total += sum(entry.length for entry in entries)
            contents += _count_runs(entries)
        return ReclaimResult(total, contents)


def _is_in(
    sequence: int, runs: Sequence[tuple[int, int]], starts: Sequence[int]
) -> bool:
    place = bisect_right(starts, sequence) - 1
    return place >= 0 and sequence < runs[place][0] + runs[place][1]


def _count_runs(entries: Sequence[Entry]) -> int:
    """Count runs of consecutive sequences: the contents, but for interleaved puts."""
    previous = -1
    runs = 0
    for entry in entries:
        runs += entry.sequence != previous + 1
        previous = entry.sequence
    return runs
