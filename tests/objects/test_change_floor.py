"""How far back changes stay readable: `changes_ttl` and `changes_max_bytes`."""

import pytest
from tests.fakes.worlds import World

from objstore import CursorExpiredError, ObjectStore, Store
from objstore._bucket_space import BucketSpace
from objstore._engine import Reclaim
from objstore._watch_steps import WatchStart

pytestmark = pytest.mark.anyio


async def change_names(
    bucket: ObjectStore, last: str, *, start: WatchStart = "all"
) -> list[str]:
    """Give the names of all changes that are kept, up to the change of a name."""
    found: list[str] = []
    async for change in bucket.watch(start=start):
        found.append(change.name)
        if change.name == last:
            break
    return found


async def test_oldest_changes_go_beyond_changes_max_bytes(store: Store) -> None:
    """Retention keeps the newest changes that fit, and every object."""
    bucket = await store.create_object_store("b", changes_max_bytes=4_000)
    names = [f"{number:03}" for number in range(100)]
    for name in names:
        await bucket.put(name, b"content")
    before = await change_names(bucket, "099")
    await store.run_retention()
    kept = await change_names(bucket, "099")

    assert names == before
    assert names[-len(kept) :] == kept
    assert 4 <= len(kept) <= 40
    assert 100 == (await bucket.status()).count
    with pytest.raises(CursorExpiredError):
        await change_names(bucket, "099", start=1)


async def test_changes_that_fit_stay(store: Store) -> None:
    """Retention leaves changes alone that are within both limits."""
    bucket = await store.create_object_store("b", changes_max_bytes=1_000_000)
    for number in range(100):
        await bucket.put("a", b"%d" % number)
    await bucket.put("z", b"")
    await store.run_retention()

    assert [*["a"] * 100, "z"] == await change_names(bucket, "z")


async def test_limit_holds_for_changes_that_follow(store: Store) -> None:
    """Each run lets go what has become too much since the run before it."""
    bucket = await store.create_object_store("b", changes_max_bytes=4_000)
    counts: list[int] = []
    for turn in range(3):
        for number in range(50):
            await bucket.put("a", b"%d" % number)
        await bucket.put(f"z{turn}", b"")
        await store.run_retention()
        counts.append(len(await change_names(bucket, f"z{turn}")))

    assert counts[0] - 1 <= counts[1] <= counts[0] + 1
    assert counts[1] - 1 <= counts[2] <= counts[1] + 1


async def test_no_change_stays_beyond_zero_bytes(store: Store) -> None:
    """With 0 bytes nothing is kept, and a watch begins behind the last change."""
    bucket = await store.create_object_store("b", changes_max_bytes=0)
    await bucket.put("a", b"1")
    last = (await bucket.status()).last_sequence
    await store.run_retention()

    assert last + 1 == (await bucket.status()).first_change
    assert b"1" == await bucket.get("a")


async def test_retention_of_an_idle_bucket_writes_nothing(
    store: Store, world: World
) -> None:
    """Once all changes are gone the record that says so is not followed by others."""
    bucket = await store.create_object_store("b", changes_ttl=1)
    await bucket.put("a", b"1")
    world.advance(2)
    await store.run_retention()
    first = await bucket.status()
    for _ in range(3):
        world.advance(2)
        await store.run_retention()
    last = await bucket.status()

    assert first.last_sequence == last.last_sequence
    assert first.first_change == last.first_change > 1


@pytest.mark.parametrize("engine_name", ["file", "memory"], indirect=True)
async def test_segments_that_only_hold_old_changes_go(store: Store) -> None:
    """The space of changes beyond the limit comes back, whatever their age."""
    bucket = await store.create_object_store(
        "b", changes_max_bytes=4_000, segment_bytes=16_384
    )
    for _ in range(500):
        await bucket.put("a", b"content")
    before = await bucket.status()
    report = await store.run_retention()
    after = await bucket.status()

    assert before.segments > 10
    assert after.segments <= 2
    assert report.bytes_reclaimed > 100_000


@pytest.mark.parametrize("engine_name", ["file", "memory"], indirect=True)
async def test_floor_is_never_beyond_what_is_durable(
    store: Store, world: World
) -> None:
    """A change that a crash could undo is not given up, however small the limit."""
    bucket = await store.create_object_store("b", changes_max_bytes=0, sync="never")
    # the first change of all is synced
    synced = await bucket.put("a", b"1")
    written = await bucket.put("a", b"2")
    world.engine.run(Reclaim("b"))
    assert synced.seq + 1 == (await bucket.status()).first_change

    # the status has synced the other
    world.engine.run(Reclaim("b"))
    assert written.seq + 1 == (await bucket.status()).first_change


@pytest.mark.parametrize("engine_name", ["file"], indirect=True)
async def test_floor_that_another_process_raises_meanwhile(
    store: Store, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs of retention at the same time, one raises it and none fails."""
    bucket = await store.create_object_store("b", changes_max_bytes=0)
    await bucket.put("a", b"1")
    last = (await bucket.status()).last_sequence
    other, next_floor = world.open_again(), BucketSpace._next_floor
    floors: list[int | None] = []

    def next_floor_slowly(space: BucketSpace, now_ns: int) -> int | None:
        floors.append(next_floor(space, now_ns))
        if len(floors) == 1:
            other.run(Reclaim("b"))
        return floors[0]

    monkeypatch.setattr(BucketSpace, "_next_floor", next_floor_slowly)
    await store.run_retention()
    other.close()

    assert [last, last] == floors
    assert last + 1 == (await bucket.status()).first_change
