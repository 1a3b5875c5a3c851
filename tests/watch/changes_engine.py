"""An engine that keeps changes and nothing else, for the tests of watches."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from objstore import _engine as e
from objstore._document import Document, encode_document
from objstore._types import Change
from objstore._watch import AsyncWatch, BlockingWatch
from objstore._watch_steps import watch_options
from objstore.errors import (
    BucketNotFoundError,
    CursorExpiredError,
    HistoryRewoundError,
)

T = TypeVar("T")
SECOND_NS = 1_000_000_000


class ChangesEngine:
    """The part of an engine that watches ask, over one bucket called "media".

    The clock is the sequence in seconds; `before` and `after` see every operation.
    """

    url = "changes:"
    store_id = "store"
    capabilities: frozenset[e.Capability] = frozenset()
    backing_store = "memory"

    def __init__(self) -> None:
        self.feed: list[e.StoredMeta | e.BucketChange] = []
        self.names: dict[str, e.StoredMeta] = {}
        self.sequence = 0
        self.floor = 0
        self.incarnation = "1"
        self.before: Callable[[e.Op[Any]], None] = lambda _op: None
        self.after: Callable[[e.Op[Any]], None] = lambda _op: None
        self._sleepers: set[anyio.Event] = set()
        self._changed = threading.Condition()

    def commit(
        self,
        name: str,
        change: e.ChangeKind = "put",
        *,
        expires_s: int | None = None,
        document: bytes | None = None,
    ) -> int:
        """Append a change behind one chunk; give its sequence."""
        sequence = self.sequence + 2
        text = encode_document(Document(name, "media", nuid="n"))
        meta = e.StoredMeta(
            sequence=sequence,
            time_ns=sequence * SECOND_NS,
            name=name,
            document=text if document is None else document,
            change=change,
            nuid=bytes(16),
            size=1,
            chunk_bytes=1,
            extents=(e.Extent(sequence - 1, 1, 1),),
            content_time_ns=sequence * SECOND_NS,
            expires_ns=None if expires_s is None else expires_s * SECOND_NS,
            stored_size=1,
        )
        self.names[name] = meta
        self._publish(meta)
        return sequence

    def commit_bucket_change(self, change: e.BucketChangeKind) -> None:
        """Append a change of the bucket itself."""
        sequence = self.sequence + 1
        self._publish(e.BucketChange(sequence, sequence * SECOND_NS, change))

    def recreate(self) -> None:
        """Delete the bucket and make another one of the same name."""
        self.incarnation += "1"

    def _publish(self, change: e.StoredMeta | e.BucketChange) -> None:
        with self._changed:
            self.feed.append(change)
            self.sequence = change.sequence
            self._changed.notify_all()
        for sleeper in self._sleepers:
            sleeper.set()

    def purge_ns(self) -> int:
        return self.now_ns()

    def now_ns(self) -> int:
        """Give the sequence as a time."""
        return self.sequence * SECOND_NS

    def new_nuid(self) -> bytes:
        """Give no id: watches ask for none."""
        return bytes(16)

    def run(self, op: e.Op[T]) -> T:
        """Carry an operation out."""
        self.before(op)
        if isinstance(op, e.WaitForChange):
            with self._changed:
                self._changed.wait_for(
                    lambda: self.sequence > op.after, timeout=op.timeout_s
                )
        answer: Any = self._answer(op)
        return answer  # type: ignore[no-any-return]

    async def arun(self, op: e.Op[T]) -> T:
        """Carry an operation out, cancellable before and after."""
        self.before(op)
        await anyio.lowlevel.checkpoint()
        if isinstance(op, e.WaitForChange):
            await self._sleep(op)
        answer: Any = self._answer(op)
        self.after(op)
        await anyio.lowlevel.checkpoint()
        return answer  # type: ignore[no-any-return]

    async def _sleep(self, op: e.WaitForChange) -> None:
        with anyio.move_on_after(op.timeout_s):
            while self.sequence <= op.after:
                sleeper = anyio.Event()
                self._sleepers.add(sleeper)
                try:
                    await sleeper.wait()
                finally:
                    self._sleepers.discard(sleeper)

    def _answer(self, op: e.Op[Any]) -> Any:
        match op:
            case e.GetBucket(name):
                if name != "media":
                    raise BucketNotFoundError(bucket=name)
                return e.BucketState(name, b"", self.incarnation, False, -1)
            case e.VisibleSequence() | e.WaitForChange():
                return self.sequence
            case e.GetUsage():
                return e.Usage(0, 0, 0, self.sequence, self.floor + 1, 1)
            case e.SequenceAt(_, number) | e.TimeAt(_, number):
                is_time = isinstance(op, e.SequenceAt)
                return min(number // SECOND_NS, self.sequence) if is_time else None
            case e.Page():
                return self._page(op)
            case e.Changes():
                return self._changes(op)
            case _:
                raise AssertionError(op)

    def _page(self, op: e.Page) -> list[e.StoredMeta]:
        assert op.as_of is not None
        return [
            self.names[name]
            for name in sorted(self.names)
            if name.startswith(op.prefix)
            and (op.start_after is None or name > op.start_after)
            and self.names[name].sequence <= op.as_of
        ][: op.limit]

    def _changes(self, op: e.Changes) -> e.ChangePage:
        if op.after < self.floor:
            raise CursorExpiredError(sequence=op.after, oldest=self.floor + 1)
        if op.after > self.sequence:
            raise HistoryRewoundError(sequence=op.after, last_sequence=self.sequence)
        found = [change for change in self.feed if change.sequence > op.after]
        if len(found) <= op.limit:
            return e.ChangePage(tuple(found), self.sequence)
        page = tuple(found[: op.limit])
        return e.ChangePage(page, page[-1].sequence)

    def peek(self, bucket: str, name: str, *, wait: bool) -> None:
        """Have nothing at hand."""

    def peek_range(
        self, bucket: str, name: str, offset: int, size: int, *, wait: bool
    ) -> None:
        """Have nothing at hand."""

    def drop(self, op: e.Abort) -> None:
        """Forget nothing: watches put nothing."""

    def close(self) -> None:
        """Watches do not close their engine."""
        raise AssertionError

    async def aclose(self) -> None:
        """Watches do not close their engine."""
        raise AssertionError


def watching(engine: ChangesEngine, **options: Any) -> AsyncWatch:
    """Watch the bucket."""
    return AsyncWatch(engine, "media", watch_options(**options))


def blocking(engine: ChangesEngine, **options: Any) -> BlockingWatch:
    """Watch the bucket without an event loop."""
    return BlockingWatch(engine, "media", watch_options(**options))


def shown(change: Change | None) -> tuple[str, int] | None:
    """Give a change as name and sequence."""
    return None if change is None else (change.name, change.seq)


async def follow(watch: AsyncWatch, found: list[str]) -> None:
    """Take all there is until the watch ends, as names."""
    async for change in watch:
        found.append(change.name)  # noqa: PERF401 - others look at it meanwhile


async def given(watch: AsyncWatch, count: int) -> list[tuple[str, int]]:
    """Take so many changes, as name and sequence."""
    with anyio.fail_after(5):
        changes = [await anext(watch) for _ in range(count)]
    return [(change.name, change.seq) for change in changes]
