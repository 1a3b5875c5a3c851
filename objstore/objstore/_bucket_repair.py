"""Repairing one bucket: salvage from the catalog, quarantine, older versions.

Every step is one append with expectations, or a file that appears whole: a repair that
was killed anywhere can be run again, and other processes may write meanwhile.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast

import orjson

from objstore._bucket_log import BucketLog
from objstore._bucket_records import record_of_row
from objstore._bucket_state import GONE, SEALED, read_totals
from objstore._document import decode_document
from objstore._engine import Append, Buffer, RepairDone, StoredMeta
from objstore._expiry import is_due
from objstore._meta_record import decode_meta, previous_of, repeated
from objstore._operations import meta_of
from objstore._quarantine import Quarantine, content_name, version_name
from objstore.errors import (
    BadObjectMetaError,
    CorruptionError,
    LimitExceededError,
    SealedError,
)
from objstore_log import Kind, NewRecord, Record, subject_of
from objstore_log.errors import BusyError, ConflictError, SequenceGoneError

_ROWS: Final = 1_000
_VERSIONS_MAX: Final = 1_000
"""How far back an older version is looked for."""
_CHUNKS: Final = 8
"""Chunks of an older version that are read at a time."""
_SEAL_SUBJECT: Final = subject_of(Kind.SEAL, b"")
_FLOOR_SUBJECT: Final = subject_of(Kind.FLOOR, b"")
_Appending: TypeAlias = Callable[[bytes, int, NewRecord], bool]
_UNREADABLE: Final = (CorruptionError, SequenceGoneError)


class BucketRepair:
    """Repairs one bucket."""

    def __init__(self, bucket: BucketLog, quarantine: Quarantine) -> None:
        self._bucket = bucket
        self._quarantine = quarantine

    # --- salvage --------------------------------------------------------------

    def salvage(self, *, dry_run: bool) -> list[RepairDone]:
        """Write changes again that the catalog has whole and the log has not.

        Guarantee: before any rebuild, which would lose them; a name that somebody
        has changed meanwhile is left alone. A sealed bucket stays as it was sealed:
        what is written again says what was said.
        """
        self._bucket.log.apply()
        append = self._would_append if dry_run else self._append
        done = list(self._salvage_metas(append, _was(dry_run=dry_run)))
        for subject, what in (
            (_SEAL_SUBJECT, "seal"),
            (_FLOOR_SUBJECT, "change floor"),
        ):
            done += self._salvage_state(subject, what, append, _was(dry_run=dry_run))
        return done

    def _salvage_metas(self, append: _Appending, was: str) -> Iterator[RepairDone]:
        for row in self._meta_rows():
            record = record_of_row(row)
            if record is None or self._is_readable(record.sequence):
                continue
            if append(record.subject, record.sequence, repeated(record)):
                name = record.key.decode(errors="replace")
                detail = (
                    f"what was said of {name!r} at sequence {record.sequence} was "
                    f"damaged in the log and {was} written again from the catalog"
                )
                yield RepairDone("salvaged", detail, name, record.sequence)

    def _meta_rows(self) -> Iterator[tuple[object, ...]]:
        after = 0
        while True:
            rows = self._bucket.log.query(
                "SELECT sequence, name, nuid, time_ns, body, checksum FROM metas"
                " WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (after, _ROWS),
            )
            yield from rows
            if len(rows) < _ROWS:
                return
            after = cast("int", rows[-1][0])

    def _salvage_state(
        self, subject: bytes, what: str, append: _Appending, was: str
    ) -> Iterator[RepairDone]:
        """Say again that the bucket is sealed, or where its change floor is."""
        log = self._bucket.log
        sequence, record = log.last(subject)
        if not sequence or (record is not None and len(record.body)):
            return
        if self._is_readable(sequence):
            return
        body = bytes((SEALED,))
        if subject == _FLOOR_SUBJECT:
            _, totals = read_totals(log)
            floor = max(totals.floor, self._bucket.floor)
            body = floor.to_bytes(8, "little") + sequence.to_bytes(8, "little")
        if append(subject, sequence, NewRecord(Kind(subject[0]), body)):
            detail = f"the {what} was damaged in the log and {was} written again"
            yield RepairDone("salvaged", detail, None, sequence)

    def _is_readable(self, sequence: int) -> bool:
        try:
            self._bucket.log.read_run(sequence, 1)
        except _UNREADABLE:
            return False
        return True

    def _append(self, subject: bytes, expected: int, record: NewRecord) -> bool:
        if self._bucket.seal_level == GONE:
            return False
        with suppress(ConflictError):
            self._bucket.log.append([record], expect={subject: expected})
            return True
        return False

    def _would_append(self, subject: bytes, expected: int, record: NewRecord) -> bool:
        del record
        if self._bucket.seal_level == GONE:
            return False
        return self._bucket.log.last(subject)[0] == expected

    # --- quarantine -----------------------------------------------------------

    def quarantine(
        self, damaged: StoredMeta, reason: str, *, dry_run: bool
    ) -> RepairDone | None:
        """Save what is left of a version; `None` when that was done before.

        Its whole chunks lie at their offsets in one file, which all names share that
        share the content; the description says what is missing.
        """
        name = version_name(damaged.sequence)
        if self._quarantine.has(name):
            return None
        missing: list[dict[str, Any]] = []
        path: str | None = None
        described = None
        if dry_run:
            deque(self._whole(damaged, missing), maxlen=0)
        elif damaged.extents:
            file_name = f"{content_name(damaged.extents[0].first)}.bytes"
            # of another name that shares it there may be more than is left by now
            path = self._quarantine.save_once(file_name, self._whole(damaged, missing))
        if not dry_run:
            bucket = self._bucket.entry.name
            described = self._quarantine.describe(
                name, _description(bucket, damaged, reason, path, missing)
            )
        left = damaged.size - sum(part["length"] for part in missing)
        were = "would be" if dry_run else "were"
        detail = f"{left} of {damaged.size} bytes {were} saved: {reason}"
        return RepairDone(
            "quarantined", detail, damaged.name, damaged.sequence, described
        )

    def _whole(
        self, damaged: StoredMeta, missing: list[dict[str, Any]]
    ) -> Iterator[tuple[int, Buffer]]:
        """Give the chunks that are whole with their offsets; note the others."""
        for index in range(sum(extent.count for extent in damaged.extents)):
            offset = index * damaged.chunk_bytes
            try:
                chunks = self._bucket.read_chunks(damaged, index, 1)
            except _UNREADABLE as error:
                length = min(damaged.chunk_bytes, damaged.size - offset)
                facts = error.facts
                missing.append(
                    {
                        "offset": offset,
                        "length": length,
                        "sequence": facts.get("sequence"),
                        "segment": facts.get("segment"),
                        "position": facts.get("position"),
                        "reason": facts.get("reason", str(error)),
                    }
                )
            else:
                assert chunks is not None
                yield offset, chunks[0]

    # --- older versions -------------------------------------------------------

    def restore(self, damaged: StoredMeta, now_ns: int, *, dry_run: bool) -> RepairDone:
        """Put the newest older version that is whole in the place of a damaged one.

        Guarantee: nothing that was deleted, or has expired, comes back: a version is
        taken only if the log still has every change between it and the damaged one,
        and none of them says that the name was gone.
        """
        name, sequence = damaged.name, damaged.sequence
        problem = "the bucket is sealed and takes no change"
        if self._bucket.seal_level == 0:
            try:
                found, problem = self._restored(damaged, now_ns, dry_run=dry_run)
            except BusyError as error:
                found, problem = None, str(error)
            if found is not None:
                comes = "would come" if dry_run else "is"
                detail = f"the version of sequence {found.sequence} {comes} back"
                return RepairDone("restored", detail, name, sequence)
        detail = f"nothing {_was(dry_run=dry_run)} restored: {problem}"
        return RepairDone("lost", detail, name, sequence)

    def _restored(
        self, damaged: StoredMeta, now_ns: int, *, dry_run: bool
    ) -> tuple[StoredMeta | None, str]:
        """Give the version that is back, or what kept every one from that."""
        # what is dead must not be given back while it becomes current
        with self._bucket.log.mender.alone():
            found = self._older(damaged, now_ns)
            if found is None:
                return None, "no older version of it is whole"
            if dry_run:
                return found, ""
            problem = self._put_back(damaged, found)
            return (None, problem) if problem else (found, "")

    def _older(self, damaged: StoredMeta, now_ns: int) -> StoredMeta | None:
        """Give the newest version before a damaged one that is whole."""
        previous = self._previous(damaged.sequence)
        for _ in range(_VERSIONS_MAX):
            record = self._meta_at(previous, damaged.name)
            if record is None:
                return None
            older = decode_meta(record, self._bucket.incarnation)
            if older.is_marker or is_due(older, now_ns):
                return None
            if older.extents != damaged.extents and self._is_whole(older):
                return older
            previous = previous_of(bytes(record.body))
        return None

    def _previous(self, sequence: int) -> int:
        log = self._bucket.log
        try:
            return previous_of(bytes(log.read_run(sequence, 1)[0].body))
        except _UNREADABLE:
            return 0

    def _meta_at(self, sequence: int, name: str) -> Record | None:
        """Give a name's change at a sequence, `None` when it is not kept or damaged."""
        if not sequence:
            return None
        try:
            (record,) = self._bucket.log.read_run(sequence, 1)
        except _UNREADABLE:
            return None
        is_it = record.kind == Kind.META and record.key == name.encode()
        return record if is_it else None

    def _is_whole(self, older: StoredMeta) -> bool:
        """Read all of a version, dead or not, and check its digest."""
        digest = hashlib.sha256()
        size = 0
        count = sum(extent.count for extent in older.extents)
        try:
            stated = decode_document(older.document).digest
            for index in range(0, count, _CHUNKS):
                wanted = min(_CHUNKS, count - index)
                for chunk in self._bucket.read_raw(older, index, wanted):
                    digest.update(chunk)
                    size += len(chunk)
        except (*_UNREADABLE, BadObjectMetaError):
            return False
        return size == older.size and (not stated or digest.digest() == stated)

    def _put_back(self, damaged: StoredMeta, older: StoredMeta) -> str:
        """Make an older version the current one; give what kept it from that."""
        document = decode_document(older.document)
        meta = meta_of(document, "link" if document.link else "put", older)
        op = Append(
            self._bucket.entry.name,
            (meta,),
            expect={damaged.name: damaged.sequence},
            size_delta=older.size - damaged.size,
            incarnation=self._bucket.incarnation,
        )
        try:
            self._bucket.append(op)
        except ConflictError:
            return "it was changed meanwhile"
        except (LimitExceededError, SealedError) as error:
            return str(error)
        return ""


def _was(*, dry_run: bool) -> str:
    return "would be" if dry_run else "was"


def _description(
    bucket: str,
    damaged: StoredMeta,
    reason: str,
    content: str | None,
    missing: list[dict[str, Any]],
) -> dict[str, Any]:
    """Give what the description of a version says."""
    document: object
    try:
        document = orjson.loads(damaged.document)
    except orjson.JSONDecodeError:
        document = damaged.document.decode(errors="replace")
    return {
        "bucket": bucket,
        "name": damaged.name,
        "sequence": damaged.sequence,
        "time_ns": damaged.time_ns,
        "change": damaged.change,
        "size": damaged.size,
        "chunk_bytes": damaged.chunk_bytes,
        "content": content,
        "missing": missing,
        "reason": reason,
        "document": document,
    }
