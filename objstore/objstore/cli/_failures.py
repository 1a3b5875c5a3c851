"""What the command line says when it fails: one line, and an exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final

from objstore import (
    BucketExistsError,
    BucketNotFoundError,
    LimitExceededError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjStoreError,
    StoreNotFoundError,
)
from objstore.errors import exit_status

FAILED: Final = 1
USAGE: Final = 2
DAMAGED: Final = 5
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

TRACEBACK_VARIABLE: Final = "OBJSTORE_TRACEBACK"


class CommandError(Exception):
    """A command cannot do what it was asked to."""

    status = FAILED


class UsageError(CommandError):
    """The arguments have no meaning."""

    status = USAGE


def _says_store(error: StoreNotFoundError) -> str:
    if "create=True" not in error.hint:
        # Something else is in its place.
        return str(error)
    return (
        f"there is no store at {error.path}; name one with --store or $OBJSTORE, or "
        "make one with: objstore bucket create BUCKET"
    )


def _says_bucket(error: BucketNotFoundError) -> str:
    return (
        f"there is no bucket {error.bucket!r}; make it with: objstore bucket create "
        f"{error.bucket}"
    )


def _says_object(error: ObjectNotFoundError) -> str:
    via = "" if error.link is None else f", where the link {error.link} points"
    return f"there is no object {error.bucket}/{error.name}{via}"


def _says_deleted(error: ObjectDeletedError) -> str:
    return f"{_says_object(error)}; it was deleted at sequence {error.sequence}"


def _says_bucket_exists(error: BucketExistsError) -> str:
    other = f" with another {', '.join(error.differing)}" if error.differing else ""
    return (
        f"bucket {error.bucket!r} exists{other}; change it with: objstore bucket edit "
        f"{error.bucket}"
    )


def _says_object_exists(error: ObjectAlreadyExists) -> str:
    return f"{error.bucket}/{error.name} exists; nothing was changed"


def _says_limit(error: LimitExceededError) -> str:
    return (
        f"bucket {error.bucket!r} holds {error.size} bytes, {error.wanted} more would "
        f"pass its limit of {error.max_bytes}; nothing was changed, remove objects or "
        f"raise it with: objstore bucket edit {error.bucket} --max-bytes SIZE"
    )


# The library's own texts name its calls where these name commands.
_TEXTS: Final[dict[type[ObjStoreError], Callable[[Any], str]]] = {
    StoreNotFoundError: _says_store,
    BucketNotFoundError: _says_bucket,
    ObjectDeletedError: _says_deleted,
    ObjectNotFoundError: _says_object,
    BucketExistsError: _says_bucket_exists,
    ObjectAlreadyExists: _says_object_exists,
    LimitExceededError: _says_limit,
}


def text_of(error: Exception) -> str:
    """Give what to say about an error, in one line."""
    says = _TEXTS.get(type(error))  # type: ignore[arg-type]
    if says is not None:
        text = says(error)
    elif (
        isinstance(error, OSError)
        and not isinstance(error, ObjStoreError)
        and error.strerror
    ):
        place = "" if error.filename is None else f"{error.filename}: "
        text = f"{place}{error.strerror}"
    else:
        text = str(error)
    return " ".join(text.split())


@contextmanager
def about(place: str) -> Generator[None]:
    """Have errors of the system name a file or a stream, where they name none."""
    try:
        yield
    except ObjStoreError:
        raise
    except OSError as error:
        if error.filename is None:
            error.filename = place
        raise


def status_of(error: Exception) -> int:
    """Give the exit status for an error."""
    if isinstance(error, CommandError):
        return error.status
    if isinstance(error, ObjStoreError) and isinstance(error, ValueError):
        return USAGE
    return exit_status(error)


def report(error: Exception) -> int:
    """Say on standard error what went wrong; give the exit status."""
    say(text_of(error))
    return status_of(error)


def say(text: str) -> None:
    """Write one line to standard error."""
    print(f"objstore: {text}", file=sys.stderr)


class _Warnings(logging.Handler):
    """Has the library's warnings told as everything else is."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one."""
        say(" ".join(record.getMessage().split()))


def install_warnings() -> None:
    """Tell what the library warns of."""
    for name in ("objstore", "objstore_log", "objstore_watch"):
        logging.getLogger(name).addHandler(_Warnings(logging.WARNING))


class Terminated(KeyboardInterrupt):
    """Another process, or the terminal's end, asks for the end: as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def interruption_status(error: KeyboardInterrupt) -> int:
    """Give the exit status as shells have it: 128 and the signal's number."""
    return 128 + error.number if isinstance(error, Terminated) else INTERRUPTED


def report_interruption(error: KeyboardInterrupt) -> int:
    """Say that the work was broken off; give the exit status."""
    what = "interrupted"
    if isinstance(error, Terminated):
        what = f"ended by {signal.Signals(error.number).name}"
    say(f"{what}; what was told as done is stored, nothing is half stored")
    return interruption_status(error)


def _terminate(number: int, frame: FrameType | None) -> None:
    del frame
    raise Terminated(number)


_HANDLERS: Final = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: _terminate,
    signal.SIGHUP: _terminate,
}


def install_signals() -> None:
    """Have the requests to end unwind the command, so that it leaves nothing behind.

    One that is ignored, as under nohup, stays so.
    """
    for number, handler in _HANDLERS.items():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, handler)


def remove_signals() -> None:
    """Have the requests to end simply end the process: nothing is left to unwind."""
    for number, handler in _HANDLERS.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, signal.SIG_DFL)


def open_closed_streams() -> None:
    """Give the process the standard streams that it was started without.

    Otherwise the store's files would get their numbers. All are for writing: what is
    not there is no empty input.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open for the life of the process
            setattr(sys, name, stream)


def install_bug_report() -> None:
    """Have errors that nobody expected told in one line, too."""
    if not os.environ.get(TRACEBACK_VARIABLE):
        sys.excepthook = _report_bug


def _report_bug(
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    text = " ".join(traceback.format_exception_only(kind, error)[-1].split())
    last = traceback.extract_tb(trace)[-1:] if trace else []
    place = "".join(f" at {os.path.basename(it.filename)}:{it.lineno}" for it in last)  # noqa: PTH119 - text, not a place
    say(
        f"internal error{place}: {text}; set {TRACEBACK_VARIABLE}=1 to see where it "
        "came from, and please report it"
    )
