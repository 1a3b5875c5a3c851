"""Retention: marks what is due and gives dead bytes back, in all buckets in turn."""

from __future__ import annotations

import logging

from objstore import _engine as ops
from objstore._engine import Engine, Steps, call
from objstore._expiry import Scope, expire_due, is_due
from objstore._types import RetentionReport
from objstore.errors import (
    BucketExistsError,
    BucketNotFoundError,
    ClosedError,
    ObjStoreError,
)

_logger = logging.getLogger("objstore")


def run_retention(engine: Engine, *, dry_run: bool) -> Steps[RetentionReport]:
    """Mark what is due and give dead bytes back, bucket by bucket.

    Guarantee: a bucket that fails costs no other one its turn; the first failure is
    raised behind the last bucket, any other is logged.
    """
    report = RetentionReport(0, 0, 0, dry_run)
    first = None if dry_run else (yield from _remove_leftovers())
    for bucket in (yield from call(ops.ListBuckets())):
        try:
            more = yield from _run_in(Scope(engine, bucket), dry_run=dry_run)
        except (BucketNotFoundError, BucketExistsError):
            # It was deleted since it was listed, or another of its name was made.
            continue
        except ClosedError:
            raise
        except (ObjStoreError, OSError) as error:
            if first is None:
                first = error
            else:
                _logger.warning("%s: retention failed: %s", engine.url, error)
        else:
            report = RetentionReport(
                report.expired + more.expired,
                report.removed + more.removed,
                report.bytes_reclaimed + more.bytes_reclaimed,
                dry_run,
            )
    if first is not None:
        raise first
    return report


def _remove_leftovers() -> Steps[ObjStoreError | OSError | None]:
    """Give the failure, which costs no bucket its turn."""
    try:
        yield from call(ops.RemoveLeftovers())
    except ClosedError:
        raise
    except (ObjStoreError, OSError) as error:
        return error
    return None


def _run_in(scope: Scope, *, dry_run: bool) -> Steps[RetentionReport]:
    """Do it in one bucket."""
    state = yield from call(ops.GetBucket(scope.bucket))
    expired = 0
    if not state.sealed:
        expired = yield from (_count_due if dry_run else expire_due)(scope)
    gone = yield from call(ops.Reclaim(scope.bucket, dry_run=dry_run))
    return RetentionReport(expired, gone.removed, gone.bytes, dry_run)


def _count_due(scope: Scope) -> Steps[int]:
    """Count what a run would mark, a page at a time."""
    now_ns, count = scope.engine.purge_ns(), 0
    rows = yield from call(ops.Page(scope.bucket))
    while rows:
        count += sum(is_due(row, now_ns) for row in rows)
        rows = yield from call(ops.Page(scope.bucket, start_after=rows[-1].name))
    return count
