"""Many threads on one log: group commit, withdrawn appends, waiters, a busy lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import pytest

from objstore_log import _log
from objstore_log._log import Log
from objstore_log._memory_storage import MemoryStorage
from objstore_log._record import NewRecord
from objstore_log._storage import Storage
from objstore_log._tickets import Ticket
from objstore_log.errors import BusyError, ClosedError, ConflictError, StorageError

from .harness import (
    EVERYTHING,
    chunk,
    contents,
    current,
    everything,
    meta,
    open_log,
    opened,
    put,
    put_new,
    subject,
)

SOON_S = 10.0


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run `work(number)` in threads; raise what any of them raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Queued:
    """A submitted append and the moment when it is answered."""

    def __init__(self, log: Log, *records: NewRecord) -> None:
        """Submit it."""
        self.done = threading.Event()
        self.ticket = Ticket(records, {}, None, True, lambda _: self.done.set())
        log.submit(self.ticket)

    def wait(self) -> Ticket:
        """Give the answered ticket."""
        assert self.done.wait(SOON_S), "no answer"
        return self.ticket


@contextmanager
def other_holder(storage: Storage) -> Generator[None]:
    """Hold the log's lock as another process does."""
    lock = storage.directory("log").try_lock("lock")
    assert lock is not None
    try:
        yield
    finally:
        lock.release()


