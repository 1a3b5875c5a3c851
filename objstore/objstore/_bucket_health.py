"""Health of one bucket: scrubbing, the names of what is hit, its catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

from objstore._bucket_log import BucketLog
from objstore._bucket_repair import BucketRepair
from objstore._engine import DamageFound, RepairDone, StoredMeta, VerifyPage
from objstore._meta_record import decode_facts
from objstore._quarantine import Quarantine, stretch_name
from objstore_log import (
    STRETCH_BYTES,
    Comparison,
    FoundDamage,
    Kind,
    Log,
    ScrubToken,
    SegmentDamage,
    subject_of,
)

_ROWS: Final = 1_000
_SUBJECTS: Final = "subjects"
_METAS: Final = "metas"
_NEVER_NAMED: Final = (Kind.CHUNK, Kind.ABORT)


class BucketHealth:
    """Finds what is damaged in a bucket, and repairs it."""

    def __init__(self, bucket: BucketLog, quarantine: Quarantine) -> None:
        self._bucket = bucket
        self._quarantine = quarantine
        self._repair = BucketRepair(bucket, quarantine)

    # --- what is damaged ------------------------------------------------------

    def scrub(
        self, token: object | None, stretch_bytes: int = STRETCH_BYTES
    ) -> VerifyPage:
        """Check a stretch of the log and name what its damage hit."""
        assert token is None or isinstance(token, ScrubToken)
        page = self._bucket.log.scrub(token, stretch_bytes)
        found = [damage for item in page.damages for damage in self._named(item)]
        found += self._without_segment(page.missing)
        return VerifyPage(tuple(found), page.bytes, page.token)

    def _without_segment(
        self, missing: Sequence[tuple[int, int]]
    ) -> Iterator[DamageFound]:
        """Name the current metas that lie in no segment."""
        log = self._bucket.log
        for first, last in missing:
            log.apply()
            for sequence, name in log.query(
                "SELECT sequence, name FROM metas WHERE sequence BETWEEN ? AND ?",
                (first, last),
            ):
                yield DamageFound(
                    cast("bytes", name).decode(errors="replace"),
                    cast("int", sequence),
                    0,
                    0,
                    "the segment that holds it is missing",
                    is_structure=True,
                    is_missing=True,
                )

    def damaged(self) -> list[DamageFound]:
        """Name what opening found damaged."""
        found: list[DamageFound] = []
        for item in self._bucket.log.damages:
            found += self._named(as_found(item))
        return found

    def _named(self, found: FoundDamage) -> list[DamageFound]:
        """Give one row for each name that damage hit; none for dead chunks."""
        return untold(self._quarantine, found, list(self._rows(found)))

    def _rows(self, found: FoundDamage) -> Iterator[DamageFound]:
        header = found.damage.header
        if not found.sequences:
            yield damage_found(found, None, None, is_needed=False)
            return
        for sequence in found.sequences:
            names = self._names_at(sequence)
            if header is None:
                is_needed = bool(names)
            elif header.kind in _NEVER_NAMED:
                is_needed = bool(names)
                if not names:
                    continue
            else:
                subject = subject_of(header.kind, header.key)
                is_needed = self._bucket.log.last(subject)[0] == sequence
                if header.kind == Kind.META:
                    names = names or [header.key.decode(errors="replace")]
            for name in names or [None]:
                yield damage_found(found, name, sequence, is_needed=is_needed)

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

    # --- the catalog ----------------------------------------------------------

    def compare_catalog(self) -> list[DamageFound]:
        """Name what the catalog has other than the log says."""
        return differences(self._bucket.log)

    def is_catalog_sound(self, pause: Callable[[], bool]) -> bool:
        """Check rows and sums of the catalog alone, slowly."""
        return self._bucket.log.is_catalog_sound(pause)

    def repair_catalog(self, *, dry_run: bool) -> list[RepairDone]:
        """Write again what only the catalog has, then rebuild it if it differs."""
        salvaged = self._repair.salvage(dry_run=dry_run)
        if not dry_run:
            return [*salvaged, *rebuild(self._bucket.log)]
        return [*salvaged, *would_rebuild(self._bucket.log, salvaged)]

    # --- repair ---------------------------------------------------------------

    def quarantine(
        self, what: DamageFound | StoredMeta, reason: str, *, dry_run: bool
    ) -> RepairDone | None:
        """Save what is left of something damaged; `None` when it was saved before."""
        if not self._quarantine.is_kept:
            return None
        if isinstance(what, StoredMeta):
            return self._repair.quarantine(what, reason, dry_run=dry_run)
        if dry_run:
            return would_save_stretch(self._quarantine, what)
        return save_stretch(
            self._bucket.log, self._quarantine, what, self._bucket.entry.name
        )

    def restore(self, damaged: StoredMeta, now_ns: int, *, dry_run: bool) -> RepairDone:
        """Put the newest older version that is whole in the place of a damaged one."""
        return self._repair.restore(damaged, now_ns, dry_run=dry_run)

    def heal(self, segment: int, *, dry_run: bool) -> RepairDone | None:
        """Make header and footer of a segment whole."""
        return heal(self._bucket.log, segment, dry_run=dry_run)


def as_found(item: SegmentDamage) -> FoundDamage:
    """Give what opening found as a scrub gives it."""
    header = item.damage.header
    hit = () if header is None else (header.sequence,)
    return FoundDamage(item.segment, item.damage, hit)


def damage_found(
    found: FoundDamage, name: str | None, sequence: int | None, *, is_needed: bool
) -> DamageFound:
    """Give a finding of the log with what it hit."""
    damage = found.damage
    return DamageFound(
        name,
        sequence,
        found.segment,
        damage.position,
        damage.reason,
        damage.end,
        is_needed,
        found.is_structure,
        damage.is_missing,
    )


def untold(
    quarantine: Quarantine, found: FoundDamage, rows: list[DamageFound]
) -> list[DamageFound]:
    """Leave out what nobody needs of a stretch that a repair has saved."""
    if not quarantine.has(stretch_name(found.segment, found.damage.position)):
        return rows
    return [row for row in rows if row.is_needed or row.is_structure]


def differences(log: Log) -> list[DamageFound]:
    """Give one row for each name at which a log's catalog differs from it."""
    comparison: Comparison = log.compare_catalog()
    if comparison.is_damaged:
        reason = "a row of the catalog does not hold"
        return [DamageFound(None, None, 0, 0, reason, is_structure=True)]
    found: dict[tuple[str | None, int | None], DamageFound] = {}
    for rows, reason in (
        (comparison.only_log, "the catalog lacks what the log says"),
        (comparison.only_catalog, "the catalog says what the log does not say"),
    ):
        for row in rows:
            name, sequence = _name_of(row)
            key = name, sequence
            found.setdefault(
                key, DamageFound(name, sequence, 0, 0, reason, is_structure=True)
            )
    # sums and contents differ wherever a name does
    named = [item for key, item in found.items() if key != (None, None)]
    return named or list(found.values())


