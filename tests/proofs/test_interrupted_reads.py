"""Ctrl-C and cancels at random moments of a reading or a writing, which then goes on.

Nothing is given twice, nothing is left out, and what is intact is not called damaged.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

import objstore
from objstore.blocking import ObjectReader, ObjectStore
from objstore.errors import ClosedError

T = TypeVar("T")
LARGE = random.Random(7).randbytes(6_000_000)
READ_BYTES = 1_500_000
ENOUGH = 6

pytestmark = pytest.mark.filterwarnings(
    # Ctrl-C may come before the first step of a call
    "ignore:coroutine .* was never awaited:RuntimeWarning"
)


class Interrupts:
    """Ctrl-C at a random moment, which only the work at hand hears."""

    def __init__(self) -> None:
        self.count = 0
        self._moments = random.Random(8)
        self._is_heard = False
        self._failures = 1

    def hear(self, *_: object) -> None:
        """Be the handler of the signal."""
        if self._is_heard:
            self._is_heard = False
            raise KeyboardInterrupt

    def during(self, work: Callable[[], T]) -> T | None:
        """Give what the work gave, or `None` when it was interrupted."""
        delay_s = self._moments.uniform(0, 0.002 * self._failures)
        timer = threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        given: T | None = None
        try:
            self._is_heard = True
            given = work()
            self._is_heard = False
            self._failures = 1
        except KeyboardInterrupt:
            self.count += 1
            # longer, so that it comes to an end on a slow machine, too
            self._failures += 1
        finally:
            self._is_heard = False
            timer.join()
        return given


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Give interrupts that end with the test."""
    made = Interrupts()
    before = signal.signal(signal.SIGINT, made.hear)
    yield made
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[ObjectStore]:
    """Give a bucket with an object `a`."""
    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        bucket = store.create_object_store("b")
        bucket.put("a", LARGE)
        yield bucket


def into(reader: ObjectReader) -> bytes:
    """Read into a buffer."""
    buffer = bytearray(READ_BYTES)
    return bytes(buffer[: reader.readinto(buffer)])


READS: dict[str, Callable[[ObjectReader], bytes]] = {
    "read": lambda reader: reader.read(READ_BYTES),
    "readinto": into,
    "read_chunk": lambda reader: reader.read_chunk(),
}


@pytest.mark.parametrize("name", READS)
def test_interrupted_readings_are_whole(
    bucket: ObjectStore, interrupts: Interrupts, name: str
) -> None:
    """Whoever reads on after Ctrl-C gets all bytes, and no mismatch of the digest."""
    while interrupts.count < ENOUGH:
        pieces: list[bytes] = []
        with bucket.open_reader("a") as reader:
            while reader.tell() < len(LARGE):
                before = reader.tell()
                piece = interrupts.during(lambda: READS[name](reader))
                if name != "readinto" or piece is not None:
                    assert before + len(piece or b"") == reader.tell()
                else:
                    # the interrupt came behind the reading, in this test's own copy
                    reader.seek(before)
                pieces.append(piece or b"")
        assert LARGE == b"".join(pieces)


def test_interrupted_writes_are_not_doubled(
    bucket: ObjectStore, interrupts: Interrupts
) -> None:
    """After Ctrl-C a writer has not begun with the bytes, or refuses to go on."""
    ended = 0
    while ended < ENOUGH:
        writer = bucket.open_writer("w")
        offset = 0
        try:
            while offset < len(LARGE):
                piece = LARGE[offset : offset + READ_BYTES]
                offset += interrupts.during(partial(writer.write, piece)) or 0
            writer.close()
        except ClosedError:
            ended += 1
            continue
        assert LARGE == bucket.get("w")


def test_cancelled_tasks_can_be_repeated(tmp_path: Path) -> None:
    """Tasks that asyncio cancels at any step of a reading leave it as it was."""

    async def main() -> None:
        moments = random.Random(9)
        async with objstore.connect(tmp_path / "store") as store:
            bucket = await store.create_object_store("b")
            await bucket.put("a", LARGE)
            for _ in range(5):
                pieces = [b""]
                async with bucket.open_reader("a") as reader:
                    while reader.tell() < len(LARGE):
                        before = reader.tell()
                        task = asyncio.create_task(reader.read_chunk())
                        for _ in range(moments.randrange(1, 40)):
                            await asyncio.sleep(0)
                        task.cancel()
                        try:
                            pieces.append(await task)
                        except asyncio.CancelledError:
                            assert before == reader.tell()
                assert LARGE == b"".join(pieces)

    asyncio.run(main())
