"""Who waits for what: `caught_up` beside an iteration, and timeouts, 0 among them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import objstore
from objstore import _engine as e
from objstore.errors import ClosedError, CursorExpiredError

from .changes_engine import ChangesEngine, follow, given, shown, watching

pytestmark = pytest.mark.anyio
LONG_S = 30


def slow_down(engine: ChangesEngine, seconds: float) -> None:
    """Let every operation take so long."""
    arun = engine.arun

    async def slowly(op: e.Op[Any]) -> Any:
        await anyio.sleep(seconds)
        return await arun(op)

    engine.arun = slowly  # type: ignore[method-assign]


# --- caught up --------------------------------------------------------------------


@pytest.mark.parametrize("is_entered", [True, False])
@pytest.mark.parametrize("count", [0, 1, 3, 300])
async def test_caught_up_returns_beside_a_task_that_iterates(
    engine: ChangesEngine, count: int, *, is_entered: bool
) -> None:
    """The iteration that gave everything sleeps on, and holds nobody up."""
    for number in range(count):
        engine.commit(f"{number:03}")
    watch = watching(engine)
    if is_entered:
        await watch.__aenter__()
    found: list[str] = []

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(follow, watch, found)
            await watch.caught_up()
            assert count == len(found)
            await watch.aclose()


@pytest.mark.parametrize("url", ["memory:", "file:"])
async def test_caught_up_returns_beside_a_task_on_a_real_store(
    url: str, tmp_path: Path
) -> None:
    """The same over an engine that works in threads."""
    found: list[str] = []
    where = url if url == "memory:" else str(tmp_path / "store")
    async with objstore.connect(where) as store:
        bucket = await store.create_object_store("media")
        for name in "abc":
            await bucket.put(name, b"")
        watch = bucket.watch()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(follow, watch, found)
                await watch.caught_up()
                assert ["a", "b", "c"] == found
                await watch.aclose()


async def test_several_tasks_wait_to_be_caught_up(engine: ChangesEngine) -> None:
    """All of them return behind the last current value."""
    for name in "abc":
        engine.commit(name)
    watch = watching(engine)
    seen: list[str] = []

    async def wait() -> None:
        await watch.caught_up()
        seen.append("caught up")

    async def show() -> None:
        async for change in watch:
            seen.append(change.name)
            await anyio.wait_all_tasks_blocked()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for task in (wait, show, wait, wait):
                group.start_soon(task)
            await watch.caught_up()
            await anyio.wait_all_tasks_blocked()
            await watch.aclose()

    assert ["a", "b", "c", *["caught up"] * 3] == seen


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("turns", range(12))
async def test_caught_up_waits_for_the_next_who_iterates(
    engine: ChangesEngine, turns: int
) -> None:
    """A cancelled iteration leaves the rest to be given to somebody else."""
    for name in "abcde":
        engine.commit(name)
    watch = watching(engine)
    found: list[str] = []
    is_caught_up = False

    async def take() -> None:
        async for change in watch:
            found.append(change.name)
            await anyio.lowlevel.checkpoint()
            if change.name == "d":
                return

    async def wait() -> None:
        nonlocal is_caught_up
        await watch.caught_up()
        is_caught_up = True

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            async with anyio.create_task_group() as cancelled:
                cancelled.start_soon(take)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                cancelled.cancel_scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert not is_caught_up
            if "d" not in found:
                await take()
            await anyio.wait_all_tasks_blocked()
            assert not is_caught_up
            found += [(await anext(watch)).name]

    assert list("abcde") == found
    assert is_caught_up


async def test_watch_that_fails_ends_those_who_wait(engine: ChangesEngine) -> None:
    """Who waits to be caught up gets the error that the iteration gets."""
    engine.commit("a")
    engine.floor = 2
    watch = watching(engine, start=0)
    failed: list[str] = []

    async def wait() -> None:
        with pytest.raises(CursorExpiredError):
            await watch.caught_up()
        failed.append("wait")

    async def take() -> None:
        with pytest.raises(CursorExpiredError):
            await anext(watch)
        failed.append("take")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for task in (take, wait, wait):
                group.start_soon(task)

    assert ["take", "wait", "wait"] == sorted(failed)


@pytest.mark.parametrize("turns", range(0, 24, 2))
async def test_closed_watch_ends_those_who_wait_beside_an_iteration(
    engine: ChangesEngine, turns: int
) -> None:
    """Whatever they were waiting for when it was closed."""
    for name in "ab":
        engine.commit(name)
    watch = watching(engine)

    async def wait() -> None:
        with pytest.raises(ClosedError):
            await watch.caught_up()

    async def take() -> None:
        async for _ in watch:
            return

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for task in (wait, take, wait):
                group.start_soon(task)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            await watch.aclose()


async def test_caught_up_without_time_only_looks(engine: ChangesEngine) -> None:
    """With a timeout of 0 it says how things are, in its first call too."""
    with anyio.fail_after(5):
        await watching(engine).caught_up(timeout=0)
        engine.commit("a")
        watch = watching(engine)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await watch.caught_up(timeout=0)
        await given(watch, 1)
        await watch.caught_up(timeout=0)


# --- updates ----------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, timedelta(0), 0.000_001])
async def test_updates_give_what_is_there_without_time(
    engine: ChangesEngine, timeout: float | timedelta
) -> None:
    """A timeout bounds the wait for what is not there, not the way to what is."""
    engine.commit("a")
    slow_down(engine, 0.001)
    watcher = await watching(engine)
    first = [shown(await watcher.updates(timeout)) for _ in range(2)]
    with pytest.raises(TimeoutError):
        await watcher.updates(timeout)
    engine.commit("b")
    engine.commit("c")
    second = [shown(await watcher.updates(timeout)) for _ in range(2)]
    with pytest.raises(TimeoutError):
        await watcher.updates(timeout)

    assert [("a", 2), None] == first
    assert [("b", 4), ("c", 6)] == second


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("options", [{}, {"start": "all"}, {"updates_only": True}])
async def test_updates_without_time_find_what_lies_pages_away(
    engine: ChangesEngine, options: dict[str, Any]
) -> None:
    """Nothing that the reader does not want hides what is there."""
    watcher = await watching(engine, prefix="x", **options)
    if not options.get("updates_only"):
        assert await watcher.updates(0) is None
    for number in range(9):
        engine.commit(f"{number}")
    engine.commit("x")

    assert ("x", 20) == shown(await watcher.updates(0))


async def test_timeout_ends_also_beside_a_busy_writer(engine: ChangesEngine) -> None:
    """Changes that the reader does not want, without an end, are no reason to stay."""
    watcher = await watching(engine, prefix="x", start="new")

    def write(op: e.Op[Any]) -> None:
        if isinstance(op, e.WaitForChange):
            engine.commit("a")

    engine.before = write
    with anyio.fail_after(5):
        for timeout in (0, 0.02):
            with pytest.raises(TimeoutError):
                await watcher.updates(timeout)


async def test_updates_without_time_work_beside_a_task_that_sleeps(
    engine: ChangesEngine,
) -> None:
    """Who sleeps on the watch keeps nobody from looking."""
    watcher = await watching(engine, updates_only=True)
    found: list[tuple[str, int] | None] = []

    async def take() -> None:
        found.append(shown(await watcher.updates(LONG_S)))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(take)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(TimeoutError):
                await watcher.updates(0)
            engine.commit("a")
            engine.commit("b")
            found.append(shown(await watcher.updates(0)))

    assert {("a", 2), ("b", 4)} == set(found)


async def test_updates_without_time_on_a_real_store() -> None:
    """What was acknowledged is there at once."""
    async with objstore.connect("memory:") as store:
        bucket = await store.create_object_store("media")
        await bucket.put("a", b"")
        async with await bucket.watch() as watcher:
            found = [await watcher.updates(0), await watcher.updates(timeout=0)]
            with pytest.raises(TimeoutError):
                await watcher.updates(0)
            await bucket.put("b", b"")
            found.append(await watcher.updates(0))

    assert ["a", None, "b"] == [change and change.name for change in found]


async def test_closed_watch_is_told_without_time(engine: ChangesEngine) -> None:
    """That it is closed comes before that nothing is there."""
    watcher = await watching(engine)
    await watcher.stop()

    with pytest.raises(ClosedError):
        await watcher.updates(0)
    with pytest.raises(ClosedError):
        await watcher.updates(LONG_S)
