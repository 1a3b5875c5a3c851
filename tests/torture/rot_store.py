"""Stores that seeded programs make, as bytes, and the truth about each of them.

A store lives in memory, and so does its copy as it was at some moments before: what is
damaged, how, and what may come of it is decided on these bytes alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias
from unittest import mock

from tests.proofs.crash_world import (
    START_NS,
    Clock,
    CrashStore,
    Images,
    catalogs_from,
    open_store,
)

from objstore import Change, ObjectInfo, ObjectMeta, _operations_write
from objstore._embedded import EmbeddedEngine
from objstore._engine import Last
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore.blocking import ObjectStore
from objstore.errors import (
    BucketNotFoundError,
    CorruptionError,
    LinkIsABucketError,
    ObjectNotFoundError,
    ObjStoreError,
)
from objstore_log import Environment, Kind, MemoryStorage, Storage, _space, subject_of
from objstore_log._commit_loop import CommitLoop

REGISTRY = "00000000"
STORE_BYTES_MIN = 64 * 1024
LOOK_NS = START_NS + 10**12
"""When a store is looked at: behind everything that its program did."""
SLAB_BYTES = 6_000
PUNCH_BYTES = 6_000
OLD_COUNT = 4
FOLDERS = "logs", "writers"


class Place(NamedTuple):
    """A file in a store: the folders above it, and its name."""

    folders: tuple[str, ...]
    name: str

    @property
    def log(self) -> str | None:
        """Give the folder of the log that it belongs to."""
        return self.folders[1] if self.folders[:1] == FOLDERS[:1] else None

    @property
    def path(self) -> str:
        """Give what to call it."""
        return "/".join((*self.folders, self.name))


Files: TypeAlias = Mapping[Place, bytes]


class Kept(NamedTuple):
    """The bytes of a store at some moment, its catalogs by the logs' identities."""

    files: Files
    images: Images


class Needed(NamedTuple):
    """The records that a name's state rests on."""

    meta: int
    chunks: frozenset[int]


@dataclass(frozen=True)
class Truth:
    """What a bucket shows while nothing is damaged."""

    log: str
    """The folder of its log."""
    is_sealed: bool
    last_sequence: int
    infos: Mapping[str, ObjectInfo]
    contents: Mapping[str, bytes]
    """Of live names that are no links."""
    needed: Mapping[str, Needed]
    """Of every name that there ever was."""
    changes: tuple[tuple[int, str, str], ...]
    floor: int
    """Changes at or below it may be gone."""
    seal: int
    """The sequence of the record that seals it, 0 if none does."""

    @property
    def live(self) -> frozenset[int]:
        """Give the records that some name's state rests on."""
        metas = {needed.meta for needed in self.needed.values()}
        return frozenset(metas.union(*(one.chunks for one in self.needed.values())))


@dataclass(frozen=True)
class Sample:
    """A store, its past, and the truth about it."""

    seed: int
    now: Kept
    old: tuple[Kept, ...]
    truths: Mapping[str, Truth]
    past: Mapping[tuple[str, str], frozenset[bytes | None]]
    """What each name held at some time."""

    @property
    def bytes(self) -> int:
        """Count the bytes of its files."""
        return sum(map(len, self.now.files.values()))


@contextmanager
def one_thread() -> Generator[None]:
    """Use small pieces, and no thread beside the caller's."""
    with (
        mock.patch.object(_operations_write, "SLAB_BYTES", SLAB_BYTES),
        mock.patch.object(_operations_write, "LARGE_SLAB_BYTES", 2 * SLAB_BYTES),
        mock.patch.object(_space, "PUNCH_BYTES_MIN", PUNCH_BYTES),
        mock.patch.object(CommitLoop, "_start_idle_commit", _no_idle_commit),
    ):
        yield


def _no_idle_commit(_: CommitLoop) -> None:
    """The thread that it would wake has no place here."""


def files_of(storage: Storage, folders: tuple[str, ...] = ()) -> Iterator[Any]:
    """Give the files of a store with their bytes."""
    for name in storage.names():
        if name in FOLDERS or folders[-1:] == FOLDERS[:1]:
            yield from files_of(storage.directory(name), (*folders, name))
            continue
        file = storage.open(name)
        yield Place(folders, name), file.read_at(0, file.size())
        file.close()


def storage_of(files: Files) -> MemoryStorage:
    """Give a store of such files."""
    storage = MemoryStorage()
    for place, data in files.items():
        directory = storage
        for name in place.folders:
            directory = directory.directory(name, create=True)
        file = directory.open(place.name, create=True)
        file.write_at(0, [data])
        file.close()
    return storage


def images_of(store: CrashStore) -> dict[bytes, bytes]:
    """Give the catalogs of the open logs as they are."""
    return {log.catalog._identity: log.catalog.serialize() for log in store.logs()}


