"""How close do large puts and gets come to one thread's SHA-256?

Hypothesis: the digest is the slowest thing on the path; reading, writing and syncing
hide behind it. An object of 256 MiB as one `bytes` is bound by page faults instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bench import Bench, Subject
from benchmarks.peers import ADAPTERS, READERS
from benchmarks.peers.base import Peer
from benchmarks.questions.calls import digest_work, timed_calls, timed_stream

MIB = 1024 * 1024
MIDDLE, LARGE = 16, 256
PUT, GET, STREAM = "put {} MiB", "get {} MiB as bytes", "get {} MiB streamed"
PUT_PEERS = (
    "objstore sync",
    "objstore async",
    "objstore sync, relaxed",
    "NATS synced",
    "NATS",
    "SQLite FULL",
    "SQLite NORMAL",
    "LMDB",
    "LMDB unsynced",
    "diskcache",
    "obstore LocalStore",
    "files synced",
    "files",
    "OxiDB",
)
QUADRATIC = "NATS"
"""Its client joins an object of 256 MiB in minutes; as a stream it can be read."""
KEPT = 3
"""Names that the puts of a peer go to, so that they overwrite."""


def _sizes(bench: Bench) -> Sequence[int]:
    return (MIDDLE,) if bench.is_quick else (MIDDLE, LARGE)


def _put(name: str, peer: Peer, data: bytes) -> Subject:
    numbers = iter(range(10**9))
    return Subject(
        name,
        lambda: timed_calls(peer, [(f"large-{next(numbers) % KEPT}", data)]),
        ADAPTERS[name].durability,
    )


def put(bench: Bench) -> None:
    """Answer for puts."""
    for size in _sizes(bench):
        data = bench.random_bytes(size * MIB)
        with bench.peers(*PUT_PEERS) as peers:
            subjects = [_put(*peer, data) for peer in peers.items()]
            bench.compare(
                PUT.format(size),
                [digest_work(data), *subjects],
                payload_bytes=len(data),
                warm_up=size == MIDDLE,
            )


def _streamed(name: str, peer: Peer) -> Subject:
    return Subject(name, lambda: timed_stream(peer, "large"))


def _whole(name: str, peer: Peer) -> Subject:
    return Subject(name, lambda: timed_calls(peer, [("large", None)]))


def get(bench: Bench) -> None:
    """Answer for gets, whole and piece by piece."""
    for size in _sizes(bench):
        data = bench.random_bytes(size * MIB)
        digest = digest_work(data)
        with bench.peers(*READERS) as peers:
            for peer in peers.values():
                peer.run([("large", data)])
            streams = [_streamed(*peer) for peer in peers.items()]
            bench.compare(
                STREAM.format(size),
                [digest, *streams],
                payload_bytes=len(data),
                warm_up=True,
            )
            wholes = [
                _whole(*peer)
                for peer in peers.items()
                if size == MIDDLE or peer[0] != QUADRATIC
            ]
            bench.compare(GET.format(size), [digest, *wholes], payload_bytes=len(data))
