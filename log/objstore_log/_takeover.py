"""What the holder of the log's lock does before it appends: recovery of the tail.

The first opener after a crash, the successor of a killed writer and a writer whose own
last write was interrupted all pass here; the tables in `_recovery` decide.
Positions are write-once: nothing is overwritten or truncated, an unproven tail is
copied, batch by whole batch, into a new segment.
"""

from __future__ import annotations

from typing import Final

from objstore_log._batch import record_of
from objstore_log._core import LogCore
from objstore_log._format import (
    COMMIT_BYTES,
    RECORD_HEADER_BYTES,
    SEGMENT_BEHIND_MARKS,
    SEGMENT_BEHIND_SEAL,
    SEGMENT_HEADER_BYTES,
    SEGMENT_RECORDS_MAX,
    SEGMENT_RELAXED,
    decode_commit,
    decode_record_header,
)
from objstore_log._head_slot import Head
from objstore_log._overlay import CATALOG_KINDS, Applied
from objstore_log._progress import End
from objstore_log._record import Kind
from objstore_log._recovery import (
    Place,
    Tail,
    TailAction,
    Verdict,
    judge_damage,
    judge_tail,
)
from objstore_log._renewal import has_lasting_name, make_name_last
from objstore_log._scan import (
    Batch,
    Damage,
    greatest_durable_position,
    scan_batches,
)
from objstore_log._seal import sync_footer, write_footer
from objstore_log._segment import Segment
from objstore_log._segments import (
    CopiedBatch,
    CreatedSegment,
    NewSegment,
)

STATE_NORMAL: Final = 0
STATE_POISONED: Final = 1
"""A sync failed; the active segment is not to be trusted above its durable point."""
STATE_ROLLING: Final = 2
"""A segment is being created; its creator may have died half-way."""


def publish(core: LogCore, state: int = STATE_NORMAL, *, reclaimed: int = 0) -> None:
    """Publish the own ends as the log's head. Only under the log's lock."""
    written, durable = core.progress.written, core.progress.durable
    active = core.segments.active
    old = core.head_file.read()
    in_active = durable.segment == active.number
    core.head_file.publish(
        Head(
            core.log_id,
            1 if old is None else old.generation + 1,
            active.number,
            written.position,
            written.sequence,
            durable.position if in_active else SEGMENT_HEADER_BYTES,
            durable.sequence,
            (0 if old is None else old.reclaim_generation) + reclaimed,
            active.header.marker,
            state,
        )
    )


def prepare_tail(core: LogCore, *, is_opening: bool = False) -> None:
    """Make the active segment ready for an append. Only under the log's lock.

    Raises:
        OSError: nothing was lost; the next holder of the lock begins again.
    """
    # who could not look when it opened looks now: the one that did may have died
    _prepare(core, is_opening=is_opening or not core.openers.has_entered)
    core.openers.enter()


def _prepare(core: LogCore, *, is_opening: bool) -> None:
    head = core.head_file.read()
    if is_opening or _may_have_new_segments(core, head):
        core.segments.refresh()
    if not len(core.segments):
        _create_first(core, head)
        return
    active = core.segments.active
    own_head = _if_of(active, head)
    is_unproven = own_head is None and not has_lasting_name(active)
    if is_unproven:
        active = make_name_last(core.segments, active)
    elif (
        own_head is not None
        and not is_opening
        and _is_untouched(core, active, own_head)
    ):
        return
    written, durable = _published_ends(core, active, own_head)
    core.read_on(active.number, durable)
    if own_head is not None:
        core.claim(own_head.durable_sequence)
    end = written
    action = _judge(core, active, head, (written, durable), is_unproven=is_unproven)
    if action is TailAction.ROLL:
        _roll_sealed(core, active)
        return
    if action is TailAction.RELOG:
        end = _relog(core, active, durable)
    else:
        _continue(core, active, own_head, written, durable)
    if is_opening and not _ends_cleanly(core, active, end):
        _leave_gap(core, active)


def _if_of(active: Segment, head: Head | None) -> Head | None:
    """Give the head if it speaks of the last segment."""
    if head is None or head.segment != active.number:
        return None
    return head if head.marker == active.header.marker else None


def _continue(
    core: LogCore, active: Segment, head: Head | None, written: int, durable: int
) -> None:
    sequence = _sequence_at(core, active, durable, head)
    core.read_on(active.number, written)
    core.progress.advance(durable=End(active.number, durable, sequence))
    core.show()
    if head is None or not _is_published(core, head):
        publish(core)


def _roll_sealed(core: LogCore, active: Segment) -> None:
    footer = active.footer
    assert footer is not None
    # who wrote it may have died, or was refused, before it was synced
    sync_footer(active, active.file.size())
    core.read_on(active.number, footer.usable)
    _start_segment(core, active, footer.usable, [], is_sealed=True)


def _may_have_new_segments(core: LogCore, head: Head | None) -> bool:
    return (
        head is None
        or head.poison != STATE_NORMAL
        or not len(core.segments)
        or head.segment != core.segments.active.number
        # it was listed by the way, and may have been taken back since
        or core.segments.followed < core.segments.active.number
    )


