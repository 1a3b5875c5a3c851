"""Rounds of puts and gets, as most questions need them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from benchmarks.bench import Bench, Subject
from benchmarks.figures import Taken
from benchmarks.limits import RAW_APPEND, SHA256, raw_append, sha256
from benchmarks.peers import ADAPTERS
from benchmarks.peers.base import Calls, Peer


def timed_calls(peer: Peer, calls: Calls, tasks: int = 1) -> Taken:
    """Give what one of the calls takes."""
    busy, started = peer.cpu_s(), time.perf_counter()
    peer.run(calls, tasks)
    elapsed = time.perf_counter() - started
    return Taken(elapsed / len(calls), (peer.cpu_s() - busy) / len(calls))


def timed_stream(peer: Peer, name: str) -> Taken:
    """Give what reading an object piece by piece takes."""
    busy, started = peer.cpu_s(), time.perf_counter()
    peer.stream(name)
    elapsed = time.perf_counter() - started
    return Taken(elapsed, peer.cpu_s() - busy)


def puts(
    bench: Bench,
    name: str,
    peer: Peer,
    count: int,
    size_bytes: int,
    *,
    tasks: int = 1,
) -> Subject:
    """Have a peer put new objects, each with its own random content."""
    numbers: Iterator[int] = iter(range(10**9))

    def work() -> Taken:
        calls = [
            (f"put-{size_bytes}/{next(numbers)}", bench.random_bytes(size_bytes))
            for _ in range(count)
        ]
        return timed_calls(peer, calls, tasks)

    return Subject(name, work, ADAPTERS[name].durability)


def gets(
    bench: Bench,
    name: str,
    peer: Peer,
    names: list[str],
    count: int,
    *,
    tasks: int = 1,
) -> Subject:
    """Have a peer get objects that are there, in random order."""

    def work() -> Taken:
        return timed_calls(
            peer, [(each, None) for each in bench.random.choices(names, k=count)], tasks
        )

    return Subject(name, work)


def limit(name: str, work: Callable[[], Taken], durability: str = "") -> Subject:
    """Have the machine do what it can."""
    return Subject(name, work, durability, is_limit=True)


def raw_work(bench: Bench, size_bytes: int, count: int) -> Subject:
    """Have the machine append and sync as many bytes as an object has."""
    path = bench.folder("raw") / "file"
    return limit(RAW_APPEND, lambda: raw_append(path, size_bytes, count), "synced")


def digest_work(data: bytes) -> Subject:
    """Have one thread take the digest of an object."""
    return limit(SHA256, lambda: sha256(data))
