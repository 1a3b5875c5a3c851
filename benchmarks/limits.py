"""What the machine itself can do: the figures that ratios refer to."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Taken, spread_of

RAW_APPEND = "raw append + fdatasync"
SHA256 = "SHA-256 of one thread"
PREAD = "pread"
READ_FILE = "open + read + close of a file"
READ_DESCRIPTOR = "the same by os.open, os.read, os.close"
READ_BYTES = 4096


def timed(work: Callable[[], object], count: int = 1) -> Taken:
    """Give what one of `count` repetitions takes."""
    busy, started = time.process_time(), time.perf_counter()
    for _ in range(count):
        work()
    elapsed = time.perf_counter() - started
    return Taken(elapsed / count, (time.process_time() - busy) / count)


def raw_append(path: Path, size_bytes: int, count: int) -> Taken:
    """Append and fdatasync, the floor of a durable put."""
    datas = [os.urandom(size_bytes) for _ in range(count)]
    taken: list[float] = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    busy = time.process_time()
    try:
        for data in datas:
            started = time.perf_counter()
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
    busy = time.process_time() - busy
    return Taken(sum(taken) / count, busy / count, spread_of(taken))


def read_files(paths: list[Path]) -> Taken:
    """Open, read and close whole small files, as programs in Python do it."""
    # strings, because making a path of many parts one string takes a microsecond
    texts = iter([str(path) for path in paths])

    def read() -> bytes:
        with open(next(texts), "rb") as file:
            return file.read()

    return timed(read, len(paths))


def read_descriptors(paths: list[Path]) -> Taken:
    """Do the same by the three calls of the system and nothing else."""
    texts = iter([str(path) for path in paths])

    def read() -> None:
        descriptor = os.open(next(texts), os.O_RDONLY)
        os.read(descriptor, READ_BYTES)
        os.close(descriptor)

    return timed(read, len(paths))


def sha256(data: bytes) -> Taken:
    """Take the digest of some bytes, the floor of a large put and a verified get."""
    return timed(lambda: hashlib.sha256(data).digest())


def pread(path: Path, size_bytes: int, count: int, seed: int) -> Taken:
    """Read ranges at random places of a file that is in the page cache."""
    random_ = random.Random(seed)
    descriptor = os.open(path, os.O_RDONLY)
    last = os.fstat(descriptor).st_size - size_bytes
    places = iter([random_.randrange(last) for _ in range(count)])
    try:
        return timed(lambda: os.pread(descriptor, size_bytes, next(places)), count)
    finally:
        os.close(descriptor)
