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
from objstore._operations_write import Progress
from objstore._types import Damage, VerifyReport
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

    def __init__(self, progress: Progress | None, *, is_measured: bool = True) -> None:
        self.objects = 0
        self.bytes = 0
        self.damaged: list[Damage] = []
        self.hit: list[StoredMeta] = []
        """Versions in this bucket whose content is damaged."""
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
            stored.sequence == sequence
            or any(
                extent.first <= sequence < extent.first + extent.count
                for extent in stored.extents
            )
            for stored in self.hit
        )

    def report(self) -> VerifyReport:
        """Give the result; what was done is all that there was."""
        if self._told != (self.bytes, self.bytes):
            self._tell(self.bytes)
        ok = not self.damaged
        return VerifyReport(ok, self.objects, self.bytes, self.damaged)


def damage_of(bucket: str, found: ops.DamageFound) -> Damage:
    """Give an engine's finding as users see it."""
    return Damage(
        bucket, found.name, found.sequence, found.segment, found.position, found.reason
    )


def verify_bucket(
    scope: Scope, prefix: str, *, repair: bool, progress: Progress | None
) -> Steps[VerifyReport]:
    """Check a bucket's records and contents; with a prefix, only those contents."""
    check_query(prefix)
    # Nobody knows beforehand how much lies behind a prefix.
    check = _Check(progress, is_measured=not prefix)
    yield from _check_bucket(scope, prefix, check, repair=repair)
    return check.report()


def verify_store(
    engine: Engine, *, repair: bool, progress: Progress | None
) -> Steps[VerifyReport]:
    """Check every bucket."""
    check = _Check(progress)
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


def _check_bucket(
    scope: Scope, prefix: str, check: _Check, *, repair: bool
) -> Steps[None]:
    if repair:
        yield from call(ops.RepairCatalog(scope.bucket))
    records: list[ops.DamageFound] = []
    if not prefix:
        # On a full disk nobody may be able to say how much there is.
        with suppress(StorageError):
            usage = yield from call(ops.GetUsage(scope.bucket))
            # Dead records, which nobody has measured, come on top.
            check.expect(records=usage.stored_size, contents=usage.size)
        records = yield from _check_records(scope, check)
    place: str | None = None
    while True:
        rows = yield from next_rows(scope, Query(prefix), place)
        for stored in rows.metas:
            yield from _check_content(scope, stored, check)
        place = rows.next_start_after
        if place is None:
            break
    check.damaged += [
        damage_of(scope.bucket, found) for found in records if not check.explains(found)
    ]
    check.hit.clear()


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
    check.damaged.append(found)
    check.hit.append(stored)


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
    for bucket in (yield from call(ops.ListBuckets())):
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
