"""What does a durable put of 1 KiB cost, one at a time and 32 at a time?

Hypothesis: alone it is one append and one fdatasync, and some tens of microseconds of
Python around them; 32 at a time share their fdatasync, so that Python is the limit.
"""

from __future__ import annotations

from benchmarks.bench import Bench, Subject
from benchmarks.peers import ADAPTERS
from benchmarks.peers.base import Peer
from benchmarks.questions.calls import puts, raw_work

ONE = "put 1 KiB, one at a time"
MANY = "put 1 KiB, 32 at a time"
SIZE = 1024
COUNT = 200
TASKS = 32


def one(bench: Bench) -> None:
    """Answer for one at a time."""
    with bench.peers(*ADAPTERS) as peers:
        count = bench.size(COUNT, 50)
        subjects = [puts(bench, *peer, count, SIZE) for peer in peers.items()]
        bench.compare(
            ONE,
            [raw_work(bench, SIZE, bench.size(COUNT, 50)), *subjects],
            payload_bytes=SIZE,
            warm_up=True,
        )


def _many(bench: Bench, name: str, peer: Peer) -> Subject:
    count = bench.size(COUNT, 50) * (8 if ADAPTERS[name].is_ours else 3)
    return puts(bench, name, peer, count, SIZE, tasks=TASKS)


def many(bench: Bench) -> None:
    """Answer for 32 at a time."""
    with bench.peers(*ADAPTERS) as peers:
        subjects = [_many(bench, *peer) for peer in peers.items()]
        bench.compare(
            MANY,
            [raw_work(bench, SIZE, bench.size(COUNT, 50)), *subjects],
            payload_bytes=SIZE,
            warm_up=True,
        )
