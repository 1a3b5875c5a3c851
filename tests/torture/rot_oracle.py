"""What may come of a damage, and whether that is what came.

Where the records of a store lie is read from its whole files. A name may be lost when
a record that its state rests on is hit, and only then; what is lost must say so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.proofs.crash_world import CrashStore, Images
from tests.torture.rot_damage import Damage
from tests.torture.rot_store import (
    REGISTRY,
    Files,
    Place,
    Sample,
    Truth,
    facts_of,
    images_of,
    open_kept,
    read,
    storage_of,
)

from objstore import Damage as Told
from objstore._engine import Damaged
from objstore._operations_repair import damage_of
from objstore.blocking import ObjectStore
from objstore.errors import (
    CorruptionError,
    LinkIsABucketError,
    ObjectNotFoundError,
    SealedError,
)
from objstore_log._footer import decode_footer, decode_trailer
from objstore_log._format import (
    SEGMENT_HEADER_BYTES,
    RecordHeader,
    decode_segment_header,
)
from objstore_log._marks import parse_mark_name
from objstore_log._record import STRUCTURAL_KINDS
from objstore_log._scan import Damage as Gap
from objstore_log._scan import scan_records
from objstore_log._segment import parse_segment_name

FRESH = "a name that nobody used"
TRAILER_BYTES = 56
IN_REGISTRY = "in the registry: "
"""How a reason begins of what is damaged there."""
Name = tuple[str, str]
"""Of a bucket and of an object."""


class Layout(NamedTuple):
    """Where the records of a segment lie."""

    records: tuple[RecordHeader, ...]
    usable: int
    """Where they end; a footer, if there is one, begins there."""
    is_last: bool


def layouts(files: Files) -> dict[Place, Layout]:
    """Read where everything lies in whole files."""
    found: dict[Place, Layout] = {}
    segments = sorted(place for place in files if parse_segment_name(place.name))
    behind: list[Place | None] = [*segments[1:], None]
    for place, following in zip(segments, behind, strict=True):
        data = files[place]
        own = decode_segment_header(data[:SEGMENT_HEADER_BYTES])
        assert own is not None, place
        usable = _footer_start(data)
        is_last = following is None or following.log != place.log
        if following is not None and not is_last:
            later = decode_segment_header(files[following][:SEGMENT_HEADER_BYTES])
            assert later is not None, following
            if later.header.previous_number == own.header.number:
                usable = later.header.previous_usable
        found[place] = Layout(
            tuple(_records(data, usable, own.header.marker)), usable, is_last
        )
    return found


def _footer_start(data: bytes) -> int:
    trailer = decode_trailer(data[-TRAILER_BYTES:])
    if trailer is None:
        return len(data)
    end = trailer.body_position + trailer.body_length
    footer = decode_footer(trailer, data[trailer.body_position : end])
    return len(data) if footer is None else footer.usable


def _records(data: bytes, usable: int, marker: bytes) -> Iterator[RecordHeader]:
    def read_at(position: int, length: int) -> bytes:
        return data[position : position + length]

    start = SEGMENT_HEADER_BYTES
    for item in scan_records(read_at, start, usable, marker, verify_bodies=False):
        assert not isinstance(item, Gap), item
        yield item


def ends_of(sample: Sample) -> dict[Place, list[int]]:
    """Give where headers and records end, for cutting files there."""
    ends: dict[Place, list[int]] = {}
    for place, layout in layouts(sample.now.files).items():
        ends[place] = [SEGMENT_HEADER_BYTES // 2, SEGMENT_HEADER_BYTES, layout.usable]
        for record in layout.records:
            ends[place] += [record.body_position, record.end]
    return ends


@dataclass
class Hit:
    """The records of one log that a damage has hit."""

    sequences: set[int] = field(default_factory=set[int])
    unnamed: set[int] = field(default_factory=set[int])
    """Those of them of which the header is hit: nobody can say of what they were."""
    is_missing: bool = False
    """A segment is missing, or a mark that one was reclaimed."""
    commits: int = 0
    is_structure: bool = False
    """A header or a footer of a segment is hit."""

    @property
    def is_any(self) -> bool:
        """Say whether something is hit that counts."""
        is_structure = self.is_structure or self.is_missing
        return bool(self.sequences or self.commits or is_structure)


def hits(files: Files, where: Mapping[Place, Layout], damage: Damage) -> dict[str, Hit]:
    """Say what a damage has hit, by log."""
    after = damage.on(files)
    found: dict[str, Hit] = {}
    for place in damage.places:
        if place.log is None:
            continue
        hit = found.setdefault(place.log, Hit())
        layout = where.get(place)
        is_mark = parse_mark_name(place.name) is not None
        if place not in after and (layout is not None or is_mark):
            hit.is_missing = True
        if layout is not None:
            _compare(hit, files[place], after.get(place, b""), layout)
            if place not in after:
                hit.commits = 0
    return found


def _compare(hit: Hit, before: bytes, after: bytes, layout: Layout) -> None:
    for record in layout.records:
        start, body, end = record.position, record.body_position, record.end
        if before[start:end] == after[start:end]:
            continue
        if record.kind in STRUCTURAL_KINDS:
            hit.commits += 1
            continue
        hit.sequences.add(record.sequence)
        if before[start:body] != after[start:body] or len(after) < end:
            hit.unnamed.add(record.sequence)
    head = SEGMENT_HEADER_BYTES
    hit.is_structure |= before[:head] != after[:head]
    hit.is_structure |= before[layout.usable :] != after[layout.usable :]


class Seen(NamedTuple):
    """What a store shows of the names that it should have."""

    lost: frozenset[Name]
    """They say that they are damaged."""
    stale: frozenset[Name]
    """They show what they once held."""


class BrokenPromiseError(AssertionError):
    """A promise does not hold."""


def hold(fact: object, text: object) -> None:
    """Raise unless it holds."""
    if not fact:
        raise BrokenPromiseError(text)


@dataclass
class Case:
    """One damage to one store, with catalogs of some moment beside it."""

    sample: Sample
    damage: Damage
    hits: Mapping[str, Hit]
    images: Images
    applied: Mapping[str, int]
    """Up to which sequence each log's catalog has it."""
    every_bucket: bool = True
    """Look at the buckets too that the damage has nothing to do with."""
    reopens: bool = True
    """Look at it once more when it was written to and closed."""
    gone: set[str] = field(default_factory=set[str])
    """Buckets that a damaged registry has lost, which is told."""
    is_again: bool = False
    """It was written to since, and is open once more."""
    sealed: set[str] = field(default_factory=set[str])
    """Buckets that refuse to be written to."""

    def check(self) -> Seen:
        """Open the store and use it.

        Raises:
            BrokenPromiseError: something is not as it should be.
        """
        storage = storage_of(self.damage.on(self.sample.now.files))
        wanted = self._wanted()
        store = open_kept(storage, self.images, buckets=wanted)
        try:
            first = self._look(store)
            self._verify(store, first)
            watched = self._watch(store)
            self._write(store)
            kept = images_of(store) if self.reopens else {}
        finally:
            store.close()
        if not self.reopens:
            return first
        self.is_again = True
        again = open_kept(storage, kept, seed=8, buckets=wanted)
        try:
            hold(self._look(again) == first, "it shows something else when reopened")
            self._written(again)
            hold(self._watch(again) >= watched, "a watch gives less when reopened")
        finally:
            again.close()
        return first

    def _wanted(self) -> list[str]:
        """Give the buckets to look at."""
        logs = {truth.log: name for name, truth in self.sample.truths.items()}
        found = [logs[log] for log in self.hits if log in logs]
        is_all = self.every_bucket or REGISTRY in self.hits or not found
        return list(logs.values()) if is_all else found

    def _truths(self) -> Iterator[tuple[str, Truth, Hit]]:
        wanted = self._wanted()
        for name, truth in self.sample.truths.items():
            hit = self.hits.get(truth.log, Hit())
            if name not in self.gone and name in wanted:
                yield name, truth, hit

    def _is_unknown(self, truth: Truth, sequence: int) -> bool:
        """Say whether nobody can know the subject of a record."""
        hit = self.hits.get(truth.log, Hit())
        return sequence in hit.unnamed and sequence > self.applied.get(truth.log, 0)

    def _look(self, store: CrashStore) -> Seen:
        """Read and list every name."""
        lost: set[Name] = set()
        stale: set[Name] = set()
        names = store.object_store_names()
        self._look_for_buckets(store, names)
        for name, truth, hit in self._truths():
            bucket = store.object_store(name)
            listed = {info.name: info for info in bucket.list()}
            hold(set(listed) <= set(truth.needed) | {FRESH}, "a name that never was")
            for key in truth.needed:
                self._look_at(bucket, truth, hit, key, lost, stale)
                if (name, key) in lost | stale:
                    continue
                if listed.get(key) != truth.infos.get(key):
                    is_lost = self._is_unknown(truth, truth.needed[key].meta)
                    hold(is_lost, f"{key} is listed wrongly")
                    stale.add((name, key))
        return Seen(frozenset(lost), frozenset(stale))

    def _look_for_buckets(self, store: CrashStore, names: list[str]) -> None:
        """Every bucket is there, or the registry has lost it and says so."""
        hit = self.hits.get(REGISTRY, Hit())
        if hit.sequences - hit.unnamed == hit.sequences or not hit.unnamed:
            hold(
                set(names) == set(self.sample.truths), f"there are the buckets {names}"
            )
        self.gone = set(self.sample.truths) - set(names)
        for name in set(names).intersection(self._wanted()):
            try:
                store.object_store(name)
            except CorruptionError as error:
                hold(hit.sequences, f"bucket {name} is lost: {error}")
                named = {found.bucket for found in store.verify().damaged}
                hold(name in named, f"verify does not name bucket {name}")
                self.gone.add(name)
        if self.gone:
            hold(len(hit.sequences) > 1, f"one record costs the buckets {self.gone}")
            told = store.embedded.registry.log.damages or self.is_again
            silent = set(self.sample.truths) - set(names)
            hold(told or not silent, f"{silent} vanished in silence")
        if self.applied.get(REGISTRY, 0) >= max(hit.sequences, default=0):
            hold(set(self.sample.truths) <= set(names), f"bucket {self.gone} not named")

    def _look_at(  # noqa: PLR0917 - where to note what is seen, too
        self,
        bucket: ObjectStore,
        truth: Truth,
        hit: Hit,
        key: str,
        lost: set[Name],
        stale: set[Name],
    ) -> None:
        place = bucket.bucket, key
        needed = truth.needed[key]
        is_meta_lost = self._is_unknown(truth, needed.meta)
        try:
            info = truth.infos.get(key)
            found = None if info and info.link else read(bucket, key)
            if info is not None and info.link:
                hold(bucket.get_info(key) == info, f"the link {key} is another")
        except CorruptionError:
            is_hit = needed.meta in hit.sequences or needed.chunks & hit.sequences
            hold(is_hit, f"{place} is lost, and not hit")
            lost.add(place)
        except (BrokenPromiseError, ObjectNotFoundError, LinkIsABucketError):
            hold(is_meta_lost, f"{place} is another link")
            stale.add(place)
        else:
            if found != truth.contents.get(key):
                hold(is_meta_lost, f"{place} silently holds something else")
                past = self.sample.past.get(place, frozenset())
                hold(found in past, f"{place} never held that")
                stale.add(place)

    def _verify(self, store: CrashStore, seen: Seen) -> None:
        """All that is hit is told, nothing else is."""
        told = self._told(store)
        named = {(found.bucket, found.name) for found in told if found.name is not None}
        hold(seen.lost <= named, f"verify does not name {seen.lost - named}")
        for bucket, truth, hit in self._truths():
            found = [one for one in told if one.bucket == bucket]
            if hit.sequences & truth.live or hit.commits or hit.is_missing:
                hold(found, f"verify finds nothing in {bucket}")
            if any(place[0] == bucket for place in seen.stale):
                is_told = any(one.name is None for one in found)
                hold(is_told, f"nobody says that changes of {bucket} are lost")
            for one in found:
                self._is_true(truth, hit, one.name, one.seq)

    def _told(self, store: CrashStore) -> list[Told]:
        """Give what a check finds, and what opening found."""
        wanted = self._wanted()
        if len(wanted) == len(self.sample.truths):
            everything = [*store.verify().damaged, *store.damaged]
            registry = [one for one in everything if one.reason.startswith(IN_REGISTRY)]
            is_hit = self.hits.get(REGISTRY, Hit()).is_any
            hold(is_hit or not registry, f"{registry} is told, and not hit")
            return [one for one in everything if one not in registry]
        told: list[Told] = []
        for name in wanted:
            told += store.object_store(name).verify().damaged
            told += [damage_of(name, one) for one in store._engine.run(Damaged(name))]
        return told

    def _is_true(
        self, truth: Truth, hit: Hit, name: str | None, sequence: int | None
    ) -> None:
        hold(hit.is_any, f"{name} ({sequence}) is told in a bucket that was not hit")
        if name is not None and name in truth.needed:
            needed = truth.needed[name]
            is_hit = needed.meta in hit.sequences or needed.chunks & hit.sequences
            is_old = sequence is not None and sequence in hit.sequences
            hold(is_hit or is_old, f"{name} ({sequence}) is told, and not hit")

    def _watch(self, store: CrashStore) -> int:
        """No change is left out in silence; count those that are given."""
        given = 0
        for name, truth, hit in self._truths():
            given += self._follow(store.object_store(name), truth, hit)
        return given

    def _follow(self, bucket: ObjectStore, truth: Truth, hit: Hit) -> int:
        expected = list(truth.changes)
        given = place = 0
        with bucket.watch(start="all") as watch:
            while True:
                try:
                    change = watch.updates(0)
                except TimeoutError:
                    break
                except CorruptionError as error:
                    hold(hit.is_any, f"a watch of {bucket.bucket} tells of damage")
                    behind = error.sequence or 0
                    hold(behind > place, "a watch that has no way on")
                    place = behind
                    while expected and expected[0][0] <= place:
                        left = expected.pop(0)
                        hold(left[0] in hit.sequences, f"{left} is told as lost")
                    continue
                if change is None or change.name == FRESH or change.seq <= truth.floor:
                    continue
                found = facts_of(change)
                hold(
                    expected[:1] == [found], f"a watch gives {found} for {expected[:1]}"
                )
                del expected[0]
                place = change.seq
                given += 1
        hold(not expected, f"a watch of {bucket.bucket} leaves {expected[:2]} out")
        return given

    def _write(self, store: CrashStore) -> None:
        """What is there can be written to, and no sequence comes again."""
        for name, truth, _ in self._truths():
            bucket = store.object_store(name)
            try:
                info = bucket.put(FRESH, b"fresh")
            except SealedError:
                hold(truth.is_sealed, f"{name} is sealed")
                self.sealed.add(name)
                continue
            if truth.is_sealed:
                hold(self._is_unknown(truth, truth.seal), f"{name} is not sealed")
            hold(info.seq > truth.last_sequence, f"{info.seq} comes again in {name}")
            hold(bucket.get(FRESH) == b"fresh", "what was put is not there")

    def _written(self, store: CrashStore) -> None:
        for name, _, _ in self._truths():
            if name not in self.sealed:
                found = store.object_store(name).get(FRESH)
                hold(found == b"fresh", "what was put is not there when reopened")


def applied_of(sample: Sample, images: Images) -> dict[str, int]:
    """Say up to where catalogs have their logs."""
    store = open_kept(storage_of(sample.now.files), images)
    found: dict[str, int] = {}
    try:
        for name, truth in sample.truths.items():
            identity = store.embedded.bucket(name).entry.log_id
            found[truth.log] = 0
            with suppress(KeyError):
                found[truth.log] = _applied(images[identity])
    finally:
        store.close()
    return found


def _applied(image: bytes) -> int:
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(image)
        return int(db.execute("SELECT sequence FROM catalog_state").fetchone()[0])
