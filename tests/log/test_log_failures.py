"""Calls that fail: nothing acknowledged is lost, and the log says what to do."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from objstore_log._footer import TRAILER_BYTES, encode_trailer
from objstore_log._log import Log
from objstore_log._record import Kind
from objstore_log._segment import Segment
from objstore_log._segments import TEMPORARY_SUFFIX
from objstore_log._tickets import Ticket
from objstore_log.errors import PoisonedError, StorageError
from objstore_log.testing import CrashStorage
from objstore_log.testing.crash_trace import FaultKind, Sync

from .harness import (
    OpenedLog,
    chunk,
    contents,
    current,
    everything,
    meta,
    open_log,
    put,
    subject,
)

pytestmark = pytest.mark.usefixtures("single_threaded")


@pytest.fixture
def disk() -> CrashStorage:
    """Give an empty disk."""
    return CrashStorage()


def reopened(disk: CrashStorage, seed: int = 9) -> OpenedLog:
    """Open the log in another process."""
    return open_log(disk.kill(), seed=seed, segment_bytes=900)


def names(log: Log) -> list[str]:
    """Give the keys of all metas in order."""
    return [record.key.decode() for record in everything(log) if record.key]


def test_failed_sync_refuses_this_and_all_later_appends(disk: CrashStorage) -> None:
    """The log is read-only from then on in this process; reads go on."""
    one = open_log(disk)
    put(one.log, "a")
    disk.fail("sync", code=errno.EIO)
    with pytest.raises(PoisonedError) as caught:
        put(one.log, "b")
    for _ in range(2):
        with pytest.raises(PoisonedError):
            put(one.log, "c")

    assert caught.value.errno == errno.EIO
    assert names(one.log) == ["a"]
    assert current(one.log) == {subject("a"): 1}
    assert one.log.last(subject("b"))[0] == 0
    one.close()


def test_failed_sync_is_never_tried_again(disk: CrashStorage) -> None:
    """No later sync touches that file, in this process and in the next."""
    one = open_log(disk)
    put(one.log, "a")
    active = one.log._core.segments.active.name
    disk.fail("sync")
    with pytest.raises(PoisonedError):
        put(one.log, "b")
    failed = len(disk.trace)
    with pytest.raises(PoisonedError):
        put(one.log, "c")
    one.close()
    other = reopened(disk)
    put(other.log, "d")

    later = [item for item in disk.trace[failed:] if isinstance(item, Sync)]
    assert active not in {item.name for item in later}
    assert names(other.log) in (["a", "d"], ["a", "b", "d"])


def test_failed_sync_loses_nothing_acknowledged(disk: CrashStorage) -> None:
    """The next process copies the tail into a new segment before it goes on."""
    one = open_log(disk)
    put(one.log, "a")
    one.log.append([chunk(b"c" * 50)], is_visible=False)
    disk.fail("sync")
    with pytest.raises(PoisonedError):
        put(one.log, "b")
    other = reopened(disk)
    put(other.log, "d")
    assert other.log.segment_count >= 2
    for cut in disk.disks(limit=60):
        again = open_log(cut.mount(), seed=5)
        found = names(again.log)
        assert (found[0], found[-1]) == ("a", "d")
        assert again.log.damages == []
        again.abandon()


def test_other_process_learns_of_a_failed_sync(disk: CrashStorage) -> None:
    """A process that has the log open does not append to that file either."""
    one = open_log(disk, seed=1)
    other = open_log(disk.process(), seed=2)
    put(one.log, "a")
    put(other.log, "b")
    disk.fail("sync")
    with pytest.raises(PoisonedError):
        put(one.log, "c")
    put(other.log, "d")

    assert other.log.segment_count == 2
    assert names(other.log)[:2] == ["a", "b"]
    assert names(one.log) == names(other.log)
    for cut in disk.disks(limit=60):
        again = open_log(cut.mount(), seed=5)
        assert {"a", "b", "d"} <= set(names(again.log))
        again.abandon()


def test_poison_survives_a_failed_takeover(disk: CrashStorage) -> None:
    """That the copy had no space does not make the old file good again."""
    one = open_log(disk, seed=1)
    put(one.log, "a")
    one.log.append([chunk(b"c" * 50)], is_visible=False)
    disk.fail("sync")
    with pytest.raises(PoisonedError):
        one.log._committer.sync()
    other = disk.process()
    disk.fail("create", nth=2, code=errno.ENOSPC)
    with pytest.raises(StorageError):
        open_log(other, seed=2)
    opened_other = open_log(other, seed=3)
    put(opened_other.log, "d")

    for cut in disk.disks(limit=60):
        again = open_log(cut.mount(), seed=5)
        kinds = [record.kind for record in everything(again.log)]
        assert kinds == [Kind.META, Kind.CHUNK, Kind.META]
        again.abandon()


def test_refused_segment_gives_its_room_back(disk: CrashStorage) -> None:
    """On a full disk the bytes of a new segment are not kept for the next try."""
    one = open_log(disk)
    put(one.log, "a")
    # a torn batch; then, behind the head that tells of it, the segment's beginning
    for nth in (1, 2):
        disk.fail("write", nth=nth, code=errno.ENOSPC, written_part=0.5)
        with pytest.raises(StorageError):
            put(one.log, "b")
        disk.heal()
    left = one.log._core.storage.names()
    put(one.log, "c")

    assert not [name for name in left if name.endswith(TEMPORARY_SUFFIX)]
    assert names(one.log) == ["a", "c"]


def workload(log: Log, acked: dict[int, bytes]) -> None:
    """Append until it is done, whatever fails on the way."""
    for number in range(8):
        body = b"%d" % number * (20 * number)
        with suppress(StorageError):
            log.append([chunk(body)], is_visible=False)
        name = f"n{number % 3}"
        with suppress(StorageError):
            appended = log.append([chunk(body), meta(name, body)])
            acked[appended.first_sequence] = body
            acked[appended.last_sequence] = body


FAULTS: list[tuple[FaultKind, int, float]] = [
    ("write", errno.ENOSPC, 0.0),
    ("write", errno.ENOSPC, 0.5),
    ("write", errno.EDQUOT, 0.99),
    ("write", errno.EIO, 1.0),
    ("create", errno.ENOSPC, 0.0),
    ("open", errno.EMFILE, 0.0),
    ("replace", errno.EIO, 0.0),
    ("remove", errno.EIO, 0.0),
    ("read", errno.EIO, 0.0),
    ("sync_directory", errno.EIO, 0.0),
    ("sync", errno.EIO, 0.0),
]


def _fail_everywhere(
    kind: FaultKind, code: int, part: float, *, is_sticky: bool, step: int
) -> None:
    nth, calls = 1, 1
    while nth <= calls:
        disk = CrashStorage()
        one = open_log(disk, segment_bytes=900)
        put(one.log, "first")
        disk.fail(kind, nth=nth, code=code, sticky=is_sticky, written_part=part)
        fault = disk._machine.recorder.faults[0]
        acked: dict[int, bytes] = {}
        workload(one.log, acked)
        if not is_sticky or nth < 4:
            calls = max(calls, fault.calls)
        disk.heal()
        if kind != "sync" or not one.log._core.poison:
            acked[put(one.log, "after").first_sequence] = b"body"
        try:
            _check_failed(one, disk, acked)
        except BaseException as error:
            error.add_note(f"{kind} {nth} failed")
            raise
        nth += step


@pytest.mark.parametrize(("kind", "code", "part"), FAULTS)
@pytest.mark.parametrize("is_sticky", [False, True], ids=["once", "sticky"])
def test_failure_loses_nothing(
    kind: FaultKind, code: int, part: float, is_sticky: bool
) -> None:
    """Whichever call fails, what was acknowledged is there, and appends work again."""
    step = 17 if kind in {"read", "write", "open"} else 3
    _fail_everywhere(kind, code, part, is_sticky=is_sticky, step=step)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "code", "part"), FAULTS)
@pytest.mark.parametrize("is_sticky", [False, True], ids=["once", "sticky"])
def test_failure_at_every_call_loses_nothing(
    kind: FaultKind, code: int, part: float, is_sticky: bool
) -> None:
    """The same for every single call."""
    _fail_everywhere(kind, code, part, is_sticky=is_sticky, step=1)


def _check_failed(one: OpenedLog, disk: CrashStorage, acked: dict[int, bytes]) -> None:
    found = contents(one.log)
    assert {sequence: found.get(sequence) for sequence in acked} == acked
    assert one.log.damages == []
    newest = {
        record.subject: record.sequence
        for record in everything(one.log)
        if record.kind == Kind.META
    }
    assert current(one.log) == newest
    other = reopened(disk)
    after = contents(other.log)
    assert {sequence: after.get(sequence) for sequence in found} == found
    assert put(other.log, "last").first_sequence > max(found)
    assert other.log.damages == []
    assert len(after) <= len(found) or one.log._core.poison is not None
    disks = disk.disks(limit=3)
    next(disks)
    for cut in disks:
        again = open_log(cut.mount(), seed=5)
        survived = contents(again.log)
        assert {sequence: survived.get(sequence) for sequence in acked} == acked
        again.abandon()


@pytest.mark.parametrize("kind", ["open", "create", "read", "write", "sync", "replace"])
def test_failure_at_every_call_of_opening_loses_nothing(kind: FaultKind) -> None:
    """Opening fails with the system's error and works when the cause is gone."""
    made = CrashStorage()
    one = open_log(made, segment_bytes=900)
    acked: dict[int, bytes] = {}
    workload(one.log, acked)
    one.log.append([chunk(b"unsynced")], is_visible=False)
    nth, calls = 0, 1
    while nth < calls:
        nth += 1
        disk = next(made.disks(limit=1)).mount()
        disk.fail(kind, nth=nth, code=errno.EIO)
        fault = disk._machine.recorder.faults[0]
        first: OpenedLog | None = None
        with suppress(OSError):
            first = open_log(disk, seed=2)
        calls = max(calls, fault.calls)
        disk.heal()
        second = open_log(disk if first is None else disk.process(), seed=3)
        found = contents(second.log)
        assert {sequence: found.get(sequence) for sequence in acked} == acked
        put(second.log, "after")
        assert second.log.damages == []


