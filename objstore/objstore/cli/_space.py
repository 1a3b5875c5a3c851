"""The commands about health and space."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from objstore import VerifyReport
from objstore.cli import _render
from objstore.cli._context import Context, Shared, number
from objstore.cli._failures import DAMAGED
from objstore.cli._options import DryRun
from objstore.cli._progress import progress
from objstore.cli._values import prefix_at, size_text


def verify(
    place: Annotated[str | None, Parameter(name="BUCKET/[PREFIX]")] = None,
    /,
    *,
    repair: Annotated[
        bool,
        Parameter(
            help="Save what is left of what is damaged, put older versions that are "
            "whole in its place, rebuild catalogs that differ from their logs."
        ),
    ] = False,
    dry_run: DryRun = False,
    context: Shared,
) -> int:
    """Check every record, every catalog, and every object against its digest.

    Ends with status 5 when something is damaged, behind a repair what still is.
    With --dry-run it changes nothing, and says what a repair would do.
    """
    report = _verified(context, place, repair=repair, dry_run=dry_run)
    context.emit(_render.document_of(report), _render.verify_lines(report))
    return 0 if report.ok else DAMAGED


def _verified(
    context: Context, place: str | None, *, repair: bool, dry_run: bool
) -> VerifyReport:
    with context.open() as store, progress("verify") as tell:
        if place is None:
            return store.verify(repair=repair, dry_run=dry_run, progress=tell)
        at = prefix_at(place)
        bucket = store.object_store(at.bucket)
        return bucket.verify(at.name, repair=repair, dry_run=dry_run, progress=tell)


def run(*, dry_run: DryRun = False, context: Shared) -> None:
    """Mark what has expired, and give the space of what is gone back."""
    with context.open() as store:
        report = store.run_retention(dry_run=dry_run)
    would = "would be " if dry_run else ""
    context.emit(
        _render.document_of(report),
        [
            f"{would}expired: {number(report.expired, 'object')}",
            f"{would}removed: {number(report.removed, 'content')}",
            f"{would}given back: {size_text(report.bytes_reclaimed)}",
        ],
    )
