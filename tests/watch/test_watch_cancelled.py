"""Cancelled at every turn of the event loop, a watch gives each change once."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from objstore import _engine as e
from objstore._types import Change
from objstore._watch import AsyncWatch, AwaitedWatch
from objstore.errors import CorruptionError

from .changes_engine import ChangesEngine, follow, shown, watching

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_pages")]

Shown: TypeAlias = tuple[str, int] | None
Attempt: TypeAlias = Callable[[AsyncWatch | AwaitedWatch, int, list[Shown]], Any]
TURNS_MAX = 40
OPTIONS: list[dict[str, Any]] = [{}, {"start": "all"}, {"prefix": "x", "start": "all"}]


async def turns_of_the_loop(number: int) -> None:
    """Let so many turns pass."""
    for _ in range(number):
        await anyio.lowlevel.checkpoint()


async def in_a_scope(
    watch: AsyncWatch | AwaitedWatch, turns: int, found: list[Shown]
) -> bool:
    """Take one, cancelled by its scope after so many turns; say whether it was cut."""
    scope = anyio.CancelScope()

    async def take() -> None:
        with scope:
            found.append(shown(await anext(watch)))

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await turns_of_the_loop(turns)
        scope.cancel()
    return scope.cancelled_caught


async def as_a_task(
    watch: AsyncWatch | AwaitedWatch, turns: int, found: list[Shown]
) -> bool:
    """Take one, cancelled once as asyncio does it; say whether it was cut."""

    async def take() -> Change | None:
        return await anext(watch)

    task = asyncio.create_task(take())
    await turns_of_the_loop(turns)
    task.cancel()
    try:
        found.append(shown(await task))
    except asyncio.CancelledError:
        return True
    return False


async def cut_at(
    turns: int, attempt: Attempt, options: dict[str, Any], *, is_awaited: bool
) -> tuple[list[Shown], int]:
    """Cut every call once, then let it be; give what came and how often it was cut."""
    engine = ChangesEngine()
    for name in ("x1", "a", "x1", "x2", "b", "c", "x3"):
        engine.commit(name)
    watch: AsyncWatch | AwaitedWatch = watching(engine, **options)
    if is_awaited:
        watch = await watching(engine, **options)
    found: list[Shown] = []
    cuts = 0
    for last in ("x4", "x5"):
        while not found or found[-1] != (last, engine.sequence):
            before = len(found)
            cuts += await attempt(watch, turns, found)
            if len(found) == before:
                found.append(shown(await anext(watch)))
            if found[-1] is None or (not is_awaited and found[-1] == ("x3", 14)):
                engine.commit("a")
                engine.commit("x4")
        engine.commit("x5")
    return found, cuts


async def check_every_turn(
    attempt: Attempt, options: dict[str, Any], *, is_awaited: bool
) -> None:
    """Cut at each turn until no call lasts so long."""
    with anyio.fail_after(30):
        runs = [
            await cut_at(turns, attempt, options, is_awaited=is_awaited)
            for turns in range(TURNS_MAX)
        ]
    expected = runs[-1][0]

    assert [expected] * TURNS_MAX == [found for found, _ in runs]
    assert len(set(expected)) == len(expected)
    assert runs[0][1] > runs[-1][1] == 0


@pytest.mark.parametrize("is_awaited", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
async def test_next_cancelled_at_any_turn_loses_nothing(
    options: dict[str, Any], *, is_awaited: bool
) -> None:
    """What was fetched when the cancellation came is what the next call gives."""
    await check_every_turn(in_a_scope, options, is_awaited=is_awaited)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("is_awaited", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
async def test_next_cancelled_as_a_task_loses_nothing(
    options: dict[str, Any], *, is_awaited: bool
) -> None:
    """A cancellation that comes once, and is not repeated, loses nothing either."""
    await check_every_turn(as_a_task, options, is_awaited=is_awaited)


@pytest.mark.parametrize("is_beside", [True, False])
async def test_caught_up_cancelled_at_any_turn_loses_nothing(
    *, is_beside: bool
) -> None:
    """Also when it was the one who fetched, alone or beside an iteration."""
    for turns in range(30):
        engine = ChangesEngine()
        for name in "abcde":
            engine.commit(name)
        watch = watching(engine)
        found: list[str] = []

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                if is_beside:
                    group.start_soon(follow, watch, found)
                async with anyio.create_task_group() as cancelled:
                    cancelled.start_soon(watch.caught_up)
                    await turns_of_the_loop(turns)
                    cancelled.cancel_scope.cancel()
                if not is_beside:
                    group.start_soon(follow, watch, found)
                await watch.caught_up()
                await watch.aclose()

        assert list("abcde") == found


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_error_of_a_cancelled_fetch_is_told_by_the_next_call() -> None:
    """Also when the stream goes on behind it, and nothing more is there to fetch."""
    for turns in range(12):
        engine = ChangesEngine()
        watch = watching(engine, start="new")
        await watch.caught_up()
        engine.commit("a")

        def damage(op: e.Op[Any]) -> None:
            if isinstance(op, e.Changes):
                raise CorruptionError(
                    path="p", segment=1, position=1, reason="is damaged", sequence=2
                )

        engine.after = damage
        told = 0
        try:
            await as_a_task(watch, turns, [])
        except CorruptionError:
            told += 1
        try:
            with anyio.move_on_after(0.02):
                await anext(watch)
        except CorruptionError:
            told += 1

        assert 1 == told
