"""Log 0: which buckets there are, their configurations, their logs.

A damaged record must not cost a bucket with everything in it, so each change stands in
the log twice, one record behind the other.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from objstore._engine import BucketOptions
from objstore.errors import (
    BucketExistsError,
    BucketNotFoundError,
    BusyError,
    CorruptionError,
    StorageError,
)
from objstore_log import Kind, Log, NewRecord, Record, subject_of
from objstore_log.errors import ConflictError

REGISTRY_NUMBER: Final = 0
_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class BucketEntry:
    """A bucket as the registry has it."""

    name: str
    number: int
    """Of its log; never used again."""
    log_id: bytes
    document: bytes
    """The configuration as JSON."""
    sequence: int
    """Of the registry record that says so."""
    is_deleted: bool = False
    is_repeat: bool = False
    """It says again what the record before it says."""
    options: BucketOptions | None = None
    """Only for buckets in memory, which no log remembers."""


def _decode(record: Record) -> BucketEntry:
    body: dict[str, Any] = orjson.loads(bytes(record.body))
    return BucketEntry(
        record.key.decode(),
        body["number"] or record.sequence,
        bytes.fromhex(body["log_id"]),
        orjson.dumps(body["config"]),
        record.sequence,
        body.get("deleted", False),
        body.get("repeats", False),
    )


def _encode(entry: BucketEntry) -> NewRecord:
    body: dict[str, Any] = {
        "number": entry.number,
        "log_id": entry.log_id.hex(),
        "config": orjson.loads(entry.document),
    }
    if entry.is_deleted:
        body["deleted"] = True
    if entry.is_repeat:
        body["repeats"] = True
    return NewRecord(Kind.BUCKET, orjson.dumps(body), key=entry.name.encode())


def check_unchanged(entry: BucketEntry, expected: int) -> None:
    """Raise `ConflictError` when an entry is not the one that was read."""
    if entry.sequence != expected:
        subject = subject_of(Kind.BUCKET, entry.name.encode())
        raise ConflictError(subject=subject, expected=expected, actual=entry.sequence)


class Registry:
    """The buckets of a store. Reads follow the log; changes expect what was read."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._entries: dict[str, BucketEntry] = {}
        self._damaged: dict[str, CorruptionError] = {}
        self._newest: BucketEntry | None = None
        self._through = 0
        self._lock = threading.Lock()

    def _follow(self) -> None:
        if self.log.visible_sequence == self._through:
            return
        with self._lock:
            while self._through < self.log.visible_sequence:
                self._through = self._follow_page()

    def _follow_page(self) -> int:
        try:
            page = self.log.feed(self._through, _PAGE, frozenset({Kind.BUCKET}))
        except CorruptionError as error:
            if error.sequence is None:
                raise
            if error.name is not None and not self._is_repeat(error.sequence):
                self._damaged[error.name] = error
            return error.sequence
        for record in page.records:
            entry = self._newest = _decode(record)
            self._entries[entry.name] = entry
            self._damaged.pop(entry.name, None)
        return page.through

    def _is_repeat(self, sequence: int) -> bool:
        """Say whether a damaged record says only what the one before it said."""
        newest = self._newest
        return (
            newest is not None
            and newest.sequence == sequence - 1
            and not newest.is_repeat
        )

    def find(self, name: str) -> BucketEntry | None:
        """Give a bucket's entry, deleted ones too.

        Raises:
            CorruptionError: its last change is damaged.
        """
        self._follow()
        if name in self._damaged:
            raise self._damaged[name]
        return self._entries.get(name)

    def get(self, name: str) -> BucketEntry:
        """Give a live bucket's entry. Raises `BucketNotFoundError`."""
        entry = self.find(name)
        if entry is None or entry.is_deleted:
            raise BucketNotFoundError(bucket=name)
        return entry

    def entries(self) -> list[BucketEntry]:
        """Give all entries, deleted ones too, without what damage may have changed."""
        self._follow()
        damaged = self._damaged
        return [item for item in self._entries.values() if item.name not in damaged]

    def damaged_names(self) -> list[str]:
        """Give the names of buckets whose last change is damaged."""
        self._follow()
        return list(self._damaged)

    def create(self, name: str, document: bytes, log_id: bytes) -> BucketEntry:
        """Add a bucket. Raises `BucketExistsError` when there is one."""
        while True:
            last = self._last(name)
            found = self.find(name)
            if found is not None and not found.is_deleted:
                raise BucketExistsError(bucket=name)
            # number 0: that of the record itself, which nobody else can get
            new = BucketEntry(name, 0, log_id, document, 0)
            if self._append([new], name, last):
                break
        made = self.get(name)
        # it is made already; what a later change says, that one repeats itself
        with suppress(StorageError, BusyError):
            self._append([replace(made, is_repeat=True)], name, made.sequence)
        return self.get(name)

    def update(self, name: str, document: bytes, *, expected: int) -> BucketEntry:
        """Replace a bucket's configuration, which stands at an expected sequence.

        Raises:
            BucketNotFoundError: there is no such bucket.
            ConflictError: it was changed since it was read.
        """
        while True:
            last = self._last(name)
            found = self.get(name)
            check_unchanged(found, expected)
            entry = replace(found, document=document, is_repeat=False)
            if self._append([entry, replace(entry, is_repeat=True)], name, last):
                return self.get(name)

    def delete(self, name: str) -> BucketEntry:
        """Take a bucket out; gives what it was. Raises `BucketNotFoundError`."""
        while True:
            last = self._last(name)
            old = self.get(name)
            gone = replace(old, is_deleted=True, is_repeat=False)
            if self._append([gone, replace(gone, is_repeat=True)], name, last):
                return old

    def _last(self, name: str) -> int:
        """Give the sequence of a name's last record, damaged or not."""
        return self.log.last(subject_of(Kind.BUCKET, name.encode()))[0]

    def _append(self, entries: list[BucketEntry], name: str, expected: int) -> bool:
        subject = subject_of(Kind.BUCKET, name.encode())
        try:
            self.log.append(
                [_encode(entry) for entry in entries], expect={subject: expected}
            )
        except ConflictError:
            return False
        return True
