"""Signals wait while something must not be torn apart."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from types import FrameType

import pytest

from objstore_log import uninterrupted


class ToldError(Exception):
    """Raised by the handler of a test."""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGALRM])
def number(request: pytest.FixtureRequest) -> Generator[signal.Signals]:
    """Have a handler that raises, as Ctrl-C does."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        raise ToldError

    chosen: signal.Signals = request.param
    before = signal.signal(chosen, handler)
    yield chosen
    assert signal.getsignal(chosen) is handler, "the handler is back in its place"
    signal.signal(chosen, before)


def test_signal_is_delivered_behind_the_section(number: signal.Signals) -> None:
    """Nothing is raised inside, and nothing is lost."""
    reached: list[str] = []

    def section() -> None:
        with uninterrupted:
            signal.raise_signal(number)
            reached.append("end")

    with pytest.raises(ToldError):
        section()

    assert reached == ["end"]


def test_inner_section_delivers_nothing(number: signal.Signals) -> None:
    """Only the outermost section lets signals through."""
    reached: list[str] = []

    def sections() -> None:
        with uninterrupted:
            with uninterrupted:
                signal.raise_signal(number)
            reached.append("outer end")

    with pytest.raises(ToldError):
        sections()

    assert reached == ["outer end"]


def test_error_of_the_section_is_kept(number: signal.Signals) -> None:
    """A signal raises behind the error of the section, which stays its context."""

    def section() -> None:
        with uninterrupted:
            signal.raise_signal(number)
            raise KeyError

    with pytest.raises(ToldError) as caught:
        section()

    assert isinstance(caught.value.__context__, KeyError)


def test_whoever_waits_inside_may_let_signals_through(number: signal.Signals) -> None:
    """What the handler raises comes out of `deliver`, and does not come again."""
    with uninterrupted:
        signal.raise_signal(number)
        with pytest.raises(ToldError):
            uninterrupted.deliver()


def test_every_signal_has_its_turn(number: signal.Signals) -> None:
    """A handler that raises does not keep the next one from running."""
    told: list[int] = []

    def section() -> None:
        with uninterrupted:
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGHUP)
            assert told == []

    before = signal.signal(signal.SIGHUP, lambda number, _: told.append(number))
    try:
        with pytest.raises(ToldError):
            section()
    finally:
        signal.signal(signal.SIGHUP, before)

    assert told == [signal.SIGHUP]


def test_other_threads_are_not_held_up(number: signal.Signals) -> None:
    """Threads that run no handlers enter and leave freely, and deliver nothing."""
    seen: list[str] = []

    def work() -> None:
        with uninterrupted:
            uninterrupted.deliver()
            seen.append("end")

    def section() -> None:
        with uninterrupted:
            signal.raise_signal(number)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    with pytest.raises(ToldError):
        section()

    assert seen == ["end"]


def test_a_child_forked_by_another_thread_has_the_handlers_back(
    number: signal.Signals,
) -> None:
    """The section of the parent's main thread is not the child's."""
    handler = signal.getsignal(number)
    statuses: list[int] = []

    def fork() -> None:
        child = os.fork()
        if not child:
            os._exit(0 if signal.getsignal(number) is handler else 1)
        statuses.append(os.waitpid(child, 0)[1])

    with uninterrupted:
        assert signal.getsignal(number) is not handler
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()

    assert statuses == [0]


def test_system_handler_is_left_alone() -> None:
    """A signal without a handler of the program acts as it always does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with uninterrupted:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
