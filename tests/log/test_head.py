"""The head file: what a process knows of the head that it published itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from objstore_log import MemoryStorage
from objstore_log._head import HeadFile
from objstore_log._head_slot import Head
from objstore_log._storage import Buffer

LOG_ID = bytes(range(16))


def head(generation: int) -> Head:
    """Make a head that differs from the others by its generation."""
    return Head(LOG_ID, generation, 1, 300, 2, 200, 1, 0, bytes(8), 0)


def test_published_head_is_what_others_read() -> None:
    """Whoever publishes knows at once what everybody else decodes."""
    storage = MemoryStorage()
    own, other = HeadFile(storage, LOG_ID), HeadFile(storage, LOG_ID)
    for generation in (1, 2, 3):
        own.publish(head(generation))
        assert not own.changed()
        assert own.newest == head(generation) == other.read()


def test_head_that_was_not_written_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What stands in the file counts, not what was to be written."""
    storage = MemoryStorage()
    own = HeadFile(storage, LOG_ID)
    own.publish(head(1))

    def lose(_: int, buffers: Sequence[Buffer]) -> int:
        return sum(map(len, buffers))

    monkeypatch.setattr(own._file, "write_at", lose)
    own.publish(head(2))
    assert own.newest == head(1) == HeadFile(storage, LOG_ID).read()
