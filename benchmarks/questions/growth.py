"""Does the cost of a call grow with what a store holds?

Hypothesis: no. A put looks up one name, a get another one, a page is a range of an
index; all of them grow with the logarithm of the count at most, and no memory grows
with the size of an object.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import objstore
from benchmarks import child
from benchmarks.bench import Bench
from benchmarks.figures import Taken
from benchmarks.limits import RAW_APPEND, SHA256, raw_append, timed
from benchmarks.peers.ours import BUCKET
from benchmarks.questions.million import filled
from benchmarks.stores import name_of

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
QUICK_COUNTS = (200, 2_000)
PUT, GET = "growth by count: put 1 KiB", "growth by count: get"
PAGE = "growth by count: a page of 1,000"
OPEN = "growth by count: open, first get"
COUNT_MEMORY = "growth by count: memory of an open store"
CALLS = 200
SIZE = 1024
MIB = 1024 * 1024
SIZES = (MIB, 16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB, 4096 * MIB)
QUICK_SIZES = (MIB, 16 * MIB)
LARGE_PUT = "growth by size: put from a stream"
LARGE_GET = "growth by size: streamed get"
LARGE_RANGE = "growth by size: read 128 KiB at random"
LARGE_MEMORY = "growth by size: peak memory of put and streamed get"
RANGE_BYTES = 128 * 1024
SUBJECT = "objstore"
Points = dict[str, list[Taken]]


def _count_round(bench: Bench, folder: Path, count: int, number: int) -> Points:
    """Use a store of so many objects for a while."""
    data = bench.random_bytes(SIZE)
    with objstore.open(folder / "store") as store:
        bucket = store.object_store(BUCKET)
        bucket.get(name_of(0))
        at = iter(range(CALLS * number, CALLS * (number + 1)))
        put = timed(lambda: bucket.put(f"zz-growth/{next(at)}", data), CALLS)
        names = iter([name_of(bench.random.randrange(count)) for _ in range(CALLS)])
        get = timed(lambda: bucket.get(next(names)), CALLS)
        page = timed(lambda: bucket.list("folder", limit=1_000), 1)
    return {PUT: [put], GET: [get], PAGE: [page]}


def by_count(bench: Bench) -> None:
    """Answer for stores of more and more objects, all of them in turn."""
    counts = QUICK_COUNTS if bench.is_quick else COUNTS
    folders = {count: filled(bench, count) for count in counts}
    raw = bench.folder("raw") / "file"
    points: dict[tuple[str, str, int], list[Taken]] = {}
    for number in range(bench.rounds):
        for count, folder in folders.items():
            point = _count_round(bench, folder, count, number)
            found = child.call(
                "questions.million:opened", folder=str(folder), count=count
            )
            point[OPEN] = [Taken(found["first_s"])]
            point[COUNT_MEMORY] = [Taken(found["whole_bytes"])]
            for group, taken in point.items():
                points.setdefault((group, SUBJECT, count), []).extend(taken)
            limit = raw_append(raw, SIZE, CALLS)
            points.setdefault((PUT, RAW_APPEND, count), []).append(limit)
    _note(bench, points, COUNT_MEMORY)


def _note(
    bench: Bench, points: dict[tuple[str, str, int], list[Taken]], memory: str
) -> None:
    """Keep the points of curves, each group by itself."""
    for (group, subject, x), taken in sorted(points.items(), key=lambda item: item[0]):
        unit = "B" if group == memory else "s"
        payload = x if group in {LARGE_PUT, LARGE_GET} and unit == "s" else 0
        bench.note(group, subject, taken, unit=unit, x=x, payload_bytes=payload)


def used(folder: str, size: int) -> dict[str, float]:
    """Put and get a large object piece by piece, in a new process."""
    piece = os.urandom(MIB)
    pieces = size // MIB

    def content() -> Iterator[bytes]:
        for number in range(pieces):
            yield number.to_bytes(8, "big") + piece[8:]

    sha = hashlib.sha256()
    started = time.perf_counter()
    for part in content():
        sha.update(part)
    sha_s = time.perf_counter() - started
    before = child.resident_bytes()
    with objstore.open(Path(folder) / "store") as store:
        bucket = store.object_store(BUCKET, create=True)
        started = time.perf_counter()
        bucket.put("large", content())
        put_s = time.perf_counter() - started
        started = time.perf_counter()
        with bucket.open_reader("large") as reader:
            for _ in reader:
                pass
        get_s = time.perf_counter() - started
        starts = iter(range(0, size, max(1, size // CALLS)))
        length = RANGE_BYTES
        ranged = timed(
            lambda: bucket.get_range("large", start=next(starts), length=length), CALLS
        )
    peak = child.resident_bytes()["VmHWM"] - before["VmRSS"]
    return {
        "sha_s": sha_s,
        "put_s": put_s,
        "get_s": get_s,
        "range_s": ranged.value,
        "peak_bytes": max(0, peak),
    }


def by_size(bench: Bench) -> None:
    """Answer for larger and larger objects, all of them in turn."""
    sizes = QUICK_SIZES if bench.is_quick else SIZES
    points: dict[tuple[str, str, int], list[Taken]] = {}
    for _ in range(min(2, bench.rounds)):
        for size in sizes:
            folder = str(bench.folder("large"))
            place = "questions.growth:used"
            found = child.call(place, folder=folder, size=size)
            for group, subject, key in (
                (LARGE_PUT, SHA256, "sha_s"),
                (LARGE_PUT, SUBJECT, "put_s"),
                (LARGE_GET, SHA256, "sha_s"),
                (LARGE_GET, SUBJECT, "get_s"),
                (LARGE_RANGE, SUBJECT, "range_s"),
                (LARGE_MEMORY, SUBJECT, "peak_bytes"),
            ):
                taken = Taken(found[key])
                points.setdefault((group, subject, size), []).append(taken)
    bench.folder("large")
    _note(bench, points, LARGE_MEMORY)
