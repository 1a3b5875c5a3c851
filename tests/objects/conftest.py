"""One suite for every engine and every API: how a test meets a store.

A test is written once, as asynchronous code on `store` or `bucket`. It runs on asyncio,
on trio, and on the synchronous API, whose calls are then awaited without suspending;
and on every engine of `ENGINES`, some pairs in the slow tier only. A test that needs
the fake engine asks for `fake`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.twins import Awaited
from tests.fakes.worlds import ENGINES, World

from objstore import ObjectStore, Store, blocking
from objstore._handles import AsyncSession, Session

SLOWLY = {
    ("asyncio", "memory"),
    ("blocking", "fake"),
    ("trio", "fake"),
    ("trio", "memory"),
}
"""Pairs of an API and an engine that the quick tier leaves to the slow one.

It has every API on files, and every engine on one API at least.
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what the slow tier runs."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            params = item.callspec.params
            if (params.get("face"), params.get("engine_name")) in SLOWLY:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["asyncio", "trio", "blocking"], scope="module")
def face(request: pytest.FixtureRequest) -> str:
    """Give the API that a test uses."""
    value: str = request.param
    return value


@pytest.fixture(scope="module")
def anyio_backend(face: str) -> str:
    """Give the event loop that a test runs on; synchronous calls need any."""
    return "asyncio" if face == "blocking" else face


@pytest.fixture(params=sorted(ENGINES))
def engine_name(request: pytest.FixtureRequest) -> str:
    """Give the engine that a test uses."""
    value: str = request.param
    return value


@pytest.fixture
def world(engine_name: str, tmp_path: Path) -> Iterator[World]:
    """Give an empty engine with its clock."""
    made = ENGINES[engine_name](tmp_path)
    yield made
    made.engine.close()


@pytest.fixture
def open_store(face: str, world: World) -> Callable[[], Store]:
    """Give what opens a store on the engine, on the event loop that runs then."""

    def opening() -> Store:
        if face != "blocking":
            return Store(AsyncSession(world.engine))
        twin: Any = Awaited(blocking.Store(Session(world.engine)))
        return cast("Store", twin)

    return opening


@pytest.fixture
async def store(open_store: Callable[[], Store]) -> AsyncIterator[Store]:
    """Give a store without buckets."""
    async with open_store() as opened:
        yield opened


@pytest.fixture
async def bucket(store: Store) -> ObjectStore:
    """Give an empty bucket `b` with chunks of 8 bytes."""
    return await store.create_object_store(bucket="b", chunk_size=8)


@pytest.fixture
def fake(world: World) -> FakeEngine:
    """Give the engine itself, in a test that is parametrised with `on_fake`."""
    assert isinstance(world.engine, FakeEngine)
    return world.engine
