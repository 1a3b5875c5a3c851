"""Where no thread can be started, nobody hangs: appends go on, or an error says why."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Never

import pytest

from objstore_log import _threads, uninterrupted
from objstore_log._log import Log
from objstore_log._memory_storage import MemoryStorage
from objstore_log._threads import Background
from objstore_log._tickets import Ticket
from objstore_log.errors import ClosedError, StorageError

from .harness import current, meta, open_log, put, subject

SOON_S = 10.0


def _refuse(*_: object) -> Never:
    message = "can't start new thread"
    raise RuntimeError(message)


def _forget(*_: object) -> None:
    """Start a thread that has no memory for its first step."""


STARTS = [_refuse, _forget]


@pytest.fixture(params=STARTS, ids=["refused", "ended at once"])
def no_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread begin."""
    monkeypatch.setattr(_threads, "start_new_thread", request.param)


@pytest.fixture
def log() -> Generator[Log]:
    """Give a log that has started no thread."""
    opened = open_log(MemoryStorage())
    yield opened.log
    opened.close()


@contextmanager
def led(log: Log) -> Generator[None]:
    """Be the leader of its commits."""
    with log._loop.alone():
        yield


# --- a thread alone -------------------------------------------------------------------


@pytest.mark.usefixtures("no_threads")
def test_thread_that_does_not_begin_is_an_error() -> None:
    """Its start says so, instead of waiting for a first step that never comes."""
    thread = Background("somewhere", lambda: None)
    with pytest.raises(StorageError, match="starting a thread for somewhere"):
        thread.start()
    assert not thread.is_running()
    thread.join()


def test_no_memory_for_a_thread_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system cannot even say so."""

    def refuse(*_: object) -> Never:
        raise MemoryError

    monkeypatch.setattr(_threads, "start_new_thread", refuse)
    with pytest.raises(StorageError, match="no memory is left"):
        Background("somewhere", lambda: None).start()


def test_thread_runs_from_its_start_to_its_end() -> None:
    """Whoever joins it waits for the end; it never joins itself."""
    steps: list[str] = []
    go_on = threading.Event()

    def work() -> None:
        go_on.wait(SOON_S)
        thread.join()
        time.sleep(0.01)
        steps.append("worked")

    thread = Background("somewhere", work)
    thread.start()
    assert thread.is_running()
    go_on.set()
    thread.join()
    assert (steps, thread.is_running()) == (["worked"], False)


def test_forked_child_has_no_thread() -> None:
    """The parent's does not run in it, and is not waited for."""
    go_on = threading.Event()

    def work() -> None:
        go_on.wait(SOON_S)

    thread = Background("somewhere", work)
    thread.start()
    pid = os.fork()
    if not pid:
        try:
            thread.join()
            os._exit(thread.is_running())
        finally:
            os._exit(2)
    try:
        assert os.waitpid(pid, 0)[1] == 0
        assert thread.is_running()
    finally:
        go_on.set()
        thread.join()


# --- a log ----------------------------------------------------------------------------


@pytest.mark.usefixtures("no_threads")
def test_appends_need_no_thread(log: Log) -> None:
    """Whoever waits for another's commit leads the next one."""
    names = ["a", "b", "c", "d"]
    threads = [threading.Thread(target=put, args=(log, name)) for name in names]
    with led(log):
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert sorted(current(log)) == [subject(name) for name in names]


@pytest.mark.usefixtures("no_threads")
def test_interrupted_wait_ends_without_a_thread(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was queued is taken back, and the leader's place is taken for that."""

    def deliver() -> Never:
        release.set()
        raise KeyboardInterrupt

    release = threading.Event()
    leads = threading.Event()

    def lead() -> None:
        with led(log):
            leads.set()
            release.wait(SOON_S)

    leader = threading.Thread(target=lead)
    leader.start()
    leads.wait(SOON_S)
    with monkeypatch.context() as patch:
        patch.setattr(uninterrupted, "deliver", deliver)
        with pytest.raises(KeyboardInterrupt):
            put(log, "a")
    leader.join()
    assert current(log) == {}


def _submitted(log: Log) -> Ticket:
    ticket = Ticket([meta("a")], {}, None, True)
    log.submit(ticket)
    return ticket


def _waited(log: Log) -> None:
    log.add_waiter(lambda: None)


@pytest.mark.parametrize("work", [_submitted, _waited])
@pytest.mark.parametrize("start", STARTS)
def test_what_needs_a_thread_says_that_there_is_none(
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[..., None],
    work: Callable[[Log], object],
) -> None:
    """An asynchronous append has no effect, now or later; a wait is not begun."""
    with monkeypatch.context() as patch:
        patch.setattr(_threads, "start_new_thread", start)
        with pytest.raises(StorageError, match="starting a thread for"):
            work(log)
    put(log, "b")
    assert list(current(log)) == [subject("b")]
    work(log)


def test_append_that_comes_behind_the_close_is_refused(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would ever answer it."""
    monkeypatch.setattr(log, "_check_open", lambda: None)
    log.close()
    with pytest.raises(ClosedError):
        _submitted(log)
