"""Log 0: which buckets there are, their configurations, their logs.

A damaged record must not cost a bucket with everything in it, so each change stands in
the log twice, one record behind the other, in one batch.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from objstore._engine import BucketOptions
from objstore._json import loads
from objstore.errors import (
    BucketExistsError,
    BucketNotFoundError,
    CorruptionError,
)
from objstore_log import Appended, Kind, Log, NewRecord, Record, subject_of
from objstore_log.errors import ConflictError, SequenceGoneError

REGISTRY_NUMBER: Final = 0
_PAGE: Final = 1_000
_BUCKETS_MAX: Final = 1_000_000
"""More than a store can have in use."""


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
    body: dict[str, Any] = loads(bytes(record.body))
    is_repeat = bool(body.get("repeats"))
    return BucketEntry(
        record.key.decode(),
        body["number"] or record.sequence - is_repeat,
        bytes.fromhex(body["log_id"]),
        orjson.dumps(body["config"]),
        record.sequence,
        body.get("deleted", False),
        is_repeat,
    )


def _encode(entry: BucketEntry) -> NewRecord:
    body: dict[str, Any] = {
        "number": entry.number,
        "log_id": entry.log_id.hex(),
        "config": loads(entry.document),
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
        self._gone: set[int] = set()
        self._newest: BucketEntry | None = None
        self._has_unnamed = False
        """A record is lost and does not say of which bucket it was."""
        self._through = 0
        self._lock = threading.Lock()
        self._doubtful: set[str] = set()
        """Buckets of which a change failed, and may take effect yet."""

    def _follow(self) -> None:
        if self.log.visible_sequence == self._through:
            return
        with self._lock:
            while self._through < self.log.visible_sequence:
                self._through = self._follow_page()
            if self._has_unnamed:
                self._name_lost()

    def _follow_page(self) -> int:
        try:
            page = self.log.feed(self._through, _PAGE, frozenset({Kind.BUCKET}))
        except CorruptionError as error:
            if error.sequence is None:
                raise
            if error.name is None:
                self._has_unnamed = True
            elif not self._is_repeat(error.sequence):
                self._damaged[error.name] = error
            return error.sequence
        for record in page.records:
            entry = self._newest = _decode(record)
            self._entries[entry.name] = entry
            self._damaged.pop(entry.name, None)
            if entry.is_deleted:
                self._gone.add(entry.number)
        return page.through

    def _name_lost(self) -> None:
        """Name the buckets whose last change is lost, as far as the catalog knows."""
        start = subject_of(Kind.BUCKET, b"")
        for subject, sequence in self.log.subjects(start, None, _BUCKETS_MAX):
            name = subject[len(start) :].decode(errors="replace")
            found = self._entries.get(name)
            known = 0 if found is None else found.sequence + (not found.is_repeat)
            if subject.startswith(start) and known < sequence:
                self._damaged[name] = CorruptionError(
                    path=self.log.path,
                    segment=0,
                    position=0,
                    sequence=sequence,
                    name=name,
                    reason="its last change in the registry is lost",
                )
        self._has_unnamed = False

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
        # asked once: another thread may be reading the repetition, which mends it
        damage = self._damaged.get(name)
        if damage is not None:
            # a new one: each raise would add to the traceback of the same
            raise CorruptionError(**damage.facts)
        return self._entries.get(name)

    def is_newest(self, entry: BucketEntry) -> bool:
        """Say whether an entry is what is known of its name; False when in doubt."""
        if self.log.visible_sequence != self._through or self._damaged:
            return False
        newest = self._entries.get(entry.name)
        return newest is entry or newest == entry

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
        # copied at one stroke: another thread may be taking in new ones
        entries = list(self._entries.values())
        return [item for item in entries if item.name not in damaged]

    def damaged_names(self) -> list[str]:
        """Give the names of buckets whose last change is damaged."""
        self._follow()
        return list(self._damaged)

    @property
    def through(self) -> int:
        """Give the sequence that the last answer was as of."""
        return self._through

    def known_numbers(self) -> set[int]:
        """Give the numbers of its own log and of those of all buckets there were."""
        self._follow()
        current = {entry.number for entry in list(self._entries.values())}
        return {REGISTRY_NUMBER, *current, *self._gone}

    def name_at(self, sequence: int) -> str | None:
        """Give the bucket whose last change stands at a sequence, once or twice."""
        self._follow()
        for entry in list(self._entries.values()):
            first = entry.sequence - entry.is_repeat
            if first <= sequence <= first + 1:
                return entry.name
        return None

    def restate_damaged(self, *, dry_run: bool) -> list[str]:
        """Say again what one record alone says; give the names of these buckets.

        A name that somebody changes meanwhile is left alone: it is said twice then.
        """
        self._follow()
        done: list[str] = []
        for entry in self.entries():
            if self._is_said_twice(entry):
                continue
            if dry_run or self._append(entry, self._last(entry.name)) is not None:
                done.append(entry.name)
        return done

    def _is_said_twice(self, entry: BucketEntry) -> bool:
        try:
            self.log.read_run(entry.sequence - entry.is_repeat, 2)
        except (CorruptionError, SequenceGoneError):
            return False
        return True

    def is_gone(self, number: int) -> bool:
        """Say whether the log of that number was a bucket's that is deleted."""
        self._follow()
        return number in self._gone

    def create(self, name: str, document: bytes, log_id: bytes) -> BucketEntry:
        """Add a bucket; gives it as it was made, though it may be deleted already.

        Raises:
            BucketExistsError: there is one.
        """
        while True:
            last = self._last(name)
            found = self.find(name)
            if found is not None and not found.is_deleted:
                raise BucketExistsError(bucket=name)
            # number 0: that of the record itself, which nobody else can get
            new = BucketEntry(name, 0, log_id, document, 0)
            made = self._append(new, last)
            if made is not None:
                return made

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
            changed = self._append(replace(found, document=document), last)
            if changed is not None:
                return changed

    def delete(self, name: str, log_id: bytes) -> bool:
        """Take a bucket out; False when another one has the name by now.

        Raises:
            BucketNotFoundError: there is no such bucket.
        """
        while True:
            last = self._last(name)
            found = self.get(name)
            if found.log_id != log_id:
                return False
            if self._append(replace(found, is_deleted=True), last) is not None:
                return True

    def is_undecided(self, name: str) -> bool:
        """Say whether `settle` has something to do."""
        return name in self._doubtful

    def settle(self, name: str) -> None:
        """Have it decided what became of a change of a bucket that failed.

        Else it might take effect behind what is acknowledged in the bucket by then.
        """
        if name in self._doubtful:
            # under the log's lock whatever an earlier append left is taken in, or void
            self.log.append([])
            self._doubtful.discard(name)

    def _last(self, name: str) -> int:
        """Give the sequence of a name's last record, damaged or not."""
        return self.log.last(subject_of(Kind.BUCKET, name.encode()))[0]

    def _append(self, entry: BucketEntry, expected: int) -> BucketEntry | None:
        """Say it twice, in one batch; give the entry as it is then read.

        Returns:
            `None` when the name is not at the expected sequence.
        """
        subject = subject_of(Kind.BUCKET, entry.name.encode())
        once = replace(entry, is_repeat=False)
        again = replace(entry, is_repeat=True)
        try:
            appended: Appended = self.log.append(
                [_encode(once), _encode(again)], expect={subject: expected}
            )
        except ConflictError:
            return None
        except BaseException:
            self._doubtful.add(entry.name)
            raise
        return replace(
            again,
            number=entry.number or appended.first_sequence,
            sequence=appended.last_sequence,
        )
