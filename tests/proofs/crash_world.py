"""A store on the simulated disk, what its user was told, and what a crash may leave.

A workload runs once and says what each call changes. Then the power is cut after each
mutation, the disks that may be left are opened, and what they show must be the state
before or behind the call that was under way, bucket by bucket.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias
from unittest import mock

from objstore import ObjectInfo, _operations_write
from objstore._embedded import EmbeddedEngine
from objstore._embedded_store import EmbeddedStore
from objstore._engine import Changes, StoredMeta
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore.blocking import ObjectStore, Store
from objstore_log import Environment, Log, Storage, _core
from objstore_log._catalog import Catalog
from objstore_log._commit_loop import CommitLoop
from objstore_log._overlay import Applied
from objstore_log.testing import CrashStorage, Disk
from objstore_log.testing.crash_disks import Rules

START_NS = 1_790_000_000_000_000_000
TICK_NS = 1_000
FRESH = "a name that nobody used"
Images: TypeAlias = Mapping[bytes, bytes]
"""Catalogs by the identity of their logs."""
Fact: TypeAlias = tuple[int, str, str]
"""A change on the feed: sequence, kind, name."""


class Look(NamedTuple):
    """What one bucket shows."""

    log_id: str
    sealed: bool
    objects: Mapping[str, tuple[ObjectInfo, bytes]]


State: TypeAlias = Mapping[str, Look]


class Told(NamedTuple):
    """One call: when it began, when its caller was told, what was to be seen then."""

    begun: int
    ended: int
    state: State
    is_durable: bool
    """Everything up to here is promised, also by a relaxed bucket."""
    sequences: Mapping[str, int]
    """The greatest sequence that a reader could see, by log."""
    clock_ns: int


class Kept(NamedTuple):
    """The catalogs as they were at some moment."""

    point: int
    images: Images


class Clock:
    """Every look moves it on, so that no two times are equal."""

    def __init__(self, wall_ns: int = START_NS) -> None:
        self.wall_ns = wall_ns

    def now_ns(self) -> int:
        """Give the wall clock."""
        self.wall_ns += TICK_NS
        return self.wall_ns


class CrashStore(Store):
    """A store whose parts a test may touch."""

    @property
    def embedded(self) -> EmbeddedStore:
        """Give the engine's shared part."""
        engine = self._engine
        assert isinstance(engine, EmbeddedEngine)
        return engine._store

    def logs(self) -> list[Log]:
        """Give the open logs, the registry's first."""
        embedded = self.embedded
        found = [embedded.registry.log]
        return found + [bucket.log for bucket in embedded._buckets.values()]

    def feed(self, bucket: str) -> tuple[int, list[Fact]]:
        """Give the change floor and what the feed holds above it."""
        floor = self.embedded.bucket(bucket).floor
        page = self._engine.run(Changes(bucket, floor))
        return floor, [
            (change.sequence, change.change, change.name)
            for change in page.changes
            if isinstance(change, StoredMeta)
        ]

    def sequences(self) -> dict[str, int]:
        """Give the greatest sequence that can be seen, by log."""
        return {
            self.embedded._buckets[name].entry.log_id.hex(): bucket.log.visible_sequence
            for name, bucket in self.embedded._buckets.items()
        }


def _no_idle_commit(_: CommitLoop) -> None:
    """The thread that it would wake has no place in a simulation."""


@contextmanager
def simulated() -> Generator[None]:
    """Use small slabs, and no thread beside the caller's own; log nothing."""
    with (
        mock.patch.object(_operations_write, "SLAB_BYTES", 1_200),
        mock.patch.object(_operations_write, "LARGE_SLAB_BYTES", 2_400),
        mock.patch.object(CommitLoop, "_start_idle_commit", _no_idle_commit),
        mock.patch.object(logging.getLogger("objstore"), "disabled", new=True),
    ):
        yield


@contextmanager
def catalogs_from(images: Images) -> Generator[None]:
    """Open logs with these catalogs, by the logs' identities."""

    class ImageCatalog(Catalog):
        def open(self) -> Applied:
            image = images.get(self._identity)
            return super().open() if image is None else self.deserialize(image)

    with mock.patch.object(_core, "Catalog", ImageCatalog):
        yield


