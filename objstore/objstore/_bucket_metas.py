"""The metas of one bucket: the newest of a name, pages of them, those that are due."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from objstore._bucket_records import (
    behind,
    damaged_meta,
    meta_of_row,
    meta_subject_of,
    record_of_row,
)
from objstore._dropped import HeldPin
from objstore._engine import Page, PinHandle, StoredMeta
from objstore._meta_record import decode_meta
from objstore._projection import meta_checksum
from objstore.errors import CorruptionError
from objstore_log import (
    Beside,
    CatalogDamagedError,
    Kind,
    Log,
    LogSnapshot,
    Record,
    is_subject_sound,
)
from objstore_log.errors import SequenceGoneError

_COLUMNS: Final = "sequence, name, nuid, time_ns, body, checksum"
_NEWEST: Final = (
    f"SELECT s.sequence, s.checksum, m.{_COLUMNS.replace(', ', ', m.')}"  # noqa: S608
    " FROM subjects s JOIN metas m ON m.sequence = s.sequence WHERE s.subject = ?"
)
_BESIDE: Final = Beside("metas", ("nuid", "time_ns", "body", "checksum"))
_NEWEST_BODY: Final = (
    "SELECT s.sequence, s.checksum, m.nuid, m.time_ns, m.body, m.checksum"
    " FROM subjects s JOIN metas m ON m.sequence = s.sequence WHERE s.subject = ?"
)
_TRIES: Final = 20
"""How often something is looked up that was replaced and reclaimed meanwhile."""


class _LookUps(Protocol):
    """What a page is read from: a log, or a snapshot of one."""

    def last(self, subject: bytes) -> tuple[int, Record | None]: ...

    def subjects_beside(
        self, beside: Beside, start: bytes, stop: bytes | None, limit: int
    ) -> list[tuple[Any, ...]]: ...


class MetaParts(NamedTuple):
    """What a meta is made of, apart from its name."""

    sequence: int
    nuid: bytes
    time_ns: int
    body: bytes


class BucketMetas:
    """Looks metas up: in what the log has at hand, the catalog, the log itself."""

    def __init__(self, log: Log, place: str, incarnation: str) -> None:
        self._log = log
        self._place = place
        """What to call the bucket's directory in messages."""
        self._incarnation = incarnation

    def _decode(self, record: Record) -> StoredMeta:
        return decode_meta(record, self._incarnation)

    def last(self, name: str) -> StoredMeta | None:
        """Give the newest meta of a name."""
        subject = meta_subject_of(name)
        sequence, record = self._log.last(subject)
        if not sequence:
            return None
        return self._decode(self._whole(record) or self._look_up(subject, sequence))

    def newest_parts(self, subject: bytes) -> MetaParts | None:
        """Give a name's newest meta with one look-up, and keep nothing.

        Returns:
            `None` when it takes more.
        """
        known = self._log.places.last(subject)
        if known is not None:
            record = self._whole(known[1])
            if record is None:
                return None
            return MetaParts(
                record.sequence, record.nuid, record.time_ns, bytes(record.body)
            )
        rows = self._log.query(_NEWEST_BODY, (subject,))
        if len(rows) != 1 or not is_subject_sound(subject, *rows[0][:2]):
            return None
        sequence, _, nuid, time_ns, body, stored = rows[0]
        if (
            type(sequence) is int
            and type(nuid) is bytes
            and type(time_ns) is int
            and type(body) is bytes
            and meta_checksum(sequence, subject[1:], nuid, time_ns, body) == stored
        ):
            return MetaParts(sequence, nuid, time_ns, body)
        return None

    def remember(self, subject: bytes, parts: MetaParts, generation: int) -> None:
        """Keep a newest meta for look-ups that follow."""
        sequence, nuid, time_ns, body = parts
        record = Record(
            Kind.META, sequence, time_ns, subject[1:], body, nuid, 0, 0, 0, 0
        )
        self._log.remember(subject, record, generation)

    def newest(self, subject: bytes) -> Record | None:
        """Give the newest meta of a name with one look-up; `None` when it takes more.

        Takes in what other processes committed.
        """
        known = self._log.places.last(subject)
        if known is not None:
            return self._whole(known[1])
        generation = self._log.cache_generation
        rows = self._log.query(_NEWEST, (subject,))
        if len(rows) != 1 or not is_subject_sound(subject, *rows[0][:2]):
            return None
        record = record_of_row(rows[0][2:])
        if record is None or record.subject != subject:
            return None
        self._log.remember(subject, record, generation)
        return record

    def _whole(self, record: Record | None) -> Record | None:
        """Give a record unless it stands for a damaged one."""
        return record if record is not None and len(record.body) else None

    def _look_up(self, subject: bytes, sequence: int, tries: int = _TRIES) -> Record:
        generation = self._log.cache_generation
        rows = self._log.query(
            f"SELECT {_COLUMNS} FROM metas WHERE sequence = ?",  # noqa: S608
            (sequence,),
        )
        record = record_of_row(rows[0]) if rows else None
        if record is None or record.subject != subject:
            # superseded meanwhile, or a damaged row: the log knows
            record = self._from_log(subject, sequence, tries)
        self._log.remember(subject, record, generation)
        return record

    def _from_log(self, subject: bytes, sequence: int, tries: int) -> Record:
        try:
            return self._log.read_run(sequence, 1)[0]
        except (CorruptionError, SequenceGoneError) as error:
            newer, record = self._log.last(subject)
            if newer == sequence:
                raise damaged_meta(self._place, subject, error) from error
            if not tries:
                raise
            return self._whole(record) or self._look_up(subject, newer, tries - 1)

    def page(
        self, prefix: str, start_after: str | None, limit: int, as_of: int | None
    ) -> list[StoredMeta]:
        """Give the newest metas in name order, all of them as of one moment.

        Raises:
            SequenceGoneError: they are replaced and reclaimed as fast as they are read.
        """
        for _ in range(_TRIES - 1):
            with suppress(SequenceGoneError):
                return self._page(self._log, prefix, start_after, limit, as_of)
        return self._page(self._log, prefix, start_after, limit, as_of)

    def page_of(
        self, snapshot: LogSnapshot, prefix: str, start_after: str | None, limit: int
    ) -> list[StoredMeta]:
        """Give the newest metas of a snapshot in name order.

        Raises:
            SequenceGoneError: the snapshot is damaged where the log has no copy.
        """
        try:
            return self._page(snapshot, prefix, start_after, limit, None)
        except CatalogDamagedError as error:
            self._log.rebuild_catalog(str(error))
            raise SequenceGoneError(sequence=0) from error

    def _page(
        self,
        source: _LookUps,
        prefix: str,
        start_after: str | None,
        limit: int,
        as_of: int | None,
    ) -> list[StoredMeta]:
        start = meta_subject_of(prefix)
        stop = behind(start)
        if start_after is not None:
            start = max(start, meta_subject_of(start_after) + b"\0")
        found: list[StoredMeta] = []
        while len(found) < limit:
            rows = source.subjects_beside(_BESIDE, start, stop, limit)
            wanted = [row for row in rows if as_of is None or row[1] <= as_of]
            # all of them: how many are damaged, and left out, shows only then
            found += self._metas(source, wanted)
            if len(rows) < limit:
                break
            start = rows[-1][0] + b"\0"
        return found[:limit]

    def _metas(
        self, source: _LookUps, rows: Sequence[tuple[Any, ...]]
    ) -> list[StoredMeta]:
        """Read the metas of a page's rows."""
        metas: list[StoredMeta] = []
        incarnation = self._incarnation
        for row in rows:
            meta = meta_of_row(row, incarnation)
            if meta is None:
                record = self._listed(source, row[0], row[1])
                if record is None:
                    continue
                meta = self._decode(record)
            metas.append(meta)
        return metas

    def _listed(self, source: _LookUps, subject: bytes, sequence: int) -> Record | None:
        """Give the record of a listed name, superseded or not; `None` when damaged.

        A newer one would be of another moment than the rest of the list. Damage must
        not hide the other names; `damaged` and `verify` tell of it.

        Raises:
            SequenceGoneError: it was replaced, and reclaimed.
        """
        last, record = source.last(subject)
        if record is not None and last == sequence and len(record.body):
            return record
        try:
            return self._log.read_run(sequence, 1)[0]
        except (CorruptionError, SequenceGoneError):
            if self._log.last(subject)[0] == sequence:
                return None
            raise SequenceGoneError(sequence=sequence) from None

    def due(
        self, time_ns: int, limit: int, after: StoredMeta | None = None
    ) -> list[StoredMeta]:
        """Give live metas that have expired by a time, oldest first."""
        place = (0, 0) if after is None else (after.expires_ns or 0, after.sequence)
        self._log.apply()
        rows = self._log.query(
            "SELECT m.sequence, name, nuid, time_ns, body, checksum FROM expiries e"
            " JOIN metas m ON m.sequence = e.sequence WHERE e.expires_ns <= ?"
            " AND (e.expires_ns, e.sequence) > (?, ?)"
            " ORDER BY e.expires_ns, e.sequence LIMIT ?",
            (time_ns, *place, limit),
        )
        records = [record_of_row(row) for row in rows]
        if any(record is None for record in records):
            self._log.rebuild_catalog("a meta row is damaged")
            return self.due(time_ns, limit, after)
        return [self._decode(record) for record in records if record is not None]


class BucketSnapshot:
    """The names of a bucket as of one moment, until it is released."""

    def __init__(self, metas: BucketMetas, snapshot: LogSnapshot) -> None:
        self._metas = metas
        self._snapshot = snapshot

    def page(
        self, prefix: str, start_after: str | None, limit: int
    ) -> list[StoredMeta]:
        """Give metas in name order. Raises as `BucketMetas.page_of`."""
        return self._metas.page_of(self._snapshot, prefix, start_after, limit)

    def release(self) -> None:
        """Let go; idempotent."""
        self._snapshot.release()


def page_of_snapshot(op: Page, handle: PinHandle) -> list[StoredMeta]:
    """Give the page of a snapshot that an operation asks for."""
    held = handle.held if isinstance(handle, HeldPin) else handle
    assert isinstance(held, BucketSnapshot), handle
    return held.page(op.prefix, op.start_after, op.limit)
