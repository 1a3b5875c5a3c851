"""Rewriting a segment: a copy without what nobody needs in it takes its name.

The records that stay keep their sequences, their times and their order, so that nobody
can tell the copy from the segment but by its room. Until the rename the segment is as
it was; behind it whoever has the old file open goes on reading that.
Law: docs/format.md, "Rewritten segments".
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Protocol

from objstore_log._batch import Durable, encode_batch
from objstore_log._catalog import CatalogDamagedError
from objstore_log._commit import Committer
from objstore_log._core import LogCore
from objstore_log._footer import Entry, Footer, SegmentIndex, encode_footer
from objstore_log._format import (
    MARKER_BYTES,
    SEGMENT_HEADER_BYTES,
    SEGMENT_REWRITTEN,
    encode_segment_header,
)
from objstore_log._record import SUBJECT_KINDS, Kind, subject_of
from objstore_log._rewrite_policy import (
    Copy,
    Facts,
    Move,
    is_worth_it,
    judge,
    plan_copy,
)
from objstore_log._segment import SEGMENT_SUFFIX, Segment, parse_segment_name
from objstore_log._segments import TEMPORARY_SUFFIX
from objstore_log._storage import File
from objstore_log._takeover import prepare_tail, publish
from objstore_log.errors import CorruptionError

NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
_FLOOR_SUBJECT: Final = subject_of(Kind.FLOOR, b"")
_CHANGES_MAX: Final = 1_000


class Needs(Protocol):
    """What the layer above still needs, as of the applied catalog."""

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


class Rewriter:
    """Rewrites segments of one log. Only under the reclaimer's lock."""

    def __init__(self, core: LogCore, committer: Committer) -> None:
        self._core = core
        self._committer = committer

    # --- what is worth it -----------------------------------------------------

    def plan(
        self,
        segment: Segment,
        dead: Iterable[Entry],
        needs: Needs,
        *,
        limit: int,
        stored_bytes: int,
    ) -> Copy | None:
        """Say what a copy of a segment holds, `None` when none is to be made.

        Args:
            segment: one that is not the last.
            dead: its chunks that nobody needs.
            needs: what the layer above needs.
            limit: up to which sequence all this is judged.
            stored_bytes: what the segment takes once its dead bodies are holes.
        """
        footer = segment.footer
        if footer is None or not len(footer.entries):
            return None
        last = footer.entries.last_sequence
        left_out = {entry.sequence for entry in dead}
        left_out |= self._superseded(footer.entries, needs)
        copy = plan_copy(
            footer.entries,
            footer.last_sequence,
            lambda entry: entry.sequence not in left_out,
        )
        if copy is None:
            return None
        is_worth = is_worth_it(stored_bytes, copy.length)
        facts = Facts(
            is_sealed=True,
            is_decided=last <= limit,
            is_applied=self._is_applied(segment),
            is_damaged=bool(segment.damages),
            is_held=is_worth and self._is_held(segment),
            is_worth_it=is_worth,
        )
        return copy if judge(facts) is Move.REWRITE else None

    def _superseded(self, index: SegmentIndex, needs: Needs) -> set[int]:
        """Give the changes that are told of no more and that others have replaced.

        The last word on a subject stays, a delete above all: what it deleted may
        stand in an older segment.
        """
        old = {
            entry.sequence: entry
            for entry in map(index.entry, range(len(index)))
            if entry.kind in {Kind.META, Kind.FLOOR} and entry.sequence <= needs.floor
        }
        if not old:
            return set()
        found = set(old) - needs.current(index.first_sequence, index.last_sequence)
        if _FLOOR_SUBJECT not in needs.replaced:
            found.discard(self._committer.last(_FLOOR_SUBJECT))
        return found

    def _is_held(self, segment: Segment) -> bool:
        with self._core.mutex:
            if segment.pins or not segment.file.try_lock(shared=False):
                return True
            segment.release_lock()
        return False

    def _is_applied(self, segment: Segment) -> bool:
        # one that is damaged is made anew by whoever reads it next
        with suppress(CatalogDamagedError):
            return self._core.catalog.applied().segment > segment.number
        return False

    # --- doing it -------------------------------------------------------------

    def sweep(self) -> None:
        """Remove what killed processes left of copies."""
        storage = self._core.storage
        names = storage.names()
        last = self._core.segments.active.number
        for name in names:
            stem = name.removesuffix(TEMPORARY_SUFFIX)
            parsed = parse_segment_name(stem + SEGMENT_SUFFIX)
            # the next segment is made under a name of this kind, too
            if stem != name and parsed is not None and parsed[0] < last:
                with suppress(FileNotFoundError):
                    storage.remove(name)

    def rewrite(self, segment: Segment, copy: Copy) -> bool:
        """Put a copy in the place of a segment.

        Guarantee: until the copy has its name the segment is as it was; then it is
        durable, with all that stays. No lock of the log is held meanwhile.

        Returns:
            False when it was left as it is: something of it is damaged or needed
            after all, a reader has pinned it, or there is no room for the copy.
        """
        storage = self._core.storage
        temporary = segment.name.removesuffix(SEGMENT_SUFFIX) + TEMPORARY_SUFFIX
        if temporary in storage.names():
            storage.remove(temporary)
        is_done = False
        try:
            is_done = self._fill(temporary, segment, copy) and self._replace(
                temporary, segment
            )
        except CorruptionError:
            pass
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
        finally:
            if not is_done:
                # missing when it was not made, or has its name already
                with suppress(OSError):
                    storage.remove(temporary)
        return is_done

    def stamp(self) -> None:
        """Have other processes let go of the files that were replaced."""
        with self._committer.locked(), self._core.mutex:
            prepare_tail(self._core)
            publish(self._core, reclaimed=1)

    def _fill(self, temporary: str, segment: Segment, copy: Copy) -> bool:
        """Write the copy and sync it; false when something left out is needed."""
        footer = segment.footer
        if footer is None or not self._may_leave_out(segment, copy.left_out):
            return False
        file = self._core.storage.open(temporary, create=True)
        try:
            self._write(file, segment, footer, copy)
            file.sync()
        finally:
            file.close()
        return True

    def _may_leave_out(self, segment: Segment, left_out: list[Entry]) -> bool:
        """Ask once more, of another table, whether changes are superseded."""
        changes = [entry for entry in left_out if entry.kind in SUBJECT_KINDS]
        for start in range(0, len(changes), _CHANGES_MAX):
            entries = changes[start : start + _CHANGES_MAX]
            for record in segment.read_entries(entries) or []:
                if self._committer.last(record.subject) <= record.sequence:
                    return False
        return True

    def _write(self, file: File, segment: Segment, footer: Footer, copy: Copy) -> None:
        marker = self._core.environment.random_bytes(MARKER_BYTES)
        old = segment.header
        durable = Durable(SEGMENT_HEADER_BYTES, old.previous_last_sequence)
        index = SegmentIndex()
        position = SEGMENT_HEADER_BYTES
        time_ns = 0
        batches = [*copy.batches, []] if copy.ends_in_a_gap else copy.batches
        for entries in batches:
            # each is read with its checksums, so that damage is not copied
            records = (segment.read_entries(entries) or []) if entries else []
            time_ns = records[-1].time_ns if records else time_ns
            batch = encode_batch(
                records,
                marker=marker,
                position=position,
                # an empty one says how far the segment went
                last_sequence=entries[-1].sequence if entries else footer.last_sequence,
                time_ns=time_ns,
                writer_id=self._core.writers.writer_id,
                durable=durable,
            )
            file.write_at(position, batch.buffers)
            batch.add_to(index)
            position += batch.length
        header = old._replace(
            marker=marker,
            covers_first=segment.first_sequence,
            covers_final=footer.last_sequence,
            usable=position,
            flags=old.flags | SEGMENT_REWRITTEN,
        )
        pieces = encode_footer(header, position, footer.last_sequence, time_ns, index)
        file.write_at(position, pieces)
        file.write_at(0, [encode_segment_header(header)])

    def _replace(self, temporary: str, segment: Segment) -> bool:
        """Give the copy its name, durably, unless a reader holds the segment."""
        core = self._core
        with core.mutex:
            file = segment.file
            if segment.pins or not file.try_lock(shared=False):
                return False
            try:
                core.storage.replace(temporary, segment.name)
                core.segments.renew(segment)
                core.storage.sync_directory()
            finally:
                # the segment has let go of it
                file.unlock()
        return True
