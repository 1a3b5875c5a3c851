"""Programs that `test_rewrite_processes` runs on one store at the same time.

One overwrites small objects and has their segments rewritten; the others read, follow
the changes and look for damage until there is a file `stop` beside the store. Each
tells as JSON how often it went round, how many segments were rewritten, what failed.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import objstore
from objstore.blocking import ObjectStore, Store
from objstore_log import _rewrite_policy as policy
from objstore_log._rewrite import Rewriter

NAMES = 40
FAILURES_MAX = 3
WATCH_WAIT_S = 0.2


def content(number: int) -> bytes:
    """Give what tells by itself whether it is whole, and which it is."""
    return b"%08d" % number * (40 + number % 200)


def number_of(data: bytes) -> int:
    """Give the number of a whole content."""
    number = int(data[:8])
    if data != content(number):
        message = f"{number} is mixed"
        raise ValueError(message)
    return number


class Worker:
    """One process."""

    def __init__(self, place: Path, store: Store, bucket: ObjectStore) -> None:
        self.stop = place.with_name("stop")
        self.store = store
        self.bucket = bucket
        self.rounds = 0
        self.rewritten = 0
        self.failures: list[str] = []

    def is_over(self) -> bool:
        """Say whether the test has had enough; one round is made in any case."""
        return bool(self.rounds) and self.stop.exists()

    def overwrite(self) -> None:
        """Put numbered contents under few names, then give back."""
        start = self.rounds * 300
        for number in range(start, start + 300):
            name = f"kept {number}" if number % 50 == 0 else f"n{number % NAMES}"
            self.bucket.put(name, content(number), description=str(number))
        self.store.run_retention()

    def get(self) -> None:
        """Read all that there is; what is current only gets newer."""
        for name in [info.name for info in self.bucket.list()]:
            number = number_of(self.bucket.get(name))
            with self.bucket.open_reader(name) as reader:
                if number_of(reader.read()) < number:
                    message = f"{name} went back"
                    raise ValueError(message)

    def verify(self) -> None:
        """Look for damage, and compare the catalog with the log."""
        report = self.store.verify()
        if not report.ok:
            message = f"{report.damaged}"
            raise ValueError(message)

    def watch(self) -> None:
        """Follow every change from the first one on: the numbers have no gap."""
        expected = 0
        with self.bucket.watch(start="all") as watch:
            while not self.is_over():
                with suppress(TimeoutError):
                    change = watch.updates(WATCH_WAIT_S)
                    if change is None:
                        continue
                    if change.description != str(expected):
                        message = f"{change.description} instead of {expected}"
                        raise ValueError(message)
                    expected += 1
                    self.rounds += 1

    def go(self, program: str) -> None:
        """Go round until the end."""
        programs: dict[str, Callable[[], None]] = {
            step.__name__: step
            for step in (self.overwrite, self.get, self.verify, self.watch)
        }
        while not self.is_over() and len(self.failures) < FAILURES_MAX:
            try:
                programs[program]()
            except Exception:  # noqa: BLE001 - whatever it is, it is told
                self.failures.append(traceback.format_exc())
            self.rounds += 1


def main(place: str, program: str) -> None:
    """Work on a store as a process of its own."""
    policy.GAIN_BYTES_MIN = 1  # type: ignore[misc]
    with objstore.open(place, retention_interval=None) as store:
        worker = Worker(Path(place), store, store.object_store("b"))
        rewrite = Rewriter.rewrite

        def counted(*args: object) -> bool:
            is_done = rewrite(*args)  # type: ignore[arg-type]
            worker.rewritten += is_done
            return is_done

        Rewriter.rewrite = counted  # type: ignore[method-assign, assignment]
        worker.go(program)
    told = worker.rounds, worker.rewritten, worker.failures
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