def open_store(
    storage: Storage, clock: Clock, *, seed: int, images: Images | None = None
) -> CrashStore:
    """Open a store with a clock, seeded entropy and catalogs to begin with."""
    environment = Environment(
        clock.now_ns, lambda: clock.wall_ns / 1e9, random.Random(seed).randbytes
    )
    with catalogs_from(images or {}):
        engine = EmbeddedEngine(open_on_storage(storage, environment))
        store = CrashStore(Session(engine))
        for name in store.object_store_names():
            # while the images are there
            store.object_store(name)
    return store


def look(store: CrashStore, names: Mapping[str, set[str]]) -> State:
    """Look at names one by one, which syncs nothing."""
    state: dict[str, Look] = {}
    for bucket in store.object_store_names():
        handle = store.object_store(bucket)
        log = store.embedded.bucket(bucket)
        objects = {
            name: (handle.get_info(name), _content(handle, name))
            for name in sorted(names.get(bucket, ()))
            if handle.exists(name)
        }
        state[bucket] = Look(log.entry.log_id.hex(), log.state().sealed, objects)
    return state


def _content(handle: ObjectStore, name: str) -> bytes:
    return b"" if handle.get_info(name).link is not None else handle.get(name)


@dataclass
class World:
    """A workload while it runs, and what it noted."""

    storage: CrashStorage
    clock: Clock = field(default_factory=Clock)
    seed: int = 1
    told: list[Told] = field(default_factory=list[Told])
    kept: list[Kept] = field(default_factory=list[Kept])
    names: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    feed: dict[str, dict[int, Fact]] = field(
        default_factory=dict[str, "dict[int, Fact]"]
    )
    expected: dict[str, dict[str, bytes]] = field(
        default_factory=dict[str, "dict[str, bytes]"]
    )
    """The plain model: content by bucket and name, links left out."""
    relaxed: frozenset[str] = frozenset()
    store: CrashStore = field(init=False)

    def __post_init__(self) -> None:
        """Open it; the state found is the first."""
        self._open()
        self._tell(0, is_durable=True)
        # opening shows what is there already
        self.told[0] = self.told[0]._replace(ended=0, sequences={})

    @classmethod
    def after_crash(
        cls, storage: CrashStorage, before: World, allowed: Allowed
    ) -> World:
        """Go on with what a crash left of another world."""
        with mock.patch.object(cls, "_model", return_value=None):
            world = cls(
                storage,
                Clock(allowed.clock_ns),
                seed=before.seed + 1_000,
                names={bucket: set(names) for bucket, names in before.names.items()},
                relaxed=before.relaxed,
            )
        state = world.told[0].state
        for bucket, expected in allowed.states.items():
            assert state.get(bucket) in expected, (bucket, state.get(bucket))
        world.expected = world._contents(state)
        world.told[0] = world.told[0]._replace(sequences=allowed.sequences)
        return world

    def _open(self) -> None:
        self.seed += 1
        self.store = open_store(self.storage, self.clock, seed=self.seed)

    def _tell(self, begun: int, *, is_durable: bool) -> None:
        ended = self.storage.mutation_count
        state = look(self.store, self.names)
        sequences = self.store.sequences()
        for bucket in state:
            _, facts = self.store.feed(bucket)
            known = self.feed.setdefault(state[bucket].log_id, {})
            known.update({fact[0]: fact for fact in facts})
        assert self.storage.mutation_count == ended, "looking changes nothing"
        self.told.append(
            Told(begun, ended, state, is_durable, sequences, self.clock.wall_ns)
        )
        self._model(state)

    def _model(self, state: State) -> None:
        """What is seen is what the plain model says."""
        assert self._contents(state) == self.expected

    @staticmethod
    def _contents(state: State) -> dict[str, dict[str, bytes]]:
        return {
            bucket: {
                name: content
                for name, (info, content) in shown.objects.items()
                if info.link is None
            }
            for bucket, shown in state.items()
        }

    def do(
        self,
        action: Callable[[Store], object],
        bucket: str = "b",
        changes: Mapping[str, bytes | None] | None = None,
        *,
        is_durable: bool = False,
    ) -> None:
        """Do something that changes names of a bucket; `None` is gone."""
        begun = self.storage.mutation_count
        for name, content in (changes or {}).items():
            self.names.setdefault(bucket, set()).add(name)
            model = self.expected.setdefault(bucket, {})
            if content is None:
                model.pop(name, None)
            else:
                model[name] = content
        action(self.store)
        self._tell(begun, is_durable=is_durable)

    def create(self, bucket: str = "b", **config: Any) -> None:
        """Create a bucket."""
        self.expected[bucket] = {}
        if config.get("sync", "always") != "always":
            self.relaxed |= {bucket}
        self.do(lambda store: store.create_object_store(bucket, **config), bucket)

    def delete_bucket(self, bucket: str) -> None:
        """Delete a bucket."""
        del self.expected[bucket]
        self.do(lambda store: store.delete_object_store(bucket), bucket)

    def put(
        self, name: str, content: bytes, *, bucket: str = "b", **options: Any
    ) -> None:
        """Put an object."""
        self.do(
            lambda store: store.object_store(bucket).put(name, content, **options),
            bucket,
            {name: content},
        )

    def delete(self, name: str) -> None:
        """Delete an object."""
        self.do(lambda store: store.object_store("b").delete(name), "b", {name: None})

    def keep_catalogs(self) -> None:
        """Apply what may be applied without a sync, and keep an image of each."""
        images: dict[bytes, bytes] = {}
        for log in self.store.logs():
            log.catch_up()
            log._applier.apply()
            images[log.catalog._identity] = log.catalog.serialize()
        self.kept.append(Kept(self.storage.mutation_count, images))

    def reopen(self) -> None:
        """Close and open again; relaxed buckets are synced then."""

        def action(store: Store) -> None:
            store.close()
            self._open()

        self.do(action, is_durable=True)

    def kill(self) -> None:
        """Lose the process; another one opens what is there, unsynced bytes too."""

        def action(_: Store) -> None:
            self.storage = self.storage.kill()
            self._open()

        self.do(action)

    # --- what a crash may leave -----------------------------------------------

    def allowed(self, point: int) -> Allowed:
        """Say what a cut after so many mutations may leave."""
        ended = max(at for at, told in enumerate(self.told) if told.ended <= point)
        under_way = self.told[ended + 1 : ended + 2]
        new = [told.state for told in under_way if told.begun < point]
        durable = max(
            at
            for at, told in enumerate(self.told[: ended + 1])
            if told.is_durable or not at
        )
        states: dict[str, list[Look | None]] = {}
        for bucket in {name for told in self.told for name in told.state}:
            oldest = durable if bucket in self.relaxed else ended
            seen = [told.state for told in self.told[oldest : ended + 1]]
            states[bucket] = [state.get(bucket) for state in seen + new]
        sequences: dict[str, int] = {}
        for told in self.told[: ended + 1]:
            for log_id, sequence in told.sequences.items():
                sequences[log_id] = max(sequence, sequences.get(log_id, 0))
        last = under_way[0] if under_way else self.told[-1]
        return Allowed(ended, states, sequences, last.clock_ns)

    def catalogs(self, point: int) -> list[Images]:
        """Give no, the newest and the oldest catalogs that there were at a point."""
        there = [kept.images for kept in self.kept if kept.point <= point]
        return [{}, *there[-1:], *there[: len(there) > 1]]


