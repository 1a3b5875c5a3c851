"""Comparing the catalog with the log, row for row.

A second catalog is filled from the log alone, beside the first and up to where that one
has the log; then both are read once, in their order, and what differs is given.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from objstore_log._applier import Applier
from objstore_log._catalog import Catalog, CatalogDamagedError
from objstore_log._catalog_file import MEMORY_PATH
from objstore_log._core import LogCore
from objstore_log._scan import Damage
from objstore_log._segment import Segment
from objstore_log.errors import CorruptionError

Row: TypeAlias = tuple[object, ...]
DIFFERENCES_MAX: Final = 1_000
"""More than these tell nothing new: the catalog is not that of the log."""
TRIES: Final = 5
"""How often it begins again because segments were given back meanwhile."""
_SUBJECTS: Final = "subjects"


class Comparison(NamedTuple):
    """How a catalog differs from its log."""

    only_catalog: list[Row]
    """Rows (table, columns ...) that the log does not say."""
    only_log: list[Row]
    """Rows that the catalog lacks."""
    is_damaged: bool
    """A row or a sum of it does not hold."""

    @property
    def is_equal(self) -> bool:
        """Say whether nothing differs."""
        return not (self.only_catalog or self.only_log or self.is_damaged)


class Comparer:
    """Compares the catalog of one log with what the log says."""

    def __init__(self, core: LogCore, applier: Applier) -> None:
        self._core = core
        self._applier = applier

    def compare(self) -> Comparison:
        """Compare what is applied by now.

        Guarantee: changes neither, and nobody waits for it. Where the log itself is
        damaged the catalog may know more; then it differs only by a name that it has
        at an older change than the log.

        *Cost:* reads the headers of the log's records, and makes a second catalog, a
        large one in the system's directory for temporary files.
        """
        for _ in range(TRIES):
            before = self._numbers()
            found = self._compare()
            if found.is_equal or before == self._numbers():
                return found
        return Comparison([], [], is_damaged=False)

    def _numbers(self) -> list[int]:
        with self._core.mutex:
            self._core.segments.refresh()
        return [segment.number for segment in self._core.segments]

    def _compare(self) -> Comparison:
        catalog = self._core.catalog
        if not catalog.check():
            return Comparison([], [], is_damaged=True)
        damages: list[Damage] = []

        def note(_: Segment, damage: Damage) -> None:
            damages.append(damage)

        with self._twin() as twin:
            try:
                with catalog.image() as (applied, rows):
                    # another process may have applied what this one has not seen
                    self._core.catch_up()
                    self._applier.fill(twin, applied.sequence, note)
                    ours, theirs = _differing(rows, twin.rows())
            except CatalogDamagedError:
                # another process has replaced it this moment, or it is damaged
                return Comparison([], [], is_damaged=not catalog.check())
            except CorruptionError:
                # a segment without any header: the scrub tells of it
                return Comparison([], [], is_damaged=False)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                # a bad sector: the same
                return Comparison([], [], is_damaged=False)
        if damages:
            theirs = _newer(theirs, ours)
            ours.clear()
        return Comparison(sorted(ours, key=repr), sorted(theirs, key=repr), False)  # noqa: FBT003 - `is_damaged`

    @contextmanager
    def _twin(self) -> Generator[Catalog]:
        """Give an empty catalog: in memory, a large one in the system's temporary."""
        catalog = self._core.catalog
        with ExitStack() as closing:
            path = MEMORY_PATH
            if not catalog.is_small:
                made = tempfile.TemporaryDirectory(prefix="objstore-")
                path = str(Path(closing.enter_context(made), "catalog.sqlite"))
            twin = catalog.empty_twin(path)
            closing.callback(twin.close)
            yield twin


def _differing(ours: Iterable[Row], theirs: Iterable[Row]) -> tuple[set[Row], set[Row]]:
    """Give what only one of two sorted sides has; rows that are shifted meet again."""
    left: set[Row] = set()
    right: set[Row] = set()
    for our, their in zip_longest(ours, theirs):
        if our == their:
            continue
        for row, own, other in ((our, left, right), (their, right, left)):
            if row is None:
                continue
            if row in other:
                other.remove(row)
            else:
                own.add(row)
        if len(left) + len(right) > DIFFERENCES_MAX:
            break
    return left, right


def _newer(theirs: set[Row], ours: set[Row]) -> set[Row]:
    """Give the subjects whose last whole record the catalog does not know.

    What it has beyond that it may have from records that are damaged now.
    """
    known = {row[1]: row[2] for row in ours if row[0] == _SUBJECTS}
    return {
        row
        for row in theirs
        if row[0] == _SUBJECTS and int(str(known.get(row[1], 0))) < int(str(row[2]))
    }
