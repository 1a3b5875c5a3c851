"""Retention beside puts that end at the worst moment: no content of theirs goes.

What is dead is judged by the catalog; a put that the catalog does not have yet must be
protected by being too new, or by its process's announcement, without a gap in between.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore._bucket_log import BucketLog
from objstore._embedded import EmbeddedEngine
from objstore._handles import Session
from objstore._open_stores import open_on_storage
from objstore.blocking import Store
from objstore_log import Environment, FileStorage, Log
from objstore_log import _space as space
from objstore_log._commit import Committer, _Batch
from objstore_log._commit_loop import CommitLoop

from .test_store_machine import kill

CONTENT = bytes(range(256)) * 400
LARGE = CONTENT * 60


def _engine(folder: Path) -> EmbeddedEngine:
    """Open the place as another process would."""
    environment = Environment(time.time_ns, time.monotonic, os.urandom)
    return EmbeddedEngine(
        open_on_storage(FileStorage(folder, create=True), environment)
    )


@pytest.fixture
def engines(tmp_path: Path) -> tuple[EmbeddedEngine, EmbeddedEngine]:
    """Give two engines on one place that has an empty bucket."""
    engines = _engine(tmp_path / "store"), _engine(tmp_path / "store")
    for engine in engines:
        Store(Session(engine)).object_store("b", create=True).list()
    return engines


def _at(
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    number: int,
    what: Callable[[], object],
) -> None:
    """Do something right behind a function's call of that number, counted from 0."""
    original = getattr(owner, name)
    calls: list[int] = []

    def call(*args: object, **options: object) -> object:
        answer = original(*args, **options)
        calls.append(len(calls))
        if calls[-1] == number:
            what()
        return answer

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("putting", [0, 1], ids=["here", "elsewhere"])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("function", ["apply", "catch_up"])
def test_put_beside_retention_is_kept(
    engines: tuple[EmbeddedEngine, EmbeddedEngine],
    monkeypatch: pytest.MonkeyPatch,
    putting: int,
    number: int,
    function: str,
) -> None:
    """An object put while retention looks, here or in another process, stays whole."""
    one, other = (Store(Session(engine)) for engine in engines)
    bucket = (one, other)[putting].object_store("b")
    for _ in range(2):
        bucket.put("old", CONTENT)
    with monkeypatch.context() as beside:
        _at(beside, Log, function, number, lambda: bucket.put("new", CONTENT))
        engines[0]._store.space("b").reclaim(time.time_ns(), dry_run=False)
    if not bucket.exists("new"):
        bucket.put("new", CONTENT)

    assert CONTENT == one.object_store("b").get("new")
    assert one.verify().ok


@pytest.mark.parametrize("putting", [0, 1], ids=["here", "elsewhere"])
@pytest.mark.parametrize(
    "look", [(Log, "apply", 0), (Log, "apply", 1), (space, "unfinished", 0)]
)
def test_large_put_that_ends_beside_retention_is_kept(
    engines: tuple[EmbeddedEngine, EmbeddedEngine],
    monkeypatch: pytest.MonkeyPatch,
    putting: int,
    look: tuple[object, str, int],
) -> None:
    """A put that takes its announcement back while retention looks stays whole."""
    one, other = (Store(Session(engine)) for engine in engines)
    bucket = (one, other)[putting].object_store("b")
    writer = bucket.open_writer("new")
    writer.write(LARGE)
    bucket.put("behind", b"")
    with monkeypatch.context() as beside:
        _at(beside, *look, writer.close)
        engines[0]._store.space("b").reclaim(time.time_ns(), dry_run=False)
    writer.close()

    assert LARGE == one.object_store("b").get("new")
    assert one.verify().ok


def _do_nothing(_: CommitLoop) -> None:
    """Leave the proof of the last batch to others."""


def _do_not_abort(*_: object) -> None:
    """Leave everything as the kill left it."""


def test_large_put_that_a_killed_process_committed_is_kept(
    engines: tuple[EmbeddedEngine, EmbeddedEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is whole counts, although its process died before it said so."""
    one, other = (Store(Session(engine)) for engine in engines)
    writer = other.object_store("b").open_writer("new")
    writer.write(LARGE)
    other.object_store("b").put("behind", b"")

    publish = Committer._publish_batch

    def die(committer: Committer, batch: _Batch, end: int, *, is_durable: bool) -> None:
        # not the committer thread's own batch, which proves those before it
        if batch.is_visible and batch.tickets:
            raise KeyboardInterrupt
        publish(committer, batch, end, is_durable=is_durable)

    with monkeypatch.context() as dying:
        dying.setattr(Committer, "_publish_batch", die)
        dying.setattr(CommitLoop, "_commit_idle", _do_nothing)
        dying.setattr(BucketLog, "abort", _do_not_abort)
        with pytest.raises(KeyboardInterrupt):
            writer.close()
    kill(engines[1])
    one.run_retention()
    one.object_store("b").put("next", b"")

    assert one.verify().ok
    assert LARGE == one.object_store("b").get("new")