class Allowed(NamedTuple):
    """What a disk may hold, by bucket."""

    ended: int
    states: Mapping[str, list[Look | None]]
    sequences: Mapping[str, int]
    clock_ns: int


def check(
    storage: CrashStorage,
    world: World,
    allowed: Allowed,
    images: Images,
    more: Callable[[CrashStore, State], None] = lambda _store, _state: None,
) -> State:
    """Open what a crash left and compare it with what was told; give what it shows."""
    store = open_store(storage, Clock(allowed.clock_ns), seed=99, images=images)
    first = _check_state(store, world, allowed)
    more(store, first)
    report = store.verify()
    assert report.ok, report
    assert store.damaged == [], store.damaged
    _check_catalogs(store)
    store.run_retention()
    for bucket in store.object_store_names():
        if not first[bucket].sealed:
            info = store.object_store(bucket).put(FRESH, b"fresh")
            assert info.seq > allowed.sequences.get(first[bucket].log_id, 0)
            store.object_store(bucket).delete(FRESH)
    assert _check_state(store, world, allowed) == first
    _check_catalogs(store)
    live = {
        f"{entry.number:08x}"
        for entry in store.embedded.registry.entries()
        if not entry.is_deleted
    }
    assert store.damaged == [], store.damaged
    found = set(storage.directory("logs").names())
    assert found == {"00000000", *live}, f"deleted, but there: {found - live}"
    store.close()
    return first


