"""Making directories whose names last."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from objstore_log._posix import sync_names


def missing_directories(path: Path) -> list[Path]:
    """Give those of a path that are not there, the uppermost first."""
    missing: list[Path] = []
    while not path.exists() and not path.is_symlink():
        missing.insert(0, path)
        path = path.parent
    return missing


def make_directory(path: Path) -> None:
    """Make a directory, durably, unless another process has just made it."""
    try:
        path.mkdir()
        is_own = True
    except FileExistsError:
        is_own = False
    try:
        sync_directory(path.parent)
    except OSError:
        # the next sync may be a success without this name: only a new one is durable
        if is_own:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def sync_names_above(path: Path) -> None:
    """Make the name of a directory durable, and those above it in its file system.

    Another process may have made them, and been killed before its sync. It put
    nothing into the last one before that.
    """
    device = path.stat().st_dev
    for directory in path.parents:
        if directory.stat().st_dev != device:
            break
        # what may not be read was not made by us
        with contextlib.suppress(PermissionError):
            sync_directory(directory)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_names(descriptor)
    finally:
        os.close(descriptor)
