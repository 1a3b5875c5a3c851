"""The background scrub: slow, in one place at a time, and it tells what it found."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

import objstore
from objstore import _schedule, _store_scrub, blocking
from objstore._embedded import EmbeddedEngine
from objstore._engine import Scrub, ScrubStep
from objstore._store_scrub import Place, StoreScrub, decode_place, encode_place
from objstore.blocking import Store
from objstore.errors import BadStoreError
from objstore_log import Stopper

SOON_S = 20.0
FAST = 1 << 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a store with an object of many small chunks."""
    path = tmp_path / "store"
    with blocking.open(path, scrub_rate=None) as store:
        bucket = store.create_object_store("b", chunk_size=1_000)
        bucket.put("a", b"".join(b"%07d " % number for number in range(5_000)))
        bucket.put("last", b"the last content")
    return path


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrub without waiting, round after round."""
    monkeypatch.setattr(_schedule, "SCRUB_START_S", 0.0)
    monkeypatch.setattr(_schedule, "SCRUB_IDLE_S", 0.01)
    monkeypatch.setattr(_store_scrub, "ROUND_PAUSE_S", 0.0)


def damage(folder: Path) -> None:
    """Damage the last object."""
    (segment,) = folder.glob("logs/00000001/*.seg")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"the last content", b"the lost content"))


def wait_for(store: objstore.Store | Store, metric: str, least: int) -> None:
    """Wait until a metric has grown."""
    deadline = time.monotonic() + SOON_S
    while store.metrics()[metric] < least:
        assert time.monotonic() < deadline, store.metrics()
        time.sleep(0.005)


def scrub_of(store: Store) -> StoreScrub:
    """Give the scrub of a store."""
    engine = store._engine
    assert isinstance(engine, EmbeddedEngine)
    return engine._store.scrub


def steps(scrub: StoreScrub) -> Iterator[ScrubStep]:
    """Take the steps of a round."""
    stopped = threading.Event()
    try:
        while not (step := scrub.step(stopped)).is_idle:
            yield step
    finally:
        stopped.set()


@pytest.mark.usefixtures("at_once")
def test_damage_is_found_and_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With bucket, name, place and what to do; also when it comes round again."""
    damage(folder)
    caplog.set_level(logging.WARNING, "objstore")
    with blocking.open(folder, scrub_rate=FAST) as store:
        wait_for(store, "scrub_rounds_total", 3)
        found = store.damaged
        assert store.metrics()["scrub_damaged"] == 1

    assert [(item.bucket, item.name) for item in found] == [("b", "last")]
    (told,) = [record.getMessage() for record in caplog.records]
    for part in ("'last' in bucket 'b'", "segment 00000001", "objstore verify"):
        assert part in told


@pytest.mark.anyio
@pytest.mark.usefixtures("at_once")
async def test_asynchronous_store_scrubs_too(folder: Path) -> None:
    """In a thread of its own, beside the event loop."""
    damage(folder)
    async with objstore.connect(folder, scrub_rate=FAST) as store:
        wait_for(store, "scrub_damaged", 1)
        assert [item.name for item in store.damaged] == ["last"]


@pytest.mark.usefixtures("at_once")
def test_repair_takes_what_was_found_from_the_list(folder: Path) -> None:
    """What is still damaged is found again."""
    damage(folder)
    with blocking.open(folder, scrub_rate=None) as store:
        list(steps(scrub_of(store)))
        assert store.damaged
        store.object_store("b").put("last", b"put again")
        store.verify(repair=True)
        list(steps(scrub_of(store)))
        assert store.damaged == []


