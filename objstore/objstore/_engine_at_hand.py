"""The part of the engine protocol for what is read again and again.

It goes past the operations: a look at what the engine has at hand, or nothing.
"""

from __future__ import annotations

from typing import Protocol


class AtHand(Protocol):
    """Gives content without an operation, where that costs next to nothing."""

    def peek(self, bucket: str, name: str, *, wait: bool) -> bytes | None:
        """Give a name's newest content if that costs next to nothing.

        Guarantee: the version is the newest that readers may see, and the content has
        the digest that its document states.

        Args:
            bucket: the bucket.
            name: the name.
            wait: with `False`, the disk is not waited for.

        Returns:
            `None` for every other case; `Last` and `ReadChunks` then give it, or say
            what is wrong. Never a version that expires.
        """
        ...

    def peek_range(
        self, bucket: str, name: str, offset: int, size: int, *, wait: bool
    ) -> bytes | None:
        """Give bytes of a name's newest content if that costs next to nothing.

        Guarantee: the version is the newest that readers may see, and every chunk that
        holds one of the bytes was read whole and has passed its checksum.

        Args:
            bucket: the bucket.
            name: the name.
            offset: of the first byte.
            size: how many; at least one.
            wait: with `False`, the disk is not waited for.

        Returns:
            `None` for every other case; `Last` and `ReadChunks` then give it, or say
            what is wrong. Never a version that expires.
        """
        ...
