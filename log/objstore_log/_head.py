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
from objstore_log._storage import File, Mapped, Storage

HEAD_NAME: Final = "head"


class HeadFile:
    """Reads and publishes the head. Only the holder of the log's lock publishes."""

    def __init__(self, storage: Storage, log_id: bytes) -> None:
        self._log_id = log_id
        self._file: File = storage.open(HEAD_NAME, create=True)
        self._map: Mapped | None = self._file.map(HEAD_BYTES)
        self._raw = b""
        self.newest: Head | None = None
        """What the last `read` gave."""

    def _bytes(self) -> bytes:
        """Look at the file: every look-up does, so it must cost next to nothing."""
        mapped = self._map
        if mapped is not None:
            try:
                return mapped[:HEAD_BYTES]
            except ValueError:
                # another thread has closed it this moment
                return self._file.read_at(0, HEAD_BYTES)
        return self._file.read_at(0, HEAD_BYTES)

    def changed(self) -> bool:
        """Say whether somebody published since the last `read`."""
        return self._bytes() != self._raw

    def read(self) -> Head | None:
        """Give the newest head that is whole."""
        raw = self._bytes()
        if raw != self._raw:
            # a torn read shows one old slot at worst, which is a lower bound too
            self.newest = decode_head(raw, self._log_id)
            self._raw = raw
        if self._map is None:
            # the first publishing has made it long enough
            self._map = self._file.map(HEAD_BYTES)
        return self.newest

    def publish(self, head: Head) -> None:
        """Write the next slot; not synced, because the head is only a lower bound."""
        position, slot = slot_position(head.generation), encode_head_slot(head)
        self._file.write_at(position, [slot])
        raw = self._bytes()
        if raw[position : position + len(slot)] == slot and len(raw) == HEAD_BYTES:
            # what was just encoded need not be decoded
            self.newest, self._raw = head, raw
        else:
            self.read()

    def close(self) -> None:
        """Close the file and its map."""
        mapped, self._map = self._map, None
        if mapped is not None:
            mapped.close()
        self._file.close()
