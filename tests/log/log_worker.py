"""Programs that the process tests run on one log; the first argument says which."""

from __future__ import annotations

import os
import sys
import time
from typing import Unpack

from objstore_log._commit import Committer, _Batch
from objstore_log._core import SyncMode
from objstore_log._file_storage import FileStorage
from objstore_log.errors import ForkedError

from .harness import EVERYTHING, OpenedLog, Options, chunk, meta, open_log, put

HOUR_S = 3_600


def say(text: str) -> None:
    """Tell the test, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def enter(place: str, **options: Unpack[Options]) -> OpenedLog:
    """Open the log as a process of its own."""
    storage = FileStorage(place, create=True)
    options["seed"] = os.getpid()
    one = open_log(storage, **options)
    say("open")
    return one


def write(place: str, count: str, sync: str) -> None:
    """Append so many records and tell of each that was acknowledged."""
    mode: SyncMode = "never" if sync == "never" else "always"
    one = enter(place, segment_bytes=8_000, sync=mode)
    for number in range(int(count)):
        body = f"{os.getpid()}/{number}"
        if number % 7 == 3:
            one.log.append([chunk(b"c" * 500)], is_visible=False)
        appended = one.log.append(
            [chunk(body.encode()), meta(f"n{number % 50}", body.encode())]
        )
        say(f"acked {appended.first_sequence} {body}")
    one.close()
    say("closed")


def follow(place: str) -> None:
    """Tell of every record of the feed until one says to stop."""
    one = enter(place, segment_bytes=8_000)
    after = 0
    while True:
        one.log.wait(after, 1)
        page = one.log.feed(after, 100, EVERYTHING)
        for record in page.records:
            say(f"saw {record.sequence} {bytes(record.body[:40]).decode()}")
            if record.key == b"stop":
                one.close()
                say("closed")
                return
        after = page.through


def hold(place: str) -> None:
    """Stop for good in the middle of a commit, with the lock."""
    one = enter(place)
    put(one.log, "before", b"before")

    def hang(*_: object) -> None:
        say("holding")
        time.sleep(HOUR_S)

    setattr(Committer, "_write", hang)  # noqa: B010 - a test's own method
    put(one.log, "never", b"never")


def half(place: str) -> None:
    """Stop for good with half of a batch written, with the lock."""
    one = enter(place)
    put(one.log, "before", b"before")

    def hang(committer: Committer, batch: _Batch) -> None:
        core = committer._core
        data = b"".join(batch.encoded.buffers)
        position = core.progress.written.position
        core.segments.active.file.write_at(position, [data[: len(data) // 2]])
        say("holding")
        time.sleep(HOUR_S)

    setattr(Committer, "_write", hang)  # noqa: B010 - a test's own method
    put(one.log, "never", b"never")


def fork_holding(place: str) -> None:
    """Fork a child that lives on, in the middle of a commit with the lock."""
    one = enter(place)
    put(one.log, "before", b"before")

    def hang(*_: object) -> None:
        child = os.fork()
        if not child:
            time.sleep(HOUR_S)
        say(f"child {child}")
        time.sleep(HOUR_S)

    setattr(Committer, "_write", hang)  # noqa: B010 - a test's own method
    put(one.log, "never", b"never")


def fork_using(place: str) -> None:
    """Use the log in a forked child, then in the parent."""
    one = enter(place)
    put(one.log, "before")
    child = os.fork()
    if not child:
        one.log.abandon_after_fork()
        try:
            put(one.log, "child")
        except ForkedError:
            one.log.close()
            os._exit(7)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    say(f"child ended with {os.waitstatus_to_exitcode(status)}")
    put(one.log, "after")
    one.close()
    say("closed")


if __name__ == "__main__":
    {
        program.__name__: program
        for program in (write, follow, hold, half, fork_holding, fork_using)
    }[sys.argv[1]](*sys.argv[2:])
