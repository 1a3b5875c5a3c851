"""The command that backs a store up, and makes a store from a backup."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from objstore import BackupReport, blocking
from objstore.cli import _render
from objstore.cli._context import Context, Shared, number
from objstore.cli._failures import DAMAGED, UsageError
from objstore.cli._progress import progress
from objstore.cli._values import size_text

DEFAULT_STORE = "./objstore-data"


def backup(
    directory: Annotated[str, Parameter(name="DIR")],
    /,
    *,
    keep: Annotated[
        int | None, Parameter(help="How many generations stay; all unless given.")
    ] = None,
    restore: Annotated[
        bool,
        Parameter(help="The other way round: make the store, a new one, from DIR."),
    ] = False,
    generation: Annotated[
        str | None, Parameter(help="Which one to restore; the newest unless given.")
    ] = None,
    context: Shared,
) -> int:
    """Add a generation to a directory of backups; others may use the store meanwhile.

    Each generation is a store of its own, which --store opens. Ends with status 5
    when something was damaged already; it is copied as it is.
    """
    if restore:
        if keep is not None:
            problem = "--keep is about making a backup, not about --restore"
            raise UsageError(problem)
        return _restore(context, directory, generation)
    if generation is not None:
        problem = "--generation says what to restore; write --restore, too"
        raise UsageError(problem)
    with context.open() as store, progress("backup") as tell:
        report = store.backup(directory, keep=keep, progress=tell)
    return _emit(context, report, "backed up")


def _restore(context: Context, directory: str, generation: str | None) -> int:
    target = context.url or DEFAULT_STORE
    with progress("restore") as tell:
        report = blocking.restore_backup(
            directory,
            Path(os.fsdecode(target.removeprefix("file:"))),
            generation=generation,
            progress=tell,
        )
    return _emit(context, report, "restored")


def _emit(context: Context, report: BackupReport, verb: str) -> int:
    sizes = (size_text(report.bytes_copied), size_text(report.bytes_reused))
    lines = [
        *_render.damage_lines(report.damaged),
        f"{verb} {number(len(report.buckets), 'bucket')}",
        f"copied {sizes[0]}, reused {sizes[1]}",
        report.path,
    ]
    context.emit(_render.document_of(report), lines)
    return DAMAGED if report.damaged else 0
