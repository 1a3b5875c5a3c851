"""What the writers on a real disk do, decided by a seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KEPT, BRIEF, SOON, NEVER = "kept", "brief", "soon", "never"
SOON_S = 0.05
SEGMENT_BYTES = 60_000
BUCKETS: dict[str, dict[str, Any]] = {
    KEPT: {"sync": "always"},
    BRIEF: {"sync": "always", "changes_ttl": 0},
    SOON: {"sync": SOON_S},
    NEVER: {"sync": "never"},
}
"""How the buckets are made. `BRIEF` lets superseded changes go, the others keep all."""
STORE = ""
"""Stands for the store, where buckets are what objects are in a bucket."""
SHARED = [f"shared/{number}" for number in range(4)]
OWN_NAMES = 5
SMALL_BYTES, LARGE_BYTES = 2_500, (30_000, 90_000)
SLAB_BYTES = 20_000
"""So that large puts are of several batches."""

WEIGHTS = {
    "put": 40,
    "large": 8,
    "shared": 12,
    "delete": 14,
    "delete shared": 4,
    "rename": 8,
    "copy": 6,
    "meta": 8,
    "create": 2,
    "drop": 2,
    "retain": 1,
}


@dataclass(frozen=True)
class Step:
    """One thing to do; what cannot be done just then becomes a put."""

    number: int
    how: str
    bucket: str
    name: str
    other: str
    """The second name of a rename or a copy."""
    size: int
    chunk_size: int | None
    seed: str

    def content(self) -> bytes:
        """Give the bytes to put."""
        return random.Random(self.seed).randbytes(self.size)


def own_names(who: str) -> list[str]:
    """Give the names that one writer alone uses."""
    return [f"{who}/{number}" for number in range(OWN_NAMES)]


def own_bucket(who: str, number: int) -> str:
    """Give the name of a bucket that one writer alone uses."""
    return f"x-{who}-{number % OWN_NAMES}".replace(".", "_")


def steps(seed: int, who: str, *, is_syncing: bool = False) -> Iterator[Step]:
    """Give what a writer does, without end.

    Args:
        seed: of the round.
        who: the writer's name; another one does other things to other names.
        is_syncing: only in buckets that sync always, and no buckets of its own.
    """
    chance = random.Random(f"{seed}/{who}")
    weights = dict(WEIGHTS)
    if is_syncing:
        weights |= {"create": 0, "drop": 0}
    number = 0
    while True:
        number += 1
        how = chance.choices(list(weights), list(weights.values()))[0]
        bucket = chance.choice([KEPT, BRIEF] if is_syncing else list(BUCKETS))
        name, other = chance.sample(own_names(who), 2)
        if how in {"shared", "delete shared"}:
            # who came second there is told by a feed that is kept and never rewound
            bucket, name = KEPT, chance.choice(SHARED)
        if how in {"create", "drop"}:
            bucket, name = STORE, own_bucket(who, chance.randrange(OWN_NAMES))
        is_large = how == "large"
        size = (
            chance.randint(*LARGE_BYTES) if is_large else chance.randrange(SMALL_BYTES)
        )
        chunk_size = chance.choice([None, 900, 18_000]) if is_large else None
        content_seed = f"{seed}/{who}/{number}"
        yield Step(number, how, bucket, name, other, size, chunk_size, content_seed)
