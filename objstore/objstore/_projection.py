"""What the object layer keeps in a bucket's catalog: current metas and their content.

Tables, all keyed by numbers that only grow, because random keys cost most of the speed:
- `metas`: the record that is current for its name, by sequence. Names are the
  catalog's own `subjects`.
- `extents`: live content, by the first chunk sequence of each run. The row that opens
  a content also counts how many current metas share it.
- `expiries`: when current metas expire.
- `object_totals`: one row with count and bytes, and the sums that find a missing row.
Every row carries a checksum.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from xxhash import xxh3_64_intdigest

from objstore._meta_record import MetaFacts, decode_facts
from objstore_log import Kind, Record

_MASK: Final = (1 << 63) - 1
_TABLES: Final = (
    """CREATE TABLE metas (sequence INTEGER PRIMARY KEY, name BLOB, nuid BLOB,
    time_ns INTEGER, body BLOB, checksum INTEGER)""",
    """CREATE TABLE extents (first INTEGER PRIMARY KEY, count INTEGER,
    content INTEGER, refs INTEGER, checksum INTEGER)""",
    """CREATE TABLE expiries (expires_ns INTEGER, sequence INTEGER,
    PRIMARY KEY (expires_ns, sequence)) WITHOUT ROWID""",
    """CREATE TABLE object_totals (id INTEGER PRIMARY KEY, count INTEGER, size INTEGER,
    stored_size INTEGER, floor INTEGER, row_sum INTEGER, checksum INTEGER)""",
)


def checksum_of(*values: object) -> int:
    """Give the checksum of a row's other columns, as SQLite can store it."""
    return xxh3_64_intdigest(repr(values).encode()) & _MASK


def meta_checksum(
    sequence: int, name: bytes, nuid: bytes, time_ns: int, body: bytes
) -> int:
    """Give the checksum of a row of `metas`."""
    columns = (sequence, time_ns, len(name), name, nuid, body)
    return xxh3_64_intdigest(b"%d %d %d %b%b%b" % columns) & _MASK


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over current metas."""

    count: int = 0
    size: int = 0
    stored_size: int = 0
    floor: int = 0
    row_sum: int = 0
    """Sum of the checksums of all rows of all tables but `expiries`, mod 2^63."""


@dataclass(slots=True)
class _Batch:
    """The net effect of one apply, gathered before anything is written."""

    totals: Totals
    metas: dict[int, tuple[int, bytes, bytes, int, bytes, int]] = field(
        default_factory=dict[int, "tuple[int, bytes, bytes, int, bytes, int]"]
    )
    gone: dict[int, MetaFacts] = field(default_factory=dict[int, MetaFacts])
    """Stored metas that are superseded."""
    facts: dict[int, MetaFacts] = field(default_factory=dict[int, MetaFacts])
    refs: dict[int, int] = field(default_factory=dict[int, int])
    """How the count of each content moves, by the content's first sequence."""
    runs: dict[int, tuple[tuple[int, int], ...]] = field(
        default_factory=dict[int, "tuple[tuple[int, int], ...]"]
    )
    delta: int = 0
    """How the sum of row checksums moves."""


