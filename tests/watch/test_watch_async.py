"""What watches give: values and changes, cursors, gaps."""

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from objstore import _engine as e
from objstore._watch import AsyncWatch
from objstore._watch_steps import watch_options
from objstore.errors import (
    BadObjectMetaError,
    BucketNotFoundError,
    CursorExpiredError,
    HistoryRewoundError,
)
from objstore_watch.errors import CursorForeignError

from .changes_engine import ChangesEngine, given, watching

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.anyio

# --- what comes -------------------------------------------------------------------


async def test_current_values_come_by_name_then_live_changes(
    engine: ChangesEngine,
) -> None:
    """A watch gives current values in name order, then changes as they come."""
    for name in "cab":
        engine.commit(name)
    watch = watching(engine)
    assert [("a", 4), ("b", 6), ("c", 2)] == await given(watch, 3)
    engine.commit("b")
    engine.commit("d")

    assert [("b", 8), ("d", 10)] == await given(watch, 2)


async def test_change_says_what_happened(engine: ChangesEngine) -> None:
    """A change is an `ObjectInfo` with its kind; a delete says `deleted`."""
    engine.commit("a", "delete")
    change = await anext(watching(engine))

    assert ("a", "media", "delete", True, 2) == (
        change.name,
        change.bucket,
        change.kind,
        change.deleted,
        change.seq,
    )


@pytest.mark.usefixtures("small_pages")
async def test_name_overwritten_while_pages_are_read_comes_live(
    engine: ChangesEngine,
) -> None:
    """At the seam nothing is left out and nothing comes twice."""
    for name in "abcd":
        engine.commit(name)
    watch = watching(engine)
    assert [("a", 2)] == await given(watch, 1)
    engine.commit("d")
    engine.commit("a")
    engine.commit("a1")

    assert [("b", 4), ("c", 6)] == await given(watch, 2)
    assert [("d", 10), ("a", 12), ("a1", 14)] == await given(watch, 3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"start": "all"}, [2, 4, 6, 8]),
        ({"include_history": True}, [2, 4, 6, 8]),
        ({"start": 4}, [4, 6, 8]),
        ({"start": 5}, [6, 8]),
        ({"start": EPOCH + timedelta(seconds=6)}, [6, 8]),
        ({"start": EPOCH + timedelta(seconds=6, microseconds=1)}, [8]),
        ({"start": "new"}, [8]),
        ({"updates_only": True}, [8]),
    ],
)
async def test_watch_starts_where_it_is_told(
    engine: ChangesEngine, options: dict[str, Any], expected: list[int]
) -> None:
    """History comes in the order of the log, superseded changes too."""
    for name in "aba":
        engine.commit(name)
    async with watching(engine, **options) as watch:
        engine.commit("z")
        found = await given(watch, len(expected))

    assert expected == [sequence for _, sequence in found]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["a/1:put", "a/2:delete", "b:meta", "a/1:expire"]),
        ({"prefix": "a/"}, ["a/1:put", "a/2:delete", "a/1:expire"]),
        ({"ignore_deletes": True}, ["a/1:put", "b:meta"]),
        ({"kinds": {"meta", "seal"}}, ["b:meta", ":seal"]),
        ({"kinds": {"config"}, "prefix": "a/"}, [":config"]),
    ],
)
@pytest.mark.parametrize("start", ["new", "all"])
async def test_watch_gives_what_is_wanted(
    engine: ChangesEngine, options: dict[str, Any], expected: list[str], start: str
) -> None:
    """Filters leave out by prefix and kind; bucket changes come when named."""
    async with watching(engine, start=start, **options) as watch:
        engine.commit("a/1")
        engine.commit("a/2", "delete")
        engine.commit_bucket_change("config")
        engine.commit("b", "meta")
        engine.commit("a/1", "expire")
        engine.commit_bucket_change("seal")
        with anyio.fail_after(5):
            found = [await anext(watch) for _ in expected]

    assert expected == [f"{change.name}:{change.kind}" for change in found]


async def test_expired_object_is_no_current_value(engine: ChangesEngine) -> None:
    """What has expired is left out; its `expire` change comes when it is written."""
    engine.commit("gone", expires_s=5)
    engine.commit("kept", expires_s=500)
    engine.commit("last")
    watch = watching(engine)
    assert [("kept", 4), ("last", 6)] == await given(watch, 2)
    engine.commit("gone", "expire")

    assert [("gone", 8)] == await given(watch, 1)


async def test_unreadable_change_hides_no_other(engine: ChangesEngine) -> None:
    """A change that cannot be decoded is reported once, the next one comes."""
    engine.commit("a", document=b"{")
    engine.commit("b")
    watch = watching(engine)
    with pytest.raises(BadObjectMetaError):
        await anext(watch)

    assert [("b", 4)] == await given(watch, 1)


async def test_two_watchers_get_the_same(engine: ChangesEngine) -> None:
    """Watches in one process do not take changes from each other."""
    found: list[list[tuple[str, int]]] = []

    async def follow(watch: AsyncWatch) -> None:
        found.append(await given(watch, 2))

    async with anyio.create_task_group() as group:
        group.start_soon(follow, watching(engine))
        group.start_soon(follow, watching(engine))
        await anyio.wait_all_tasks_blocked()
        engine.commit("a")
        await anyio.wait_all_tasks_blocked()
        engine.commit("b")

    assert [[("a", 2), ("b", 4)]] * 2 == found


# --- cursors ----------------------------------------------------------------------


