"""What a process that has the lock does to others when it is stopped or killed."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import anyio
from tests.torture import holder_worker
from tests.torture.crowd import CONTEXT, CrowdError
from tests.torture.holder_worker import HELD, Talk

import objstore
from objstore import blocking
from objstore.errors import BusyError

SOON_S = 60.0
HASTY_S = 0.3
SLACK_S = 3.0
"""How much later than it should something may come, on a busy machine."""
CONTENT = bytes(range(256)) * 400


@dataclass
class Holder:
    """A process that stands still in a commit."""

    process: BaseProcess
    talk: Talk

    def hear(self) -> Any:
        """Wait for what it says next."""
        if not self.talk.poll(SOON_S):
            message = "the holder says nothing"
            raise CrowdError(message)
        return self.talk.recv()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


@contextmanager
def holding(place: Path) -> Generator[Holder]:
    """Give a process that has the lock of the bucket, in the middle of a commit."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=holder_worker.hold, args=(str(place), theirs))
    process.start()
    holder = Holder(process, ours)
    try:
        assert holder.hear() == "holding"
        yield holder
    finally:
        process.kill()
        process.join()


class Round:
    """One holder, stopped, let go on, and killed."""

    def __init__(self, place: Path, seed: int, counts: Counter[str]) -> None:
        """Take the place of a new store."""
        self._place = place
        self._chance = random.Random(seed)
        self._counts = counts
        self.wrong: list[str] = []

    def run(self) -> None:
        """Go through all of it."""
        with (
            objstore.open(self._place, retention_interval=None) as patient,
            objstore.open(
                self._place, retention_interval=None, lock_timeout=HASTY_S
            ) as hasty,
        ):
            bucket = patient.create_object_store(HELD, segment_bytes=100_000)
            bucket.put("a", CONTENT)
            with holding(self._place) as holder:
                holder.send(signal.SIGSTOP)
                self._counts["stopped holders"] += 1
                self._writers_are_stopped(holder, hasty)
                self._nobody_else_is(bucket)
                holder.send(signal.SIGCONT)
                self._it_goes_on(holder, bucket)
                self._killed_ones_delay_nobody(holder, bucket)

    def _took(self, what: str, work: Callable[[], object], limit_s: float) -> None:
        """Do something that may not take longer."""
        began_s = time.monotonic()
        work()
        took_s = time.monotonic() - began_s
        longest = f"longest: {what}, ms"
        self._counts[longest] = max(self._counts[longest], int(took_s * 1000))
        if took_s > limit_s:
            self.wrong.append(f"{what} took {took_s:.2f} s beside a stopped holder")

    def _writers_are_stopped(self, holder: Holder, hasty: blocking.Store) -> None:
        """A writer gives up after its time, and names the holder; or is cancelled."""

        def put() -> None:
            try:
                hasty.object_store(HELD).put("b", b"1")
            except BusyError as error:
                if error.holder_pid != holder.process.pid:
                    self.wrong.append(f"{error}, which is not {holder.process.pid}")
                if error.waited_s < HASTY_S:
                    self.wrong.append(f"gave up after {error.waited_s} s")
            else:
                self.wrong.append("a put went by a stopped holder")

        async def cancelled() -> None:
            async with objstore.connect(self._place, retention_interval=None) as store:
                bucket = await store.object_store(HELD)
                with anyio.move_on_after(0.1) as scope:
                    size = self._chance.choice([10, 3_000_000])
                    await bucket.put("cancelled", bytes(size))
                if not scope.cancelled_caught:
                    self.wrong.append("a put went by a stopped holder")
                if await bucket.exists("cancelled"):
                    self.wrong.append("a cancelled put is there")

        self._took("refused put", put, HASTY_S + SLACK_S)
        for backend in ("asyncio", "trio"):
            work = lambda backend=backend: anyio.run(cancelled, backend=backend)  # noqa: E731 - only here
            self._took(f"cancelled put on {backend}", work, SLACK_S)

    def _nobody_else_is(self, bucket: blocking.ObjectStore) -> None:
        """Reads, lists, watches and other buckets go on."""

        def get() -> None:
            if bucket.get("a") != CONTENT:
                self.wrong.append("other content beside a stopped holder")

        def look() -> None:
            names = [info.name for info in bucket.list()]
            if names != ["a"]:
                self.wrong.append(f"listed {names} beside a stopped holder")

        def watch() -> None:
            with bucket.watch(start="all") as changes:
                if next(changes).name != "a":
                    self.wrong.append("watched another name")

        def other() -> None:
            with objstore.open(self._place, retention_interval=None) as store:
                store.object_store("other", create=True).put("x", b"1")
                store.delete_object_store("other")

        for work in (get, look, watch, other):
            self._took(work.__name__, work, SLACK_S)

    def _it_goes_on(self, holder: Holder, bucket: blocking.ObjectStore) -> None:
        """What it was about to commit is committed, and told."""
        holder.talk.send("go on")
        seq = holder.hear()
        info = bucket.get_info("holder's")
        if not isinstance(seq, int) or info.seq < seq:
            self.wrong.append(f"the holder was told {seq}, there is {info.seq}")
        if bucket.exists("cancelled") or bucket.exists("b"):
            self.wrong.append("what was given up came later")

    def _killed_ones_delay_nobody(
        self, holder: Holder, bucket: blocking.ObjectStore
    ) -> None:
        """The lock is free when its holder is dead, stopped or not."""
        if holder.hear() != "holding":
            self.wrong.append("the holder did not go on")
        if self._chance.random() < 0.5:
            holder.send(signal.SIGSTOP)
        holder.send(signal.SIGKILL)
        self._counts["killed holders"] += 1
        put = lambda: bucket.put("after", b"1")  # noqa: E731 - only here
        self._took("put behind a killed holder", put, SLACK_S)


def run_holders(seed: int, counts: Counter[str]) -> list[str]:
    """Stop and kill a holder; give what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        once = Round(Path(folder) / "store", seed, counts)
        once.run()
        return once.wrong
