"""What does reading 128 KiB from a random place of a large object cost?

Hypothesis: two chunks are touched and checked, so it is a pread of twice the bytes and
two checksums, which are far faster than copying.
"""

from __future__ import annotations

from benchmarks.bench import Bench, Subject
from benchmarks.figures import Taken
from benchmarks.limits import PREAD, pread, timed
from benchmarks.peers.ours import OursAsync, OursBlocking
from benchmarks.questions.calls import limit

RANGE = "read 128 KiB of 256 MiB, at random, warm"
ALIGNED = "read 128 KiB of 256 MiB, at chunks, warm"
SIZE = 128 * 1024
OBJECT_BYTES = 256 * 1024 * 1024
COUNT = 300


def run(bench: Bench) -> None:
    """Answer for ranges anywhere, and for those that are just one chunk."""
    data = bench.random_bytes(bench.size(OBJECT_BYTES, OBJECT_BYTES // 16))
    file = bench.folder("raw") / "file"
    file.write_bytes(data)
    blocking = OursBlocking(bench.folder("blocking"))
    awaiting = OursAsync(bench.folder("async"))
    calls = [("large", data)]
    try:
        blocking.run(calls)
        awaiting.run(calls)
        for group, step in ((RANGE, 1), (ALIGNED, SIZE)):

            def places(step: int = step) -> list[int]:
                last = (len(data) - SIZE) // step
                return [bench.random.randrange(last) * step for _ in range(COUNT)]

            bench.compare(
                group,
                [
                    limit(PREAD, lambda: pread(file, SIZE, COUNT, bench.seed)),
                    Subject("objstore sync", lambda: _blocking(blocking, places())),
                    Subject("objstore async", lambda: _awaiting(awaiting, places())),
                ],
                payload_bytes=SIZE,
                warm_up=True,
            )
    finally:
        blocking.close()
        awaiting.close()


def _blocking(peer: OursBlocking, places: list[int]) -> Taken:
    get_range, starts = peer.bucket.get_range, iter(places)
    return timed(
        lambda: get_range("large", start=next(starts), length=SIZE), len(places)
    )


def _awaiting(peer: OursAsync, places: list[int]) -> Taken:
    async def read() -> None:
        for start in places:
            await peer.bucket.get_range("large", start=start, length=SIZE)

    taken = timed(lambda: peer.loop.run_until_complete(read()))
    assert taken.cpu_s is not None, "timed() measures it"
    return Taken(taken.value / len(places), taken.cpu_s / len(places))
