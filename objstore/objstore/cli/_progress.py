"""Progress bars: on standard error, and only when it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import TypeAlias

if sys.stderr.isatty():
    # Not when a command makes a bar: Ctrl-C while that is loaded could be lost.
    import_module("rich.progress")

Tell: TypeAlias = Callable[[int, int | None], object]
"""Takes the bytes that are done and their total, as the library gives them."""


@contextmanager
def progress(label: str) -> Generator[Tell | None]:
    """Show a bar for a block; gives nothing to tell when nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        # Standard output may be a pipe; rich would send its lines to the terminal.
        redirect_stdout=False,
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=None)

        def tell(done: int, total: int | None) -> None:
            # A total may be an estimate; no bar is more than full.
            whole = None if total is None else max(done, total)
            bar.update(task, completed=done, total=whole)

        yield tell


def behind(tell: Tell | None, done: int, total: int | None) -> Tell | None:
    """Let one part of a work go on where the parts before it ended."""
    if tell is None:
        return None
    return lambda more, _: tell(done + more, total)
