"""Stores and their ends: closing, event loops, threads, engines by URL."""

import asyncio
import inspect
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.worlds import World, asynchronous, on_fake

import objstore
from objstore import (
    BadStoreError,
    ClosedError,
    NotSupportedError,
    ObjectStore,
    Store,
    WrongEventLoopError,
    _schedule,
    blocking,
)
from objstore._handles import AsyncSession, Session
from objstore._store import ENGINES


@pytest.mark.anyio
async def test_closed_store_refuses(open_store: Callable[[], Store]) -> None:
    """After its end every call of a store and its handles says so; again is fine."""
    store = open_store()
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", b"content")
    reader = await bucket.open_reader("a")
    writer = await bucket.open_writer("w")
    await store.aclose()
    await store.aclose()

    for call in (
        store.object_store("b"),
        store.object_store_names(),
        bucket.put("a", b"new"),
        bucket.get("a"),
        reader.read(),
        writer.write(b"content"),
        writer.aclose(),
    ):
        with pytest.raises(ClosedError, match="is closed; open it again"):
            await call
    with pytest.raises(ClosedError):
        store.damaged  # noqa: B018 - the reading is the test
    await reader.aclose()
    await writer.abort()


@pytest.mark.anyio
async def test_store_is_its_own_jetstream(store: Store) -> None:
    """`jetstream()` gives the store, for code that has a connection."""
    twin: Any = store.jetstream()

    assert getattr(twin, "twin", twin) is getattr(store, "twin", store)


@pytest.mark.anyio
@asynchronous
async def test_other_event_loop_is_refused(store: Store, bucket: ObjectStore) -> None:
    """An asynchronous handle says that it belongs to another event loop."""

    def elsewhere(backend: str) -> None:
        for call in (bucket.status, store.object_store_names, store.aclose):
            with pytest.raises(WrongEventLoopError, match="another event loop"):
                anyio.run(call, backend=backend)

    for backend in ("asyncio", "trio"):
        await anyio.to_thread.run_sync(elsewhere, backend)


@pytest.mark.anyio
@asynchronous
@on_fake
async def test_concurrent_calls_are_fine(store: Store) -> None:
    """Many tasks may use one handle at a time, also on one name."""
    bucket = await store.create_object_store(bucket="b")
    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(bucket.put, "same", b"%d" % number)
            group.start_soon(bucket.put, f"{number}", b"%d" % number)

    assert 51 == (await bucket.status()).count


