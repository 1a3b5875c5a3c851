"""How close do large puts and gets come to one thread's SHA-256?

Hypothesis: the digest is the slowest thing on the path, the rest hides behind it.
"""

from __future__ import annotations

import os
from pathlib import Path

import objstore
from benchmarks.measure import Row, compare, sha256, timed

SIZE = 64 * 1024 * 1024


def run(directory: Path) -> list[Row]:
    """Answer the question."""
    data = os.urandom(SIZE)
    with objstore.open(directory / "large") as store:
        bucket = store.create_object_store("bench")
        numbers = iter(range(1_000))

        def put() -> float:
            return timed(lambda: bucket.put(f"object/{next(numbers) % 3}", data), 1)

        def stream() -> float:
            def read() -> None:
                with bucket.open_reader("object/0") as reader:
                    for _ in reader:
                        pass

            return timed(read, 1)

        return compare(
            "64 MiB",
            ("SHA-256 of one thread", lambda: sha256(data)),
            ("durable put", put),
            ("verified get as bytes", lambda: timed(lambda: bucket.get("object/0"), 1)),
            ("verified streamed get", stream),
        )
