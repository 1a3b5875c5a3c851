"""Every kind of single damage to the files of a store. Pure.

A damage is files in, files out; `flips` gives every byte, `others` a seeded sample of
all other kinds for each file.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.torture.rot_store import Files, Kept, Place

from objstore_log._marks import parse_mark_name

WHOLE = 0xFF
BLOCKS = 512, 4_096
SCRATCH = "lock", "openers", "reclaim", "STORE.lock"
"""Names of files whose bytes mean nothing."""


class Damage(NamedTuple):
    """What is wrong with a store's files."""

    kind: str
    text: str
    """Where, for whoever repeats it."""
    files: Files
    """Instead of those of the store; the others are as they were."""
    missing: frozenset[Place] = frozenset()

    def on(self, files: Files) -> dict[Place, bytes]:
        """Give a store's files with it."""
        changed = {**files, **self.files}
        return {place: changed[place] for place in changed if place not in self.missing}

    @property
    def places(self) -> set[Place]:
        """Give the files that it hits."""
        return {*self.files, *self.missing}


def flip(place: Place, data: bytes, position: int, mask: int) -> Damage:
    """Change bits of one byte."""
    changed = bytearray(data)
    changed[position] ^= mask
    kind = "flipped bytes" if mask == WHOLE else "flipped bits"
    text = f"{place.path}, byte {position} xor {mask:#04x}"
    return Damage(kind, text, {place: bytes(changed)})


def flips(files: Files) -> Iterator[tuple[Place, int]]:
    """Give every byte of a store."""
    for place, data in files.items():
        for position in range(len(data)):
            yield place, position


def others(
    now: Files, old: Sequence[Kept], ends: Mapping[Place, Sequence[int]], seed: int
) -> Iterator[Damage]:
    """Give every other kind of damage to every file of a store.

    Args:
        now: the files.
        old: as they were before.
        ends: where something ends in a file, so that cutting it there is of interest.
        seed: of what is drawn where there are too many.
    """
    chance = random.Random(seed)
    places = [place for place in now if now[place]]
    for place in places:
        data = now[place]
        yield from _bits(place, data, chance)
        yield from _blocks(place, data, chance)
        yield from _cuts(place, data, ends.get(place, ()), chance)
        yield Damage(
            "missing files", f"{place.path} is missing", {}, frozenset({place})
        )
        text = f"{place.path} is empty"
        yield Damage("emptied files", text, {place: b""})
        text = f"{place.path} holds garbage"
        yield Damage("garbage", text, {place: chance.randbytes(len(data))})
        longer = data + chance.randbytes(chance.randrange(1, 700))
        yield Damage("longer files", f"{place.path} has grown", {place: longer})
    yield from _marks(now, chance)
    yield from _stale(now, old, chance)
    yield from _exchanged(now, places)
    yield from _between(now, places, chance)


def _marks(now: Files, chance: random.Random) -> Iterator[Damage]:
    """The marks of what was reclaimed are empty, and say it by their names."""
    for place in now:
        if parse_mark_name(place.name) is not None:
            text = f"{place.path} is missing"
            yield Damage("missing marks", text, {}, frozenset({place}))
            longer = chance.randbytes(chance.randrange(1, 700))
            yield Damage("longer files", f"{place.path} has grown", {place: longer})


def _bits(place: Place, data: bytes, chance: random.Random) -> Iterator[Damage]:
    for _ in range(min(len(data) // 40, 40) + 1):
        yield flip(place, data, chance.randrange(len(data)), 1 << chance.randrange(8))


def _put(place: Place, data: bytes, start: int, block: bytes) -> dict[Place, bytes]:
    return {place: data[:start] + block + data[start + len(block) :]}


def _starts(data: bytes, size: int) -> range:
    return range(0, len(data), size)


def _blocks(place: Place, data: bytes, chance: random.Random) -> Iterator[Damage]:
    """Blocks that are zeroed, exchanged or doubled within a file."""
    for size in BLOCKS:
        for start in _starts(data, size):
            block = data[start : start + size]
            where = f"{place.path}, {size} bytes at {start}"
            if any(block):
                zeros = _put(place, data, start, bytes(len(block)))
                yield Damage("zeroed blocks", where, zeros)
            other = chance.choice(_starts(data, size))
            twin = data[other : other + size]
            if len(twin) != len(block) or twin == block:
                continue
            doubled = _put(place, data, start, twin)
            text = f"{where} are those at {other}"
            yield Damage("doubled blocks", text, doubled)
            swapped = _put(place, doubled[place], other, block)
            text = f"{where} and at {other} are exchanged"
            yield Damage("exchanged blocks", text, swapped)


def _cuts(
    place: Place, data: bytes, ends: Sequence[int], chance: random.Random
) -> Iterator[Damage]:
    near = {end + by for end in ends for by in (-1, 0, 1)}
    drawn = {chance.randrange(len(data)) for _ in range(8)}
    near = set(chance.sample(sorted(near), min(len(near), 60)))
    for size in sorted(near | drawn | {len(data) - 1, len(data) // 512 * 512}):
        if 0 < size < len(data):
            text = f"{place.path} is cut to {size} of {len(data)}"
            yield Damage("cut files", text, {place: data[:size]})


def _stale(now: Files, old: Sequence[Kept], chance: random.Random) -> Iterator[Damage]:
    for number, kept in enumerate(old):
        for place, data in kept.files.items():
            if place.name in SCRATCH or now.get(place, data) == data:
                continue
            text = f"{place.path} is the one of moment {number}"
            yield Damage("stale files", text, {place: data})
            size = chance.choice(BLOCKS)
            for start in _starts(data, size):
                block = data[start : start + size]
                if now[place][start : start + size] != block:
                    text = f"{place.path}, {size} bytes at {start} of moment {number}"
                    changed = _put(place, now[place], start, block)
                    yield Damage("stale blocks", text, changed)


def _exchanged(now: Files, places: Sequence[Place]) -> Iterator[Damage]:
    for at, one in enumerate(places):
        for two in places[at + 1 :]:
            if one.name == two.name or one.folders == two.folders:
                text = f"{one.path} and {two.path} are exchanged"
                changed = {one: now[two], two: now[one]}
                yield Damage("exchanged files", text, changed)


def _between(
    now: Files, places: Sequence[Place], chance: random.Random
) -> Iterator[Damage]:
    """Blocks that were written to another file, or exchanged with it."""
    for one in places:
        for size in BLOCKS:
            two = chance.choice(places)
            start = chance.choice(_starts(now[one], size))
            other = chance.choice(_starts(now[two], size))
            block = now[one][start : start + size]
            twin = now[two][other : other + size]
            if one == two or len(block) != len(twin):
                continue
            where = f"{one.path}, {size} bytes at {start}"
            text = f"{where} are those of {two.path} at {other}"
            strayed = _put(one, now[one], start, twin)
            yield Damage("strayed blocks", text, strayed)
            both = strayed | _put(two, now[two], other, block)
            text = f"{where} and of {two.path} at {other} are exchanged"
            yield Damage("blocks exchanged between files", text, both)
