"""What the embedded engine gives past its operations: reads that come again."""

from __future__ import annotations

import sys

from objstore._embedded_store import EmbeddedStore
from objstore.errors import ObjStoreError


class EmbeddedAtHand:
    """One handle on a store directory, as far as reads need it that come again."""

    _store: EmbeddedStore
    _is_closed: bool

    def peek(self, bucket: str, name: str, *, wait: bool) -> bytes | None:
        """Give a small object's content, verified by its digest, if at hand."""
        store = self._store
        if self._is_closed or not store.dropped.is_settled or sys.is_finalizing():
            return None
        try:
            found = store.at_hand(bucket)
            return None if found is None else found.peek(name, wait=wait)
        except (ObjStoreError, OSError, UnicodeEncodeError):
            # the long way says it in the words that it needs
            return None

    def peek_range(
        self, bucket: str, name: str, offset: int, size: int, *, wait: bool
    ) -> bytes | None:
        """Give bytes of an object, verified by their chunks' checksums, if at hand."""
        store = self._store
        if self._is_closed or not store.dropped.is_settled or sys.is_finalizing():
            return None
        try:
            found = store.at_hand(bucket)
            if found is None:
                return None
            return found.peek_range(name, offset, size, wait=wait)
        except (ObjStoreError, OSError, ValueError):
            # the long way says it in the words that it needs
            return None
