"""Log 0: which buckets there are, their configurations, their logs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

import orjson

from objstore._engine import BucketOptions
from objstore.errors import BucketExistsError, BucketNotFoundError
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
    )


def _encode(entry: BucketEntry) -> NewRecord:
    body: dict[str, Any] = {
        "number": entry.number,
        "log_id": entry.log_id.hex(),
        "config": orjson.loads(entry.document),
    }
    if entry.is_deleted:
        body["deleted"] = True
    return NewRecord(Kind.BUCKET, orjson.dumps(body), key=entry.name.encode())


class Registry:
    """The buckets of a store. Reads follow the log; changes expect what was read."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._entries: dict[str, BucketEntry] = {}
        self._through = 0
        self._lock = threading.Lock()

    def _follow(self) -> None:
        if self.log.visible_sequence == self._through:
            return
        with self._lock:
            while self._through < self.log.visible_sequence:
                page = self.log.feed(self._through, _PAGE, frozenset({Kind.BUCKET}))
                for record in page.records:
                    entry = _decode(record)
                    self._entries[entry.name] = entry
                self._through = page.through

    def find(self, name: str) -> BucketEntry | None:
        """Give a bucket's entry, deleted ones too."""
        self._follow()
        return self._entries.get(name)

    def get(self, name: str) -> BucketEntry:
        """Give a live bucket's entry. Raises `BucketNotFoundError`."""
        entry = self.find(name)
        if entry is None or entry.is_deleted:
            raise BucketNotFoundError(bucket=name)
        return entry

    def entries(self) -> list[BucketEntry]:
        """Give all entries, deleted ones too."""
        self._follow()
        return list(self._entries.values())

    def create(self, name: str, document: bytes, log_id: bytes) -> BucketEntry:
        """Add a bucket. Raises `BucketExistsError` when there is one."""
        while True:
            found = self.find(name)
            if found is not None and not found.is_deleted:
                raise BucketExistsError(bucket=name)
            # number 0: that of the record itself, which nobody else can get
            entry = BucketEntry(name, 0, log_id, document, 0)
            if self._append(entry, 0 if found is None else found.sequence):
                return self.get(name)

    def update(self, name: str, document: bytes) -> BucketEntry:
        """Replace a bucket's configuration. Raises `BucketNotFoundError`."""
        while True:
            old = self.get(name)
            entry = BucketEntry(name, old.number, old.log_id, document, 0)
            if self._append(entry, old.sequence):
                return self.get(name)

    def delete(self, name: str) -> BucketEntry:
        """Take a bucket out; gives what it was. Raises `BucketNotFoundError`."""
        while True:
            old = self.get(name)
            gone = BucketEntry(
                name, old.number, old.log_id, old.document, 0, is_deleted=True
            )
            if self._append(gone, old.sequence):
                return old

    def _append(self, entry: BucketEntry, expected: int) -> bool:
        subject = subject_of(Kind.BUCKET, entry.name.encode())
        try:
            self.log.append([_encode(entry)], expect={subject: expected})
        except ConflictError:
            return False
        return True
