"""What a put leaves out where nothing has changed, and that nothing is missed by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest

import objstore
from objstore import BucketNotFoundError, _embedded
from objstore._metas import plain_meta, resolve_meta
from objstore_log._commit import Committer

TASKS = 16


@pytest.mark.parametrize("chunk_size", [None, 1_000])
def test_put_that_says_nothing_has_the_same_meta(chunk_size: int | None) -> None:
    """The short way and the long one make one document."""
    said = resolve_meta("b", "name", {}, bucket_chunk_size=chunk_size)
    assert said == plain_meta("b", "name", chunk_size)


def test_ids_of_contents_are_all_different() -> None:
    """Also beyond the number that is drawn at a time."""
    with objstore.open("memory:") as store:
        bucket = store.create_object_store("b")
        assert len({bucket.put("a", b"").nuid for _ in range(200)}) == 200


def test_bucket_made_again_by_another_handle_is_the_new_one(tmp_path: Path) -> None:
    """A put goes into the bucket that has the name now."""
    with objstore.open(tmp_path) as one, objstore.open(tmp_path) as other:
        bucket = one.create_object_store("b")
        bucket.put("a", b"old")
        other.delete_object_store("b")
        with pytest.raises(BucketNotFoundError):
            bucket.put("a", b"between")
        other.create_object_store("b")
        bucket.put("a", b"new")
        assert ["a"] == [info.name for info in other.object_store("b").list()]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestLoop:
    """Puts on an event loop."""

    async def test_put_needs_no_worker_thread(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All that it asks is at hand, but the commit."""

        async def refuse(*_: Any) -> NoReturn:
            raise AssertionError

        async with objstore.connect(f"file:{tmp_path}") as store:
            bucket = await store.create_object_store("b")
            await bucket.put("a", b"")
            monkeypatch.setattr(_embedded, "in_thread", refuse)
            await bucket.put("a", b"again")
            monkeypatch.undo()

    async def test_tasks_that_are_ready_share_a_commit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The committer is woken behind the last of them."""
        commits: list[int] = []
        commit = Committer.commit

        def count(self: Committer, queue: Any) -> Any:
            tickets = commit(self, queue)
            commits.append(len(tickets))
            return tickets

        async with objstore.connect(f"file:{tmp_path}") as store:
            bucket = await store.create_object_store("b")
            await bucket.put("a", b"")
            monkeypatch.setattr(Committer, "commit", count)
            async with anyio.create_task_group() as group:
                for number in range(TASKS):
                    group.start_soon(bucket.put, f"o{number}", b"")
            monkeypatch.undo()
        # on trio other tasks may run between those that put
        assert len(commits) <= TASKS // 2