def _is_published(core: LogCore, head: Head) -> bool:
    return (
        head.poison == STATE_NORMAL
        and head.written_position == core.progress.written.position
        and head.durable_position == core.progress.durable.position
    )


def _is_untouched(core: LogCore, active: Segment, head: Head) -> bool:
    """Say that nothing happened since this process's own last commit."""
    written = core.progress.written
    return (
        written.segment == active.number
        and _is_published(core, head)
        and active.file.size() == written.position
        and (
            head.written_position == head.durable_position
            or core.unsynced_writers <= {core.writers.writer_id}
        )
    )


def _published_ends(
    core: LogCore, active: Segment, head: Head | None
) -> tuple[int, int]:
    """Give (written, durable) positions of the active segment that anything states."""
    size = active.file.size()
    durable = SEGMENT_HEADER_BYTES if head is None else head.durable_position
    if core.progress.durable.segment == active.number:
        durable = max(durable, core.progress.durable.position)
    durable = min(durable, size)
    stated = greatest_durable_position(
        active.file.read_at, durable, size, active.header.marker
    )
    durable = max(durable, min(stated, size))
    written = durable if head is None else max(head.written_position, durable)
    if core.progress.written.segment == active.number:
        # the own last publication may have failed
        written = max(written, core.progress.written.position)
    return written, durable


def _sequence_at(
    core: LogCore, active: Segment, position: int, head: Head | None
) -> int:
    """Give the last sequence below a durable position, or one that is safely lower."""
    if core.progress.written[:2] == (active.number, position):
        return core.progress.written.sequence
    if head is not None and head.durable_position == position:
        return max(head.durable_sequence, core.progress.durable.sequence)
    return core.progress.durable.sequence


def _judge(
    core: LogCore,
    active: Segment,
    newest: Head | None,
    ends: tuple[int, int],
    *,
    is_unproven: bool,
) -> TailAction:
    head = _if_of(active, newest)
    written, durable = ends
    size = active.file.size()
    above = written > durable
    tail = Tail(
        is_sealed=active.footer is not None,
        has_unproven_name=is_unproven,
        is_poisoned=head is not None and head.poison == STATE_POISONED,
        has_bytes_above_written=size > written,
        is_shorter_than_written=size < written,
        has_batches_above_durable=above,
        writers_alive=not above or _writers_alive(core, active, durable, written),
    )
    synced = 0 if head is None else head.durable_position
    if core.progress.durable.segment == active.number:
        synced = max(synced, core.progress.durable.position)
    if size < synced:
        reason = "the file ends before its durable end"
        missing = Damage(size, synced, reason, is_missing=True)
        core.note_damage(active, missing)
    action = judge_tail(tail)
    is_followed = _is_of_later(active, newest)
    if action is TailAction.CONTINUE and (is_followed or not active.knows_itself()):
        # a segment behind this one is missing: never continue with its numbers; and
        # never in one of which the next opener may not find the marker
        return TailAction.RELOG
    return action


def _is_of_later(active: Segment, head: Head | None) -> bool:
    return head is not None and head.segment > active.number


def _writers_alive(core: LogCore, active: Segment, start: int, end: int) -> bool:
    """Say whether a stretch is whole and each of its writers still lives."""
    batches = scan_batches(
        active.file.read_at, start, end, active.header.marker, verify_bodies=False
    )
    writers: set[int] = set()
    for item in batches:
        if not isinstance(item, Batch):
            # a head from before a power cut: what it says was written is not there
            return False
        writers.add(item.commit.writer_id)
    return all(core.writers.is_alive(writer) for writer in writers)


def _relog(core: LogCore, active: Segment, proven: int) -> int:
    """Copy the whole batches above the proven point into a new segment.

    Empty ones are left out: the new segment is durable as it is, and that it ends in a
    batch of records tells an opener of a relaxed log that its end was unclean.

    Returns:
        Where the last whole batch ends in the old one.
    """
    size = active.file.size()
    end = proven
    copies: list[CopiedBatch] = []
    first_sequence: int | None = None
    for item in scan_batches(active.file.read_at, proven, size, active.header.marker):
        if isinstance(item, Batch):
            end = item.end
            if not item.records:
                continue
            if first_sequence is None:
                first_sequence = item.commit.first_sequence
            copies.append(_copy(active, item))
        else:
            place = Place(
                is_last_segment=True,
                below_usable=True,
                below_durable=item.position < proven,
            )
            assert judge_damage(place) is Verdict.TORN
    # Ctrl-C may have left records of an unfinished commit in it
    active.drop_index()
    _start_segment(core, active, proven, copies, first_sequence)
    return end


def _copy(active: Segment, batch: Batch) -> CopiedBatch:
    records = [
        record_of(header, active.file.read_at(header.body_position, header.body_length))
        for header in batch.records
    ]
    return CopiedBatch(
        records, batch.last_sequence, records[-1].time_ns, batch.commit.writer_id
    )


