"""Workloads for crash tests, and what their callers were told at which moment."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import pytest

from objstore_log._core import SyncMode
from objstore_log._log import Log
from objstore_log._record import Kind, NewRecord
from objstore_log.errors import ConflictError, ObjStoreError
from objstore_log.testing import CrashStorage

from .harness import FakeClock, OpenedLog, chunk, meta, open_log, subject

SEGMENT_BYTES = 900
Content: TypeAlias = tuple[int, bytes, bytes, bytes]


class Told(NamedTuple):
    """One append: what it was about and what its caller knew when."""

    content: list[Content]
    """(kind, key, body, nuid) of each record."""
    begun: int
    """Mutations when it began."""
    ended: int
    """Mutations when its caller was told."""
    first_sequence: int | None
    """`None` when it was refused: then it has no effect, or an unknown one."""
    is_visible: bool


class Image(NamedTuple):
    """A catalog as it was at some moment."""

    point: int
    data: bytes


@dataclass
class Run:
    """A workload while it runs, and what it noted."""

    storage: CrashStorage
    sync: SyncMode = "always"
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[Told] = field(default_factory=list[Told])
    images: list[Image] = field(default_factory=list[Image])
    seen: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(mutations, greatest sequence that a reader could see)."""
    seed: int = 0
    one: OpenedLog = field(init=False)

    def __post_init__(self) -> None:
        """Open for the first time."""
        self.open()

    def open(self, image: bytes | None = None) -> None:
        """Open as another engine."""
        self.seed += 1
        self.one = open_log(
            self.storage,
            seed=self.seed,
            sync=self.sync,
            segment_bytes=SEGMENT_BYTES,
            clock=self.clock,
            image=image,
        )
        self.look()

    @property
    def log(self) -> Log:
        """Give the open log."""
        return self.one.log

    def look(self) -> None:
        """Note what a reader sees by now."""
        self.seen.append((self.storage.mutation_count, self.log.visible_sequence))

    def append(
        self,
        records: Sequence[NewRecord],
        *,
        is_visible: bool = True,
        log: Log | None = None,
    ) -> None:
        """Append, with another engine's log if one is given, and note it."""
        begun = self.storage.mutation_count
        content: list[Content] = [
            (record.kind, record.key, bytes(record.body), record.nuid)
            for record in records
        ]
        first: int | None = None
        try:
            with suppress(ObjStoreError):
                appended = (log or self.log).append(records, is_visible=is_visible)
                first = appended.first_sequence
        finally:
            self.told.append(
                Told(content, begun, self.storage.mutation_count, first, is_visible)
            )
        self.look()

    def apply(self) -> None:
        """Bring the catalog up to date and keep an image of it."""
        self.log.apply()
        image = self.log.catalog.serialize()
        self.images.append(Image(self.storage.mutation_count, image))

    def kill(self) -> None:
        """End the process without a word and open the log in another."""
        self.one.abandon()
        self.storage = self.storage.kill()
        self.open()


Workload: TypeAlias = Callable[[Run], None]


def small(run: Run) -> None:
    """Append one record at a time."""
    for name in "aba":
        run.append([meta(name, b"small")])
    run.apply()


def several(run: Run) -> None:
    """Append several records at a time."""
    run.append([meta("a", b"1"), meta("b", b"2"), chunk(b"3" * 40)])
    run.apply()
    run.append([meta("b", b"4"), meta("c", b"5")])


def rolling(run: Run) -> None:
    """Fill several segments."""
    for number in range(6):
        run.append([meta(f"n{number % 4}", b"roll" * 40)])
        if number in {1, 4}:
            run.apply()


def conflict(run: Run) -> None:
    """Have one append refused."""
    run.append([meta("a", b"first")])
    with pytest.raises(ConflictError):
        run.log.append([meta("a", b"never")], expect={subject("a"): 0})
    run.append([meta("b", b"second")])


def chunks(run: Run) -> None:
    """Put a large object: invisible chunks first, its meta last."""
    run.append([meta("a", b"before")])
    for number in range(3):
        run.append([chunk(bytes([number]) * 150, index=number)], is_visible=False)
    run.append([chunk(b"last", index=3), meta("large", b"done")])
    run.apply()


def abort(run: Run) -> None:
    """Give a large put up."""
    run.append([chunk(b"a" * 200)], is_visible=False)
    run.append([chunk(b"b" * 200, index=1)], is_visible=False)
    run.append([NewRecord(Kind.ABORT, b"", nuid=b"n" * 16)])
    run.append([meta("b", b"after")])


def reopened(run: Run) -> None:
    """Close, open again, go on."""
    run.append([meta("a", b"one")])
    run.one.close()
    run.open()
    run.append([meta("b", b"two")])
    run.apply()


def killed(run: Run) -> None:
    """Lose the process between two appends, and in the middle of a large put."""
    run.append([meta("a", b"one")])
    run.kill()
    run.append([chunk(b"c" * 300)], is_visible=False)
    run.kill()
    run.append([meta("b", b"two")])


def idle(run: Run) -> None:
    """Let the log be idle between appends."""
    run.append([meta("a", b"one")])
    run.log._committer.close_batches(lambda: True)
    run.append([meta("b", b"two")])
    run.log._committer.close_batches(lambda: True)
    run.apply()
    run.append([meta("c", b"three")])


def poisoned(run: Run) -> None:
    """Have a sync fail, then go on in another process."""
    run.append([meta("a", b"one")])
    run.storage.fail("sync")
    run.append([meta("b", b"unknown")])
    run.append([meta("c", b"refused")])
    run.kill()
    run.append([meta("d", b"two")])
    run.apply()


def torn(run: Run) -> None:
    """Have a write fail half-way and go on in the same process."""
    run.append([meta("a", b"one")])
    run.storage.fail("write", code=errno.ENOSPC, written_part=0.7)
    run.append([meta("b", b"no space")])
    run.append([meta("c", b"two")])


def unnamed(run: Run) -> None:
    """Have the sync of a new segment's name fail."""
    run.append([meta("a", b"one" * 100)])
    run.storage.fail("sync_directory")
    run.append([meta("b", b"two" * 100)])
    run.append([meta("c", b"three" * 100)])
    run.append([meta("d", b"four" * 100)])


def beside(run: Run) -> None:
    """Let two engines append in turn, and one of them die in the middle."""
    run.append([meta("a", b"one")])
    other = open_log(
        run.storage.process(),
        seed=50,
        sync=run.sync,
        segment_bytes=SEGMENT_BYTES,
        clock=run.clock,
    )
    for number in range(3):
        run.append([meta("b", b"other %d" % number * 20)], log=other.log)
        run.append([meta("c", b"own %d" % number)])
    run.append([chunk(b"c" * 30)], is_visible=False, log=other.log)
    other.abandon()
    run.append([meta("d", b"behind the dead")])
    run.apply()


WORKLOADS: list[Workload] = [
    small,
    several,
    rolling,
    conflict,
    chunks,
    abort,
    reopened,
    killed,
    idle,
    poisoned,
    torn,
    unnamed,
    beside,
]
