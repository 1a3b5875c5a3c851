"""One bucket name that several processes and threads make and delete at the same time.

Whoever comes first: each call succeeds, or raises what its documentation names. A file
that is gone, a log that is closed or looks damaged is nobody's business but the
engine's.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.golden.independent_reader import START, scan

import objstore
from objstore import blocking
from objstore._bucket_log import BucketLog
from objstore._dropped import Dropped
from objstore._embedded import EmbeddedEngine
from objstore._embedded_store import EmbeddedStore
from objstore._registry import REGISTRY_NUMBER
from objstore.errors import BucketNotFoundError, StorageError

from .bucket_race_worker import NAME, SLAB_BYTES, Caller, call_plainly

ROOT = Path(__file__).parents[2]
WAIT_S = 60
SECONDS = 3.0


def race(place: Path, seeds: list[int], seconds: float) -> Counter[str]:
    """Have processes race; give what their calls came to."""
    with objstore.open(place):
        """Make the store, which is not what they race for."""
    command = [sys.executable, "-m", "tests.proofs.bucket_race_worker", str(place)]
    running = [
        subprocess.Popen(
            [*command, str(seed), str(seconds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in seeds
    ]
    outcomes: Counter[str] = Counter()
    try:
        for process in running:
            # what is logged of a deleted bucket's files is no failure
            told, complaint = process.communicate(timeout=WAIT_S + seconds)
            assert process.returncode == 0, complaint
            done, wrong = json.loads(told)
            outcomes.update(done)
            assert wrong == [], "\n".join(wrong)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return outcomes


def check_after(place: Path, outcomes: Counter[str]) -> None:
    """Everything was done, the store is sound, and nothing is left of what is gone."""
    for way in ("create", "bind", "delete", "put", "get", "list_objects"):
        assert outcomes[way] > 0, outcomes
    with objstore.open(place) as store:
        store.object_store(NAME, create=True)
        store.run_retention()
        assert store.verify().ok
        assert store.damaged == []
        assert len(list((place / "logs").iterdir())) == 2, "its log and the registry"


def test_processes_race_for_one_name(tmp_path: Path) -> None:
    """Four processes see nothing but successes and documented errors."""
    place = tmp_path / "store"

    check_after(place, race(place, [1, 2, 3, 4], SECONDS))


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10, 100, 10))
def test_processes_race_for_long(tmp_path: Path, seed: int) -> None:
    """The same for longer."""
    place = tmp_path / "store"

    check_after(place, race(place, list(range(seed, seed + 4)), 10 * SECONDS))


def test_threads_race_for_one_name(
    tmp_path: Path, store: blocking.Store, other: blocking.Store
) -> None:
    """Threads that share a store, and one that shares nothing, see the same."""
    callers = [
        Caller(opened, call_plainly, random.Random(seed))
        for seed, opened in enumerate([store, store, store, other])
    ]
    threads = [
        threading.Thread(target=caller.run, args=(SECONDS,)) for caller in callers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [wrong for caller in callers for wrong in caller.wrong] == []
    outcomes = sum((caller.outcomes for caller in callers), Counter[str]())
    check_after(tmp_path / "store", outcomes)


# --- one moment at a time ------------------------------------------------------------


def embedded(store: blocking.Store) -> EmbeddedStore:
    """Give what a store stands on."""
    engine = store._engine
    assert isinstance(engine, EmbeddedEngine)
    return engine._store


def recreate(store: blocking.Store) -> None:
    """Make the bucket again, with something in it."""
    store.delete_object_store(NAME)
    store.create_object_store(NAME).put("x", b"new")


def once(
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    method: str,
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> None:
    """Let something happen before and behind the next call of a method."""
    original = getattr(owner, method)

    def call(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, method, original)
        before()
        try:
            return original(*args, **options)
        finally:
            after()

    monkeypatch.setattr(owner, method, call)


def refuse() -> None:
    """Fail as a file that is gone does."""
    raise StorageError(path="p", operation="open", reason="No such file or directory")


def test_created_bucket_may_be_deleted_before_the_call_returns(
    store: blocking.Store, other: blocking.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made, whatever another process did with it since."""
    registry = embedded(store).registry
    once(monkeypatch, registry, "create", after=lambda: other.delete_object_store(NAME))

    assert store.create_object_store(NAME).bucket == NAME
    assert store.object_store_names() == []