@pytest.mark.usefixtures("small_pages")
async def test_run_can_be_split_anywhere(engine: ChangesEngine) -> None:
    """Resumed by cursor, in the current values too, the rest is the same."""
    for name in "edcba":
        engine.commit(name)
    watch = watching(engine)
    async with watch:
        for name in "xay":
            engine.commit(name)
        cursors = [watch.cursor]
        whole: list[tuple[str, int]] = []
        for _ in range(7):
            whole += await given(watch, 1)
            cursors.append(watch.cursor)

    for index, cursor in enumerate(cursors):
        rest = await given(watching(engine, after=cursor), 7 - index)
        assert whole[index:] == rest


async def test_cursor_is_there_from_the_beginning(engine: ChangesEngine) -> None:
    """Entering fixes the start; before, there is only the cursor that was given."""
    watch = watching(engine, start="new")
    before = watch.cursor
    async with watch:
        cursor = watch.cursor
        engine.commit("a")
    resumed = watching(engine, after=cursor)

    assert before is None
    assert cursor is not None
    assert cursor == resumed.cursor
    assert [("a", 2)] == await given(resumed, 1)


async def test_cursor_of_filtered_watch_moves_on(engine: ChangesEngine) -> None:
    """Unwanted changes move the cursor, so that it does not expire for idleness."""
    async with watching(engine, prefix="x") as watch:
        for _ in range(5):
            engine.commit("a")
        with anyio.move_on_after(0.05):
            await anext(watch)
    engine.floor = engine.sequence
    engine.commit("x")

    assert [("x", 12)] == await given(
        watching(engine, prefix="x", after=watch.cursor), 1
    )


async def test_foreign_cursor_is_an_error(engine: ChangesEngine) -> None:
    """A cursor of another store or of a recreated bucket never gives other data."""
    async with watching(engine) as watch:
        cursor = watch.cursor
    engine.recreate()
    with pytest.raises(CursorForeignError, match=r"made as 1\).*made as 11\)"):
        await anext(watching(engine, after=cursor))
    other = ChangesEngine()
    other.store_id = "other"

    with pytest.raises(CursorForeignError, match=r"store store.*store other"):
        async with watching(other, after=cursor):
            pass


@pytest.mark.parametrize("start", ["current", "new"])
async def test_recreated_bucket_ends_its_watch(
    engine: ChangesEngine, start: str
) -> None:
    """A watch never goes on in another bucket of the same name."""
    engine.commit("a")
    async with watching(engine, start=start) as watch:
        engine.recreate()
        engine.commit("b")

        with pytest.raises(CursorForeignError):
            await anext(watch)


async def test_missing_bucket_is_an_error(engine: ChangesEngine) -> None:
    """What the engine raises comes out of the iteration."""
    with pytest.raises(BucketNotFoundError):
        await anext(AsyncWatch(engine, "other", watch_options()))


@pytest.mark.parametrize("by_cursor", [True, False])
async def test_place_above_the_end_is_an_error(
    engine: ChangesEngine, *, by_cursor: bool
) -> None:
    """A place that the log never had is told, not slept on."""
    engine.commit("a")
    async with watching(engine, start="new") as watch:
        cursor = watch.cursor
    engine.sequence = 0
    resumed = watching(engine, **({"after": cursor} if by_cursor else {"start": 9}))

    with anyio.fail_after(5), pytest.raises(HistoryRewoundError):
        await anext(resumed)


# --- gaps -------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, EPOCH])
async def test_gap_at_the_start_is_told(
    engine: ChangesEngine, start: int | datetime
) -> None:
    """A start below the floor is an error, and stays one."""
    engine.commit("a")
    engine.floor = 2
    watch = watching(engine, start=start)

    for _ in range(2):
        with pytest.raises(CursorExpiredError):
            await anext(watch)


@pytest.mark.usefixtures("small_pages")
async def test_gap_while_iterating_is_told(engine: ChangesEngine) -> None:
    """A reader that is too slow is told when its place is gone."""
    async with watching(engine, start="new") as watch:
        for name in "abcd":
            engine.commit(name)
        assert [("a", 2)] == await given(watch, 1)
        engine.floor = 6
        assert [("b", 4)] == await given(watch, 1)

        with pytest.raises(CursorExpiredError):
            await anext(watch)


@pytest.mark.usefixtures("small_pages")
async def test_snapshot_goes_on_behind_a_gap(engine: ChangesEngine) -> None:
    """With `on_gap="snapshot"` current values come instead of the lost changes."""
    async with watching(engine, start="new", on_gap="snapshot") as watch:
        for name in "dabcd":
            engine.commit(name)
        assert [("d", 2), ("a", 4)] == await given(watch, 2)
        engine.floor = 8
        assert [("a", 4), ("b", 6), ("c", 8), ("d", 10)] == await given(watch, 4)
        engine.commit("e")

        assert [("e", 12)] == await given(watch, 1)


async def test_all_starts_at_the_floor(engine: ChangesEngine) -> None:
    """All is all that is kept, even when the floor rises at the wrong moment."""
    for name in "abc":
        engine.commit(name)
    engine.floor = 2

    def rise(op: e.Op[Any]) -> None:
        if isinstance(op, e.Changes):
            engine.floor = 4
            engine.before = lambda _op: None

    engine.before = rise

    assert [("c", 6)] == await given(watching(engine, start="all"), 1)


async def test_watch_may_start_at_the_first_sequence_to_come(
    engine: ChangesEngine,
) -> None:
    """A sequence that is still to come next is a start like any other."""
    async with watching(engine, start=1) as watch:
        engine.commit("a")

        assert [("a", 2)] == await given(watch, 1)
