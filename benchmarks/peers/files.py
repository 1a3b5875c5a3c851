"""Plain files, as a careful or a hasty programmer writes them: aside, then rename."""

from __future__ import annotations

import os
from pathlib import Path
from threading import get_ident

from benchmarks.peers.base import Adapter, BlockingPeer

PIECE_BYTES = 1 << 20


class FilesPeer(BlockingPeer):
    """A file an object."""

    def __init__(self, folder: Path, *, is_synced: bool) -> None:
        self._folder = f"{folder}/"
        self._is_synced = is_synced
        self._made: set[str] = set()

    def put(self, name: str, data: bytes) -> None:
        path = self._folder + name
        parent = path.rpartition("/")[0]
        if parent not in self._made:
            Path(parent).mkdir(parents=True, exist_ok=True)
            self._made.add(parent)
            self._sync_folder(self._folder)
        # two tasks may put under one name
        aside = f"{path}.{get_ident()}.tmp"
        with open(aside, "wb", buffering=0) as file:
            file.write(data)
            if self._is_synced:
                os.fsync(file.fileno())
        os.rename(aside, path)
        self._sync_folder(parent)

    def _sync_folder(self, folder: str) -> None:
        if self._is_synced:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def get(self, name: str) -> object:
        with open(self._folder + name, "rb", buffering=0) as file:
            return file.read()

    def stream(self, name: str) -> None:
        with open(self._folder + name, "rb", buffering=0) as file:
            while file.read(PIECE_BYTES):
                pass

    def delete_one(self, name: str) -> None:
        path = self._folder + name
        os.unlink(path)
        self._sync_folder(path.rpartition("/")[0])

    def list_names(self, prefix: str = "") -> int:
        """Walk, with the size of each, as a listing of objects has it."""
        count = 0
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = f"{folder}/{name}"
                if path.startswith(self._folder + prefix):
                    count += os.stat(path).st_size >= 0
        return count

    def close(self) -> None:
        """Have nothing to close."""


ADAPTERS = [
    Adapter(
        "files synced",
        "synced (write aside, fsync, rename, fsync of the folder)",
        lambda folder: FilesPeer(folder, is_synced=True),
    ),
    Adapter(
        "files",
        "written (write aside, rename)",
        lambda folder: FilesPeer(folder, is_synced=False),
    ),
]
