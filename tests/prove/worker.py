"""The process that has the store: it writes until the fault, or looks afterwards.

What it tried and was told goes to an account on another disk, a line at a time, so that
the account outlives the process and the store's disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from tests.prove.judge import ABSENT
from tests.prove.peers import BY_NAME
from tests.prove.stores import MissingError, Store
from tests.prove.workload import Step, steps

PACE = 200
"""Changes a second, so that fast stores and slow ones have as much to lose."""
FAILURES_MAX = 3
FULL_STEPS_MAX = 5_000
DELETES, MORE_STEPS = 3, 10
PROBE = "probe"


def say(*facts: object) -> None:
    """Tell the campaign."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def digest_of(content: bytes) -> str:
    """Name content."""
    return hashlib.sha256(content).hexdigest()


class Account:
    """Does steps, and tells of each before and after."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.present: dict[str, None] = {}

    def _tell(self, *facts: object) -> None:
        os.write(self._file, json.dumps(facts).encode() + b"\n")

    def do(self, step: Step) -> bool:
        """Do one change; say whether it was acknowledged."""
        content = step.content()
        is_put = step.kind == "put"
        self._tell("try", step.name, digest_of(content) if is_put else ABSENT)
        try:
            if is_put:
                self._store.put(step.name, content)
            else:
                self._delete(step.name)
        except Exception as error:  # noqa: BLE001 - peers raise what they like
            self._tell("failed", f"{type(error).__name__}: {error}")
            return False
        self._tell("done", time.monotonic())
        if is_put:
            self.present[step.name] = None
        else:
            self.present.pop(step.name, None)
        return True

    def _delete(self, name: str) -> None:
        try:
            self._store.delete(name)
        except MissingError:
            # a put of it failed, or the store lost it: gone is gone
            return


def write(store: Store, account: Account, row: Iterator[Step]) -> None:
    """Do steps at the common pace, until this process is killed."""
    say("ready")
    began_s = time.monotonic()
    for done, step in enumerate(row):
        time.sleep(max(began_s + done / PACE - time.monotonic(), 0))
        account.do(step)
    store.close()


def prepare(store: Store, account: Account, row: Iterator[Step]) -> None:
    """Do the given steps and close in order."""
    for step in row:
        account.do(step)
    store.close()
    say("closed")


def fill(store: Store, account: Account, row: Iterator[Step]) -> None:
    """Put until the disk is full; delete; go on when there is room."""
    failures = 0
    for step in islice(row, FULL_STEPS_MAX):
        failures += not account.do(step)
        if failures == FAILURES_MAX:
            break
    say("full", failures)
    victims = list(account.present)[:DELETES]
    deleted = [account.do(Step(0, "delete", name, 0, "")) for name in victims]
    say("deleted", all(deleted))
    sys.stdin.readline()
    went_on: list[bool] = []
    for step in islice(row, MORE_STEPS):
        went_on.append(account.do(step))
        if went_on[-FAILURES_MAX:] == [False] * FAILURES_MAX:
            break
    # the first may still meet what the full disk left behind
    say("went on", all(went_on[1:]))
    store.close()
    say("closed")


def _attempt(work: Callable[[], list[str] | None]) -> tuple[list[str] | None, str]:
    """Run something that may fail in any way; give its result and the error."""
    try:
        return work(), ""
    except Exception as error:  # noqa: BLE001 - peers raise what they like
        return None, f"{type(error).__name__}: {error}"


def inspect(store: Store, names: list[str]) -> None:
    """Tell all that the store gives."""
    digests: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name, content in store.get_all(names).items():
        if isinstance(content, MissingError):
            digests[name] = ABSENT
        elif isinstance(content, Exception):
            errors[name] = f"{type(content).__name__}: {content}"
        else:
            digests[name] = digest_of(content)
    told, told_error = _attempt(store.told)
    listed, list_error = _attempt(store.names)
    check, check_error = _attempt(store.check)
    say(
        "found",
        {
            "told": [text for text in (*(told or []), told_error, list_error) if text],
            "listed": listed,
            "digests": digests,
            "errors": errors,
            "check": [check_error] if check_error else check,
            "serves": _serves(store),
        },
    )


def _serves(store: Store) -> bool:
    """Put something new and get it back."""

    def probe() -> list[str] | None:
        store.put(PROBE, PROBE.encode())
        return [PROBE] if store.get_all([PROBE])[PROBE] == PROBE.encode() else []

    found, _ = _attempt(probe)
    return bool(found)


def main(arguments: list[str]) -> None:
    """Run one of the programs."""
    program, name, place, scratch, *more = arguments
    try:
        store = BY_NAME[name].open(Path(place), Path(scratch))
    except Exception as error:  # noqa: BLE001 - peers raise what they like
        say("refused", f"{type(error).__name__}: {error}")
        return
    if program == "inspect":
        inspect(store, json.loads(Path(more[0]).read_text()))
        with suppress(Exception):
            store.close()
        return
    path, seed, skipped, sizes = Path(more[0]), int(more[1]), int(more[2]), more[3]
    every = steps(seed, is_small=sizes == "small")
    row = islice(every, skipped, None)
    if program == "prepare":
        prepare(store, Account(store, path), islice(every, skipped))
    elif program == "write":
        write(store, Account(store, path), row)
    else:
        fill(store, Account(store, path), row)


if __name__ == "__main__":
    main(sys.argv[1:])