def open_kept(
    storage: Storage,
    images: Images,
    seed: int = 7,
    buckets: Collection[str] | None = None,
) -> CrashStore:
    """Open a store and some of its buckets, or all, some time later."""
    environment = Environment(
        Clock(LOOK_NS).now_ns, lambda: LOOK_NS / 1e9, random.Random(seed).randbytes
    )
    with catalogs_from(images):
        engine = EmbeddedEngine(open_on_storage(storage, environment))
        store = CrashStore(Session(engine))
        names = store.object_store_names()
        for name in names if buckets is None else buckets:
            # while the images are there
            with suppress(CorruptionError, BucketNotFoundError):
                store.object_store(name)
    return store


# --- the program --------------------------------------------------------------------


@dataclass
class _Program:
    """Does what its seed says, and notes what each name held."""

    chance: random.Random
    store: CrashStore
    storage: MemoryStorage
    past: dict[tuple[str, str], set[bytes | None]] = field(
        default_factory=dict[tuple[str, str], "set[bytes | None]"]
    )
    number: int = 0

    def bucket(self) -> ObjectStore:
        """Give one of the buckets that are written to."""
        return self.store.object_store(self.chance.choice(["small", "large"]))

    def content(self) -> bytes:
        """Give a content that no other is like."""
        small = 0, self.chance.randrange(1, 60), self.chance.randrange(60, 900)
        large = self.chance.randrange(900, 12_000)
        size = self.chance.choice([*small, large, large])
        return self.chance.randbytes(size)

    def name(self, *, new: bool = False) -> str:
        """Give a name; an old one now and then."""
        if new or not self.number or self.chance.random() < 0.6:
            self.number += 1
            return f"{self.chance.choice('abc')}/{self.number}"
        return f"{self.chance.choice('abc')}/{self.chance.randint(1, self.number)}"

    def put(self, bucket: ObjectStore, name: str, **options: Any) -> None:
        """Put something, or overwrite it."""
        self.past.setdefault((bucket.bucket, name), {None})
        bucket.put(name, self.content(), **options)
        self.note(bucket)

    def note(self, bucket: ObjectStore) -> None:
        """Note what the names of a bucket hold by now."""
        listed = {info.name: info for info in bucket.list()}
        for (place, name), held in self.past.items():
            if place == bucket.bucket and name not in listed:
                held.add(None)
        for name, info in listed.items():
            held = self.past.setdefault((bucket.bucket, name), {None})
            if info.link is None:
                held.add(bucket.get(name))

    def step(self) -> None:
        """Do one thing; what cannot be done at the moment is left out."""
        kinds: list[Callable[[ObjectStore], object]] = [
            *[self._put] * 9,
            *[self._copy, self._rename, self._delete] * 2,
            self._link,
            self._change,
            self._fail,
            self._put_for_a_moment,
            self._put_for_long,
            self._tidy,
        ]
        bucket = self.bucket()
        with suppress(ObjStoreError):
            self.chance.choice(kinds)(bucket)
        self.note(bucket)

    def _put(self, bucket: ObjectStore) -> None:
        self.put(bucket, self.name())

    def _put_for_a_moment(self, bucket: ObjectStore) -> None:
        self.put(bucket, self.name(), ttl=1e-6)

    def _put_for_long(self, bucket: ObjectStore) -> None:
        self.put(bucket, self.name(), ttl=10**6)

    def _tidy(self, _: ObjectStore) -> None:
        self.store.run_retention()

    def _some(self, bucket: ObjectStore) -> str:
        found = [info.name for info in bucket.list() if info.link is None]
        return self.chance.choice(found) if found else "none"

    def _copy(self, bucket: ObjectStore) -> None:
        bucket.copy(self._some(bucket), self.name(new=True))

    def _rename(self, bucket: ObjectStore) -> None:
        bucket.rename(self._some(bucket), self.name(new=True))

    def _delete(self, bucket: ObjectStore) -> None:
        bucket.delete(self._some(bucket))

    def _link(self, bucket: ObjectStore) -> None:
        bucket.add_link(self.name(new=True), self._some(bucket))

    def _change(self, bucket: ObjectStore) -> None:
        words = ObjectMeta(description=f"changed {self.number}")
        bucket.update_meta(self._some(bucket), words)

    def _fail(self, bucket: ObjectStore) -> None:
        with suppress(ZeroDivisionError):
            bucket.put(self.name(new=True), _broken(self.chance))

    def keep(self) -> Kept:
        """Give the store's bytes as of now; nothing is applied or closed for it."""
        return Kept(dict(files_of(self.storage)), images_of(self.store))


def _broken(chance: random.Random) -> Iterator[bytes]:
    yield chance.randbytes(3 * SLAB_BYTES)
    raise ZeroDivisionError


