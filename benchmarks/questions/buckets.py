"""What do many buckets cost in one store?

Hypothesis: every bucket is a log of its own, so each costs files, memory and a share of
the opening, and puts that go round all of them share no fdatasync.
"""

from __future__ import annotations

import time
from pathlib import Path

import objstore
from benchmarks import child
from benchmarks.bench import Bench, Subject
from benchmarks.figures import Taken
from benchmarks.limits import timed
from benchmarks.questions.calls import raw_work

ROUND = "put 1 KiB, going round buckets"
MAKE = "make a bucket"
OPEN = "open a store and all of its 100 buckets"
MEMORY = "memory of an open store with 100 buckets in use"
MANY = 100
COUNT = 200
SIZE = 1024
SUBJECT = "objstore"


def opened(folder: str) -> dict[str, float]:
    """Open a store and use each bucket, in a new process."""
    before, started = child.resident_bytes(), time.perf_counter()
    with objstore.open(Path(folder)) as store:
        for name in store.object_store_names():
            store.object_store(name).get("object")
        took_s = time.perf_counter() - started
        after = child.resident_bytes()
    return {"open_s": took_s, "bytes": after["VmRSS"] - before["VmRSS"]}


def run(bench: Bench) -> None:
    """Answer for puts, for making buckets, and for opening."""
    path = bench.folder("buckets") / "store"
    many, count = bench.size(MANY, 10), bench.size(COUNT, 40)
    with objstore.open(path) as store:
        numbers = iter(range(many))
        made = [
            timed(lambda: store.create_object_store(f"bucket-{next(numbers)}"))
            for _ in range(many)
        ]
        bench.note(MAKE, SUBJECT, made)
        buckets = [store.object_store(f"bucket-{number}") for number in range(many)]
        for bucket in buckets:
            bucket.put("object", bytes(SIZE))

        def put(used: int) -> Taken:
            data, places = bench.random_bytes(SIZE), iter(range(10**9))
            return timed(
                lambda: buckets[(at := next(places)) % used].put(f"{at}", data), count
            )

        subjects = [
            Subject(f"1 of {many} buckets", lambda: put(1)),
            Subject(f"all {many} buckets", lambda: put(many)),
        ]
        raw = raw_work(bench, SIZE, count)
        bench.compare(ROUND, [raw, *subjects], warm_up=True)
    found = [
        child.call("questions.buckets:opened", folder=str(path))
        for _ in range(min(3, bench.rounds))
    ]
    bench.note(OPEN, SUBJECT, [Taken(each["open_s"]) for each in found])
    bench.note(MEMORY, SUBJECT, [Taken(each["bytes"]) for each in found], unit="B")
