"""What do puts and gets of 4 KiB, 128 KiB and 1 MiB cost?

Hypothesis: up to a chunk a durable put stays one append and one fdatasync; from there
on the digest and the disk take over, and a get is bound by the digest.
"""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.peers import ADAPTERS, READERS
from benchmarks.questions.calls import digest_work, gets, puts, raw_work

KIB = 1024
SIZES = {"4 KiB": (4 * KIB, 100), "128 KiB": (128 * KIB, 50), "1 MiB": (KIB * KIB, 20)}
"""By their names: bytes, and how many a round."""
PUT, GET = "put {}, one at a time", "get {}, one at a time, warm"
OBJECTS = 100


def put(bench: Bench) -> None:
    """Answer for puts of new objects."""
    for title, (size, full_count) in SIZES.items():
        count = bench.size(full_count, 5)
        raw = raw_work(bench, size, count)
        with bench.peers(*ADAPTERS) as peers:
            subjects = [puts(bench, *peer, count, size) for peer in peers.items()]
            bench.compare(
                PUT.format(title),
                [raw, *subjects],
                payload_bytes=size,
                rounds=min(3, bench.rounds),
            )


def get(bench: Bench) -> None:
    """Answer for gets of whole objects in the page cache."""
    for title, (size, full_count) in SIZES.items():
        count, names = bench.size(full_count, 5), [str(at) for at in range(OBJECTS)]
        data = bench.random_bytes(size)
        with bench.peers(*READERS) as peers:
            for peer in peers.values():
                peer.run([(name, bench.random_bytes(size)) for name in names], 8)
            subjects = [gets(bench, *peer, names, count) for peer in peers.items()]
            bench.compare(
                GET.format(title),
                [digest_work(data), *subjects],
                payload_bytes=size,
                warm_up=True,
            )
