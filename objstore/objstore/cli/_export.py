"""The commands that copy objects to and from a plain directory tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter

from objstore import TreeReport
from objstore.cli import _render
from objstore.cli._context import Context, Shared, number
from objstore.cli._failures import DAMAGED, FAILED
from objstore.cli._options import DryRun
from objstore.cli._progress import progress
from objstore.cli._values import prefix_at, size_text


def export(
    place: Annotated[str, Parameter(name="BUCKET/[PREFIX]")],
    directory: Annotated[str, Parameter(name="DIR")],
    /,
    *,
    dry_run: DryRun = False,
    context: Shared,
) -> int:
    """Write each object to a file in DIR, and what is said of them to a manifest.

    Run again it goes on: what is there with the right digest is left. Nothing is
    removed. Ends with status 5 when an object is damaged, 1 when one is left out.
    """
    at = prefix_at(place)
    with context.open() as store, progress("export") as tell:
        bucket = store.object_store(at.bucket)
        report = bucket.export_tree(directory, at.name, dry_run=dry_run, progress=tell)
    return _emit(context, report, "exported")


def import_(
    directory: Annotated[str, Parameter(name="DIR")],
    place: Annotated[str, Parameter(name="BUCKET/[PREFIX]")],
    /,
    *,
    dry_run: DryRun = False,
    context: Shared,
) -> int:
    """Store each file in DIR, as its manifest says when it was exported.

    Run again it goes on: what the bucket has with the right digest is left. Ends
    with status 5 when a file is not what was exported, 1 when one is left out.
    """
    at = prefix_at(place)
    with context.open() as store, progress("import") as tell:
        bucket = store.object_store(at.bucket)
        report = bucket.import_tree(directory, at.name, dry_run=dry_run, progress=tell)
    return _emit(context, report, "imported")


def _emit(context: Context, report: TreeReport, verb: str) -> int:
    context.emit(_render.document_of(report), _lines(report, verb))
    if report.damaged:
        return DAMAGED
    return FAILED if report.skipped else 0


def _lines(report: TreeReport, verb: str) -> Iterator[str]:
    for name, reason in report.damaged.items():
        yield f"damaged: {name}: {reason}"
    for name, reason in report.skipped.items():
        yield f"left out: {name}: {reason}"
    would = "would be " if report.dry_run else ""
    yield (
        f"{would}{verb}: {number(report.transferred, 'object')}, "
        f"{size_text(report.bytes)}; {report.unchanged:,} were there already"
    )
