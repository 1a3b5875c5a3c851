"""What does a get of 1 KiB cost, warm and after the page cache is lost?

Hypothesis: a lookup, one pread and one digest are about as fast as opening, reading
and closing a file. There are more objects than any cache of the store holds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.bench import Bench, Subject
from benchmarks.figures import Taken
from benchmarks.limits import READ_DESCRIPTOR, READ_FILE, read_descriptors, read_files
from benchmarks.peers import ADAPTERS, READERS
from benchmarks.peers.base import Peer
from benchmarks.questions.calls import gets, limit, timed_calls
from benchmarks.stores import drop_page_cache

WARM = "get 1 KiB, one at a time, warm"
COLD = "get 1 KiB, one at a time, cold"
SIZE = 1024
OBJECTS = 30_000
COUNT = 2_000
COLD_COUNT = 200
SERVED_OBJECTS, SERVED_COUNT = 2_000, 100
"""Of a server: a client that gets 1,000 at once runs out of consumers."""
FILL_TASKS = 32


def _is_served(name: str) -> bool:
    return name.startswith("NATS")


def _names(bench: Bench, name: str) -> list[str]:
    count = SERVED_OBJECTS if _is_served(name) else OBJECTS
    return [
        f"folder-{number % 100}/{number}" for number in range(bench.size(count, 500))
    ]


def _count(bench: Bench, name: str) -> int:
    return SERVED_COUNT if _is_served(name) else bench.size(COUNT, 200)


def _fill(bench: Bench, peer: Peer, names: list[str]) -> None:
    peer.run([(name, bench.random_bytes(SIZE)) for name in names], FILL_TASKS)


def _files(bench: Bench) -> list[Path]:
    """Make plain files, as many as objects."""
    folder = bench.folder("plain")
    names = _names(bench, "files")
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bench.random_bytes(SIZE))
    return [folder / name for name in names]


def warm(bench: Bench) -> None:
    """Answer for content in the page cache."""
    paths, count = _files(bench), _count(bench, "files")
    subjects = [
        limit(READ_FILE, lambda: read_files(bench.random.choices(paths, k=count))),
        limit(
            READ_DESCRIPTOR,
            lambda: read_descriptors(bench.random.choices(paths, k=count)),
        ),
    ]
    with bench.peers(*READERS) as peers:
        for name, peer in peers.items():
            names = _names(bench, name)
            _fill(bench, peer, names)
            subjects.append(gets(bench, name, peer, names, _count(bench, name)))
        bench.compare(WARM, subjects, payload_bytes=SIZE, warm_up=True)


def _cold(
    bench: Bench, name: str, folder: Path, names: list[str]
) -> Callable[[], Taken]:
    def work() -> Taken:
        drop_page_cache(folder)
        peer = ADAPTERS[name].open(folder)
        calls = [(each, None) for each in bench.random.sample(names, COLD_COUNT)]
        try:
            return timed_calls(peer, calls)
        finally:
            peer.close()

    return work


def cold(bench: Bench) -> None:
    """Answer for a store that was just opened, and nothing of it in memory."""
    paths = _files(bench)
    folder = paths[0].parents[1]

    def read() -> Taken:
        drop_page_cache(folder)
        return read_files(bench.random.sample(paths, COLD_COUNT))

    subjects = [limit(READ_FILE, read)]
    for name in READERS:
        adapter = ADAPTERS[name]
        if adapter.missing() is None and (bench.with_peers or adapter.is_ours):
            folder_, names = bench.folder(name), _names(bench, name)
            peer = adapter.open(folder_)
            _fill(bench, peer, names)
            peer.close()
            subjects.append(Subject(name, _cold(bench, name, folder_, names)))
    bench.compare(COLD, subjects, payload_bytes=SIZE)