class ObjectProjection:
    """The object layer's tables."""

    name = "objects"
    version = 1

    def create(self, db: sqlite3.Connection) -> None:
        """Create the empty tables."""
        for statement in _TABLES:
            db.execute(statement)
        _write_totals(db, Totals())

    def apply(
        self,
        db: sqlite3.Connection,
        records: Sequence[Record],
        previous: Mapping[int, int],
    ) -> None:
        """Apply records in order; each table is written once, in key order."""
        batch = _Batch(read_totals(db))
        floor = batch.totals.floor
        for record in records:
            if record.kind == Kind.META:
                _add_meta(db, batch, record, previous[record.sequence])
            elif record.kind == Kind.FLOOR:
                floor = max(floor, int.from_bytes(bytes(record.body[:8]), "little"))
        _write_metas(db, batch)
        _write_contents(db, batch)
        totals = _summed(batch, floor)
        if totals != batch.totals:
            _write_totals(db, totals)

    def check(self, db: sqlite3.Connection) -> bool:
        """Check every row and the sums."""
        return _check(db)

    def rows(self, db: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
        """Give the content in a fixed order."""
        for table, order in (
            ("metas", "sequence"),
            ("extents", "first"),
            ("expiries", "expires_ns, sequence"),
            ("object_totals", "id"),
        ):
            # the names are the constants above
            for row in db.execute(f"SELECT * FROM {table} ORDER BY {order}"):  # noqa: S608
                yield (table, *row)


def read_totals(db: sqlite3.Connection) -> Totals:
    """Read the sums.

    Raises:
        sqlite3.DatabaseError: the row is missing or damaged.
    """
    row = db.execute(TOTALS_QUERY).fetchone()
    totals = totals_of([row] if row else [])
    if totals is None:
        raise sqlite3.DatabaseError("the totals row is damaged")
    return totals


TOTALS_QUERY: Final = (
    "SELECT count, size, stored_size, floor, row_sum, checksum FROM object_totals"
)


def totals_of(rows: Sequence[tuple[object, ...]]) -> Totals | None:
    """Give the sums of what `TOTALS_QUERY` found; `None` when they are damaged."""
    if len(rows) != 1 or not all(type(value) is int for value in rows[0]):
        return None
    *values, stored = rows[0]
    if checksum_of(*values) != stored:
        return None
    return Totals(*(int(str(value)) for value in values))


def _write_totals(db: sqlite3.Connection, totals: Totals) -> None:
    values = (
        totals.count,
        totals.size,
        totals.stored_size,
        totals.floor,
        totals.row_sum,
    )
    db.execute(
        "REPLACE INTO object_totals VALUES (1, ?, ?, ?, ?, ?, ?)",
        (*values, checksum_of(*values)),
    )


def _is_live(facts: MetaFacts) -> bool:
    return facts.change not in ("delete", "expire")


def _runs_of(facts: MetaFacts) -> tuple[tuple[int, int], ...]:
    return tuple((extent.first, extent.count) for extent in facts.extents)


def _add_meta(
    db: sqlite3.Connection, batch: _Batch, record: Record, previous: int
) -> None:
    body = bytes(record.body)
    if not body:
        # damaged: the state before does not come back, and its content is kept
        _supersede(db, batch, previous, frees=False)
        return
    facts = decode_facts(body)
    _supersede(db, batch, previous, frees=True)
    batch.facts[record.sequence] = facts
    row_sum = meta_checksum(
        record.sequence, record.key, record.nuid, record.time_ns, body
    )
    batch.metas[record.sequence] = (
        record.sequence,
        record.key,
        record.nuid,
        record.time_ns,
        body,
        row_sum,
    )
    batch.delta += row_sum
    _count(batch, facts, 1)


def _supersede(
    db: sqlite3.Connection, batch: _Batch, previous: int, *, frees: bool
) -> None:
    if not previous:
        return
    if previous in batch.metas:
        batch.delta -= batch.metas.pop(previous)[5]
        facts = batch.facts.pop(previous)
        if frees:
            _count(batch, facts, -1)
        return
    row = db.execute(
        "SELECT body, checksum FROM metas WHERE sequence = ?", (previous,)
    ).fetchone()
    if row is None or type(row[0]) is not bytes or type(row[1]) is not int:
        # a damaged META of the name: there is no row to take back
        return
    facts = decode_facts(row[0])
    batch.gone[previous] = facts
    batch.delta -= row[1]
    if frees:
        _count(batch, facts, -1)


def _count(batch: _Batch, facts: MetaFacts, step: int) -> None:
    runs = _runs_of(facts)
    if runs:
        content = runs[0][0]
        batch.runs[content] = runs
        batch.refs[content] = batch.refs.get(content, 0) + step


def _write_metas(db: sqlite3.Connection, batch: _Batch) -> None:
    db.executemany(
        "DELETE FROM metas WHERE sequence = ?",
        [(sequence,) for sequence in sorted(batch.gone)],
    )
    db.executemany(
        "DELETE FROM expiries WHERE expires_ns = ? AND sequence = ?",
        [
            (facts.expires_ns, sequence)
            for sequence, facts in batch.gone.items()
            if facts.expires_ns and _is_live(facts)
        ],
    )
    db.executemany("INSERT INTO metas VALUES (?, ?, ?, ?, ?, ?)", batch.metas.values())
    db.executemany(
        "INSERT INTO expiries VALUES (?, ?)",
        sorted(
            (facts.expires_ns, sequence)
            for sequence, facts in batch.facts.items()
            if facts.expires_ns and _is_live(facts)
        ),
    )


def _write_contents(db: sqlite3.Connection, batch: _Batch) -> None:
    fresh: list[tuple[int, int, int, int, int]] = []
    for content in sorted(batch.refs):
        step = batch.refs[content]
        runs = batch.runs[content]
        row = db.execute(
            "SELECT refs, checksum FROM extents WHERE first = ?", (content,)
        ).fetchone()
        if row is None:
            if step > 0:
                fresh += _extent_rows(content, runs, step)
            continue
        if not step:
            continue
        refs = row[0] + step
        if refs > 0:
            _, count = runs[0]
            changed = checksum_of(content, count, content, refs)
            db.execute(
                "UPDATE extents SET refs = ?, checksum = ? WHERE first = ?",
                (refs, changed, content),
            )
            batch.delta += changed - row[1]
        else:
            _remove_content(db, batch, runs)
    db.executemany("INSERT INTO extents VALUES (?, ?, ?, ?, ?)", fresh)
    batch.delta += sum(row[4] for row in fresh)


def _extent_rows(
    content: int, runs: tuple[tuple[int, int], ...], refs: int
) -> list[tuple[int, int, int, int, int]]:
    rows: list[tuple[int, int, int, int, int]] = []
    for first, count in runs:
        own = refs if first == content else 0
        rows.append(
            (first, count, content, own, checksum_of(first, count, content, own))
        )
    return rows


def _remove_content(
    db: sqlite3.Connection, batch: _Batch, runs: tuple[tuple[int, int], ...]
) -> None:
    for first, _ in runs:
        row = db.execute(
            "SELECT checksum FROM extents WHERE first = ?", (first,)
        ).fetchone()
        if row is not None:
            db.execute("DELETE FROM extents WHERE first = ?", (first,))
            batch.delta -= row[0]


def _summed(batch: _Batch, floor: int) -> Totals:
    count, size, stored = (
        batch.totals.count,
        batch.totals.size,
        batch.totals.stored_size,
    )
    for step, group in ((1, batch.facts), (-1, batch.gone)):
        for facts in group.values():
            if _is_live(facts):
                count += step
                size += step * facts.size
                stored += step * facts.stored_size
    row_sum = (batch.totals.row_sum + batch.delta) & _MASK
    return Totals(count, size, stored, floor, row_sum)


def _check(db: sqlite3.Connection) -> bool:
    totals = totals_of(db.execute(TOTALS_QUERY).fetchall())
    if totals is None:
        return False
    row_sum = 0
    expiries: list[tuple[int, int]] = []
    for sequence, name, nuid, time_ns, body, stored in db.execute(
        "SELECT * FROM metas ORDER BY sequence"
    ):
        types = tuple(map(type, (sequence, name, nuid, time_ns, body, stored)))
        if types != (int, bytes, bytes, int, bytes, int):
            return False
        if meta_checksum(sequence, name, nuid, time_ns, body) != stored:
            return False
        row_sum += stored
        facts = decode_facts(body)
        if facts.expires_ns and _is_live(facts):
            expiries.append((facts.expires_ns, sequence))
    for *values, stored in db.execute("SELECT * FROM extents"):
        if type(stored) is not int or checksum_of(*values) != stored:
            return False
        row_sum += stored
    found = db.execute("SELECT expires_ns, sequence FROM expiries").fetchall()
    return sorted(expiries) == found and row_sum & _MASK == totals.row_sum