def _check_state(store: CrashStore, world: World, allowed: Allowed) -> State:
    """Every bucket is as it was before or behind the call under way."""
    listed = {
        bucket: {info.name for info in store.object_store(bucket).list()}
        for bucket in store.object_store_names()
    }
    state = look(store, {bucket: set(names) for bucket, names in listed.items()})
    for bucket, expected in allowed.states.items():
        assert state.get(bucket) in expected, (bucket, state.get(bucket))
    assert set(state) <= set(allowed.states)
    for bucket, shown in state.items():
        assert listed[bucket] == set(shown.objects)
        floor, facts = store.feed(bucket)
        known = world.feed.get(shown.log_id, {})
        # the check itself puts a name, and time goes on in it
        own = [fact for fact in facts if fact[2] != FRESH and fact[1] != "expire"]
        last = max((fact[0] for fact in own), default=0)
        between = [known[at] for at in sorted(known) if floor < at <= last]
        assert own == [fact for fact in between if fact[1] != "expire"]
        newest = max((info.seq for info, _ in shown.objects.values()), default=0)
        assert newest <= max(last, floor)
    return state


def _check_catalogs(store: CrashStore) -> None:
    """Each catalog is what it becomes when it is made anew."""
    for log in store.logs():
        log.apply()
        rows = list(log.catalog.rows())
        log.rebuild_catalog("a test")
        assert list(log.catalog.rows()) == rows


@dataclass
class Campaign:
    """Cuts the power everywhere and counts what it looked at."""

    disks_per_point: int
    all_catalogs: bool = False
    rules: Rules = "posix"
    seed: int = 0
    digests: set[bytes] = field(default_factory=set[bytes])
    opened: int = 0
    _done: set[tuple[bytes, int, int]] = field(
        default_factory=set[tuple[bytes, int, int]]
    )

    def cut_everywhere(self, world: World, start: int = 0) -> None:
        """Check the disks of every point from `start` on."""
        for point in range(start, world.storage.mutation_count + 1):
            allowed = world.allowed(point)
            catalogs = world.catalogs(point)
            for disk in self.drawn(world.storage, point):
                turn = self.opened % len(catalogs)
                wanted = range(len(catalogs)) if self.all_catalogs else [turn]
                for number in wanted:
                    self._check(disk, world, allowed, catalogs[number], number)

    def drawn(self, storage: CrashStorage, point: int) -> Iterator[Disk]:
        """Give all kept, all dropped, and a sample of what lies between."""
        seed = self.seed * 1_000_003 + point
        return storage.disks(
            point, limit=self.disks_per_point, rules=self.rules, seed=seed
        )

    def look_at(
        self, disk: Disk, world: World, allowed: Allowed, images: Images
    ) -> None:
        """Check one disk."""
        check(disk.mount(), world, allowed, images)

    def _check(
        self, disk: Disk, world: World, allowed: Allowed, images: Images, number: int
    ) -> None:
        self.digests.add(disk.digest)
        key = disk.digest, allowed.ended, number
        if key in self._done:
            return
        self._done.add(key)
        self.opened += 1
        try:
            self.look_at(disk, world, allowed, images)
        except BaseException as error:
            error.add_note(f"{disk!r}, catalog {number}, seed {self.seed}")
            raise


def sized(size: int, seed: int = 0) -> bytes:
    """Give reproducible content."""
    return random.Random(f"{size} {seed}").randbytes(size)


def numbered(count: int) -> Iterator[tuple[int, str]]:
    """Give a few names, again and again."""
    return zip(range(count), itertools.cycle("abc"), strict=False)