def _create_first(core: LogCore, head: Head | None) -> None:
    last = 0 if head is None else head.written_sequence
    before = 0 if head is None else head.segment
    number = core.segments.next_number(before, last + 1)
    created = core.segments.create(
        NewSegment(number, last + 1, 0, 0, last, _flags(core)), ()
    )
    core.enter(created.segment)
    if head is not None and created.segment.name in core.storage.names():
        # every segment before it is missing, and the log is not being removed
        core.segments.refresh()
    publish(core)


def _flags(core: LogCore) -> int:
    return SEGMENT_BEHIND_MARKS | (SEGMENT_RELAXED if core.options.is_relaxed else 0)


def _start_segment(
    core: LogCore,
    previous: Segment,
    usable: int,
    copies: list[CopiedBatch],
    first_sequence: int | None = None,
    *,
    is_sealed: bool = False,
) -> None:
    """Create the next segment, take in what it was born with, publish it."""
    head = core.head_file.read()
    before = previous.number
    if head is not None and head.segment > previous.number:
        reason = "the next segment is missing"
        core.note_damage(previous, Damage(usable, usable, reason, is_missing=True))
        before = head.segment
        core.claim(head.written_sequence)
    seen = core.progress.written.sequence
    first = seen + 1 if first_sequence is None else first_sequence
    publish_rolling(core)
    created = core.segments.create(
        NewSegment(
            core.segments.next_number(before, first),
            first,
            previous.number,
            usable,
            min(seen, first - 1),
            _flags(core) | (SEGMENT_BEHIND_SEAL if is_sealed else 0),
        ),
        copies,
    )
    if usable < core.progress.written.position:
        previous.drop_index()
    core.enter(created.segment)
    _observe_copies(core, created, seen)
    core.unsynced_writers.clear()
    # nothing visible was written behind what it was born with
    core.is_closed_tail = True
    publish(core)
    core.show()


def _observe_copies(core: LogCore, created: CreatedSegment, known: int) -> None:
    position = SEGMENT_HEADER_BYTES
    number = created.segment.number
    for batch in created.batches:
        position += batch.length
        last = batch.last_sequence
        fresh = [
            record
            for record in batch.records
            if record.sequence > known and record.kind in CATALOG_KINDS
        ]
        core.observe(
            fresh,
            Applied(last, batch.commit_checksum, number, position),
            batch.records[-1].time_ns,
            is_empty=False,
        )
        end = End(number, position, max(core.progress.written.sequence, last))
        core.progress.advance(written=end, durable=end)


def publish_rolling(core: LogCore) -> None:
    """Say before a creation that whoever comes next has to look at the directory."""
    head = core.head_file.read()
    # the other states say so too, and that a sync failed must not be forgotten
    if head is not None and head.poison == STATE_NORMAL:
        rolling = head._replace(generation=head.generation + 1, poison=STATE_ROLLING)
        core.head_file.publish(rolling)


def roll(core: LogCore, first_sequence: int | None = None) -> None:
    """Seal the active segment and start the next. The caller synced it before.

    Args:
        core: the log.
        first_sequence: of the next segment; the following one unless given.
    """
    written = core.progress.written
    assert core.progress.durable == written, "a segment is synced before it is sealed"
    active = core.segments.active
    publish_rolling(core)
    write_footer(
        active,
        written.position,
        written.sequence,
        core.last_time_ns,
        written.position,
    )
    _start_segment(core, active, written.position, [], first_sequence, is_sealed=True)


def _leave_gap(core: LogCore, ended: Segment) -> None:
    """After an unclean end of a relaxed log, leave out sequences that were seen.

    What was written but not synced may have been shown and is gone now; its numbers
    must not come again with another meaning.

    Args:
        core: the log.
        ended: the segment that was active before the end.
    """
    active = core.segments.active
    if core.progress.durable != core.progress.written:
        active.file.sync()
        core.progress.advance(durable=core.progress.written)
        core.show()
    first = max(ended.first_sequence, active.first_sequence) + SEGMENT_RECORDS_MAX
    # not sealed: that would look like a clean end if this is interrupted too
    _start_segment(core, active, core.progress.written.position, [], first)


def _ends_cleanly(core: LogCore, active: Segment, position: int) -> bool:
    """Say whether nothing can have been shown that the log does not have.

    In a relaxed log the first batch behind an empty one, and the first of a segment,
    is synced before it is shown. So an empty batch at the end is a clean end, and so
    is an empty segment, unless recovery made it and has not left the gap yet.
    """
    if not active.header.flags & SEGMENT_RELAXED or not core.openers.is_first():
        return True
    start = position - COMMIT_BYTES
    if start < SEGMENT_HEADER_BYTES:
        own = active.header
        previous = core.segments.get(own.previous_number)
        return (
            not own.previous_number
            or own.first_sequence > own.previous_last_sequence + 1
            or (previous is not None and previous.footer is not None)
        )
    data = active.file.read_at(start, COMMIT_BYTES)
    header = decode_record_header(data, 0, active.header.marker, start)
    if header is None or header.kind != Kind.COMMIT:
        return False
    commit = decode_commit(data[RECORD_HEADER_BYTES:])
    return commit is not None and commit.record_count == 0
