"""The catalog: what it answers, what it refuses, and that batches do not matter."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore_log import _catalog_file
from objstore_log._catalog import Applied, Catalog, CatalogBusy, CatalogDamagedError
from objstore_log._record import NO_NUID, Kind, Record, subject_of
from objstore_log.errors import ClosedError, StorageError

Commit = tuple[list[Record], Applied]


def record(sequence: int, key: bytes, kind: Kind = Kind.META) -> Record:
    """Make a record whose body tells it from others."""
    return Record(kind, sequence, sequence, key, b"%d" % sequence, NO_NUID, 0, 0, 0, 0)


def commit(*records: Record, position: int | None = None) -> Commit:
    """Make a commit; its checksum uses all 64 bits."""
    sequence = records[-1].sequence if records else 0
    checksum = (sequence * 0x9E3779B97F4A7C15) % 2**64
    place = sequence * 100 if position is None else position
    return list(records), Applied(sequence, checksum, 1, place)


class Counter:
    """A projection: how often each key changed, from what, and all aborts."""

    name = "counter"
    version = 1

    def create(self, db: sqlite3.Connection) -> None:
        """Make one table for the keys and one for every change."""
        db.execute("CREATE TABLE counts (key BLOB PRIMARY KEY, count INTEGER)")
        db.execute("CREATE TABLE changes (sequence INTEGER PRIMARY KEY, before)")

    def apply(
        self,
        db: sqlite3.Connection,
        records: Sequence[Record],
        previous: Mapping[int, int],
    ) -> None:
        """Count every record, superseded ones too."""
        for item in records:
            db.execute(
                "INSERT INTO counts VALUES (?, 1)"
                " ON CONFLICT (key) DO UPDATE SET count = count + 1",
                (item.key,),
            )
            before = previous.get(item.sequence, -1)
            db.execute("INSERT INTO changes VALUES (?, ?)", (item.sequence, before))

    def check(self, db: sqlite3.Connection) -> bool:
        """Compare the sum of the counts with the number of changes."""
        sums = db.execute(
            "SELECT (SELECT total(count) FROM counts), (SELECT count(*) FROM changes)"
        ).fetchone()
        return bool(sums[0] == sums[1])

    def rows(self, db: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
        """Give keys, then changes."""
        yield from db.execute("SELECT * FROM counts ORDER BY key").fetchall()
        yield from db.execute("SELECT * FROM changes ORDER BY sequence").fetchall()


class Raising(Counter):
    """Applies everything, then fails as a bug would."""

    def apply(
        self,
        db: sqlite3.Connection,
        records: Sequence[Record],
        previous: Mapping[int, int],
    ) -> None:
        """Fail after the work."""
        super().apply(db, records, previous)
        raise RuntimeError


class Newer(Counter):
    """The same projection in another version."""

    version = 2


def apply(catalog: Catalog, *commits: Commit) -> Applied:
    """Apply commits in one batch, from wherever the catalog is."""
    records = [item for part, _ in commits for item in part]
    return catalog.apply(records, commits[-1][1], after=catalog.applied())


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give a place for a database."""
    return str(tmp_path / "catalog.db")


@pytest.fixture
def make(path: str) -> Iterator[Callable[..., Catalog]]:
    """Make open catalogs of one file and close them in the end."""
    made: list[Catalog] = []

    def make_one(
        identity: bytes = b"log", projection: Counter | None = None, path: str = path
    ) -> Catalog:
        projections = [projection or Counter()]
        catalog = Catalog(path, identity=identity, projections=projections)
        catalog.open()
        made.append(catalog)
        return catalog

    yield make_one
    for catalog in made:
        catalog.close()


@pytest.fixture
def catalog(make: Callable[..., Catalog]) -> Catalog:
    """Give an open, empty catalog."""
    return make()


FIRST = commit(record(1, b"a"), record(3, b"b"), record(4, b"a"))
SECOND = commit(record(6, b"c"), record(7, b"", Kind.ABORT), record(8, b"a"))


