"""Bytes that rot: every kind of single damage to every file of a store.

A round makes a store of at least 64 KiB, damages it in every way once, and then flips
each of its bytes. `python -m tests.torture.rot SEED TEXT CATALOG` repeats one case.
"""

from __future__ import annotations

import logging
import math
import random
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.proofs.crash_world import Images
from tests.torture import rot_disk, rot_live
from tests.torture.frame import Report, say
from tests.torture.rot_damage import WHOLE, Damage, flip, flips, others
from tests.torture.rot_oracle import (
    BrokenPromiseError,
    Case,
    applied_of,
    ends_of,
    hits,
    layouts,
)
from tests.torture.rot_store import STORE_BYTES_MIN, Place, build, one_thread

NONE, BEHIND, CURRENT = CATALOGS = "none", "behind", "current"
WHOLE_CHECK_EVERY = 16
"""So many flips of a record or a file apart, all buckets are looked at."""
CATALOG_FLIPS = 25
"""In each catalog; every byte of one is flipped in `tests/log/test_catalog_damage`."""
MEMORY = Path("/dev/shm")
DISK_STORE_BYTES = 16_000
LIVE_CHECK_EVERY = 40
"""Of the bytes of contents one in so many is flipped in a store that is closed."""


@contextmanager
def quiet() -> Generator[None]:
    """Have the library log nothing: it warns of each damage."""
    logger = logging.getLogger("objstore")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


