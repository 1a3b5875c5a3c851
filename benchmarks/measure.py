"""Interleaved rounds, medians, and the limits of the machine that ratios refer to."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 5
Round = Callable[[], float]
"""Does some work and gives the seconds that one unit of it took."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a result."""

    question: str
    subject: str
    seconds: float
    """Median over the rounds, for one unit of work."""
    ratio: float
    """To the limit of the question: above 1 is slower than the limit."""


def compare(
    question: str, limit: tuple[str, Round], *others: tuple[str, Round]
) -> list[Row]:
    """Run all in turn, several times, and relate each to the limit."""
    everyone = (limit, *others)
    taken: dict[str, list[float]] = {name: [] for name, _ in everyone}
    for _ in range(ROUNDS):
        for name, work in everyone:
            taken[name].append(work())
    base = statistics.median(taken[limit[0]])
    rows: list[Row] = []
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        rows.append(Row(question, name, median, median / base))
    return rows


def timed(work: Callable[[], object], count: int) -> float:
    """Give the seconds that one of `count` repetitions takes."""
    started = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - started) / count


def raw_append(path: Path, size: int, count: int) -> float:
    """Give the seconds of one append and fdatasync, the floor of a durable put."""
    data = os.urandom(size)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:

        def one() -> None:
            os.write(descriptor, data)
            os.fdatasync(descriptor)

        return timed(one, count)
    finally:
        os.close(descriptor)


def open_read_close(path: Path, count: int) -> float:
    """Give the seconds of reading a whole small file."""
    return timed(path.read_bytes, count)


def sha256(data: bytes) -> float:
    """Give the seconds that one thread needs for the digest of some bytes."""
    return timed(lambda: hashlib.sha256(data).digest(), 1)
