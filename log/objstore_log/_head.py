"""The head file of a log: published after every commit, read before every look-up."""

from __future__ import annotations

from typing import Final

from objstore_log._head_slot import (
    HEAD_BYTES,
    Head,
    decode_head,
    encode_head_slot,
    slot_position,
)
from objstore_log._storage import File, Storage

HEAD_NAME: Final = "head"


class HeadFile:
    """Reads and publishes the head. Only the holder of the log's lock publishes."""

    def __init__(self, storage: Storage, log_id: bytes) -> None:
        self._log_id = log_id
        self._file: File = storage.open(HEAD_NAME, create=True)
        self._raw = b""
        self._head: Head | None = None

    def changed(self) -> bool:
        """Say whether somebody published since the last `read`."""
        return self._file.read_at(0, HEAD_BYTES) != self._raw

    @property
    def newest(self) -> Head | None:
        """Give what the last `read` gave."""
        return self._head

    def read(self) -> Head | None:
        """Give the newest head that is whole."""
        raw = self._file.read_at(0, HEAD_BYTES)
        if raw != self._raw:
            # a torn read shows one old slot at worst, which is a lower bound too
            self._head = decode_head(raw, self._log_id)
            self._raw = raw
        return self._head

    def publish(self, head: Head) -> None:
        """Write the next slot; not synced, because the head is only a lower bound."""
        self._file.write_at(slot_position(head.generation), [encode_head_slot(head)])
        self.read()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
