"""Checking what is stored: every record, and the digest of every live object."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from objstore import _engine as ops
from objstore._document import decode_document
from objstore._engine import Engine, Steps, StoredMeta, call
from objstore._expiry import Scope
from objstore._links import Version
from objstore._operations_list import Query, check_query, next_rows
from objstore._operations_read import consume
from objstore._operations_repair import Hit, damage_of, repair_found, repair_of
from objstore._operations_write import Progress
from objstore._types import Damage, Repair, VerifyReport
from objstore.errors import (
    BadObjectMetaError,
    BucketExistsError,
    BucketNotFoundError,
    CorruptionError,
    DigestMismatchError,
    StorageError,
)
from objstore_log.errors import SequenceGoneError


class _Check:
    """What one check has found so far. Pure."""

    def __init__(
        self,
        progress: Progress | None,
        *,
        dry_run: bool,
        is_measured: bool = True,
    ) -> None:
        self.objects = 0
        self.bytes = 0
        self.damaged: list[Damage] = []
        self.repaired: list[Repair] = []
        self.hits: list[Hit] = []
        """Versions in this bucket whose content is damaged."""
        self.dry_run = dry_run
        """A repair only says what it would do."""
        self._progress = progress
        self._is_measured = is_measured
        self._records_left = 0
        self._contents_left = 0
        self._told: tuple[int, int | None] | None = None

    def expect(self, *, records: int, contents: int) -> None:
        """Say how many bytes are about to come, as far as that is known."""
        self._records_left, self._contents_left = records, contents

    def add_records(self, size: int) -> None:
        """Count bytes of records that were read."""
        self._records_left = max(self._records_left - size, 0)
        self._add(size)

    def add_content(self, size: int) -> None:
        """Count bytes of contents that were read."""
        self._records_left = 0
        self._contents_left = max(self._contents_left - size, 0)
        self._add(size)

    def _add(self, size: int) -> None:
        self.bytes += size
        total = self.bytes + self._records_left + self._contents_left
        self._tell(total if self._is_measured else None)

    def _tell(self, total: int | None) -> None:
        if self._progress is not None:
            self._told = self.bytes, total
            self._progress(self.bytes, total)

    def explains(self, found: ops.DamageFound) -> bool:
        """Say whether a damaged record is one of a version that is named already."""
        sequence = found.sequence
        return sequence is not None and any(
            hit.stored.sequence == sequence
            or any(
                extent.first <= sequence < extent.first + extent.count
                for extent in hit.stored.extents
            )
            for hit in self.hits
        )

    def report(self) -> VerifyReport:
        """Give the result; what was done is all that there was."""
        if self._told != (self.bytes, self.bytes):
            self._tell(self.bytes)
        ok = not self.damaged
        return VerifyReport(
            ok, self.objects, self.bytes, self.damaged, self.repaired, self.dry_run
        )


def verify_bucket(
    scope: Scope,
    prefix: str,
    *,
    repair: bool,
    dry_run: bool,
    progress: Progress | None,
) -> Steps[VerifyReport]:
    """Check a bucket's records and contents; with a prefix, only those contents."""
    check_query(prefix)
    # Nobody knows beforehand how much lies behind a prefix.
    check = _Check(progress, dry_run=dry_run, is_measured=not prefix)
    yield from _check_bucket(scope, prefix, check, repair=repair)
    return check.report()


def verify_store(
    engine: Engine, *, repair: bool, dry_run: bool, progress: Progress | None
) -> Steps[VerifyReport]:
    """Check every bucket."""
    check = _Check(progress, dry_run=dry_run)
    yield from _check_registry(engine, check, repair=repair)
    for bucket in (yield from call(ops.ListBuckets())):
        try:
            yield from _check_bucket(Scope(engine, bucket), "", check, repair=repair)
        except (BucketNotFoundError, BucketExistsError):
            # It was deleted since they were listed, or another of its name was made.
            continue
        except CorruptionError as error:
            check.damaged.append(_damage_of_bucket(bucket, error))
    return check.report()


def _damage_of_bucket(bucket: str, error: CorruptionError) -> Damage:
    """Give what keeps a bucket from being opened; it hides no other bucket."""
    return Damage(
        bucket, None, error.sequence, error.segment, error.position, error.reason
    )


def _check_registry(engine: Engine, check: _Check, *, repair: bool) -> Steps[None]:
    """Check what says which buckets there are."""
    scope = Scope(engine, ops.REGISTRY)
    found = yield from _check_log(scope, check, repair=repair)
    yield from _conclude(scope, check, found, repair=repair)