def build(seed: int, bytes_min: int = STORE_BYTES_MIN) -> Sample:
    """Make the store of a seed."""
    chance = random.Random(seed)
    storage = MemoryStorage()
    with one_thread():
        store = open_store(storage, Clock(), seed=seed % 2**31)
        program = _Program(chance, store, storage)
        _create(store, chance)
        old: list[Kept] = []
        size = 0
        while size < bytes_min:
            program.step()
            size = sum(len(data) for _, data in files_of(storage))
            if size > bytes_min * (len(old) + 1) // (OLD_COUNT + 1):
                old.append(program.keep())
        for name in ("small", "large"):
            program.put(store.object_store(name), "the last")
        program.note(store.object_store("sealed"))
        # before the end: whoever opens a relaxed bucket that was killed leaves a gap
        last = {
            name: store.object_store(name).status().last_sequence
            for name in store.object_store_names()
        }
        now = _end(program)
        sample = Sample(seed, now, tuple(old), {}, {})
        past = {key: frozenset(held) for key, held in program.past.items()}
        return Sample(seed, now, tuple(old), _truths(sample, past, last), past)


def _create(store: CrashStore, chance: random.Random) -> None:
    store.create_object_store(
        "small",
        chunk_size=chance.choice([700, 2_000]),
        segment_bytes=8_192,
        changes_ttl=chance.choice([0, 86_400]),
    )
    store.create_object_store(
        "large",
        chunk_size=7_000,
        segment_bytes=20_000,
        changes_ttl=chance.choice([0, 86_400]),
        sync=chance.choice(["always", "always", 1_000.0, "never"]),
    )
    sealed = store.create_object_store("sealed")
    sealed.put("kept", chance.randbytes(300))
    sealed.put("empty", b"")
    sealed.add_link("link", "kept")
    sealed.seal()
    store.create_object_store("removed").put("a", b"b")
    store.delete_object_store("removed")
    store.update_object_store("sealed", description="closed for ever")


def _end(program: _Program) -> Kept:
    """Close the store, or leave it as a killed process does."""
    store, chance = program.store, program.chance
    is_killed = chance.random() < 0.4
    if is_killed:
        for log in store.logs():
            if chance.random() < 0.5:
                log.apply()
        # of what a relaxed bucket wrote a killed process loses nothing
        kept = program.keep()
        store.close()
        return kept
    for log in store.logs():
        log.apply()
    images = images_of(store)
    store.close()
    return Kept(dict(files_of(program.storage)), images)


# --- the truth ----------------------------------------------------------------------


def _truths(
    sample: Sample,
    past: Mapping[tuple[str, str], frozenset[bytes | None]],
    last: Mapping[str, int],
) -> dict[str, Truth]:
    store = open_kept(storage_of(sample.now.files), sample.now.images)
    truths: dict[str, Truth] = {}
    for name in store.object_store_names():
        bucket = store.object_store(name)
        infos = {info.name: info for info in bucket.list()}
        entry = store.embedded.bucket(name).entry
        every = {key for place, key in past if place == name} | set(infos)
        truths[name] = Truth(
            log=f"{entry.number:08x}",
            is_sealed=bucket.status().sealed,
            last_sequence=last[name],
            infos=infos,
            contents={
                key: bucket.get(key) for key, info in infos.items() if not info.link
            },
            needed={key: _needed(store, name, key) for key in sorted(every)},
            changes=tuple(facts_of(change) for change in watched(bucket)),
            floor=store.embedded.bucket(name).floor,
            seal=store.embedded.bucket(name).log.last(subject_of(Kind.SEAL, b""))[0],
        )
    store.close()
    return truths


def _needed(store: CrashStore, bucket: str, name: str) -> Needed:
    found = store._engine.run(Last(bucket, name))
    if found is None:
        return Needed(0, frozenset())
    chunks = {
        sequence
        for extent in found.extents
        for sequence in range(extent.first, extent.first + extent.count)
    }
    is_live = found.change not in ("delete", "expire")
    return Needed(found.sequence, frozenset(chunks) if is_live else frozenset())


def facts_of(change: Change) -> tuple[int, str, str]:
    """Give what of a change is compared."""
    return change.seq, change.kind, change.name


def watched(bucket: ObjectStore) -> Iterator[Change]:
    """Give what a watch of everything gives, to the end; stops at damage."""
    with bucket.watch(start="all") as watch:
        while True:
            try:
                change = watch.updates(0)
            except TimeoutError:
                return
            if change is not None:
                yield change


def read(bucket: ObjectStore, name: str) -> bytes | None:
    """Read a name; `None` when there is no such object."""
    try:
        return bucket.get(name)
    except (ObjectNotFoundError, LinkIsABucketError):
        return None
