"""What do copy, rename and delete cost?

Hypothesis: inside a bucket no content moves: each is one small record and one
fdatasync, whatever the size of the object; deletes of many tasks share them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import objstore
from benchmarks.bench import Bench, Subject
from benchmarks.figures import Taken
from benchmarks.limits import timed
from benchmarks.peers import ADAPTERS, READERS
from benchmarks.peers.base import Peer
from benchmarks.peers.ours import BUCKET
from benchmarks.questions.calls import raw_work, timed_calls
from benchmarks.stores import fill, name_of

MOVE = "copy and rename of 16 MiB"
DELETE = "delete, one at a time"
DELETE_MANY = "delete 100,000 objects by 32 tasks"
LIST = "list 10,000 objects"
SIZE = 16 * 1024 * 1024
COUNT = 100
DELETED, LISTED = 100_000, 10_000
TASKS = 32


def moving(bench: Bench) -> None:
    """Answer for copy and rename."""
    path, count = bench.folder("moved") / "store", bench.size(COUNT, 20)
    with objstore.open(path) as store:
        bucket = store.create_object_store(BUCKET)
        bucket.put("object-0", bench.random_bytes(SIZE))
        numbers = iter(range(10**9))

        def rename() -> Taken:
            def one() -> None:
                at = next(numbers)
                bucket.rename(f"object-{at}", f"object-{at + 1}")

            return timed(one, count)

        bucket.put("source", bench.random_bytes(SIZE))
        copies = iter(range(10**9))

        def copy() -> Taken:
            return timed(lambda: bucket.copy("source", f"copy-{next(copies)}"), count)

        subjects = [Subject("rename", rename), Subject("copy", copy)]
        raw = raw_work(bench, 1024, count)
        bench.compare(MOVE, [raw, *subjects], warm_up=True)


def _delete(bench: Bench, name: str, peer: Peer, count: int) -> Subject:
    rounds = iter(range(10**9))

    def work() -> Taken:
        at = next(rounds)
        names = [f"delete-{at}/{number}" for number in range(count)]
        peer.run([(each, bench.random_bytes(100)) for each in names], TASKS)
        busy = peer.cpu_s()
        taken = timed(lambda: peer.delete(names))
        return Taken(taken.value / count, (peer.cpu_s() - busy) / count)

    return Subject(name, work, ADAPTERS[name].durability)


async def _delete_all(path: Path, count: int) -> None:
    async with objstore.connect(path) as store:
        bucket = await store.object_store(BUCKET)

        async def work(task: int) -> None:
            for number in range(task, count, TASKS):
                await bucket.delete(name_of(number))

        async with asyncio.TaskGroup() as group:
            for task in range(TASKS):
                group.create_task(work(task))


def deleting(bench: Bench) -> None:
    """Answer for deletes: beside the peers, and of very many."""
    count = bench.size(COUNT, 20)
    with bench.peers(*ADAPTERS) as peers:
        subjects = [_delete(bench, *peer, count) for peer in peers.items()]
        raw = raw_work(bench, 1024, count)
        bench.compare(DELETE, [raw, *subjects], rounds=min(3, bench.rounds))
    many, folder = bench.size(DELETED, 2_000), bench.folder("filled")
    fill(folder, many, bench.seed)
    taken = timed(lambda: asyncio.run(_delete_all(folder / "store", many)))
    bench.note(DELETE_MANY, "objstore async", [taken])


def listing(bench: Bench) -> None:
    """Answer for lists of everything, beside the peers."""
    count = bench.size(LISTED, 500)
    with bench.peers(*READERS) as peers:
        names = [f"folder-{at % 10}/object-{at}" for at in range(count)]
        for peer in peers.values():
            timed_calls(peer, [(name, bytes(100)) for name in names], TASKS)
        subjects = [
            Subject(name, partial(timed, peer.list_names))
            for name, peer in peers.items()
        ]
        bench.compare(LIST, subjects, rounds=min(3, bench.rounds))