@pytest.mark.parametrize("place", ["file", ":memory:"])
def test_new_catalog_has_nothing(path: str, place: str) -> None:
    """A catalog that was just made has applied nothing and knows no subject."""
    where = path if place == "file" else place
    catalog = Catalog(where, identity=b"log", projections=[Counter()])

    assert Applied() == catalog.open()
    assert catalog.last(b"\x02a") == 0
    assert [] == list(catalog.rows())
    assert catalog.check()
    catalog.close()


def test_last_is_the_newest_sequence(catalog: Catalog) -> None:
    """A subject is at the last of its records, in one batch or in several."""
    assert FIRST[1] == apply(catalog, FIRST)
    assert catalog.last(subject_of(Kind.META, b"a")) == 4
    assert SECOND[1] == apply(catalog, SECOND)
    assert catalog.last(subject_of(Kind.META, b"a")) == 8
    assert catalog.last(subject_of(Kind.ABORT, b"")) == 0
    assert catalog.check()


def test_previous_sequences_chain_through_batches(catalog: Catalog) -> None:
    """A projection learns what each record supersedes, before or in the batch."""
    apply(catalog, FIRST)
    apply(catalog, SECOND)

    changes = catalog.query("SELECT * FROM changes ORDER BY sequence")

    assert [(1, 0), (3, 0), (4, 1), (6, 0), (7, -1), (8, 4)] == changes


@pytest.mark.parametrize(
    ("start", "stop", "limit", "expected"),
    [
        (b"", None, 9, [b"a", b"b", b"c"]),
        (b"\x02b", None, 9, [b"b", b"c"]),
        (b"\x02a", b"\x02c", 9, [b"a", b"b"]),
        (b"\x02a\0", b"\x02c\0", 1, [b"b"]),
        (b"\x03", None, 9, []),
    ],
)
def test_subjects_are_a_sorted_page(
    catalog: Catalog, start: bytes, stop: bytes | None, limit: int, expected: object
) -> None:
    """A page starts at its start, ends before its stop, and is in byte order."""
    apply(catalog, FIRST, SECOND)

    assert expected == [key[1:] for key, _ in catalog.subjects(start, stop, limit)]


def test_records_are_applied_once(catalog: Catalog) -> None:
    """Records at or below the applied place are left out of a batch."""
    apply(catalog, FIRST)

    assert SECOND[1] == catalog.apply(FIRST[0] + SECOND[0], SECOND[1], after=Applied())
    assert [(b"a", 3)] == catalog.query("SELECT * FROM counts WHERE key = ?", (b"a",))


def test_older_batch_gives_where_the_catalog_is(catalog: Catalog) -> None:
    """A batch that ends below the applied place changes nothing."""
    apply(catalog, FIRST, SECOND)

    assert SECOND[1] == catalog.apply(*FIRST, after=Applied())
    assert catalog.check()


@pytest.mark.parametrize(
    "after", [Applied(5, 1, 1, 500), Applied(4, 1, 1, 400)], ids=["gap", "other log"]
)
def test_batch_that_does_not_fit_is_not_applied(
    catalog: Catalog, after: Applied
) -> None:
    """A batch behind a gap, or behind another commit, leaves the catalog untouched."""
    apply(catalog, FIRST)

    assert FIRST[1] == catalog.apply(*SECOND, after=after)
    assert catalog.last(subject_of(Kind.META, b"a")) == 4


def test_empty_commit_moves_the_place(catalog: Catalog) -> None:
    """A commit without records is remembered, and the next batch follows it."""
    apply(catalog, FIRST)
    idle = Applied(4, 99, 1, 464)

    assert idle == catalog.apply([], idle, after=FIRST[1])
    assert idle == catalog.applied()
    assert SECOND[1] == catalog.apply(*SECOND, after=FIRST[1])


