"""The order of a commit: write, sync, publish, show, tell; one batch, whole or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from objstore_log._log import Log
from objstore_log._record import NewRecord
from objstore_log._tickets import (
    ALONE_BYTES_MIN,
    Guard,
    GuardTotals,
    Ticket,
    TicketQueue,
)
from objstore_log.errors import ConflictError, ObjStoreError, StorageError
from objstore_log.testing import CrashStorage
from objstore_log.testing.crash_storage import CrashFile
from objstore_log.testing.crash_trace import FileWrite, NameChange, Operation, Sync

from .harness import (
    EVERYTHING,
    chunk,
    contents,
    current,
    meta,
    open_log,
    put,
    subject,
)

pytestmark = pytest.mark.usefixtures("single_threaded")


def steps(operations: tuple[Operation, ...]) -> list[str]:
    """Name operations in short."""
    found: list[str] = []
    for item in operations:
        kind = item.name.rpartition(".")[2]
        if isinstance(item, FileWrite):
            found.append(f"write {kind}")
        elif isinstance(item, Sync):
            found.append("sync directory" if ":" in item.name else f"sync {kind}")
        elif isinstance(item, NameChange):
            found.append(f"{item.kind} {kind}")
    return found


def watched(
    monkeypatch: pytest.MonkeyPatch, method: str, look: Callable[[], None]
) -> None:
    """Have `look` called before every write or sync of a segment."""
    original = getattr(CrashFile, method)

    def wrapper(file: CrashFile, *arguments: object) -> object:
        if file.name.endswith(".seg"):
            look()
        return original(file, *arguments)

    monkeypatch.setattr(CrashFile, method, wrapper)


def tickets(
    log: Log,
    *appends: tuple[list[NewRecord], dict[bytes, int]],
    guard: Guard | None = None,
) -> list[Ticket]:
    """Commit several appends as one batch."""
    queue = TicketQueue()
    for records, expect in appends:
        queue.add(Ticket(records, expect, guard, True))
    return log._committer.commit(queue)


def test_batch_is_written_synced_and_then_published() -> None:
    """Three mutations in this order, and nothing else."""
    disk = CrashStorage()
    one = open_log(disk)
    put(one.log, "a")
    before = disk.mutation_count
    one.log.append([chunk(b"1"), meta("b")])

    assert steps(disk.trace[before:]) == ["write seg", "sync seg", "write head"]


def test_roll_syncs_the_footer_before_the_next_segment_has_a_name() -> None:
    """What ends a segment without its successor's header is durable first."""
    disk = CrashStorage()
    one = open_log(disk, segment_bytes=600)
    put(one.log, "a", b"x" * 100)
    before = disk.mutation_count
    put(one.log, "b", b"x" * 300)

    found = steps(disk.trace[before:])
    assert found[:3] == ["write head", "write seg", "sync seg"]
    assert found[3:] == [
        "create tmp",
        "write tmp",
        "sync tmp",
        "replace seg",
        "sync directory",
        "write head",
        "write seg",
        "sync seg",
        "write head",
    ]


