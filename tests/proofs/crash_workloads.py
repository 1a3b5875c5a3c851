"""Workloads whose crashes are tried everywhere: each a fixed list of changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeAlias

import pytest

from objstore import ObjectMeta
from objstore.blocking import ObjectWriter, Store
from objstore.errors import SealedError

from .crash_world import World, numbered, open_store, sized

Workload: TypeAlias = Callable[[World], None]


def put_small(world: World) -> None:
    """Put objects of one commit."""
    world.create()
    world.put("a", b"one")
    world.put("b", b"")
    world.keep_catalogs()
    world.put("c", sized(300))
    # its middle may be lost alone: no header and no commit is in that sector
    world.put("a", sized(1_150))


def put_large(world: World) -> None:
    """Put objects of several slabs, one of which fails in the middle."""
    world.create(chunk_size=300)
    world.put("a", sized(7_000))
    world.keep_catalogs()

    def fail(store: Store) -> None:
        with suppress(ZeroDivisionError):
            store.object_store("b").put("a", _broken(6_000))

    world.do(fail)
    world.put("b", sized(9_000))
    world.keep_catalogs()


def _broken(size: int) -> Iterator[bytes]:
    yield sized(size)
    raise ZeroDivisionError


def overwrite(world: World) -> None:
    """Put over small and large content, and over a deletion."""
    world.create(chunk_size=300)
    world.put("a", b"small")
    world.put("a", sized(5_000))
    world.keep_catalogs()
    world.put("a", b"small again")
    world.delete("a")
    world.put("a", sized(400))
    world.keep_catalogs()


def delete(world: World) -> None:
    """Delete objects."""
    world.create()
    world.put("a", sized(200))
    world.put("b", sized(210))
    world.keep_catalogs()
    world.delete("a")
    world.delete("b")
    world.put("a", b"again")
    world.keep_catalogs()


def names(world: World) -> None:
    """Say other things about objects; rename, copy and link them."""
    world.create()
    one, two = sized(300), sized(310)
    world.put("a", one)
    world.put("b", two)
    world.keep_catalogs()
    world.do(
        lambda store: store.object_store("b").update_meta(
            "a", ObjectMeta(description="more")
        )
    )
    world.do(
        lambda store: store.object_store("b").rename("a", "c"),
        changes={"a": None, "c": one},
    )
    world.do(lambda store: store.object_store("b").copy("b", "a"), changes={"a": two})
    world.do(
        lambda store: store.object_store("b").rename("c", "b", overwrite=True),
        changes={"c": None, "b": one},
    )
    world.names["b"].add("link")
    world.do(lambda store: store.object_store("b").add_link("link", "a"))
    world.delete("a")
    world.keep_catalogs()


def roll(world: World) -> None:
    """Fill several segments."""
    world.create(segment_bytes=1_024, chunk_size=300)
    for number, name in numbered(6):
        world.put(name, sized(350 + number))
        if number in {1, 4}:
            world.keep_catalogs()
    world.put("large", sized(5_000))


def reclaim(world: World) -> None:
    """Unlink segments that nobody needs any more."""
    world.create(segment_bytes=1_024, chunk_size=300, changes_ttl=0)
    world.put("stays", b"stays")
    for number, name in numbered(6):
        world.put(name, sized(500 + number))
    world.keep_catalogs()
    world.do(Store.run_retention)
    world.put("a", sized(800))
    world.delete("b")
    world.do(Store.run_retention)
    world.keep_catalogs()
    world.put("c", b"end")


def punch(world: World) -> None:
    """Punch out large dead chunks in segments that stay."""
    world.create(chunk_size=20_000)
    world.put("a", sized(45_000))
    world.put("b", b"stays")
    world.put("a", sized(41_000))
    world.keep_catalogs()
    world.do(Store.run_retention)
    world.delete("a")
    world.do(Store.run_retention)
    world.keep_catalogs()


def buckets(world: World) -> None:
    """Create, change, delete and create again."""
    world.create("b", description="first")
    world.create("other")
    world.put("a", b"kept", bucket="other")
    world.put("a", b"one")
    world.keep_catalogs()
    world.do(lambda store: store.update_object_store("b", description="second"))
    world.delete_bucket("b")
    world.create("b", segment_bytes=1_024)
    world.put("a", b"two")
    world.keep_catalogs()
    world.delete_bucket("b")
    world.do(Store.run_retention)


def relaxed(world: World) -> None:
    """Change a bucket that is never synced, and one that is."""
    world.create("b", sync="never", segment_bytes=1_024)
    world.create("other")
    world.put("a", b"one")
    world.put("a", b"safe", bucket="other")
    world.put("b", sized(200))
    world.reopen()
    world.put("a", b"two")
    world.put("c", sized(700))
    world.keep_catalogs()
    world.delete("b")
    world.put("b", sized(300), bucket="other")
    world.put("a", b"three")
    world.keep_catalogs()


def seconds(world: World) -> None:
    """Change a bucket that is synced once in a while."""
    world.create("b", sync=3_600.0, chunk_size=300)
    for number, name in numbered(4):
        world.put(name, sized(200 + number))
    world.keep_catalogs()
    world.put("large", sized(5_000))
    world.reopen()
    world.put("a", b"end")


def killed(world: World) -> None:
    """Lose the process between two changes, and in the middle of a large put."""
    world.create(chunk_size=300)
    world.put("a", b"one")
    world.kill()
    world.put("b", b"two")

    killed: list[ObjectWriter] = []

    def begin(store: Store) -> None:
        # kept: a process that is killed gives nothing up
        killed.append(store.object_store("b").open_writer("a"))
        killed[0].write(sized(7_000))

    world.do(begin)
    world.kill()
    world.put("a", sized(400))
    world.do(Store.run_retention)
    world.put("b", b"end")


def put_expiring(name: str) -> Callable[[Store], object]:
    """Give a put of what expires at once."""
    return lambda store: store.object_store("b").put(name, sized(500), ttl=1e-6)


def expire(world: World) -> None:
    """Let objects expire, and put over one that has."""
    world.create(chunk_size=300)
    world.put("stays", b"stays")
    for name in "ab":
        world.do(put_expiring(name), changes={name: None})
    world.keep_catalogs()
    world.put("a", b"over it")
    world.do(Store.run_retention)
    world.keep_catalogs()


def seal(world: World) -> None:
    """Seal a bucket."""
    world.create()
    world.put("a", b"one")
    world.do(lambda store: store.object_store("b").seal())
    with pytest.raises(SealedError):
        world.store.object_store("b").put("a", b"two")
    world.reopen()


def ignoring_store(action: Callable[[], object]) -> Callable[[Store], object]:
    """Give an action of another store than the world's."""
    return lambda _: action()


def two_processes(world: World) -> None:
    """Change one bucket from two processes in turn."""
    world.create(segment_bytes=1_024, chunk_size=300)
    other = open_store(world.storage.process(), world.clock, seed=50)
    for number, name in numbered(5):
        if number % 2:
            world.put(name, sized(400 + number))
        else:
            data = sized(300 + number)
            put = partial(other.object_store("b").put, name, data)
            world.do(ignoring_store(put), changes={name: data})
    world.do(lambda _: other.run_retention())
    world.do(lambda _: other.close())
    world.put("a", b"end")


def reopened(world: World) -> None:
    """Close and open again between changes."""
    world.create()
    world.put("a", b"one")
    world.reopen()
    world.put("b", b"two")
    world.keep_catalogs()
    world.reopen()


WORKLOADS: list[Workload] = [
    put_small,
    put_large,
    overwrite,
    delete,
    names,
    roll,
    reclaim,
    punch,
    buckets,
    relaxed,
    seconds,
    killed,
    expire,
    seal,
    two_processes,
    reopened,
]
