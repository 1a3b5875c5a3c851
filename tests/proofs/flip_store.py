"""A small store of every kind of record, and what may be left when one byte flips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from objstore import ObjectMeta, _operations_write
from objstore.blocking import ObjectStore, Store
from objstore.errors import (
    CorruptionError,
    ObjectNotFoundError,
    SealedError,
)
from objstore_log import MemoryStorage, Storage
from objstore_log._commit_loop import CommitLoop

from .crash_world import START_NS, Clock, CrashStore, Images, open_store, sized

Name: TypeAlias = tuple[str, str]
"""Of a bucket and of an object."""
LINKED = "link"
FOLDERS = "logs", "writers"
FRESH = "a name that nobody used"


class Place(NamedTuple):
    """A file in a store: its directory below the root, and its name."""

    directory: tuple[str, ...]
    name: str


@dataclass
class Known:
    """What every name of the store holds, and what it once held."""

    contents: dict[Name, bytes | None] = field(
        default_factory=dict[Name, "bytes | None"]
    )
    """`None` is a name that was deleted."""
    past: dict[Name, set[bytes | None]] = field(
        default_factory=dict[Name, "set[bytes | None]"]
    )
    sequences: dict[str, int] = field(default_factory=dict[str, int])
    """The last of each bucket."""

    def put(self, bucket: str, name: str, content: bytes | None) -> None:
        """Note what a name holds from now on."""
        key = bucket, name
        self.past.setdefault(key, {None}).add(self.contents.get(key))
        self.contents[key] = content


@dataclass(frozen=True)
class Original:
    """The store before anything was flipped."""

    files: Mapping[Place, bytes]
    images: Images
    known: Known


def _broken(size: int) -> Iterator[bytes]:
    yield sized(size)
    raise ZeroDivisionError


def fill(store: Store) -> Known:
    """Make buckets and objects such that every kind of record is there."""
    known = Known()
    small = store.create_object_store(
        "b", chunk_size=200, segment_bytes=4_096, changes_ttl=0
    )

    def put(name: str, content: bytes, bucket: ObjectStore = small) -> None:
        bucket.put(name, content)
        known.put(bucket.bucket, name, content)

    put("old", sized(450))
    put("gone", b"to be deleted")
    put("over", sized(180, 1))
    with suppress(ZeroDivisionError):
        small.put("old", _broken(9_000))
    # raises the change floor
    store.run_retention()
    put("over", sized(190, 2))
    small.delete("gone")
    known.put("b", "gone", None)
    small.copy("old", "copy")
    known.put("b", "copy", sized(450))
    small.rename("over", "new")
    known.put("b", "new", known.contents["b", "over"])
    known.put("b", "over", None)
    small.update_meta("copy", ObjectMeta(description="a copy"))
    small.add_link(LINKED, "old")
    store.update_object_store("b", description="changed")
    put("last", sized(210, 3))
    small.put("expired", b"soon gone", ttl=1e-6)
    known.put("b", "expired", None)
    sealed = store.create_object_store("sealed")
    put("kept", b"for ever", sealed)
    sealed.seal()
    store.create_object_store("removed").put("a", b"b")
    store.delete_object_store("removed")
    return known


def build() -> Original:
    """Make the store in memory, close it, and keep its bytes and its catalogs."""
    storage = MemoryStorage()
    store = open_store(storage, Clock(), seed=1)
    known = fill(store)
    images: dict[bytes, bytes] = {}
    for log in store.logs():
        log.apply()
        images[log.catalog._identity] = log.catalog.serialize()
    for bucket in store.object_store_names():
        known.sequences[bucket] = store.embedded.bucket(bucket).log.visible_sequence
    store.close()
    return Original(dict(_files(storage, ())), images, known)


def _files(
    storage: Storage, directory: tuple[str, ...]
) -> Iterator[tuple[Place, bytes]]:
    for name in sorted(storage.names()):
        if name in FOLDERS or directory[-1:] == FOLDERS[:1]:
            yield from _files(storage.directory(name), (*directory, name))
            continue
        file = storage.open(name)
        yield Place(directory, name), file.read_at(0, file.size())
        file.close()


def files_of(path: Path) -> list[Path]:
    """Give the files of a store on disk."""
    return sorted(file for file in path.rglob("*") if file.is_file())


def flipped(original: Original, place: Place, position: int, mask: int) -> Storage:
    """Give the store with one byte changed."""
    storage = MemoryStorage()
    for at, content in original.files.items():
        directory: Storage = storage
        for name in at.directory:
            directory = directory.directory(name, create=True)
        file = directory.open(at.name, create=True)
        data = bytearray(content)
        if at == place:
            data[position] ^= mask
        file.write_at(0, [bytes(data)])
        file.close()
    return storage


def open_flipped(storage: Storage, images: Images) -> CrashStore:
    """Open what is left, some time later."""
    return open_store(storage, Clock(START_NS + 10**9), seed=7, images=images)


class Seen(NamedTuple):
    """What a store shows of the names that it should have."""

    lost: frozenset[Name]
    """Names that say that they are damaged."""
    stale: frozenset[Name]
    """Names that show what they once held."""


def look_at(store: Store, known: Known) -> Seen:
    """Read every name; it is as it was, or says that it is damaged."""
    lost: set[Name] = set()
    stale: set[Name] = set()
    listed = {
        (bucket, info.name)
        for bucket in store.object_store_names()
        for info in store.object_store(bucket).list()
    }
    for key, content in known.contents.items():
        try:
            found = _read(store, key)
        except CorruptionError:
            lost.add(key)
            continue
        assert (found is not None) == (key in listed), key
        if found != content:
            assert found in known.past[key], (key, "never held that")
            stale.add(key)
    try:
        link = store.object_store("b").get_info(LINKED).link
        assert link is not None
        assert link.name == "old"
    except CorruptionError:
        lost.add(("b", LINKED))
    except ObjectNotFoundError:
        stale.add(("b", LINKED))
    return Seen(frozenset(lost), frozenset(stale))


def _read(store: Store, key: Name) -> bytes | None:
    try:
        return store.object_store(key[0]).get(key[1])
    except ObjectNotFoundError:
        return None


def check(store: Store, known: Known, *, has_catalog: bool) -> Seen:
    """One byte is wrong: at most one content is lost, and all of its names say so."""
    first = look_at(store, known)
    report = store.verify()
    found = [*report.damaged, *store.damaged]
    named = {(damage.bucket, damage.name) for damage in found}
    assert first.lost <= named, "a loss that nobody reports"
    contents = {known.contents.get(key) for key in first.lost}
    is_sealed = _check_writes(store, known)
    assert len(contents) + len(first.stale) + (not is_sealed) <= 1
    if first.stale or not is_sealed:
        # a record's header is damaged, and the catalog that knew its key is lost too
        assert not has_catalog
        assert any(damage.name is None for damage in found)
    assert look_at(store, known) == first
    return first


def _check_writes(store: Store, known: Known) -> bool:
    """What is there can be written to; say whether the sealed bucket refuses."""
    bucket = store.object_store("b")
    info = bucket.put(FRESH, b"fresh")
    assert info.seq > known.sequences["b"]
    assert bucket.get(FRESH) == b"fresh"
    bucket.delete(FRESH)
    try:
        store.object_store("sealed").put(FRESH, b"fresh")
    except SealedError:
        return True
    store.object_store("sealed").delete(FRESH)
    return False


def _no_idle_commit(_: CommitLoop) -> None:
    """The thread that it would wake has no place here."""


def make_small_and_repeatable(patch: pytest.MonkeyPatch) -> None:
    """Use small slabs, and no thread beside the test's own."""
    patch.setattr(_operations_write, "SLAB_BYTES", 1_200)
    patch.setattr(_operations_write, "LARGE_SLAB_BYTES", 2_400)
    patch.setattr(CommitLoop, "_start_idle_commit", _no_idle_commit)