def test_content_survives_reopening(
    make: Callable[..., Catalog], catalog: Catalog
) -> None:
    """What was applied is there after closing, in the same place."""
    apply(catalog, FIRST)
    rows = list(catalog.rows())
    catalog.close()

    again = make()

    assert FIRST[1] == again.applied()
    assert rows == list(again.rows())


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ((b"else", Counter()), "it belongs to another log"),
        ((b"log", Newer()), "it holds the projections 'counter=1'"),
    ],
    ids=["identity", "version"],
)
def test_foreign_file_is_set_aside(
    make: Callable[..., Catalog],
    catalog: Catalog,
    other: tuple[bytes, Counter],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A catalog of another log or version is made anew, and the log says why."""
    apply(catalog, FIRST)
    catalog.close()

    again = make(*other)

    assert Applied() == again.applied()
    assert [] == list(again.rows())
    assert [reason in text for text in caplog.messages] == [True]


def test_failing_projection_undoes_the_batch(
    make: Callable[..., Catalog], catalog: Catalog
) -> None:
    """When a projection raises, nothing of its batch stays and the next one works."""
    failing = make(projection=Raising())

    with pytest.raises(RuntimeError):
        apply(failing, FIRST)
    assert Applied() == failing.applied()
    assert [] == list(failing.rows())
    assert FIRST[1] == apply(catalog, FIRST)


def test_applied_follows_another_connection(
    make: Callable[..., Catalog], catalog: Catalog
) -> None:
    """Each catalog sees what another one on the same file has applied."""
    other = make()

    for part in (FIRST, SECOND):
        apply(other, part)
        assert part[1] == catalog.applied() == other.applied()


def test_busy_catalog_says_so_and_is_readable(catalog: Catalog, path: str) -> None:
    """While another process writes, an apply is refused and reads go on."""
    apply(catalog, FIRST)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(CatalogBusy):
        catalog.apply(*SECOND, after=FIRST[1])
    assert FIRST[1] == catalog.applied()
    assert catalog.check()
    other.close()
    assert SECOND[1] == catalog.apply(*SECOND, after=FIRST[1])


def test_reads_leave_no_transaction_open(catalog: Catalog, path: str) -> None:
    """After any read the WAL can be emptied, so no read holds it."""
    apply(catalog, FIRST, SECOND)
    catalog.last(b"\x02a")
    catalog.subjects(b"", None, 1)
    catalog.applied()
    catalog.query("SELECT * FROM changes")
    assert catalog.check()
    next(catalog.rows())

    other = sqlite3.connect(path)
    busy = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    other.close()

    assert busy == 0


CALLS: dict[str, Callable[[Catalog], object]] = {
    "applied": lambda catalog: catalog.applied(),
    "apply": lambda catalog: catalog.apply(*FIRST, after=Applied()),
    "last": lambda catalog: catalog.last(b"a"),
    "subjects": lambda catalog: catalog.subjects(b"", None, 1),
    "query": lambda catalog: catalog.query("SELECT 1"),
    "check": lambda catalog: catalog.check(),
    "rows": lambda catalog: list(catalog.rows()),
    "reset": lambda catalog: catalog.reset(),
    "snapshot": lambda catalog: catalog.snapshot(),
}


@pytest.mark.parametrize("call", CALLS)
def test_closed_catalog_refuses(catalog: Catalog, call: str) -> None:
    """Every call after `close` is a `ClosedError`; closing twice is not."""
    catalog.close()
    catalog.close()

    with pytest.raises(ClosedError):
        CALLS[call](catalog)


@pytest.mark.parametrize("place", ["file", ":memory:"])
def test_reset_empties(make: Callable[..., Catalog], path: str, place: str) -> None:
    """A reset catalog has nothing and can be filled again."""
    catalog = make(path=path if place == "file" else place)
    apply(catalog, FIRST)

    assert Applied() == catalog.reset()
    assert [] == list(catalog.rows())
    assert FIRST[1] == apply(catalog, FIRST)
    assert catalog.check()


def test_reset_of_another_is_adopted(
    make: Callable[..., Catalog], catalog: Catalog
) -> None:
    """A catalog whose file was replaced reads on, then joins the new one."""
    apply(catalog, FIRST)
    other = make()
    other.reset()
    apply(other, FIRST, SECOND)

    assert FIRST[1] == catalog.applied()
    assert catalog.last(b"\x02a") == 4
    with pytest.raises(CatalogDamagedError, match="replaced"):
        catalog.apply(*SECOND, after=FIRST[1])
    assert not catalog.check()
    assert SECOND[1] == catalog.reset() == other.applied()


def test_replaced_catalog_leaves_the_new_one_whole(
    make: Callable[..., Catalog], catalog: Catalog
) -> None:
    """Closing a catalog whose file was replaced takes nothing from the new file."""
    apply(catalog, FIRST)
    other = make()
    other.reset()
    apply(other, FIRST, SECOND)
    catalog.close()

    assert other.check()
    assert SECOND[1] == make().applied()


def test_deleted_file_is_noticed(catalog: Catalog, path: str) -> None:
    """A catalog that someone deleted is made again by the next reset."""
    apply(catalog, FIRST)
    Path(path).unlink()

    with pytest.raises(CatalogDamagedError):
        catalog.apply(*SECOND, after=FIRST[1])
    assert not Path(path).exists()
    assert Applied() == catalog.reset()


def test_impossible_place_is_a_storage_error(tmp_path: Path) -> None:
    """A catalog that cannot be made is an error of the storage."""
    path = str(tmp_path / "missing" / "catalog.db")

    with pytest.raises(StorageError):
        Catalog(path, identity=b"log", projections=[]).open()


def test_wrong_parameters_are_no_damage(catalog: Catalog) -> None:
    """A wrong use of SQLite is the caller's fault and no reason to rebuild."""
    with pytest.raises(sqlite3.ProgrammingError):
        catalog.query("SELECT ?")


def test_opening_waits_for_another(
    path: str, make: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process is opening, opening waits and then says busy."""
    monkeypatch.setattr(_catalog_file, "OPEN_WAIT_S", 0.02)
    with _catalog_file.CatalogFile(path).opening_alone(), pytest.raises(CatalogBusy):
        make()

    assert Applied() == make().applied()


def test_image_in_memory_is_the_catalog(make: Callable[..., Catalog]) -> None:
    """An image of a catalog in memory opens as what it was."""
    catalog, other = make(path=":memory:"), make(path=":memory:")
    apply(catalog, FIRST)
    image = catalog.serialize()
    apply(catalog, SECOND)

    assert FIRST[1] == other.deserialize(image) == other.applied()
    apply(other, SECOND)
    assert list(catalog.rows()) == list(other.rows())


@st.composite
def histories(draw: st.DrawFn) -> list[Commit]:
    """Draw commits of META, BUCKET and ABORT records over few keys."""
    kinds = st.sampled_from([Kind.META, Kind.META, Kind.BUCKET, Kind.ABORT])
    keys = st.binary(max_size=2)
    shapes = draw(
        st.lists(st.lists(st.tuples(kinds, keys), max_size=5), min_size=1, max_size=12)
    )
    commits: list[Commit] = []
    sequence = 0
    for position, shape in enumerate(shapes, start=1):
        records: list[Record] = []
        for kind, key in shape:
            sequence += draw(st.integers(1, 3))
            records.append(record(sequence, key, kind))
        commits.append((records, Applied(sequence, 7 * sequence, 1, position)))
    return commits


STEPS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 4)), max_size=20)


@given(history=histories(), steps=STEPS)
def test_batches_do_not_matter(
    history: list[Commit], steps: list[tuple[int, int]]
) -> None:
    """Two catalogs that apply overlapping batches in turn make what one batch makes."""
    once = Catalog(":memory:", identity=b"log", projections=[Counter()])
    once.open()
    apply(once, *history)
    with TemporaryDirectory() as directory:
        pair = [
            Catalog(f"{directory}/c.db", identity=b"log", projections=[Counter()])
            for _ in range(2)
        ]
        places = [catalog.open() for catalog in pair]
        # Each goes on from where it believes to be, which may be long outdated.
        for turn, size in [*steps, (0, 99), (1, 99), (0, 99)]:
            batch = [c for c in history if c[1].place > places[turn].place][:size]
            records = [item for part, _ in batch for item in part]
            if batch:
                places[turn] = pair[turn].apply(
                    records, batch[-1][1], after=places[turn]
                )
        assert [history[-1][1]] * 2 == [catalog.applied() for catalog in pair]
        assert [list(once.rows())] * 2 == [list(each.rows()) for each in pair]
        assert all(catalog.check() for catalog in (once, *pair))
        for catalog in pair:
            catalog.close()
    once.close()