def _check_bucket(
    scope: Scope, prefix: str, check: _Check, *, repair: bool
) -> Steps[None]:
    found: list[ops.DamageFound] = []
    if not prefix:
        # On a full disk nobody may be able to say how much there is.
        with suppress(StorageError):
            usage = yield from call(ops.GetUsage(scope.bucket))
            # Dead records, which nobody has measured, come on top.
            check.expect(records=usage.stored_size, contents=usage.size)
        found = yield from _check_log(scope, check, repair=repair)
    elif repair:
        yield from _repair_catalog(scope, check)
    place: str | None = None
    while True:
        rows = yield from next_rows(scope, Query(prefix), place)
        for stored in rows.metas:
            yield from _check_content(scope, stored, check)
        place = rows.next_start_after
        if place is None:
            break
    yield from _conclude(scope, check, found, repair=repair)


def _check_log(
    scope: Scope, check: _Check, *, repair: bool
) -> Steps[list[ops.DamageFound]]:
    """Check all records of a log, and its catalog against them."""
    found: list[ops.DamageFound] = []
    if repair:
        yield from _repair_catalog(scope, check)
    if not repair or check.dry_run:
        found += yield from call(ops.CompareCatalog(scope.bucket))
    # a meta whose segment is missing is what only the catalog has, too
    told = {(item.name, item.sequence) for item in found}
    found += [
        item
        for item in (yield from _check_records(scope, check))
        if item.segment or (item.name, item.sequence) not in told
    ]
    known = {(item.segment, item.position) for item in found}
    # what stands in no file any more is known from the opening alone
    found += [
        item
        for item in (yield from call(ops.Damaged(scope.bucket)))
        if item.is_missing and (item.segment, item.position) not in known
    ]
    return found


def _repair_catalog(scope: Scope, check: _Check) -> Steps[None]:
    for done in (yield from call(ops.RepairCatalog(scope.bucket, check.dry_run))):
        check.repaired.append(repair_of(scope.bucket, done))


def _conclude(
    scope: Scope, check: _Check, found: list[ops.DamageFound], *, repair: bool
) -> Steps[None]:
    """Tell what was found in one log, or repair it and tell what is left."""
    hits, left = check.hits, [item for item in found if not check.explains(item)]
    if repair:
        done = yield from repair_found(scope, hits, found, dry_run=check.dry_run)
        check.repaired += done.repaired
        if not check.dry_run:
            hits, left = done.hits, [item for item in left if item in done.found]
    check.damaged += [hit.damage for hit in hits]
    check.damaged += [damage_of(scope.bucket, item) for item in left]
    check.hits = []


def _check_records(scope: Scope, check: _Check) -> Steps[list[ops.DamageFound]]:
    found: list[ops.DamageFound] = []
    token: object | None = None
    while True:
        page = yield from call(ops.VerifyRecords(scope.bucket, token))
        found += page.damaged
        check.add_records(page.bytes)
        token = page.token
        if token is None:
            return found


def _check_content(scope: Scope, stored: StoredMeta, check: _Check) -> Steps[None]:
    """Read a version as a reader would."""
    damage = partial(Damage, scope.bucket, stored.name, stored.sequence)
    check.objects += 1
    try:
        return (yield from _read(scope, stored, check))
    except CorruptionError as error:
        found = damage(error.segment, error.position, error.reason)
    except (DigestMismatchError, BadObjectMetaError) as error:
        found = damage(0, 0, str(error))
    except SequenceGoneError:
        last = yield from call(ops.Last(scope.bucket, stored.name))
        if last is None or last.sequence != stored.sequence:
            return
        found = damage(0, 0, "its content is missing")
    check.hits.append(Hit(found, stored))


def _read(scope: Scope, stored: StoredMeta, check: _Check) -> Steps[None]:
    document = decode_document(stored.document)
    if not stored.size:
        return
    pin = yield from call(ops.Pin(scope.bucket, stored))
    version = Version(scope, stored, document, pin)
    try:
        yield from consume(
            version,
            lambda pieces: check.add_content(sum(len(piece) for piece in pieces)),
        )
    finally:
        pin.release()


def found_at_opening() -> Steps[list[Damage]]:
    """Give what opening found damaged, without a check."""
    damaged: list[Damage] = []
    for bucket in (ops.REGISTRY, *(yield from call(ops.ListBuckets()))):
        try:
            found = yield from call(ops.Damaged(bucket))
        except BucketExistsError:
            # Another process made one of its name.
            continue
        except CorruptionError as error:
            damaged.append(_damage_of_bucket(bucket, error))
            continue
        damaged += [damage_of(bucket, one) for one in found]
    return damaged
