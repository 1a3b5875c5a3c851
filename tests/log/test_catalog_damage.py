"""The catalog against flipped bytes, killed processes and other processes.

Child processes run this very file: its last lines call one of its functions by name.
"""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from objstore_log import _catalog, _catalog_schema
from objstore_log._catalog import Applied, Catalog, CatalogBusy, CatalogDamagedError
from objstore_log._catalog_reader import Beside
from objstore_log._catalog_schema import is_subject_sound, row_checksum
from objstore_log._record import NO_NUID, Kind, Record, subject_of
from objstore_log.errors import ClosedError

LAST = 60
NAMES = 23
SMALL_PAGES = ("PRAGMA page_size = 512", *_catalog_schema._PRAGMAS)
"""The same kinds of pages in fewer bytes."""


class Bodies:
    """A projection: the body of every newest record, with a checksum."""

    name = "bodies"
    version = 1

    def create(self, db: sqlite3.Connection) -> None:
        """Make one table."""
        db.execute("CREATE TABLE bodies (sequence INTEGER PRIMARY KEY, body, checksum)")

    def apply(
        self,
        db: sqlite3.Connection,
        records: Sequence[Record],
        previous: Mapping[int, int],
    ) -> None:
        """Put the new bodies, then take the superseded ones away."""
        for item in records:
            body = bytes(item.body)
            row = (item.sequence, body, row_checksum(body, item.sequence))
            db.execute("INSERT INTO bodies VALUES (?, ?, ?)", row)
            old = previous[item.sequence]
            db.execute("DELETE FROM bodies WHERE sequence = ?", (old,))

    def check(self, db: sqlite3.Connection) -> bool:
        """Check each row, and that each subject has one."""
        rows = db.execute("SELECT body, sequence, checksum FROM bodies").fetchall()
        (count,) = db.execute("SELECT count(*) FROM subjects").fetchone()
        return len(rows) == count and all(is_subject_sound(*row) for row in rows)

    def rows(self, db: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
        """Give all bodies by sequence."""
        yield from db.execute("SELECT sequence, body FROM bodies ORDER BY 1").fetchall()


def commit(sequence: int) -> tuple[list[Record], Applied]:
    """Give the commit that every process finds at a sequence of the log."""
    key = b"name %d" % (sequence % NAMES)
    body = b"%d " % sequence * 9
    item = Record(Kind.META, sequence, 0, key, body, NO_NUID, 0, 0, 0, 0)
    return [item], Applied(sequence, ~sequence % 2**64, 1, sequence)


def catalog_at(path: str | Path) -> Catalog:
    """Give the catalog of that log, not yet open."""
    return Catalog(str(path), identity=b"log", projections=[Bodies()])


def catch_up(catalog: Catalog, last: int, size: int = 7) -> None:
    """Apply commits up to a sequence, however other processes are in the way."""
    applied = catalog.applied()
    while applied.sequence < last:
        end = min(applied.sequence + size, last)
        span = range(applied.sequence + 1, end + 1)
        records = [commit(sequence)[0][0] for sequence in span]
        try:
            applied = catalog.apply(records, commit(end)[1], after=applied)
        except CatalogBusy:
            applied = catalog.applied()
        except CatalogDamagedError:
            applied = catalog.reset()


@cache
def expected_rows(last: int) -> list[tuple[object, ...]]:
    """Give what a catalog up to that sequence holds."""
    numbers = range(1, last + 1)
    newest = {commit(number)[0][0].subject: number for number in numbers}
    rows: list[tuple[object, ...]] = []
    rows += [("subjects", *row) for row in sorted(newest.items())]
    rows += [("bodies", n, commit(n)[0][0].body) for n in sorted(newest.values())]
    return rows


def assert_right(catalog: Catalog, applied: int) -> None:
    """Compare all answers with those of a catalog up to that sequence."""
    rows = expected_rows(applied)
    sequences = {row[1]: row[2] for row in rows if row[0] == "subjects"}
    # One name more than there are: absent subjects have an answer too.
    names = [subject_of(Kind.META, b"name %d" % name) for name in range(NAMES + 1)]

    assert [sequences.get(name, 0) for name in names] == list(map(catalog.last, names))
    assert rows == list(catalog.rows())


def assert_right_or_empty(path: Path) -> bool:
    """Open what is there: its answers are those of its place; tell if it has one."""
    catalog = catalog_at(path)
    applied = catalog.open().sequence
    assert_right(catalog, applied)
    catalog.close()
    return applied > 0


# Programs of child processes


def program_apply(path: str, last: str, size: str) -> None:
    """Open the catalog, apply up to a sequence and close it."""
    catalog = catalog_at(path)
    catalog.open()
    catch_up(catalog, int(last), int(size))
    catalog.close()


def program_die(path: str) -> None:
    """Leave a half-checkpointed database and a WAL behind, as a killed process does."""
    _catalog_schema._PRAGMAS = SMALL_PAGES
    catalog = catalog_at(path)
    catalog.open()
    catch_up(catalog, LAST // 2, LAST // 2)
    catalog.query("PRAGMA wal_checkpoint(PASSIVE)")
    catch_up(catalog, LAST, LAST // 4)
    os._exit(0)


def program_reset(path: str, count: str) -> None:
    """Put empty catalogs in the place of those that others use."""
    catalog = catalog_at(path)
    catalog.open()
    for _ in range(int(count)):
        catch_up(catalog, 50)
        catalog.reset()
    catalog.close()


class Forking(Bodies):
    """Forks in the middle of a transaction."""

    def apply(
        self,
        db: sqlite3.Connection,
        records: Sequence[Record],
        previous: Mapping[int, int],
    ) -> None:
        """Let the child try to use what it inherited, then end as programs end."""
        half = len(records) // 2
        super().apply(db, records[:half], previous)
        if os.fork() == 0:
            with pytest.raises(ClosedError):
                self.catalog.applied()
            self.catalog.close()
            gc.collect()
            sys.exit(0)
        assert os.wait()[1] == 0
        super().apply(db, records[half:], previous)

    catalog: Catalog


def program_fork(path: str) -> None:
    """Apply while forking; what was applied must be whole."""
    # With so small a cache, pages are in the WAL long before the commit.
    _catalog_schema._PRAGMAS = (*SMALL_PAGES, "PRAGMA cache_size = 5")
    projection = Forking()
    catalog = Catalog(path, identity=b"log", projections=[projection])
    projection.catalog = catalog
    catalog.open()
    catch_up(catalog, 900, 300)
    assert expected_rows(900) == list(catalog.rows())
    assert catalog.check()
    catalog.close()


def words(program: str, *arguments: object) -> list[str]:
    """Give the command that runs a function of this file."""
    return [sys.executable, __file__, program, *map(str, arguments)]


def run(program: str, *arguments: object) -> None:
    """Run a function of this file in a process of its own."""
    subprocess.run(words(program, *arguments), check=True, timeout=60)


def flip(image: bytes, position: int) -> bytes:
    """Flip one bit of a byte, or now and then all of them."""
    mask = 0xFF if position % 9 == 8 else 1 << position % 9
    flipped = bytes([image[position] ^ mask])
    return image[:position] + flipped + image[position + 1 :]


def flip_file(file: Path, work: Path, step: int) -> int:
    """Flip every so many bytes of one file; count the openings that kept them."""
    image = file.read_bytes()
    kept = 0
    for position in range(0, len(image), step):
        shutil.copytree(file.parent, work)
        (work / file.name).write_bytes(flip(image, position))
        kept += assert_right_or_empty(work / "c.db")
        shutil.rmtree(work)
    return kept


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give the directory of a catalog that a killed process left."""
    directory = tmp_path / "source"
    directory.mkdir()
    run("die", directory / "c.db")
    return directory


@pytest.mark.parametrize("name", ["c.db", "c.db-wal"])
@pytest.mark.parametrize("step", [pytest.param(3, marks=pytest.mark.slow), 31])
def test_flipped_byte_gives_no_wrong_answer(
    source: Path, tmp_path: Path, name: str, step: int
) -> None:
    """Whatever byte of a file flips: the answers of some commit, or none at all."""
    assert flip_file(source / name, tmp_path / "work", step) > 0


def test_flipped_byte_of_an_image_gives_no_wrong_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever byte of a catalog in memory flips: the same answers, or none at all."""
    monkeypatch.setattr(_catalog_schema, "_PRAGMAS", SMALL_PAGES)
    catalog = catalog_at(":memory:")
    catalog.open()
    catch_up(catalog, LAST)
    image = catalog.serialize()

    places = set[int]()
    for position in range(len(image)):
        applied = catalog.deserialize(flip(image, position)).sequence
        places.add(applied)
        assert_right(catalog, applied)

    assert {0, LAST} == places
    catalog.close()


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Catalog]:
    """Give an open catalog up to the last commit."""
    catalog = catalog_at(tmp_path / "c.db")
    catalog.open()
    catch_up(catalog, LAST)
    yield catalog
    catalog.close()


def change(path: Path, statement: str) -> None:
    """Change a database behind the back of its catalogs."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM subjects WHERE sequence = 50",
        "UPDATE subjects SET sequence = 2 WHERE sequence = 50",
        "UPDATE catalog_state SET position = position + 1",
        "UPDATE catalog_state SET subject_sum = 'x'",
        "DELETE FROM catalog_state",
        "DELETE FROM bodies WHERE sequence = 50",
        "CREATE TABLE other (x)",
    ],
)
def test_check_finds(filled: Catalog, tmp_path: Path, statement: str) -> None:
    """A missing or changed row anywhere is found by the whole check."""
    assert filled.check()

    change(tmp_path / "c.db", statement)

    assert not filled.check()


def test_large_file_is_checked_by_its_reads(
    filled: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What opening did not check is checked row by row when it is read."""
    monkeypatch.setattr(_catalog, "CATALOG_CHECK_BYTES", 0)
    change(tmp_path / "c.db", "UPDATE subjects SET sequence = 2 WHERE sequence = 50")

    with closing(catalog_at(tmp_path / "c.db")) as again:
        assert commit(LAST)[1] == again.open()
        assert again.last(commit(51)[0][0].subject) == 51
        with pytest.raises(CatalogDamagedError):
            again.last(commit(50)[0][0].subject)
        with pytest.raises(CatalogDamagedError):
            again.subjects(b"", None, 99)
        with pytest.raises(CatalogDamagedError):
            again.subjects_beside(Beside("subjects", ("subject",)), b"", None, 99)
        records = commit(50 + NAMES)[0]
        with pytest.raises(CatalogDamagedError):
            again.apply(records, commit(50 + NAMES)[1], after=commit(LAST)[1])
    assert not filled.check()


def test_large_file_is_set_aside_for_its_tables(
    filled: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening checks the tables of a file of any size, though not their rows."""
    monkeypatch.setattr(_catalog, "CATALOG_CHECK_BYTES", 0)
    change(tmp_path / "c.db", "CREATE TABLE other (x)")

    with closing(catalog_at(tmp_path / "c.db")) as again:
        assert Applied() == again.open()


@pytest.mark.parametrize("image", [b"", b"\xff" * 4096, b"SQLite format 3\0"])
def test_damaged_image_is_set_aside(image: bytes) -> None:
    """An image that is no catalog opens as an empty one."""
    with closing(catalog_at(":memory:")) as catalog:
        catalog.open()
        catch_up(catalog, LAST)

        assert Applied() == catalog.deserialize(image)
        catch_up(catalog, LAST)
        assert_right(catalog, LAST)


@pytest.mark.parametrize("cut", [0, 1, 100, 512, 1_000, 3_000])
def test_cut_file_gives_no_wrong_answer(source: Path, cut: int) -> None:
    """A database that lost its end is right or empty."""
    os.truncate(source / "c.db", cut)

    assert_right_or_empty(source / "c.db")


@pytest.mark.parametrize("lost", ["c.db", "c.db-wal", "c.db-shm"])
def test_lost_file_gives_no_wrong_answer(source: Path, lost: str) -> None:
    """A catalog of which one file was deleted is right or empty."""
    (source / lost).unlink()

    assert_right_or_empty(source / "c.db")


def test_killed_process_leaves_whole_batches(tmp_path: Path) -> None:
    """However a process is killed, the catalog is at a commit and goes on from it."""
    path = tmp_path / "c.db"
    for delay_s in (0.25, 0.3, 0.35, 0.4):
        with subprocess.Popen(words("apply", path, 10**9, 9)) as process:
            time.sleep(delay_s)
            process.kill()
        assert_right_or_empty(path)


def test_processes_apply_together(tmp_path: Path) -> None:
    """Three processes that apply the same log make one catalog, also through resets."""
    path = tmp_path / "c.db"
    last = 3_000
    with (
        subprocess.Popen(words("apply", path, last, 5)) as first,
        subprocess.Popen(words("apply", path, last, 8)) as second,
        subprocess.Popen(words("reset", path, 8)) as third,
    ):
        assert [0, 0, 0] == [child.wait() for child in (first, second, third)]

    catalog = catalog_at(path)
    catalog.open()
    catch_up(catalog, last)
    assert catalog.check()
    assert expected_rows(last) == list(catalog.rows())
    catalog.close()


def test_fork_leaves_the_transaction_alone(tmp_path: Path) -> None:
    """A child forked in the middle of an apply can end without harm to it."""
    run("fork", tmp_path / "c.db")


if __name__ == "__main__":
    globals()[f"program_{sys.argv[1]}"](*sys.argv[2:])
