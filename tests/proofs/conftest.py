"""A store in files, and the same store as another process has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import objstore
from objstore import blocking
from objstore._embedded import EmbeddedEngine
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore._store_directory import system_environment
from objstore_log import FileStorage


@pytest.fixture
def store(tmp_path: Path) -> Iterator[blocking.Store]:
    """Give a store in files."""
    with objstore.open(tmp_path / "store", retention_interval=None) as opened:
        yield opened


@pytest.fixture
def other(tmp_path: Path, store: blocking.Store) -> Iterator[blocking.Store]:
    """Give the same store as another process has it: nothing in memory is shared."""
    assert store.url.endswith("store")
    storage = FileStorage(tmp_path / "store")
    engine = EmbeddedEngine(open_on_storage(storage, system_environment()))
    with blocking.Store(Session(engine)) as opened:
        yield opened
