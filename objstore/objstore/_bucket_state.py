"""What a bucket's appends are judged by: its seal, its size and its change floor.

Taken from the catalog once, and followed from the log's records from there on, so that
nobody asks the catalog during a commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from objstore._bucket_records import seal_state
from objstore._meta_record import size_delta_of
from objstore._projection import Totals, totals_of
from objstore.errors import CorruptionError, StorageError
from objstore_log import Kind, Log, Record, subject_of
from objstore_log.errors import SequenceGoneError

SEALED: Final = 1
GONE: Final = 2
_SEAL_SUBJECT: Final = subject_of(Kind.SEAL, b"")
_STATE_KINDS: Final = frozenset({Kind.META, Kind.SEAL, Kind.FLOOR})
_PAGE: Final = 1_000
_TOTALS: Final = (
    "SELECT s.sequence, t.count, t.size, t.stored_size, t.floor, t.row_sum, t.checksum"
    " FROM catalog_state s, object_totals t"
)
_TRIES: Final = 2


def read_totals(log: Log) -> tuple[int, Totals]:
    """Read the catalog's sums and up to which sequence they hold.

    Raises:
        StorageError: they are damaged, and still are after a rebuild from the log.
    """
    for _ in range(_TRIES):
        rows = log.query(_TOTALS)
        totals = totals_of([row[1:] for row in rows])
        if totals is not None:
            return int(str(rows[0][0])), totals
        log.rebuild_catalog("the totals row is damaged")
    raise StorageError(
        path=log.path, operation="read the catalog", reason="the totals row is damaged"
    )


class BucketFollower:
    """Seal, size and floor as of the last record that the log has shown."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.seal = 0
        self.size = 0
        self.floor = 0
        """Changes at or below it may be gone."""
        self._through = 0
        self._load()
        log.add_listener(self.follow, self._pass_hole)

    def _load(self) -> None:
        """Take what the catalog has, and from the feed what it lacks.

        Waits for nobody: a relaxed log may show more than may be applied now.
        """
        log = self._log
        log.apply()
        self._through, totals = read_totals(log)
        self.size, self.floor = totals.size, totals.floor
        sequence, record = log.last(_SEAL_SUBJECT)
        if sequence:
            self.seal = _state_of_seal(log, sequence, record)
        while self._through < log.visible_sequence:
            try:
                page = log.feed(self._through, _PAGE, _STATE_KINDS)
            except CorruptionError as error:
                if error.sequence is None:
                    raise
                self._through = error.sequence
                continue
            self.follow(page.records)
            self._through = page.through

    def _pass_hole(self) -> None:
        """Take from the catalog what another process reclaimed before it was seen."""
        through, totals = read_totals(self._log)
        if through > self._through:
            self._through = through
            self.size = totals.size
            self.floor = max(self.floor, totals.floor)

    def follow(self, records: Sequence[Record]) -> None:
        """Take new records, in log order."""
        for record in records:
            if record.sequence <= self._through:
                continue
            self._through = record.sequence
            if record.kind == Kind.META and len(record.body):
                self.size += size_delta_of(bytes(record.body))
            elif record.kind == Kind.SEAL:
                self.seal = max(self.seal, seal_state(record))
            elif record.kind == Kind.FLOOR:
                floor = int.from_bytes(bytes(record.body[:8]), "little")
                self.floor = max(self.floor, floor)


def _state_of_seal(log: Log, sequence: int, record: Record | None) -> int:
    """Read what the last SEAL says; a damaged one counts as sealed."""
    if record is None:
        try:
            record = log.read_run(sequence, 1)[0]
        except (CorruptionError, SequenceGoneError):
            return SEALED
    return seal_state(record)