@pytest.mark.parametrize("method", ["write_at", "sync"])
def test_nothing_is_shown_or_told_before_the_sync(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """While a batch is written and synced, no engine and no caller knows of it."""
    disk = CrashStorage()
    one, other = open_log(disk), open_log(disk.process(), seed=2)
    put(one.log, "a")
    told: list[int] = []
    looks: list[object] = []
    for log in (one.log, other.log):
        log.catch_up()
        log.add_listener(lambda batch: told.extend(one.sequence for one in batch))
    queue = TicketQueue()
    ticket = Ticket([chunk(b"1"), meta("b")], {}, None, True)
    ticket.on_done = lambda _: told.append(-1)
    queue.add(ticket)

    def look() -> None:
        for log in (one.log, other.log):
            looks.append(log.visible_sequence)
            looks.append(log.last(subject("b"))[0])
            looks.append(len(log.feed(0, 10, EVERYTHING).records))
            looks.append(log.sequence_at(1 << 62))
        looks.append(ticket.is_done)
        looks.append(len(told))

    watched(monkeypatch, method, look)
    one.log._committer.commit(queue)

    assert looks == [1, 0, 1, 1, 1, 0, 1, 1, False, 0]
    assert ticket.result().last_sequence == 3
    assert other.log.visible_sequence == 3
    assert told == [3, 3]


def test_batch_is_shown_whole() -> None:
    """Whoever is told of a part of a batch finds all of it."""
    disk = CrashStorage()
    one, other = open_log(disk), open_log(disk.process(), seed=2)
    seen: list[tuple[int, int]] = []

    def look(log: Log) -> None:
        seen.append((log._core.visible_sequence, log.last(subject("c"))[0]))

    for log in (one.log, other.log):
        log.add_waiter(partial(look, log))
        log.add_listener(lambda batch: seen.append((0, len(batch))))
    one.log.append([meta("a"), chunk(b"1"), meta("b"), meta("c")])
    other.log.catch_up()

    assert seen == [(0, 3), (4, 4)] * 2


def test_visible_end_is_the_durable_one() -> None:
    """Chunks that are written but not synced are not shown, in any engine."""
    disk = CrashStorage()
    one, other = open_log(disk), open_log(disk.process(), seed=2)
    put(one.log, "a")
    one.log.append([chunk(b"1")], is_visible=False)
    one.log.append([chunk(b"2")], is_visible=False)
    for log in (one.log, other.log):
        assert log.visible_sequence == 1
        assert log.progress[0].sequence == 3
        assert log.progress[1].sequence == 1
        assert list(contents(log)) == [1]
        assert log.sequence_at(1 << 62) == 1
    put(one.log, "b")

    assert [log.log.visible_sequence for log in (one, other)] == [4, 4]


def test_catalog_stops_at_the_durable_end() -> None:
    """Applying and rebuilding leave out what a power cut can still take."""
    disk = CrashStorage()
    one = open_log(disk)
    put(one.log, "a")
    one.log.append([meta("b")], is_visible=False)
    one.log.apply()
    assert one.log.catalog.applied().sequence == 1
    one.log.rebuild_catalog("a test")
    assert one.log.catalog.applied().sequence == 1
    assert one.log.catalog.last(subject("b")) == 0
    put(one.log, "c")
    one.log.apply()

    assert one.log.catalog.applied().sequence == 3
    assert one.log.last(subject("b"))[0] == 2


def test_expectation_sees_earlier_appends_of_its_batch() -> None:
    """Of two that want a free name in one batch the first has it."""
    log = open_log(CrashStorage()).log
    put(log, "z")
    free = {subject("a"): 0}
    first, second, third = tickets(
        log,
        ([chunk(b"1"), meta("a")], free),
        ([meta("a", b"never")], free),
        ([meta("a", b"next")], {subject("a"): 3}),
    )

    assert first.result().last_sequence == 3
    assert isinstance(second.error, ConflictError)
    assert (second.error.expected, second.error.actual) == (0, 3)
    assert third.result().first_sequence == 4
    assert current(log) == {subject("a"): 4, subject("z"): 1}
    assert b"never" not in contents(log).values()


def test_guard_counts_earlier_appends_of_its_batch() -> None:
    """Three that fit one by one do not fit together; the refused one has no effect."""
    log = open_log(CrashStorage()).log

    def guard(totals: GuardTotals) -> None:
        if totals.get("count", 0) >= 2:
            raise ObjStoreError("full")
        totals["count"] = totals.get("count", 0) + 1

    anything: dict[bytes, int] = {}
    done = tickets(log, *[([meta(name)], anything) for name in "abc"], guard=guard)

    assert [ticket.error is None for ticket in done] == [True, True, False]
    assert list(current(log)) == [subject("a"), subject("b")]


def large(fill: bytes) -> Ticket:
    """Give the append of chunks in the middle of a large put."""
    return Ticket([chunk(fill * ALONE_BYTES_MIN)], {}, None, False)


def small(name: str) -> Ticket:
    """Give an append whose owner waits for an acknowledgement."""
    return Ticket([meta(name)], {}, None, True)


def turns(*waiting: Ticket) -> list[list[int]]:
    """Give which of some appends each batch takes, in their order."""
    queue = TicketQueue()
    for ticket in waiting:
        queue.add(ticket)
    taken: list[list[int]] = []
    while queue:
        taken.append([waiting.index(ticket) for ticket in queue.take()])
    return taken


def test_chunks_of_large_puts_ride_alone_and_in_turns() -> None:
    """Nobody waits for more than one such ride, and they wait for one batch."""
    mixed = (large(b"1"), small("a"), large(b"2"), small("b"), large(b"3"))

    assert turns(*mixed) == [[1, 3], [0], [2], [4]]
    assert turns(large(b"1"), large(b"2")) == [[0], [1]]
    assert turns(small("a"), small("b")) == [[0, 1]]
    assert turns() == []


def test_large_put_is_not_starved_by_small_ones() -> None:
    """However many come, every other batch is one of its."""
    queue = TicketQueue()
    chunks = [large(b"1"), large(b"2")]
    for ticket in chunks:
        queue.add(ticket)
    rides: list[bool] = []
    for number in range(4):
        queue.add(small(f"n{number}"))
        rides.append(queue.take()[0] in chunks)

    assert rides == [False, True, False, True]


def test_small_chunks_ride_with_others() -> None:
    """What is written in no time needs no ride of its own."""
    short = Ticket([chunk(b"1")], {}, None, False)

    assert turns(short, small("a")) == [[0, 1]]


def test_withdrawn_append_is_left_out_of_its_batch() -> None:
    """It is answered with an error and takes no number."""
    log = open_log(CrashStorage()).log
    queue = TicketQueue()
    for name in "abc":
        queue.add(Ticket([meta(name)], {}, None, True))
    queue._tickets[1].is_withdrawn = True
    done = log._committer.commit(queue)

    assert isinstance(done[1].error, StorageError)
    assert not done[1].is_taken
    assert [done[at].result().first_sequence for at in (0, 2)] == [1, 2]
    assert list(current(log)) == [subject("a"), subject("c")]


def test_lock_is_held_from_the_look_at_the_tail_to_the_publication(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody else can have it while a batch is written and synced."""
    disk = CrashStorage()
    one, other = open_log(disk), open_log(disk.process(), seed=2)
    put(one.log, "a")
    tries: list[object] = []

    def look() -> None:
        tries.append(other.log._committer.try_lock())

    for method in ("write_at", "sync"):
        watched(monkeypatch, method, look)
    put(one.log, "b")

    assert tries == [None, None]
    lock = other.log._committer.try_lock()
    assert lock is not None
    lock.release()