def test_place_is_kept_for_the_next_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on where the last one was closed, and not at once when that was done."""
    monkeypatch.setattr(_store_scrub, "STRETCH_BYTES", 10_000)
    with blocking.open(folder, scrub_rate=None) as store:
        rest = steps(scrub_of(store))
        first = [next(rest).bytes for _ in range(3)]
    with blocking.open(folder, scrub_rate=None) as store:
        second = [step.bytes for step in steps(scrub_of(store))]
    with blocking.open(folder, scrub_rate=None) as store:
        third = list(steps(scrub_of(store)))

    (segment,) = folder.glob("logs/00000001/*.seg")
    (registry,) = folder.glob("logs/00000000/*.seg")
    whole = segment.stat().st_size + registry.stat().st_size
    # each process proves its last batch by an empty one, which another may miss
    assert whole - 2_000 < sum(first) + sum(second) < whole
    assert third == []


def test_damaged_place_begins_anew(folder: Path) -> None:
    """Nothing depends on it."""
    with blocking.open(folder, scrub_rate=None) as store:
        list(steps(scrub_of(store)))
    place = folder / "SCRUB"
    data = bytearray(place.read_bytes())
    data[20] ^= 1
    place.write_bytes(data)
    with blocking.open(folder, scrub_rate=None) as store:
        assert list(steps(scrub_of(store)))


def test_place_is_read_as_it_was_written() -> None:
    """And no changed byte passes."""
    place = Place(3, 2, 4_711, 5, 6)
    data = encode_place(place)

    assert decode_place(data) == place
    for position in range(len(data)):
        wrong = bytearray(data)
        wrong[position] ^= 1
        assert decode_place(bytes(wrong)) is None


def test_one_process_at_a_time(folder: Path) -> None:
    """Who finds another one at it has nothing to do, and does not wait."""
    with blocking.open(folder, scrub_rate=None) as store:
        scrub = scrub_of(store)
        lock = scrub._storage.try_lock("SCRUB.lock")
        assert lock is not None
        assert list(steps(scrub)) == []
        lock.release()
        assert list(steps(scrub))


def test_one_handle_of_a_process_at_a_time(folder: Path) -> None:
    """A second one goes on when the first has stopped."""
    with blocking.open(folder, scrub_rate=None) as store:
        scrub, one, other = scrub_of(store), threading.Event(), threading.Event()
        assert not scrub.step(one).is_idle
        assert scrub.step(other).is_idle
        one.set()
        assert not scrub.step(other).is_idle


def test_rate_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind each stretch it sleeps for as long as the rate gives it for that."""
    pauses: list[float] = []

    class Stopped(Stopper):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            pauses.append(timeout)
            return len(pauses) == 4

    with blocking.open(folder, scrub_rate=None) as store:
        monkeypatch.setattr(_store_scrub, "STRETCH_BYTES", 1)
        run = store._engine.run
        sizes: list[int] = []

        def noted(op: Scrub) -> ScrubStep:
            step = run(op)
            sizes.append(step.bytes)
            return step

        monkeypatch.setattr(store._engine, "run", noted)
        _schedule._scrub(store._engine, 100.0, Stopped())

    least = _schedule.SCRUB_STEP_BYTES_MIN
    assert max(sizes) < least
    assert pauses == [_schedule.SCRUB_START_S, *[least / 100] * len(sizes)]


@pytest.mark.usefixtures("at_once")
def test_closing_ends_it_at_once(folder: Path) -> None:
    """Its thread is gone soon, and holds no lock that the next one needs."""
    with blocking.open(folder, scrub_rate=FAST) as store:
        wait_for(store, "scrub_rounds_total", 1)
        assert _is_on()
    wait_until_off()
    with blocking.open(folder, scrub_rate=FAST) as store:
        wait_for(store, "scrub_rounds_total", 1)


def _is_on() -> bool:
    """Say whether a thread of this process scrubs, or sleeps in between."""
    return any(
        frame.f_code is _schedule._scrub.__code__
        for bottom in sys._current_frames().values()
        for frame, _ in traceback.walk_stack(bottom)
    )


def wait_until_off() -> None:
    """Wait for the thread's end, not long."""
    deadline = time.monotonic() + SOON_S
    while _is_on():
        assert time.monotonic() < deadline, "the thread goes on behind the close"
        time.sleep(0.01)


def test_it_is_on_unless_it_is_switched_off(folder: Path) -> None:
    """Not in memory, where nothing rots that anybody could repair."""
    with blocking.open(folder) as store:
        deadline = time.monotonic() + SOON_S
        while not _is_on():
            assert time.monotonic() < deadline, f"nothing scrubs {store.url}"
            time.sleep(0.01)
    wait_until_off()
    with blocking.open(folder, scrub_rate=None), blocking.open("memory:"):
        time.sleep(0.05)
        assert not _is_on()


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), True, "1"])
def test_rate_that_is_none_is_refused(folder: Path, rate: float) -> None:
    """By both faces, before anything is opened."""
    with pytest.raises(BadStoreError, match="scrub_rate"):
        blocking.open(folder, scrub_rate=rate)


@pytest.mark.anyio
async def test_rate_that_is_none_is_refused_by_connect(folder: Path) -> None:
    """As by `open`."""
    with pytest.raises(BadStoreError, match="scrub_rate"):
        await objstore.connect(folder, scrub_rate=0)
