"""Opening logs in tests: a clock that ticks by itself, seeded entropy, own writers."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypedDict, Unpack
from unittest import mock

from objstore_log import _core
from objstore_log._catalog import Catalog, Projection
from objstore_log._core import LogOptions, SyncMode
from objstore_log._log import Log
from objstore_log._overlay import Applied
from objstore_log._record import Appended, Kind, NewRecord, Record, subject_of
from objstore_log._segments import Environment
from objstore_log._storage import Storage
from objstore_log._writers import Writers

LOG_ID = b"L" * 16
EVERYTHING = frozenset(Kind)
START_NS = 1_700_000_000_000_000_000


class FakeClock:
    """Every look moves it on, so that no two times are equal."""

    def __init__(self, start_ns: int = START_NS) -> None:
        """Begin at a time."""
        self.wall_ns = start_ns
        self.steady_s = 0.0

    def now_ns(self) -> int:
        """Give the wall clock, a microsecond later each time."""
        self.wall_ns += 1_000
        return self.wall_ns

    def monotonic_s(self) -> float:
        """Give the steady clock, a millisecond later each time."""
        self.steady_s += 0.001
        return self.steady_s


def environment(seed: int = 0, clock: FakeClock | None = None) -> Environment:
    """Make a repeatable environment."""
    ticking = FakeClock() if clock is None else clock
    return Environment(
        ticking.now_ns, ticking.monotonic_s, random.Random(seed).randbytes
    )


class OpenedLog:
    """A log with the writer's lock that its engine would hold."""

    def __init__(self, log: Log, writers: Writers, storage: Storage) -> None:
        """Keep what has to be given back."""
        self.log = log
        self.writers = writers
        self.storage = storage

    def close(self) -> None:
        """Close as an engine does."""
        self.log.close()
        self.writers.leave()

    def abandon(self) -> None:
        """Let go of it as a dead process does: nothing is written any more."""
        self.log._is_closed = True
        self.log._loop.ask_to_stop()
        self.log._waiters.close()
        self.log._loop.join()
        if self.log._applying is not None:
            self.log._applying.join()
        self.log._core.close()
        lock = self.writers._lock
        if lock is not None:
            lock.release()


class Options(TypedDict, total=False):
    """How to open a log in a test."""

    seed: int
    """Of markers and of the writer's id; two engines need two."""
    sync: SyncMode
    segment_bytes: int
    lock_timeout_s: float | None
    clock: FakeClock | None
    image: bytes | None
    """Of a catalog in memory, to begin with instead of an empty one."""
    projections: Sequence[Projection]


def open_log(storage: Storage, **options: Unpack[Options]) -> OpenedLog:
    """Open the log in `storage`, the directory above it; make it when it is new."""
    seed = options.get("seed", 0)
    known = environment(seed, options.get("clock"))
    writer_id = int.from_bytes(random.Random(~seed).randbytes(8), "little")
    writers = Writers(storage.directory("writers", create=True), writer_id)
    directory = storage.directory("log", create=True)
    storage.sync_directory()
    writers.enter()
    try:
        with _catalog_from(options.get("image")):
            log = Log.open(
                directory,
                LOG_ID,
                options=LogOptions(
                    options.get("sync", "always"),
                    options.get("segment_bytes", 1 << 20),
                    options.get("lock_timeout_s"),
                ),
                environment=known,
                writers=writers,
                projections=options.get("projections", ()),
            )
    except BaseException:
        if writers._lock is not None:
            writers._lock.release()
        raise
    return OpenedLog(log, writers, storage)


@contextmanager
def _catalog_from(image: bytes | None) -> Generator[None]:
    if image is None:
        yield
        return
    data = image

    class ImageCatalog(Catalog):
        def open(self) -> Applied:
            return self.deserialize(data)

    with mock.patch.object(_core, "Catalog", ImageCatalog):
        yield


@contextmanager
def opened(storage: Storage, **options: Unpack[Options]) -> Generator[Log]:
    """Open a log for a block; closed in any case."""
    one = open_log(storage, **options)
    try:
        yield one.log
    finally:
        one.close()


def meta(name: str, body: bytes = b"body") -> NewRecord:
    """Make a record with a subject."""
    return NewRecord(Kind.META, body, key=name.encode())


def chunk(body: bytes, nuid: bytes = b"n" * 16, index: int = 0) -> NewRecord:
    """Make a record of content."""
    return NewRecord(
        Kind.CHUNK, body, nuid=nuid, chunk_index=index, plain_length=len(body)
    )


def subject(name: str) -> bytes:
    """Give the subject of a `meta` record."""
    return subject_of(Kind.META, name.encode())


def put(log: Log, name: str, body: bytes = b"body") -> Appended:
    """Append one record with a subject."""
    return log.append([meta(name, body)])


def put_new(log: Log, name: str, body: bytes = b"body") -> Appended:
    """Append one record with a subject that must be new."""
    return log.append([meta(name, body)], expect={subject(name): 0})


def everything(
    log: Log, after: int = 0, kinds: frozenset[Kind] = EVERYTHING
) -> list[Record]:
    """Read the whole feed, page by page."""
    records: list[Record] = []
    while True:
        page = log.feed(after, 100, kinds)
        records += page.records
        if page.through <= after or page.through >= log.visible_sequence:
            return records
        after = page.through


def contents(log: Log) -> dict[int, bytes]:
    """Give every visible record's body by its sequence."""
    records = everything(log)
    found = {record.sequence: bytes(record.body) for record in records}
    assert len(found) == len(records), "a sequence came twice"
    assert list(found) == sorted(found), "the feed is not in order"
    return found


def current(log: Log) -> Mapping[bytes, int]:
    """Give every subject with its last sequence."""
    return dict(log.subjects(b"", None, 1_000_000))
