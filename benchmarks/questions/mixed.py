"""How much goes through when 32 tasks read and write at once, 70 to 30?

Hypothesis: readers wait for no writer, and writers share their fdatasync, so that
Python is the limit here, too.
"""

from __future__ import annotations

from benchmarks.bench import Bench, Subject
from benchmarks.peers import ADAPTERS
from benchmarks.peers.base import Calls, Peer
from benchmarks.questions.calls import raw_work, timed_calls

MIXED = "70 % gets and 30 % puts of 1 KiB, by 32 tasks"
SIZE = 1024
TASKS = 32
OBJECTS = 2_000
COUNT, SERVED_COUNT = 1_000, 100
READ_PART = 0.7


def _calls(bench: Bench, count: int, names: list[str]) -> Calls:
    """Draw calls; what is written is not what is read.

    A get of NATS waits for ever for chunks that were overwritten meanwhile.
    """
    calls: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name = bench.random.choice(names)
        if bench.random.random() < READ_PART:
            calls.append((name, None))
        else:
            calls.append((f"other-{name}", bench.random_bytes(SIZE)))
    return calls


def _subject(bench: Bench, name: str, peer: Peer, names: list[str]) -> Subject:
    is_served = name.startswith("NATS")
    count = SERVED_COUNT if is_served else bench.size(COUNT, 200)
    return Subject(
        name,
        lambda: timed_calls(peer, _calls(bench, count, names), TASKS),
        ADAPTERS[name].durability,
    )


def run(bench: Bench) -> None:
    """Answer with what one call takes."""
    names = [f"object-{number}" for number in range(bench.size(OBJECTS, 100))]
    with bench.peers(*ADAPTERS) as peers:
        for peer in peers.values():
            peer.run([(name, bench.random_bytes(SIZE)) for name in names], TASKS)
        subjects = [_subject(bench, *peer, names) for peer in peers.items()]
        raw = raw_work(bench, SIZE, bench.size(200, 50))
        bench.compare(MIXED, [raw, *subjects], payload_bytes=SIZE)