def test_opening_reports_the_refused_call(disk: CrashStorage) -> None:
    """What the system refused is a `StorageError` that names the place."""
    open_log(disk).close()
    for kind in ("read", "open"):
        other = disk.process()
        disk.fail(kind, nth=3, sticky=True)
        with pytest.raises(OSError, match="Input/output error"):
            open_log(other, seed=2)
        disk.heal()


def test_failed_publication_is_no_failed_append(disk: CrashStorage) -> None:
    """The batch is durable, so its caller is told so; others find it by scanning."""
    one = open_log(disk, seed=1)
    put(one.log, "a")
    other = open_log(disk.process(), seed=2)
    disk.fail("write", nth=2, sticky=True)
    put(one.log, "b")
    disk.heal()

    assert names(one.log) == ["a", "b"]
    put(other.log, "c")
    assert names(other.log) == names(one.log) == ["a", "b", "c"]
    put(one.log, "d")
    assert names(other.log) == names(one.log) == ["a", "b", "c", "d"]


def test_forged_footer_at_a_torn_end_is_no_footer(disk: CrashStorage) -> None:
    """Content with a footer in it, cut just behind it, does not end the segment."""
    source = CrashStorage()
    with_footer = open_log(source, seed=7, segment_bytes=600)
    for number in range(3):
        put(with_footer.log, f"n{number}", b"x" * 100)
    sealed: Segment = next(iter(with_footer.log._core.segments))
    footer = sealed.footer
    assert footer is not None
    one = open_log(disk)
    put(one.log, "a")
    put(one.log, "b")
    active = one.log._core.segments.active
    size = active.file.size()
    data = sealed.file.read_at(footer.usable, sealed.file.size() - footer.usable)
    forged = _forged_footer(data, size + 88 - 0)
    ticket = [chunk(forged + b"behind")]
    one.log.append(ticket, is_visible=False)
    name = f"log/{active.name}"
    files = next(disk.disks(limit=1)).files()
    cut = files[name][: size + 88 + len(forged)]
    assert cut.endswith(forged[-8:])
    mounted = _disk_with(files | {name: cut})

    again = open_log(mounted, seed=5)

    assert names(again.log) == ["a", "b"]
    assert put(again.log, "c").first_sequence == 3