def eventually(is_true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + SOON_S
    while not is_true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


def test_every_thread_gets_its_own_answer(place: Storage) -> None:
    """Appends that ride in one batch keep their order, their numbers, their content."""
    with opened(place, segment_bytes=20_000) as log:
        appended: dict[int, bytes] = {}

        def work(number: int) -> None:
            last = 0
            for turn in range(40):
                body = b"%d/%d" % (number, turn)
                one = log.append([chunk(body), meta(f"t{number}", body)])
                assert one.first_sequence > last
                last = one.last_sequence
                assert last == one.first_sequence + 1
                appended[one.first_sequence] = appended[last] = body

        in_threads(6, work)

        assert contents(log) == appended
        assert list(contents(log)) == list(range(1, 481))
    with opened(place, seed=2) as log:
        assert contents(log) == appended


def test_create_only_has_one_winner(place: Storage) -> None:
    """Of many that expect a free name exactly one is admitted, batch or not."""
    with opened(place) as log:
        winners: list[tuple[int, int]] = []
        start = threading.Barrier(6)

        def work(number: int) -> None:
            for turn in range(30):
                start.wait()
                try:
                    put_new(log, f"n{turn}", b"%d" % number)
                except ConflictError:
                    continue
                winners.append((turn, number))

        in_threads(6, work)

        assert sorted(turn for turn, _ in winners) == list(range(30))
        bodies = {record.key: bytes(record.body) for record in everything(log)}
        assert bodies == {b"n%d" % turn: b"%d" % number for turn, number in winners}


def test_readers_never_see_a_stale_or_a_missing_subject(
    place: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the overlay is emptied and caches are filled, `last` only moves forward."""
    monkeypatch.setattr(_log, "APPLY_TRIGGER_ROWS", 20)
    with opened(place) as log:
        known = [0] * 4
        ended = threading.Event()

        def read(number: int) -> None:
            seen = [0] * 4
            while not ended.is_set():
                for name, least in enumerate(list(known)):
                    sequence, record = log.last(subject(f"n{name}"))
                    assert sequence >= max(seen[name], least)
                    assert record is None or record.sequence == sequence
                    seen[name] = sequence

        def work(number: int) -> None:
            if number:
                read(number)
                return
            try:
                for turn in range(200):
                    name = turn % 4
                    known[name] = put(log, f"n{name}").first_sequence
                    log.append(
                        [meta(f"n{name}")], expect={subject(f"n{name}"): known[name]}
                    )
            finally:
                ended.set()

        in_threads(3, work)


def test_reader_waits_for_a_thread_that_reads_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process's commit is seen at once, also when another thread looked."""
    storage = MemoryStorage()
    with opened(storage, seed=1) as log, opened(storage, seed=2) as other:
        put(other, "a")
        log.catch_up()
        file = log._core.head_file
        look = file.changed

        def look_behind_another_thread() -> bool:
            # it has read the newest head, and is about to read on to it
            file.read()
            return look()

        last = put(other, "b").last_sequence
        monkeypatch.setattr(file, "changed", look_behind_another_thread)
        log.catch_up()
        assert log._core.visible_sequence == last


def test_submitted_appends_ride_in_one_batch(place: Storage) -> None:
    """What is queued while another holds the lock is committed together, in order."""
    with opened(place) as log:
        put(log, "first")
        with other_holder(place):
            queued = [Queued(log, meta(f"n{number}")) for number in range(20)]
        tickets = [one.wait() for one in queued]

        assert [ticket.result().first_sequence for ticket in tickets] == [*range(2, 22)]
        assert len({ticket.result().time_ns for ticket in tickets}) <= 2


def test_withdrawn_append_has_no_effect(place: Storage) -> None:
    """It is answered with an error, the others around it are committed."""
    with opened(place) as log, other_holder(place):
        queued = [Queued(log, meta(f"n{number}")) for number in range(3)]
        queued[1].ticket.is_withdrawn = True
    with opened(place, seed=2) as log:
        names = set(current(log))

    assert subject("n1") not in names
    assert isinstance(queued[1].wait().error, StorageError | ClosedError)
    for one in (queued[0], queued[2]):
        ticket = one.wait()
        is_there = ticket.records[0].key in {name[1:] for name in names}
        assert is_there == (ticket.error is None)


def test_waiting_stops_when_all_are_withdrawn(place: Storage) -> None:
    """Nobody waits for a lock that nobody wants any more."""
    with opened(place) as log, other_holder(place):
        one = Queued(log, meta("a"))
        one.ticket.is_withdrawn = True

        assert one.wait().error is not None
        assert not one.ticket.is_taken


def test_close_answers_what_is_queued(place: Storage) -> None:
    """Nobody waits for ever for a log that is closed."""
    one = open_log(place)
    put(one.log, "a")
    with one.log._loop.alone():
        queued = [Queued(one.log, meta(f"n{number}")) for number in range(3)]
        closing = threading.Thread(target=one.close)
        closing.start()
        eventually(lambda: one.log._is_closed)
    closing.join(SOON_S)

    assert not closing.is_alive()
    for each in queued:
        ticket = each.wait()
        assert ticket.error is None or isinstance(ticket.error, ClosedError)
    with opened(place, seed=2) as log:
        taken = {each.ticket.records[0].key for each in queued if not each.ticket.error}
        assert {name[1:] for name in current(log)} == {b"a"} | taken


def test_close_under_load_answers_every_caller(place: Storage) -> None:
    """Each append either took effect or says that the log is closed."""
    one = open_log(place)
    done: list[int] = []

    def work(number: int) -> None:
        if not number:
            eventually(lambda: len(done) > 20)
            one.close()
            return
        while True:
            try:
                done.append(put(one.log, f"n{number}").first_sequence)
            except ClosedError:
                return

    in_threads(5, work)

    with opened(place, seed=2) as log:
        assert set(done) <= set(contents(log))


def test_busy_lock_is_reported_after_the_timeout(place: Storage) -> None:
    """The holder is named, nothing is appended, reads go on meanwhile."""
    with opened(place, lock_timeout_s=0.05) as log:
        put(log, "a")
        with other_holder(place):
            with pytest.raises(BusyError) as caught:
                put(log, "b")
            assert caught.value.waited_s >= 0.05
            assert caught.value.holder_pid is not None
            assert list(contents(log)) == [1]
            assert log.last(subject("a"))[0] == 1
        assert put(log, "c").first_sequence == 2


def test_busy_lock_is_reported_to_every_caller(place: Storage) -> None:
    """Queued appends of other threads are answered too."""
    with opened(place, lock_timeout_s=0.05) as log, other_holder(place):
        busy: list[int] = []

        def work(number: int) -> None:
            with pytest.raises(BusyError):
                put(log, f"n{number}")
            busy.append(number)

        in_threads(4, work)

        assert sorted(busy) == [0, 1, 2, 3]


def test_closing_does_not_wait_for_a_stopped_holder(
    place: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof of the last batch is left to whoever has the lock."""
    monkeypatch.setattr(_log, "CLOSE_WAIT_S", 0.05)
    one = open_log(place)
    put(one.log, "a")
    with other_holder(place):
        began = time.monotonic()
        one.close()
        assert time.monotonic() - began < SOON_S / 2
    with opened(place, seed=2) as log:
        assert list(contents(log)) == [1]


def _has_grown(log: Log, position: int) -> bool:
    return log.progress[0].position > position


def test_idle_log_proves_its_last_batch_each_time(place: Storage) -> None:
    """An empty batch follows 100 ms after an append, also after the second one."""
    with opened(place) as log:
        for _ in range(3):
            put(log, "a")
            end = log.progress[0]
            eventually(partial(_has_grown, log, end.position))
            assert log.progress[0].sequence == end.sequence


def test_busy_idle_proof_is_left_out(
    place: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that proves does not queue for the lock and keeps nobody waiting."""
    monkeypatch.setattr(_log, "CLOSE_WAIT_S", 0.05)
    with opened(place, lock_timeout_s=0.2) as log:
        put(log, "a")
        with other_holder(place):
            time.sleep(0.25)
            began = time.monotonic()
            with pytest.raises(BusyError):
                put(log, "b")
            assert time.monotonic() - began < 2


def test_wait_ends_with_the_next_append(place: Storage) -> None:
    """Whoever waits is woken by this process's and by other engines' appends."""
    with opened(place, seed=1) as log, opened(place, seed=2) as other:
        put(log, "a")
        for source in (log, other):
            before = log.visible_sequence
            waiting = threading.Timer(0.03, partial(put, source, "b"))
            waiting.start()
            assert log.wait(before, SOON_S) == before + 1
            waiting.join()


def test_wait_ends_with_its_time(place: Storage) -> None:
    """Without growth it gives what there is."""
    with opened(place) as log:
        put(log, "a")
        assert log.wait(1, 0.02) == 1
        assert log.wait(0, SOON_S) == 1


def test_waiter_is_called_once(place: Storage) -> None:
    """It is told of the first growth and has to come again for the next."""
    with opened(place) as log:
        calls: list[str] = []
        log.add_waiter(lambda: calls.append("kept"))
        log.discard_waiter(log.add_waiter(lambda: calls.append("discarded")))
        put(log, "a")
        put(log, "b")

        assert calls == ["kept"]


def test_closing_wakes_those_who_wait(place: Storage) -> None:
    """A thread that waits ends with an error, at once."""
    one = open_log(place)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            one.log.wait(0)
        except ClosedError as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    eventually(lambda: bool(one.log._waiters._waiting))
    began = time.monotonic()
    one.close()
    waiting.join(SOON_S)

    assert len(caught) == 1
    assert time.monotonic() - began < 2


def test_poller_outlives_a_failed_look() -> None:
    """A look that fails once does not leave those who wait alone."""
    storage = MemoryStorage()
    with opened(storage, seed=1) as log, opened(storage, seed=2) as other:
        put(log, "a")
        looks = 0
        look = log._core.catch_up

        def failing() -> None:
            nonlocal looks
            looks += 1
            if looks == 2:
                raise OSError(5, "once")
            look()

        log._waiters._look = failing
        woken = threading.Event()
        log.add_waiter(woken.set)
        eventually(lambda: looks > 3)
        put(other, "b")

        assert woken.wait(SOON_S)


def test_listener_is_told_of_every_batch_in_order(place: Storage) -> None:
    """Own and foreign ones alike, each subject record once."""
    with opened(place, seed=1) as log, opened(place, seed=2) as other:
        told: list[int] = []
        log.add_listener(lambda batch: told.extend(one.sequence for one in batch))
        for number in range(10):
            log_or_other = log if number % 3 else other
            log_or_other.append([chunk(b"c"), meta("a")])
        log.catch_up()

        assert told == list(range(2, 21, 2))


def test_many_segments_are_read_by_many_threads(
    place: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the least used files and dropping their indexes disturbs no reader."""
    monkeypatch.setattr("objstore_log._segments.OPEN_FILES_MAX", 3)
    with opened(place, segment_bytes=600) as log:
        for number in range(40):
            put(log, f"n{number}", b"%d" % number * 60)

        def work(seed: int) -> None:
            for turn in range(200):
                sequence = (turn * (7 + 2 * seed)) % 40 + 1
                (record,) = log.read_run(sequence, 1)
                assert bytes(record.body) == b"%d" % (sequence - 1) * 60
                if turn % 50 == 0:
                    assert len(log.feed(0, 100, EVERYTHING).records) == 40

        in_threads(4, work)
