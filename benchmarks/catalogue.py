"""All questions by name, in the order in which a whole run asks them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.questions import (
    beside_large,
    buckets,
    growth,
    large,
    memory,
    million,
    mixed,
    names,
    processes,
    ranges,
    recovery,
    sizes,
    small_get,
    small_put,
    space,
    watchers,
)


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and the part of a run that answers it."""

    name: str
    run: Callable[[Bench], None]
    is_in_table: bool = False
    """Whether rows of the cost table need it."""

    @property
    def title(self) -> str:
        """Give the question in its first line, and which part of it this is."""
        return f"{self.text.splitlines()[0]} {self.part}"

    @property
    def part(self) -> str:
        """Say which part of the question this answers."""
        return (self.run.__doc__ or "").strip()

    @property
    def text(self) -> str:
        """Give the question with its hypothesis, as its file begins."""
        return (sys.modules[self.run.__module__].__doc__ or "").strip()


TABLE = [
    Question("small-put", small_put.one, is_in_table=True),
    Question("small-put-32", small_put.many, is_in_table=True),
    Question("small-get", small_get.warm, is_in_table=True),
    Question("large-put", large.put, is_in_table=True),
    Question("large-get", large.get, is_in_table=True),
    Question("range", ranges.run, is_in_table=True),
    Question("open", million.opening, is_in_table=True),
    Question("list", million.listing, is_in_table=True),
    Question("watch", watchers.run, is_in_table=True),
    Question("beside-large", beside_large.run, is_in_table=True),
    Question("space", space.run, is_in_table=True),
]
MORE = [
    Question("small-get-cold", small_get.cold),
    Question("sizes-put", sizes.put),
    Question("sizes-get", sizes.get),
    Question("mixed", mixed.run),
    Question("processes", processes.run),
    Question("buckets", buckets.run),
    Question("move", names.moving),
    Question("delete", names.deleting),
    Question("list-peers", names.listing),
    Question("watchers", watchers.fan_out),
    Question("memory", memory.run),
    Question("kill", recovery.killed),
    Question("rebuild", recovery.rebuilt),
    Question("growth-count", growth.by_count),
    Question("growth-size", growth.by_size),
]
QUESTIONS = {question.name: question for question in [*TABLE, *MORE]}
