"""Where a repair keeps what is left of damaged things; nothing is ever deleted there.

Law: docs/format.md, "Quarantine". What has its description there was saved whole, so
that a repair that was killed begins that thing again, and a second repair leaves it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import orjson

from objstore_log import Buffer, Storage

QUARANTINE_NAME: Final = "quarantine"
DESCRIPTION_SUFFIX: Final = ".json"
CONTENT_SUFFIX: Final = ".bytes"
_TEMPORARY_SUFFIX: Final = ".tmp"


def stretch_name(segment: int, position: int) -> str:
    """Give what a damaged stretch of a segment is called there."""
    return f"record-{segment:08x}-{position:016x}"


def version_name(sequence: int) -> str:
    """Give what a version is called there."""
    return f"version-{sequence:016x}"


def content_name(first: int) -> str:
    """Give what the content that begins with a chunk is called there."""
    return f"content-{first:016x}"


class Quarantine:
    """What was saved of one log."""

    def __init__(self, storage: Storage | None, number: int) -> None:
        """Prepare; no I/O.

        Args:
            storage: The store's directory; `None` keeps nothing.
            number: Of the log.
        """
        self._root = storage
        self._folder = f"{number:08x}"

    @property
    def is_kept(self) -> bool:
        """Say whether anything is kept at all."""
        return self._root is not None

    def has(self, name: str) -> bool:
        """Say whether something was saved whole."""
        root = self._root
        if root is None or QUARANTINE_NAME not in root.names():
            return False
        quarantine = root.directory(QUARANTINE_NAME)
        if self._folder not in quarantine.names():
            return False
        names = quarantine.directory(self._folder).names()
        return name + DESCRIPTION_SUFFIX in names

    def describe(self, name: str, document: object) -> str:
        """Save the description of something, which says that it is whole.

        Returns:
            Its place below the store's directory.
        """
        text = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        return self.save(name + DESCRIPTION_SUFFIX, [(0, text)])

    def save(self, file_name: str, pieces: Iterable[tuple[int, Buffer]]) -> str:
        """Save pieces at their offsets as a file that appears whole, durably."""
        return self._save(self._opened(), file_name, pieces)

    def save_once(self, file_name: str, pieces: Iterable[tuple[int, Buffer]]) -> str:
        """Save pieces as `save` does, or only go through them where a file is."""
        folder = self._opened()
        if file_name in folder.names():
            deque(pieces, maxlen=0)
            return self._place(file_name)
        return self._save(folder, file_name, pieces)

    def _place(self, file_name: str) -> str:
        return f"{QUARANTINE_NAME}/{self._folder}/{file_name}"

    def _save(
        self, folder: Storage, file_name: str, pieces: Iterable[tuple[int, Buffer]]
    ) -> str:
        with_pieces = file_name + _TEMPORARY_SUFFIX
        if with_pieces in folder.names():
            folder.remove(with_pieces)
        file = folder.open(with_pieces, create=True)
        try:
            for offset, piece in pieces:
                file.write_at(offset, [piece])
            file.sync()
        finally:
            file.close()
        folder.replace(with_pieces, file_name)
        folder.sync_directory()
        return self._place(file_name)

    def _opened(self) -> Storage:
        assert self._root is not None
        quarantine = self._root.directory(QUARANTINE_NAME, create=True)
        folder = quarantine.directory(self._folder, create=True)
        quarantine.sync_directory()
        self._root.sync_directory()
        return folder
