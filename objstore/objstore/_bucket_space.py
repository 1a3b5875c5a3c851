"""Space and health of one bucket: pins, reclaiming, scrubbing, names of what is hit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final, cast

from objstore._bucket_log import BucketLog
from objstore._engine import DamageFound, Reclaimed, StoredMeta, VerifyPage
from objstore._meta_record import decode_facts
from objstore._projection import checksum_of
from objstore_log import (
    FoundDamage,
    Kind,
    NewRecord,
    ScrubToken,
    SegmentPin,
    subject_of,
)
from objstore_log.errors import SequenceGoneError

NS_PER_S: Final = 1_000_000_000
_ROWS: Final = 1_000


class _Needs:
    """What a bucket's catalog says is needed."""

    def __init__(self, bucket: BucketLog) -> None:
        self._bucket = bucket
        self.floor = bucket.floor

    def live_runs(self, first: int, last: int) -> list[tuple[int, int]]:
        """Give the runs of live content that touch a range."""
        rows = self._bucket.log.query(
            "SELECT first, count, content, refs, checksum FROM extents"
            " WHERE first <= ? AND first >= COALESCE("
            "(SELECT MAX(first) FROM extents WHERE first <= ?), 0) ORDER BY first",
            (last, first),
        )
        runs: list[tuple[int, int]] = []
        for row in rows:
            if checksum_of(*row[:4]) != row[4]:
                # never judge by a damaged row: rebuild, then look again
                self._bucket.log.rebuild_catalog("an extent row is damaged")
                return self.live_runs(first, last)
            runs.append(cast("tuple[int, int]", (row[0], row[1])))
        return runs

    def has_current(self, first: int, last: int) -> bool:
        """Say whether a current meta lies in a range."""
        return bool(
            self._bucket.log.query(
                "SELECT 1 FROM metas WHERE sequence BETWEEN ? AND ? LIMIT 1",
                (first, last),
            )
        )


class ContentPin:
    """Keeps a version's content readable."""

    def __init__(self, pin: SegmentPin) -> None:
        self._pin = pin

    def release(self) -> None:
        """Let go; idempotent."""
        self._pin.release()


class BucketSpace:
    """Space and health of a bucket."""

    def __init__(self, bucket: BucketLog) -> None:
        self._bucket = bucket
        self._reclaiming = threading.Lock()

    def pin(self, meta: StoredMeta) -> ContentPin:
        """Keep a version's content. Raises `SequenceGoneError` when it is gone."""
        runs = [(extent.first, extent.count) for extent in meta.extents]
        pin = ContentPin(self._bucket.log.pin(runs))
        if self._bucket.is_reclaimed(meta):
            pin.release()
            raise SequenceGoneError(sequence=meta.sequence)
        return pin

    # --- reclaiming -----------------------------------------------------------

    def reclaim(self, now_ns: int, *, dry_run: bool) -> Reclaimed:
        """Raise the change floor, then give dead bytes back."""
        with self._reclaiming:
            if not dry_run:
                self._raise_floor(now_ns)
            self._bucket.log.apply()
            result = self._bucket.log.reclaim(_Needs(self._bucket), dry_run=dry_run)
        return Reclaimed(result.bytes, result.contents)

    def _raise_floor(self, now_ns: int) -> None:
        """Let changes older than `changes_ttl` go."""
        log = self._bucket.log
        keep_ns = int(self._bucket.options.changes_ttl_s * NS_PER_S)
        floor = log.sequence_at(now_ns - keep_ns)
        if floor <= self._bucket.floor:
            return
        subject = subject_of(Kind.FLOOR, b"")
        last, _ = log.last(subject)
        judged = log.visible_sequence
        body = floor.to_bytes(8, "little") + judged.to_bytes(8, "little")
        log.append([NewRecord(Kind.FLOOR, body)], expect={subject: last})

    # --- health ---------------------------------------------------------------

    def scrub(self, token: object | None) -> VerifyPage:
        """Check a stretch of the log and name what its damage hit."""
        assert token is None or isinstance(token, ScrubToken)
        page = self._bucket.log.scrub(token)
        found = [damage for item in page.damages for damage in self._named(item)]
        return VerifyPage(tuple(found), page.bytes, page.token)

    def damaged(self) -> list[DamageFound]:
        """Name what opening found damaged."""
        found: list[DamageFound] = []
        for item in self._bucket.log.damages:
            header = item.damage.header
            hit = () if header is None else (header.sequence,)
            found += self._named(FoundDamage(item.segment, item.damage, hit))
        return found

    def _named(self, found: FoundDamage) -> Iterator[DamageFound]:
        """Give one row for each name that damage hit; none for dead chunks."""
        damage = found.damage
        header = damage.header
        if not found.sequences:
            yield DamageFound(None, None, found.segment, damage.position, damage.reason)
            return
        for sequence in found.sequences:
            names = self._names_at(sequence)
            if header is not None and header.kind == Kind.META:
                names = names or [header.key.decode(errors="replace")]
            elif header is not None and header.kind == Kind.CHUNK and not names:
                continue
            for name in names or [None]:
                yield DamageFound(
                    name, sequence, found.segment, damage.position, damage.reason
                )

    def _names_at(self, sequence: int) -> list[str | None]:
        """Give the names whose current state needs a record."""
        log = self._bucket.log
        log.apply()
        rows = log.query("SELECT name FROM metas WHERE sequence = ?", (sequence,))
        names = [cast("bytes", row[0]).decode(errors="replace") for row in rows]
        content = log.query(
            "SELECT content FROM extents WHERE first <= ? AND first + count > ?",
            (sequence, sequence),
        )
        if content:
            names += self._sharers(cast("int", content[0][0]))
        return list(dict.fromkeys(names))

    def _sharers(self, content: int) -> Iterator[str]:
        """Give every name whose content begins at a chunk; reads all metas."""
        log = self._bucket.log
        after = 0
        while True:
            rows = log.query(
                "SELECT sequence, name, body FROM metas WHERE sequence > ?"
                " ORDER BY sequence LIMIT ?",
                (after, _ROWS),
            )
            for row in rows:
                facts = decode_facts(cast("bytes", row[2]))
                if facts.extents and facts.extents[0].first == content:
                    yield cast("bytes", row[1]).decode(errors="replace")
            if len(rows) < _ROWS:
                return
            after = cast("int", rows[-1][0])

    def repair_catalog(self) -> bool:
        """Rebuild the catalog when it is not what the log says."""
        log = self._bucket.log
        if log.check_catalog():
            before = list(log.catalog.rows())
            log.rebuild_catalog("it is compared with the log")
            return before != list(log.catalog.rows())
        log.rebuild_catalog("a row of it is damaged")
        return True