@pytest.mark.parametrize("method", ["create_object_store", "object_store"])
def test_bucket_that_exists_no_more_is_made(
    method: str,
    store: blocking.Store,
    other: blocking.Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found there, and deleted before it was looked at: made all the same."""
    registry = embedded(store).registry
    once(
        monkeypatch,
        registry,
        "create",
        before=lambda: other.create_object_store(NAME, description="other"),
        after=lambda: other.delete_object_store(NAME),
    )
    options = {"create": True} if method == "object_store" else {}
    made = getattr(store, method)(NAME, **options)

    assert made.status().description is None


def test_binding_takes_what_another_has_made(
    store: blocking.Store, other: blocking.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `create`, a bucket made otherwise at that moment is what was asked for."""
    registry = embedded(store).registry
    once(
        monkeypatch,
        registry,
        "create",
        before=lambda: other.create_object_store(NAME, description="other"),
    )

    assert store.object_store(NAME, create=True).status().description == "other"


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_bucket_that_goes_while_it_is_opened(
    fails: bool,
    again: bool,
    store: blocking.Store,
    other: blocking.Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However its opening ends, what counts is what has the name now."""
    other.create_object_store(NAME).put("x", b"old")

    def happening() -> None:
        if again:
            recreate(other)
        else:
            other.delete_object_store(NAME)
        if fails:
            refuse()

    once(monkeypatch, embedded(store), "_open_bucket", before=happening)
    if again:
        assert store.object_store(NAME).get("x") == b"new"
        return
    with pytest.raises(BucketNotFoundError):
        store.object_store(NAME)


def test_bucket_that_cannot_be_opened_says_why(
    store: blocking.Store, other: blocking.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal is told when the bucket is where it was."""
    other.create_object_store(NAME)
    once(monkeypatch, embedded(store), "_open_bucket", before=refuse)

    with pytest.raises(StorageError):
        store.object_store(NAME)


def test_first_use_of_a_bucket_that_is_made_again_meanwhile(
    store: blocking.Store, other: blocking.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed was an operation on a bucket that is gone."""
    other.create_object_store(NAME).put("x", b"old")

    def happening() -> None:
        recreate(other)
        refuse()

    once(monkeypatch, BucketLog, "last", before=happening)
    with pytest.raises(BucketNotFoundError):
        blocking.ObjectStore(store._session, NAME).get_info("x")


def test_what_is_deleted_is_what_has_the_name(
    tmp_path: Path,
    store: blocking.Store,
    other: blocking.Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Made again at that moment, the new bucket goes, with its files and writers."""
    store.create_object_store(NAME)
    writers: list[blocking.ObjectWriter] = []

    def happening() -> None:
        recreate(other)
        writers.append(other.object_store(NAME).open_writer("y"))
        writers[0].write(bytes(SLAB_BYTES))

    once(monkeypatch, embedded(store).registry, "delete", before=happening)
    assert store.delete_object_store(NAME)

    assert [path.name for path in (tmp_path / "store" / "logs").iterdir()] == [
        f"{REGISTRY_NUMBER:08x}"
    ]
    with pytest.raises(BucketNotFoundError):
        writers[0].close()


def test_deleting_and_retention_do_not_hinder_each_other(
    store: blocking.Store, other: blocking.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who removes the files first is no matter."""
    store.create_object_store(NAME)
    other.create_object_store("kept")
    once(monkeypatch, BucketLog, "seal", before=other.run_retention)

    assert store.delete_object_store(NAME)


def test_retention_removes_what_is_left_of_every_former_bucket(
    tmp_path: Path, store: blocking.Store
) -> None:
    """Also of one whose name was used again, and whose directory came back."""
    store.create_object_store(NAME).put("x", b"1")
    logs = tmp_path / "store" / "logs"
    former = {path.name for path in logs.iterdir()}
    recreate(store)
    for name in former:
        (logs / name).mkdir(exist_ok=True)
    store.run_retention()

    assert len(list(logs.iterdir())) == 2
    assert store.object_store(NAME).get("x") == b"new"


# --- the registry ---------------------------------------------------------------------


@pytest.mark.parametrize("has_catalog", [True, False])
@pytest.mark.parametrize("part", ["header", "key", "body"])
@pytest.mark.parametrize("which", [0, 1])
def test_damage_to_one_record_of_a_creation_costs_nothing(  # noqa: PLR0917 - rows and fixtures
    which: int,
    part: str,
    has_catalog: bool,
    tmp_path: Path,
    store: blocking.Store,
    other: blocking.Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both stand side by side, whatever another process appends at that moment."""
    log = embedded(store).registry.log
    once(monkeypatch, log, "append", after=lambda: other.create_object_store("c"))
    store.create_object_store(NAME).put("x", b"1")
    store.close()
    other.close()
    folder = tmp_path / "store" / "logs" / f"{REGISTRY_NUMBER:08x}"
    (segment,) = folder.glob("*.seg")
    data = bytearray(segment.read_bytes())
    records = scan(bytes(data), bytes(data[START : START + 8]), START, len(data))
    first, second = (record for record in records if record.key == NAME.encode())
    assert second.seq == first.seq + 1
    record = (first, second)[which]
    header_end = record.pos + 88
    place = {"header": header_end - 30, "key": header_end, "body": record.stop - 1}
    data[place[part]] ^= 1
    segment.write_bytes(data)
    if not has_catalog:
        (folder / "catalog.sqlite").unlink()

    with objstore.open(tmp_path / "store", retention_interval=None) as opened:
        assert opened.object_store_names() == [NAME, "c"]
        assert opened.object_store(NAME).get("x") == b"1"
        opened.update_object_store(NAME, description="d")
        assert opened.delete_object_store(NAME)


# --- what nobody gave back ------------------------------------------------------------


class Interrupting(deque[Callable[[], object]]):
    """Ctrl-C comes when something is taken out."""

    def popleft(self) -> Callable[[], object]:
        """Take out."""
        taken = super().popleft()
        signal.raise_signal(signal.SIGINT)
        return taken


def test_interrupt_loses_nothing_that_is_to_be_given_back() -> None:
    """Ctrl-C waits until what was taken out is done, and leaves the rest."""
    done: list[int] = []
    dropped = Dropped()
    dropped._left = Interrupting([lambda: done.append(1), lambda: done.append(2)])
    with pytest.raises(KeyboardInterrupt):
        dropped.settle()

    assert done == [1]
    with pytest.raises(KeyboardInterrupt):
        dropped.settle()
    assert done == [1, 2]
