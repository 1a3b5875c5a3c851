"""The files that the demo works on, and the ledger of what its store must hold."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# Of the standard library only itself: not what was installed into it, nor caches.
_NOT_LIBRARY: Final = frozenset({"site-packages", "dist-packages", "__pycache__"})


@dataclass(frozen=True, slots=True)
class File:
    """A file of the tree as it was found."""

    name: str
    path: Path
    size: int
    time_ns: int

    def is_unchanged(self) -> bool:
        """Tell whether it still is what it was when it was found."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return False
        return (self.size, self.time_ns) == (status.st_size, status.st_mtime_ns)

    def digest(self) -> str:
        """Compute the SHA-256 of its content, in hex."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(slots=True)
class Ledger:
    """What was acknowledged, and so has to be there."""

    contents: dict[str, str] = field(default_factory=dict[str, str])
    """The SHA-256 of every object, in hex."""
    links: dict[str, str] = field(default_factory=dict[str, str])
    """The target of every link."""
    changes: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Sequence and name of every change whose acknowledgement tells them."""

    def names(self) -> list[str]:
        """Give all names as a listing has to give them."""
        return sorted([*self.contents, *self.links], key=str.encode)

    def digest_behind(self, name: str) -> str:
        """Give the digest of what reading a name has to give."""
        return self.contents[self.links.get(name, name)]


def standard_library() -> Path:
    """Give the directory of this Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def find_files(root: Path) -> Iterator[File]:
    """Give the files below a directory that can be read, in a fixed order."""
    left_out = _NOT_LIBRARY if root == standard_library() else frozenset[str]()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - left_out)
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and os.access(path, os.R_OK):
                status = path.stat()
                yield File(
                    path.relative_to(root).as_posix(),
                    path,
                    status.st_size,
                    status.st_mtime_ns,
                )


def disk_bytes(directory: Path) -> int:
    """Give what a directory occupies on the disk; holes in files do not count."""
    return sum(
        path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file()
    )
