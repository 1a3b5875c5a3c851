"""What does a store of a million objects cost to open and to list?

Hypothesis: opening loads no names, so it takes as long and as much memory as for an
empty store; a page of a listing is one range of an index.
"""

from __future__ import annotations

import time
from pathlib import Path

import objstore
from benchmarks import child
from benchmarks.bench import Bench, Subject
from benchmarks.figures import Taken
from benchmarks.limits import timed
from benchmarks.peers.ours import BUCKET
from benchmarks.stores import drop_page_cache, fill, name_of

OPEN = "open a store of a million objects, first get"
OPEN_ALONE = "open a store of a million objects"
MEMORY = "memory of an open store of a million objects"
PAGE = "one page of 1,000 out of a million"
PREFIX = "the first 1,000 below a prefix, out of a million"
LIST = "list 100,000 objects"
WARM, COLD = "objstore, warm", "objstore, cold"
OWN, WHOLE = "own memory", "own memory and mapped files"
COUNT, LISTED = 1_000_000, 100_000
GETS = 100


def filled(bench: Bench, count: int) -> Path:
    """Give a store of so many small objects; it is filled once a run."""
    folder = bench.directory / "filled" / str(count)
    if not folder.exists():
        folder.mkdir(parents=True)
        fill(folder, count, bench.seed)
    return folder


def opened(folder: str, count: int) -> dict[str, float]:
    """Open a store in a new process, get a few objects, and tell what it took."""
    before = child.resident_bytes()
    started = time.perf_counter()
    with objstore.open(Path(folder) / "store") as store:
        bucket = store.object_store(BUCKET)
        open_s = time.perf_counter() - started
        bucket.get(name_of(count // 2))
        first_s = time.perf_counter() - started
        for number in range(0, count, max(1, count // GETS)):
            bucket.get(name_of(number))
        after = child.resident_bytes()
    return {
        "open_s": open_s,
        "first_s": first_s,
        "own_bytes": after["RssAnon"] - before["RssAnon"],
        "whole_bytes": after["VmRSS"] - before["VmRSS"],
    }


def opening(bench: Bench) -> None:
    """Answer for opening, in a new process each time."""
    count = bench.size(COUNT, 20_000)
    folder = filled(bench, count)
    for subject, is_cold in ((WARM, False), (COLD, True)):
        found: list[dict[str, float]] = []
        for _ in range(bench.rounds):
            if is_cold:
                drop_page_cache(folder)
            place = "questions.million:opened"
            found.append(child.call(place, folder=str(folder), count=count))
        bench.note(OPEN, subject, [Taken(each["first_s"]) for each in found])
        bench.note(OPEN_ALONE, subject, [Taken(each["open_s"]) for each in found])
        if not is_cold:
            own = [Taken(each["own_bytes"]) for each in found]
            whole = [Taken(each["whole_bytes"]) for each in found]
            bench.note(MEMORY, OWN, own, unit="B")
            bench.note(MEMORY, WHOLE, whole, unit="B")


def listing(bench: Bench) -> None:
    """Answer for pages and for whole lists."""
    folder = filled(bench, bench.size(COUNT, 20_000))
    with objstore.open(folder / "store") as store:
        bucket = store.object_store(BUCKET)

        def page() -> Taken:
            after = name_of(bench.random.randrange(10_000))
            return timed(lambda: bucket.list(start_after=after, limit=1_000), 1)

        def prefix() -> Taken:
            below = f"folder-{bench.random.randrange(100):02}/"
            return timed(lambda: bucket.list(below, limit=1_000), 1)

        bench.compare(PAGE, [Subject(WARM, page)], rounds=15, warm_up=True)
        bench.compare(PREFIX, [Subject(WARM, prefix)], rounds=15)
    folder = filled(bench, bench.size(LISTED, 5_000))
    with objstore.open(folder / "store") as store:
        bucket = store.object_store(BUCKET)
        whole = Subject(WARM, lambda: timed(bucket.list))
        bench.compare(LIST, [whole], warm_up=True)