class Round:
    """One store and its damages."""

    def __init__(self, seed: int, report: Report, bytes_min: int) -> None:
        self.seed = seed
        self.report = report
        self.sample = build(seed, bytes_min)
        self.layouts = layouts(self.sample.now.files)
        behind = self.sample.old[len(self.sample.old) // 2].images
        self.images: dict[str, Images] = {
            NONE: {},
            BEHIND: behind,
            CURRENT: self.sample.now.images,
        }
        self.applied = {
            name: applied_of(self.sample, images)
            for name, images in self.images.items()
        }

    def others(self) -> list[Damage]:
        """Give every damage but the flips of whole bytes."""
        ends = ends_of(self.sample)
        return list(others(self.sample.now.files, self.sample.old, ends, self.seed))

    def case(
        self, damage: Damage, catalog: str, *, every_bucket: bool, again: bool
    ) -> Case:
        """Give what is to be checked."""
        return Case(
            self.sample,
            damage,
            hits(self.sample.now.files, self.layouts, damage),
            self.images[catalog],
            self.applied[catalog],
            every_bucket=every_bucket,
            reopens=again,
        )

    def check(
        self,
        damage: Damage,
        catalog: str,
        *,
        every_bucket: bool = True,
        again: bool = True,
    ) -> None:
        """Check a case; tell of what does not hold, and count."""
        if self._is_end_unknown(damage, catalog):
            return
        case = self.case(damage, catalog, every_bucket=every_bucket, again=again)
        self.tell(case, catalog)

    def tell(self, case: Case, catalog: str) -> None:
        """Check a case; tell of what does not hold, and count."""
        counts, damage = self.report.counts, case.damage
        try:
            seen = case.check()
        except Exception as error:  # noqa: BLE001 - told with the case
            words = f"{type(error).__name__}: {error}"
            alone = f'{self.seed} "{damage.text}" {catalog}'
            self.report.violation(
                f"{damage.kind}, {damage.text}, catalog {catalog}: {words}\n"
                f"  alone: python -m tests.torture.rot {alone}"
            )
        else:
            counts["names lost"] += len(seen.lost)
            counts["names stale, without a catalog"] += len(seen.stale)
        counts[damage.kind] += 1

    def catalog_cases(self) -> Iterator[Case]:
        """Give flips in each catalog, of which nothing may come."""
        chance = random.Random(self.seed)
        current = self.images[CURRENT]
        for number, (identity, image) in enumerate(current.items()):
            for _ in range(CATALOG_FLIPS):
                position = chance.randrange(len(image))
                mask = chance.choice([WHOLE, 1 << chance.randrange(8)])
                data = bytearray(image)
                data[position] ^= mask
                text = f"catalog {number}, byte {position} xor {mask:#04x}"
                damage = Damage("flips in catalogs", text, {})
                case = self.case(damage, CURRENT, every_bucket=True, again=True)
                case.images = {**current, identity: bytes(data)}
                yield case

    def _is_end_unknown(self, damage: Damage, catalog: str) -> bool:
        """Say whether both files are gone that say where a log ends: two damages."""
        heads = {place.log for place in damage.places if place.name == "head"}
        ends = {place.log for place in damage.places if self._is_last(place)}
        return catalog != CURRENT and bool(heads & ends)

    def _is_last(self, place: Place) -> bool:
        layout = self.layouts.get(place)
        return layout is not None and layout.is_last

    def catalogs(self) -> Iterator[str]:
        """Give the catalogs in turn, another first with each seed."""
        start = self.seed % len(CATALOGS)
        while True:
            yield from CATALOGS[start:] + CATALOGS[:start]

    def flip_all(self, until_s: float, every: int = 1) -> None:
        """Flip every byte, or one of so many, in no order."""
        bodies = rot_live.bodies(self.layouts)
        files = self.sample.now.files
        places = list(flips(files))
        random.Random(self.seed).shuffle(places)
        catalog = self.catalogs()
        live: list[tuple[Place, int]] = []
        before = self.report.violations
        for number, (place, position) in enumerate(places[::every]):
            if position in bodies.get(place, ()) and number % LIVE_CHECK_EVERY:
                live.append((place, position))
                continue
            if time.monotonic() > until_s or self.report.violations > before:
                return
            whole = number % WHOLE_CHECK_EVERY == 0
            damage = flip(place, files[place], position, WHOLE)
            self.check(damage, next(catalog), every_bucket=whole, again=whole)
        if self._flip_live(live, until_s) and every == 1:
            self.report.counts["stores flipped byte by byte"] += 1
            self.report.counts["bytes of these stores"] += self.sample.bytes

    def _flip_live(self, places: Sequence[tuple[Place, int]], until_s: float) -> bool:
        """Flip bytes of contents under an open store; say whether there was time."""
        count, wrong = rot_live.flip_bodies(self.sample, self.layouts, places, until_s)
        self.report.counts["flipped bytes"] += count
        for text in wrong:
            self.report.violation(text)
        return count == len(places)


def run(seed: int, deadline: float, report: Report) -> Mapping[str, int]:
    """Damage one store after the other."""
    with quiet():
        for round_seed in report.rounds(seed, deadline):
            # a round that is repeated is repeated whole
            is_over = time.monotonic() >= deadline
            for text in something_else(round_seed, report):
                report.violation(text)
            run_round(round_seed, report, math.inf if is_over else deadline)
    return report.counts


def something_else(seed: int, report: Report) -> list[str]:
    """Put something else in the place of each file of a small store on a disk."""
    # memory, so that no sync takes time
    where = MEMORY if MEMORY.is_dir() else None
    with one_thread(), tempfile.TemporaryDirectory(dir=where) as folder:
        Path(folder).chmod(0o755)
        sample = build(seed, DISK_STORE_BYTES)
        return rot_disk.run_disk(sample, Path(folder), report.counts)


def run_round(
    seed: int,
    report: Report,
    until_s: float,
    *,
    bytes_min: int = STORE_BYTES_MIN,
    others_max: int | None = None,
) -> None:
    """Damage the store of one seed in every way."""
    with one_thread():
        one = Round(seed, report, bytes_min)
        report.counts["stores"] += 1
        catalog = one.catalogs()
        damages = one.others()
        before = report.violations
        random.Random(seed).shuffle(damages)
        for damage in damages[:others_max]:
            if time.monotonic() > until_s or report.violations > before:
                return
            one.check(damage, next(catalog))
        if others_max is None:
            for case in one.catalog_cases():
                one.tell(case, CURRENT)
            one.flip_all(until_s)


def _again(seed: int, text: str, catalog: str) -> int:
    """Repeat one case; everything about it is printed."""
    report = Report("rot", seed=seed)
    with one_thread():
        one = Round(seed, report, STORE_BYTES_MIN)
        for case in one.catalog_cases():
            if case.damage.text == text:
                say(str(case.check()))
                return 0
        found = [damage for damage in one.others() if damage.text == text]
        for place, position in flips(one.sample.now.files) if not found else ():
            damage = flip(place, one.sample.now.files[place], position, WHOLE)
            if damage.text == text:
                found.append(damage)
                break
        check = partial(one.case, every_bucket=True, again=True)
        try:
            say(str(check(found[0], catalog).check()))
        except BrokenPromiseError as error:
            say(f"does not hold: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_again(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
