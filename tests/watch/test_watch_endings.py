"""How watches end, are cancelled, and say that they have caught up."""

from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from objstore import _engine as e
from objstore.errors import ClosedError
from objstore_watch.errors import BadWatchError

from .changes_engine import ChangesEngine, given, shown, watching

pytestmark = pytest.mark.anyio

# --- cancelling, closing ----------------------------------------------------------


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("options", [{}, {"start": "all"}])
async def test_cancelled_next_loses_nothing(
    engine: ChangesEngine, options: dict[str, Any]
) -> None:
    """Cancelled once at any checkpoint, the iteration gives each change once."""
    for name in "abacd":
        engine.commit(name)
    scopes: list[anyio.CancelScope] = []
    seen: list[e.Op[Any]] = []
    cancelled_at = 0

    def cancel(op: e.Op[Any]) -> None:
        seen.append(op)
        if len(seen) == cancelled_at:
            scopes[-1].cancel()

    engine.before = engine.after = cancel
    expected = await given(watching(engine, **options), 5 if options else 4)
    checkpoints = len(seen)
    for number in range(1, checkpoints + 1):
        seen.clear()
        cancelled_at = number
        watch = watching(engine, **options)
        found: list[tuple[str, int]] = []
        while len(found) < len(expected):
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                found += await given(watch, 1)
        assert expected == found

    assert checkpoints > len(expected)


async def test_cancelled_sleep_loses_nothing(engine: ChangesEngine) -> None:
    """The change that would have come is what the next call gives."""
    async with watching(engine) as watch:
        with anyio.move_on_after(0.02) as scope:
            await anext(watch)
        assert scope.cancelled_caught
        engine.commit("a")

        assert [("a", 2)] == await given(watch, 1)


@pytest.mark.parametrize("end", ["aclose", "stop"])
async def test_close_ends_blocked_iterations(engine: ChangesEngine, end: str) -> None:
    """Every task that waits for a change ends as if there were no more."""
    watch = watching(engine)
    ended: list[int] = []

    async def follow(number: int) -> None:
        async for _ in watch:
            raise AssertionError
        ended.append(number)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(follow, number)
            await anyio.wait_all_tasks_blocked()
            await getattr(watch, end)()

    assert [0, 1, 2] == sorted(ended)


async def test_closed_watch_gives_nothing_more(engine: ChangesEngine) -> None:
    """After the block the iteration is over, fetched changes or not."""
    engine.commit("a")
    engine.commit("b")
    async with watching(engine) as watch:
        await given(watch, 1)
    await watch.aclose()

    assert [] == [change async for change in watch]
    with pytest.raises(ClosedError, match="watch of bucket 'media'"):
        await watch.caught_up()


async def test_watch_closed_before_it_began_cannot_begin(
    engine: ChangesEngine,
) -> None:
    """Entering or awaiting it is an error."""
    watch = watching(engine)
    await watch.aclose()

    with pytest.raises(ClosedError):
        await watch


async def test_tasks_share_the_changes_of_one_watch(engine: ChangesEngine) -> None:
    """Two tasks on one watch get each change once between them."""
    for number in range(20):
        engine.commit(f"{number:02}")
    watch = watching(engine)
    found: list[str] = []

    async def follow() -> None:
        async for change in watch:
            found.append(change.name)
            await anyio.lowlevel.checkpoint()
            if len(found) == 20:
                await watch.stop()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            group.start_soon(follow)

    assert [f"{number:02}" for number in range(20)] == sorted(found)


# --- caught up, NATS --------------------------------------------------------------


async def test_caught_up_needs_no_reader_when_nothing_is_there(
    engine: ChangesEngine,
) -> None:
    """An empty bucket is caught up with at once."""
    with anyio.fail_after(5):
        await watching(engine).caught_up()


async def test_caught_up_comes_when_the_values_were_given(
    engine: ChangesEngine,
) -> None:
    """It returns behind the last current value, not before."""
    engine.commit("a")
    engine.commit("b")
    watch = watching(engine)
    seen: list[str] = []

    async def follow() -> None:
        await watch.caught_up()
        seen.append("caught up")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            for _ in "ab":
                seen.append((await anext(watch)).name)
                await anyio.wait_all_tasks_blocked()

    assert ["a", "b", "caught up"] == seen


async def test_caught_up_ends_when_the_watch_is_closed(engine: ChangesEngine) -> None:
    """Nobody waits for a watch that gives nothing more."""
    engine.commit("a")
    watch = watching(engine)

    async def wait() -> None:
        with pytest.raises(ClosedError):
            await watch.caught_up()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await watch.aclose()


async def test_caught_up_takes_a_timeout(engine: ChangesEngine) -> None:
    """While a value waits for its reader, it is not caught up."""
    engine.commit("a")
    watch = watching(engine)
    with pytest.raises(TimeoutError):
        await watch.caught_up(timeout=0.02)

    assert [("a", 2)] == await given(watch, 1)


async def test_awaited_watch_gives_none_once(engine: ChangesEngine) -> None:
    """As NATS clients expect it: `None` parts current values and updates."""
    engine.commit("a")
    watcher = await watching(engine)
    first = [shown(await watcher.updates()), shown(await watcher.updates())]
    engine.commit("b")
    with anyio.fail_after(5):
        second = shown(await anext(watcher))

    assert [("a", 2), None] == first
    assert ("b", 4) == second


async def test_updates_takes_a_timeout(engine: ChangesEngine) -> None:
    """When the time is over it raises, and loses nothing."""
    watcher = await watching(engine)
    assert await watcher.updates(timeout=timedelta(seconds=1)) is None
    with pytest.raises(TimeoutError):
        await watcher.updates(timeout=0.02)
    engine.commit("a")

    assert ("a", 2) == shown(await watcher.updates(timeout=5))
    with pytest.raises(BadWatchError, match="timeout=-1"):
        await watcher.updates(timeout=-1)


async def test_updates_only_watcher_has_no_none(engine: ChangesEngine) -> None:
    """Without current values there is no end of them."""
    engine.commit("a")
    watcher = await watching(engine, updates_only=True)
    engine.commit("b")

    assert ("b", 4) == shown(await watcher.updates())


async def test_stopped_watcher_ends(engine: ChangesEngine) -> None:
    """Iteration ends where nats-py hangs, and `updates` says why it cannot go on."""
    watcher = await watching(engine)
    assert await anext(watcher) is None
    await watcher.stop()

    assert [] == [change async for change in watcher]
    with pytest.raises(ClosedError):
        await watcher.updates()


async def test_awaited_watch_is_a_handle_too(engine: ChangesEngine) -> None:
    """It has a cursor, catches up, and ends with its block."""
    engine.commit("a")
    async with await watching(engine) as watcher:
        await watcher.updates()
        await watcher.caught_up(timeout=5)
        cursor = watcher.cursor
    engine.commit("b")

    assert [] == [change async for change in watcher]
    assert [("b", 4)] == await given(watching(engine, after=cursor), 1)
    await watcher.aclose()
