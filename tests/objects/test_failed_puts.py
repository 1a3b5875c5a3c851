"""A failed, cancelled or interrupted put leaves the old content and no bytes."""

from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.worlds import asynchronous, on_fake

from objstore import ObjectStore, StorageError, Store, blocking
from objstore._handles import Session
from objstore._operations_write import LARGE_SLAB_BYTES

pytestmark = [pytest.mark.anyio, on_fake]

LARGE = bytes(2 * LARGE_SLAB_BYTES + 1)


def name_of(op: object) -> str:
    """Give the kind of an operation."""
    return type(op).__name__


async def check_nothing_left(store: Store, bucket: ObjectStore) -> None:
    """Check that the old content is whole, and that nothing else takes space."""
    assert b"old" == await bucket.get("a")
    assert (1, 3) == ((status := await bucket.status()).count, status.size)
    await store.run_retention()
    assert 3 == (await bucket.status()).stored_size


@pytest.fixture
async def old(store: Store) -> ObjectStore:
    """Give a bucket with the object `a`."""
    bucket = await store.create_object_store(bucket="b")
    await bucket.put("a", b"old")
    return bucket


def failing_source(after: int) -> Iterator[bytes]:
    """Give some pieces, then fail."""
    for _ in range(after):
        yield bytes(1_000_000)
    raise ZeroDivisionError


@pytest.mark.parametrize("after", [0, 1, 2, 9])
async def test_failing_source(store: Store, old: ObjectStore, after: int) -> None:
    """The error of a source passes through the put."""
    with pytest.raises(ZeroDivisionError):
        await old.put("a", failing_source(after))

    await check_nothing_left(store, old)


async def test_failing_progress(store: Store, old: ObjectStore) -> None:
    """The error of a progress function passes through the put."""

    def progress(done: int, _total: int | None) -> None:
        if done > LARGE_SLAB_BYTES:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await old.put("a", LARGE, progress=progress)

    await check_nothing_left(store, old)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "failure",
    [
        StorageError(path="p", operation="write", reason="no space"),
        KeyboardInterrupt(),
    ],
    ids=["refused", "interrupted"],
)
async def test_failing_append(
    store: Store, old: ObjectStore, fake: FakeEngine, nth: int, failure: BaseException
) -> None:
    """An append that fails ends the put, and gives back those before it."""
    count = 0

    def before(op: object) -> None:
        nonlocal count
        count += name_of(op) == "Append"
        if count == nth and name_of(op) == "Append":
            raise failure

    fake.before = before
    with pytest.raises(type(failure)):
        await old.put("a", LARGE)
    fake.before = lambda _op: None

    await check_nothing_left(store, old)


async def test_first_error_wins(old: ObjectStore, fake: FakeEngine) -> None:
    """The caller sees why the put failed, not why its cleaning up did."""

    def before(op: object) -> None:
        if name_of(op) == "Abort":
            raise StorageError(path="p", operation="write", reason="again")

    fake.before = before
    with pytest.raises(ZeroDivisionError):
        await old.put("a", failing_source(9))


async def test_interrupt_behind_commit_keeps_content(
    old: ObjectStore, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed is not taken back, whatever comes before the answer."""
    carry_out = fake.run

    def run(op: Any) -> Any:
        answer = carry_out(op)
        if name_of(op) == "Append" and op.visible:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(fake, "run", run)
    with pytest.raises(KeyboardInterrupt):
        await old.put("a", LARGE)

    assert LARGE == await old.get("a")


@asynchronous
@pytest.mark.parametrize("size", [10, len(LARGE)])
async def test_cancelled_put(
    store: Store, old: ObjectStore, fake: FakeEngine, size: int
) -> None:
    """A put that is cancelled at any operation has happened or left nothing."""
    data = LARGE[:size]
    outcomes: list[bytes] = []
    for cancelled_at in range(1, 20):
        count = 0
        with anyio.CancelScope() as scope:

            def before(
                op: object, scope: anyio.CancelScope = scope, at: int = cancelled_at
            ) -> None:
                nonlocal count
                count += 1
                if count == at:
                    scope.cancel()

            fake.before = before
            await old.put("a", data)
        fake.before = lambda _op: None
        outcomes.append(await old.get("a"))
        await store.run_retention()
        assert len(outcomes[-1]) == (await old.status()).stored_size
        await old.put("a", b"old")

    assert {b"old", data} == set(outcomes)
    assert outcomes == sorted(outcomes, key=lambda content: content == data)


@asynchronous
async def test_cancelled_writer(store: Store, old: ObjectStore) -> None:
    """A writer whose block is cancelled leaves nothing."""
    with anyio.move_on_after(0.05):
        async with old.open_writer("a") as writer:
            await writer.write(LARGE)
            await anyio.sleep_forever()

    await check_nothing_left(store, old)


# --- conflicts --------------------------------------------------------------------


def overwriting(fake: FakeEngine, kind: str, times: int) -> None:
    """Let another caller put `a` just before each append of some kind."""
    other = blocking.Store(Session(fake)).object_store("b")
    left = times

    def before(op: Any) -> None:
        nonlocal left
        if name_of(op) == "Append" and kind in op.expect and left:
            left -= 1
            other.put("a", b"other")

    fake.before = before


@pytest.mark.parametrize("size", [10, len(LARGE)])
async def test_put_retries_after_conflict(
    old: ObjectStore, fake: FakeEngine, size: int
) -> None:
    """A put whose name changed meanwhile comes after that change."""
    overwriting(fake, "a", 3)
    info = await old.put("a", LARGE[:size])

    assert LARGE[:size] == await old.get("a")
    assert info.seq == fake.buckets["b"].sequence


async def test_large_put_appends_chunks_once(
    store: Store, old: ObjectStore, fake: FakeEngine
) -> None:
    """A conflict costs a large put only its meta."""
    overwriting(fake, "a", 3)
    await old.put("a", LARGE)
    await store.run_retention()

    assert len(LARGE) == (await old.status()).stored_size


async def test_rename_retries_after_conflict(
    old: ObjectStore, fake: FakeEngine
) -> None:
    """A rename moves what is under the name when it commits."""
    overwriting(fake, "a", 2)
    await old.rename("a", "z")

    assert b"other" == await old.get("z")
    assert not await old.exists("a")


async def test_copy_shares_only_what_is_there(
    old: ObjectStore, fake: FakeEngine
) -> None:
    """A copy whose source changed meanwhile copies the newer content."""
    overwriting(fake, "z", 2)
    await old.copy("a", "z")

    assert b"other" == await old.get("z")


# --- memory -----------------------------------------------------------------------


async def test_source_is_not_read_ahead(old: ObjectStore, fake: FakeEngine) -> None:
    """A put never holds more than a few slabs of its source."""
    read = sent = 0
    ahead: list[int] = []

    def pieces() -> Iterator[bytes]:
        nonlocal read
        for _ in range(40):
            read += 1_000_000
            ahead.append(read - sent)
            yield bytes(1_000_000)

    def before(op: Any) -> None:
        nonlocal sent
        if name_of(op) == "Append":
            sent += sum(len(getattr(record, "data", b"")) for record in op.records)

    fake.before = before
    await old.put("a", pieces())

    assert max(ahead) < 3 * LARGE_SLAB_BYTES