def _forged_footer(data: bytes, position: int) -> bytes:
    body = data[88:-TRAILER_BYTES]
    return data[:88] + body + encode_trailer(300, body, position + 88)


def _disk_with(files: dict[str, bytes]) -> CrashStorage:
    storage = CrashStorage()
    for path, data in files.items():
        directory, _, name = path.rpartition("/")
        place = storage.directory(directory, create=True) if directory else storage
        place.open(name, create=True).write_at(0, [data])
    return storage


def _answer(answered: threading.Semaphore, _: Ticket) -> None:
    answered.release()


@pytest.mark.parametrize("fault", ["sync", "write"])
def test_failed_sync_of_a_relaxed_log_does_not_end_its_thread(
    disk: CrashStorage, fault: FaultKind
) -> None:
    """Every queued append gets an answer afterwards."""
    one = open_log(disk, sync=0.000_1)
    put(one.log, "a")
    disk.fail(fault, sticky=True)
    errors: list[object] = []
    for _ in range(3):
        answered = threading.Semaphore(0)
        ticket = Ticket([meta("b")], {}, None, True, partial(_answer, answered))
        one.log.submit(ticket)
        assert answered.acquire(timeout=5)
        errors.append(ticket.error)
    assert isinstance(errors[-1], StorageError)
    disk.heal()
    one.close()


def _close(log: Log) -> None:
    log.close()


@pytest.mark.parametrize("call", [_close, contents, current])
def test_poisoned_relaxed_log_can_be_read_and_closed(
    disk: CrashStorage, call: Callable[[Log], object]
) -> None:
    """Neither listing nor closing wants the sync that failed."""
    one = open_log(disk, sync="never")
    put(one.log, "a")
    put(one.log, "b")
    disk.fail("sync", sticky=True)
    with pytest.raises(PoisonedError):
        one.log._committer.sync()
    with pytest.raises(PoisonedError):
        put(one.log, "c")

    call(one.log)
