"""Stores to back up: small segments, some of them sealed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.backups.harness_backups import SEGMENT_BYTES, content_of

import objstore
from objstore import blocking


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store once, of which each test gets a copy: that is faster."""
    path = tmp_path_factory.mktemp("template") / "store"
    with objstore.open(path, retention_interval=None) as opened:
        bucket = opened.create_object_store("b", segment_bytes=SEGMENT_BYTES)
        for number in range(12):
            bucket.put(f"o{number:02}", content_of(number))
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    """Give a store that is not open."""
    return Path(shutil.copytree(template, tmp_path / "store"))


@pytest.fixture
def store(path: Path) -> Iterator[blocking.Store]:
    """Give a store with twelve objects in several sealed segments."""
    with objstore.open(path, retention_interval=None) as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Give where the backups go."""
    return tmp_path / "backups"
