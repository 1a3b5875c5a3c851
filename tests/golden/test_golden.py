"""The golden stores, read by the code and by a reader that knows only the page.

`independent_reader.py` was written from docs/format.md alone by someone who had not
seen the code. What it reads, the page says.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest
from tests.golden.independent_reader import damage, read_store
from tests.golden.make_golden import START_NS, make

from objstore._embedded import EmbeddedEngine
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore.blocking import Store
from objstore_log import Environment, FileStorage

HERE = Path(__file__).resolve().parent
GOLDEN = sorted(path for path in HERE.iterdir() if (path / "STORE").exists())
READER_LINES_MAX = 200
Content = dict[str, dict[str, str]]


def _expected(directory: Path) -> Content:
    text = directory.with_suffix(".json").read_text(encoding="utf-8")
    expected: Content = json.loads(text)
    return expected


def _by_page(directory: Path) -> Content:
    return {
        bucket: {name: hashlib.sha256(data).hexdigest() for name, data in names.items()}
        for bucket, names in read_store(directory).items()
    }


def _by_code(directory: Path) -> Content:
    # as of the day it was made: an object in it expires an hour later
    clock = Environment(lambda: START_NS, time.monotonic, bytes)
    storage = FileStorage(directory)
    with Store(Session(EmbeddedEngine(open_on_storage(storage, clock)))) as store:
        return {
            name: {
                info.name: hashlib.sha256(bucket.get(info.name)).hexdigest()
                for info in bucket.list()
                if info.link is None
            }
            for name in store.object_store_names()
            for bucket in [store.object_store(name)]
        }


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest) -> Path:
    """Give a golden store as committed; nobody may write into it."""
    path: Path = request.param
    return path


def test_there_are_golden_stores() -> None:
    """At least one version is kept."""
    assert GOLDEN


def test_page_alone_reads_a_golden_store(golden: Path) -> None:
    """The format page alone suffices to read every object, and finds no damage."""
    assert _expected(golden) == _by_page(golden)
    assert [] == damage(golden)


def test_code_reads_a_golden_store(golden: Path, tmp_path: Path) -> None:
    """The current code reads what an earlier one wrote."""
    copy = tmp_path / "store"
    shutil.copytree(golden, copy)

    assert _expected(golden) == _by_code(copy)


def test_page_reads_what_the_code_writes_today(tmp_path: Path) -> None:
    """A store that the current code makes is readable from the page alone."""
    made = tmp_path / "today"
    make(made)

    assert _expected(made) == _by_page(made)
    assert [] == damage(made)


def test_independent_reader_is_short() -> None:
    """The page is simple enough for a reader of 200 lines."""
    text = (HERE / "independent_reader.py").read_text(encoding="utf-8")

    assert len(text.splitlines()) <= READER_LINES_MAX