def _name_of(row: tuple[object, ...]) -> tuple[str | None, int | None]:
    """Give the name and the sequence that a row of a catalog is about."""
    if row[0] == _SUBJECTS:
        subject, sequence = cast("bytes", row[1]), cast("int", row[2])
        return subject[1:].decode(errors="replace") or None, sequence
    if row[1] == _METAS:
        name = cast("bytes", row[3]).decode(errors="replace")
        return name, cast("int", row[2])
    return None, None


def rebuild(log: Log) -> list[RepairDone]:
    """Rebuild a catalog that is not what its log says."""
    comparison = log.compare_catalog()
    if comparison.is_equal:
        return []
    log.rebuild_catalog("it is not what the log says")
    return [RepairDone("rebuilt", "the catalog was made anew from the log")]


def would_rebuild(log: Log, salvaged: Sequence[RepairDone]) -> list[RepairDone]:
    """Say whether a catalog differs by more than what is written again first."""
    said = {(done.name, done.sequence) for done in salvaged}
    if all((item.name, item.sequence) in said for item in differences(log)):
        return []
    return [RepairDone("rebuilt", "the catalog would be made anew from the log")]


def would_save_stretch(quarantine: Quarantine, found: DamageFound) -> RepairDone | None:
    """Say what `save_stretch` would do."""
    if quarantine.has(stretch_name(found.segment, found.position)):
        return None
    size = found.end - found.position
    detail = f"up to {size} damaged bytes would be saved: {found.reason}"
    return RepairDone("quarantined", detail, found.name, found.sequence)


def save_stretch(
    log: Log, quarantine: Quarantine, found: DamageFound, bucket: str
) -> RepairDone | None:
    """Save the bytes of a damaged stretch as they are."""
    name = stretch_name(found.segment, found.position)
    if quarantine.has(name):
        return None
    raw = log.mender.raw(found.segment, found.position, found.end)
    path = quarantine.save(f"{name}.bytes", [(0, raw)])
    quarantine.describe(
        name,
        {
            "bucket": bucket,
            "name": found.name,
            "sequence": found.sequence,
            "segment": found.segment,
            "position": found.position,
            "end": found.end,
            "bytes": len(raw),
            "reason": found.reason,
        },
    )
    detail = f"{len(raw)} damaged bytes were saved: {found.reason}"
    return RepairDone("quarantined", detail, found.name, found.sequence, path)


def heal(log: Log, segment: int, *, dry_run: bool) -> RepairDone | None:
    """Make header and footer of a segment whole; `None` when it cannot be done."""
    if not log.mender.heal(segment, dry_run=dry_run):
        return None
    has = "would have" if dry_run else "has"
    return RepairDone(
        "healed", f"segment {segment:08x} {has} a whole header and footer again"
    )