def test_threads_share_synchronous_handle() -> None:
    """Many threads may use one synchronous handle at a time."""
    bucket = blocking.Store(Session(FakeEngine())).create_object_store("b")
    threads = [
        threading.Thread(target=bucket.put, args=("same", b"%d" % number))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == bucket.status().count


def test_twin_has_signature_and_text() -> None:
    """A synchronous twin has the parameters and the docstring of its method."""
    for name in ("put", "get_range", "list_directory"):
        ours: Any = getattr(blocking.ObjectStore, name)
        theirs: Any = getattr(ObjectStore, name)
        assert inspect.signature(theirs) == inspect.signature(ours)
        assert theirs.__doc__ == ours.__doc__
        assert not inspect.iscoroutinefunction(ours)


# Names that only one of the two has: what is awaited is closed by `aclose`.
CLOSES = {"aclose", "close"}


@pytest.mark.parametrize(
    "name", ["Store", "ObjectStore", "ObjectReader", "ObjectWriter"]
)
def test_twins_have_same_names(name: str) -> None:
    """Both APIs have the same public names."""
    ours, theirs = (
        {each for each in dir(getattr(api, name)) if not each.startswith("_")} - CLOSES
        for api in (blocking, objstore)
    )

    assert theirs == ours


# --- engines by URL ---------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Give what embedded engines are opened with, in place of opening them."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def opening(url: str, **options: Any) -> FakeEngine:
        calls.append((url, options))
        return FakeEngine()

    for scheme in ("file", "memory"):
        monkeypatch.setitem(ENGINES, scheme, opening)
    return calls


@pytest.mark.parametrize(
    ("url", "variable", "expected"),
    [
        ("file:./data", None, "file:./data"),
        ("./data", None, "./data"),
        (Path("data"), None, "data"),
        (Path("nats:data"), None, "nats:data"),
        (Path("memory:"), None, "file:memory:"),
        (Path("file:data"), None, "file:file:data"),
        ("memory:", None, "memory:"),
        ("odd:name", None, "odd:name"),
        (None, None, "./objstore-data"),
        (None, "file:./other", "file:./other"),
        (None, "", "./objstore-data"),
    ],
)
def test_url_means_engine(
    opened: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    url: Any,
    variable: str | None,
    expected: str,
) -> None:
    """A URL, a path, the variable and the default open the embedded engine."""
    monkeypatch.delenv("OBJSTORE", raising=False)
    if variable is not None:
        monkeypatch.setenv("OBJSTORE", variable)
    objstore.open(url, create=False, sync=1.5, lock_timeout=2).close()

    options = {
        "create": False,
        "sync": 1.5,
        "lock_timeout": 2.0,
        "force_network": False,
    }
    assert [(expected, options)] == opened


def test_each_handle_says_where_it_was_opened(tmp_path: Path) -> None:
    """Two handles on one directory have a URL each, in the words of their callers."""
    urls = [f"file:{tmp_path}", str(tmp_path)]
    with objstore.open(urls[0]) as one, objstore.open(urls[1]) as other:
        assert urls == [one.url, other.url]


@pytest.mark.parametrize("url", ["nats://host:4222", "tls://host"])
def test_jetstream_is_not_supported_yet(url: str) -> None:
    """A NATS server says that this version has no engine for it."""
    with pytest.raises(NotSupportedError, match=r"JetStream engine.*memory:"):
        objstore.open(url)


def test_unknown_url_is_refused() -> None:
    """A URL that no engine knows names itself and what to give."""
    with pytest.raises(BadStoreError, match=r"s3://bucket.*directory"):
        objstore.open("s3://bucket")


@pytest.mark.anyio
@asynchronous
async def test_connect_is_awaited_or_entered(
    opened: list[tuple[str, dict[str, Any]]],
) -> None:
    """`connect` opens nothing by itself; it is awaited, or entered."""
    handle = objstore.connect("memory:")
    assert [] == opened
    store = await handle
    await store.aclose()
    async with objstore.connect("memory:") as entered:
        assert [] == await entered.object_store_names()
    with pytest.raises(ClosedError):
        await entered.object_store_names()

    assert 2 == len(opened)


def test_open_is_entered(opened: list[tuple[str, dict[str, Any]]]) -> None:
    """`open` gives a store that is closed at the end of its block."""
    with objstore.open("memory:") as store:
        assert "fake:" == store.url
    with pytest.raises(ClosedError):
        store.object_store_names()


# --- retention on a schedule ------------------------------------------------------


@pytest.mark.anyio
@asynchronous
@on_fake
async def test_retention_runs_on_schedule(world: World, fake: FakeEngine) -> None:
    """An open store runs retention by itself, until it is closed."""
    ran = threading.Event()
    fake.before = lambda op: ran.set() if type(op).__name__ == "Reclaim" else None
    store = Store(AsyncSession(world.engine), retention_interval=0.01)
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", b"content", ttl=1)
    fake.advance(2)
    await anyio.to_thread.run_sync(partial(ran.wait, 5))
    while fake.buckets["b"].chunks:
        await anyio.sleep(0.01)
    await store.aclose()

    assert "expire" == fake.buckets["b"].names["a"].change


def _has_schedule(engine: FakeEngine) -> bool:
    """Say whether a thread of this process sleeps until its next retention."""
    return any(
        frame.f_code is _schedule._repeat.__code__
        and frame.f_locals["engine"] is engine
        for bottom in sys._current_frames().values()
        for frame, _ in traceback.walk_stack(bottom)
    )


def _wait_until(has_schedule: bool, engine: FakeEngine) -> None:
    deadline = time.monotonic() + 10
    while _has_schedule(engine) != has_schedule:
        assert time.monotonic() < deadline, f"its thread: {not has_schedule}"
        time.sleep(0.01)


def test_forgotten_store_ends_its_schedule() -> None:
    """A store that was dropped without its end leaves no thread behind."""
    engine = FakeEngine()
    store = blocking.Store(Session(engine), retention_interval=3_600)
    _wait_until(True, engine)
    del store
    _wait_until(False, engine)


def test_failed_retention_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A run that fails is logged, and the next one comes."""
    engine = FakeEngine()
    runs = threading.Semaphore(0)

    def before(op: Any) -> None:
        if type(op).__name__ == "ListBuckets":
            runs.release()
            raise objstore.StorageError(path="p", operation="read", reason="gone")

    engine.before = before
    store = blocking.Store(Session(engine), retention_interval=0.01)
    for _ in range(2):
        assert runs.acquire(timeout=5)
    store.close()

    assert "fake:: retention failed: read p: gone" in caplog.text


def test_synchronous_api_needs_no_loop() -> None:
    """The synchronous API works while an event loop runs in its thread, too."""

    async def main() -> bytes:
        bucket = blocking.Store(Session(FakeEngine())).create_object_store("b")
        bucket.put("a", b"content")
        return bucket.get("a")

    assert b"content" == asyncio.run(main())
