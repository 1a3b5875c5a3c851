"""What is put, overwritten and deleted: the same for every peer, by the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

KIB = 1024
SIZES = {KIB: 80, 100 * KIB: 17, 1024 * KIB: 3}
"""How often each size comes, of a hundred."""
DELETES, OVERWRITES = 0.15, 0.25
"""How often a change is one of these; the others make a new name."""


@dataclass(frozen=True)
class Step:
    """One change."""

    number: int
    kind: Literal["put", "delete"]
    name: str
    size_bytes: int
    content_seed: str

    def content(self) -> bytes:
        """Make the bytes, which no other step has."""
        return random.Random(self.content_seed).randbytes(self.size_bytes)


def steps(seed: int, *, is_small: bool = False) -> Iterator[Step]:
    """Give changes without end; what is overwritten or deleted is there.

    Args:
        seed: Decides everything.
        is_small: Have every object of the smallest size, so that a store is less
            content and more of what it needs to find it.
    """
    chance = random.Random(f"steps of {seed}")
    present: list[str] = []
    made = 0
    number = 0
    while True:
        drawn = chance.random()
        size = chance.choices(list(SIZES), list(SIZES.values()))[0]
        size = KIB if is_small else size
        kind: Literal["put", "delete"] = "put"
        if present and drawn < DELETES:
            kind, size = "delete", 0
            name = present.pop(chance.randrange(len(present)))
        elif present and drawn < DELETES + OVERWRITES:
            name = chance.choice(present)
        else:
            name = f"object/{made:04d}"
            made += 1
            present.append(name)
        yield Step(number, kind, name, size, f"{seed}/{number}")
        number += 1
