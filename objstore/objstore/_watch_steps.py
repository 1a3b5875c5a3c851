"""What a watch asks the engine, written once for both APIs; does no I/O itself.

Joins the change stream of `objstore_watch` to the engine's operations: checks the
options, filters before anything is decoded, and makes sure with every page that the
bucket is still the one that the watch began on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, cast, get_args

from objstore._document import change_of
from objstore._engine import (
    BucketChange,
    BucketChangeKind,
    BucketState,
    ChangeKind,
    Changes,
    GetBucket,
    GetUsage,
    Op,
    Page,
    SequenceAt,
    StoredMeta,
    TimeAt,
    VisibleSequence,
    WaitForChange,
    call,
)
from objstore._expiry import is_due
from objstore._names import text_fault
from objstore._types import EPOCH, Change
from objstore.errors import CorruptionError, HistoryRewoundError
from objstore_watch import (
    ChangeFilter,
    ChangeStream,
    Cursor,
    Marker,
    NeedChanges,
    NeedFloor,
    NeedPage,
    NeedSequenceAt,
    NeedVisible,
    NeedWait,
    Origin,
    Place,
    Start,
    StartAfter,
    StartAll,
    StartAtSequence,
    StartAtTime,
    StartCurrent,
    StartNew,
    Witness,
    check_origin,
    decode_cursor,
    encode_cursor,
)
from objstore_watch.errors import BadWatchError, CursorExpiredError

WatchStart: TypeAlias = Literal["current", "new", "all"] | int | datetime
"""Where a watch starts."""
OnGap: TypeAlias = Literal["raise", "snapshot"]
"""What a watch does when the changes behind its place are gone."""

PAGE_CHANGES = 256
"""Changes fetched at a time: bounds the memory of a watch, and how long it works
between two turns of the event loop."""

OBJECT_KINDS = frozenset[str](get_args(ChangeKind))
BUCKET_KINDS = frozenset[str](get_args(BucketChangeKind))
_MARKER_KINDS = frozenset({"delete", "expire"})
_STARTS: dict[str, Start] = {
    "current": StartCurrent(),
    "new": StartNew(),
    "all": StartAll(),
}
_START_ALLOWED = '"current", "new", "all", a sequence from 0 on, or an aware datetime'

_NO_CHANGE = Witness(0, 0)

Steps: TypeAlias = Generator[Op[Any], Any, None]
Stored: TypeAlias = StoredMeta | BucketChange


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The checked options of a watch."""

    start: Start
    filter: ChangeFilter
    on_gap: OnGap
    cursor: Cursor | None = None
    """Where it resumes; `start` says the same then."""


def watch_options(
    prefix: str = "",
    *,
    start: WatchStart = "current",
    after: str | None = None,
    kinds: Iterable[str] | None = None,
    ignore_deletes: bool = False,
    updates_only: bool = False,
    include_history: bool = False,
    on_gap: OnGap = "raise",
) -> WatchOptions:
    """Check the arguments of `watch()`.

    Raises:
        BadWatchError: one has no meaning, or two contradict each other.
        BadCursorError: `after` is not the text of a cursor.
    """
    if not isinstance(cast("object", prefix), str) or text_fault(
        prefix, control_characters=True
    ):
        raise BadWatchError(
            option="prefix", value=prefix, allowed="the beginning of object names"
        )
    if on_gap not in get_args(OnGap):
        raise BadWatchError(
            option="on_gap", value=on_gap, allowed='"raise" or "snapshot"'
        )
    cursor = None if after is None else _cursor_of(after)
    policy = _start_of(start, updates_only, include_history, cursor)
    wanted = _kinds_of(kinds)
    if ignore_deletes:
        wanted -= _MARKER_KINDS
    return WatchOptions(policy, ChangeFilter(wanted, prefix), on_gap, cursor)


def _cursor_of(after: object) -> Cursor:
    if not isinstance(after, str):
        raise BadWatchError(
            option="after",
            value=after,
            allowed="the text of a cursor; a sequence or a time goes into `start`",
        )
    return decode_cursor(after)


def _start_of(
    start: object,
    updates_only: bool,  # noqa: FBT001 - internal; the caller's own arguments
    include_history: bool,  # noqa: FBT001 - as above
    cursor: Cursor | None,
) -> Start:
    said = [start] if start != "current" else []
    said += ["new"] if updates_only else []
    said += ["all"] if include_history else []
    if cursor is not None:
        if said:
            raise BadWatchError(
                option="start", value=said[0], allowed="left out beside `after`"
            )
        return StartAfter(cursor.place)
    if any(other != said[0] for other in said):
        raise BadWatchError(
            option="start",
            value=said,
            allowed='one of them; updates_only is "new", include_history is "all"',
        )
    return _policy_of(said[0] if said else "current")


def _policy_of(start: object) -> Start:
    match start:
        case str() if start in _STARTS:
            return _STARTS[start]
        case datetime() if start.utcoffset() is not None:
            return StartAtTime((start - EPOCH) // timedelta(microseconds=1) * 1_000)
        case int() if start >= 0 and not isinstance(start, bool):
            return StartAtSequence(start)
        case _:
            raise BadWatchError(option="start", value=start, allowed=_START_ALLOWED)


def _kinds_of(kinds: object) -> frozenset[str]:
    if kinds is None:
        return OBJECT_KINDS
    known = OBJECT_KINDS | BUCKET_KINDS
    given, named = kinds, list[object]()
    # A string is an iterable of strings too: its letters.
    if isinstance(kinds, Iterable) and not isinstance(kinds, str):
        given = named = list(cast("Iterable[object]", kinds))
    if not named or any(not isinstance(one, str) or one not in known for one in named):
        raise BadWatchError(
            option="kinds",
            value=given,
            allowed=f"None or a set of some of {', '.join(sorted(known))}",
        )
    return known.intersection(cast("list[str]", named))


class Following:
    """The way of one watch through a bucket's changes.

    `step` is one request to the engine, whole or not at all: cancelled or failed, it
    has changed nothing and is tried again by the next one.
    Only one may be under way; the handles see to that. Any number may sleep, also
    beside a step.
    """

    def __init__(
        self,
        bucket: str,
        options: WatchOptions,
        *,
        store_id: str,
        now_ns: Callable[[], int],
    ) -> None:
        self._bucket = bucket
        self._options = options
        self._store_id = store_id
        self._now_ns = now_ns
        self._stream: ChangeStream[Stored] = ChangeStream(options.start)
        self._origin: Origin | None = None
        given = None if options.cursor is None else options.cursor.witness
        self._witnesses = [given or _NO_CHANGE, _NO_CHANGE]
        """The newest change that was handed out, and that was fetched."""

    @property
    def has_begun(self) -> bool:
        """Say whether the start is resolved."""
        return self._stream.place is not None

    @property
    def is_ready(self) -> bool:
        """Say whether `take` has something to give."""
        return self._stream.is_ready

    @property
    def is_waiting(self) -> bool:
        """Say whether there is nothing to do but `sleep`."""
        request = self._stream.request()
        return self._origin is not None and isinstance(request, NeedWait)

    @property
    def is_fetching(self) -> bool:
        """Say whether `step` is what comes next."""
        return not self.is_ready and not self.is_waiting

    @property
    def is_caught_up(self) -> bool:
        """Say whether all that existed at the start was handed out."""
        return self._stream.is_caught_up

    @property
    def has_marker(self) -> bool:
        """Say whether a NATS client is told the end of the initial values."""
        return not isinstance(self._options.start, StartNew)

    @property
    def cursor(self) -> str | None:
        """Give the reader's place as text; `None` until the start is resolved."""
        place = self._stream.place
        if self._origin is not None and place is not None:
            return encode_cursor(Cursor(self._origin, place, self._witness_of(place)))
        given = self._options.cursor
        return None if given is None else encode_cursor(given)

    def _witness_of(self, place: Place) -> Witness | None:
        """Give the newest known change at or below a place."""
        end = place.sequence
        known = [one for one in self._witnesses if 0 < one.sequence <= end]
        return max(known, default=None)

    def take(self) -> Change | None:
        """Hand out the next change; `None` is the caught-up marker.

        Raises:
            BadObjectMetaError: the change cannot be read; the next call goes on
                behind it.
        """
        stored = self._stream.take()
        if not isinstance(stored, Marker):
            self._witnesses[0] = max(
                self._witnesses[0], Witness(stored.sequence, stored.time_ns)
            )
        return None if isinstance(stored, Marker) else change_of(self._bucket, stored)

    def sleep(self, wait_s: float) -> WaitForChange:
        """Give what to sleep with until there is a change; `woken` takes its answer."""
        request = self._stream.request()
        assert isinstance(request, NeedWait), request
        return WaitForChange(self._bucket, request.after, wait_s)

    def woken(self, sequence: int) -> None:
        """Take the answer of a sleep, however late it comes."""
        self._stream.receive_visible(sequence)

    def step(self) -> Steps:
        """Carry one request out; only while `is_fetching`."""
        if self._origin is None:
            yield from self._check_bucket()
            # a failed check is made again by the next step
            origin, self._origin = self._origin, None
            yield from self._check_history()
            self._origin = origin
            return
        try:
            yield from self._answer()
        except CursorExpiredError:
            if self._stream.receive_expired():
                return
            if self._options.on_gap == "raise":
                raise
            self._stream.restart()

    def _check_history(self) -> Steps:
        """Check that the bucket has the change that the cursor's history had.

        A store and a copy of it that were both written on have the same identity.

        Raises:
            HistoryRewoundError: another change has its sequence.
        """
        cursor = self._options.cursor
        if cursor is None or cursor.witness is None:
            return
        witness = cursor.witness
        found = yield from call(TimeAt(self._bucket, witness.sequence))
        if found is not None and found != witness.time_ns:
            visible = yield from call(VisibleSequence(self._bucket))
            raise HistoryRewoundError(sequence=witness.sequence, last_sequence=visible)

    def _check_bucket(self) -> Generator[Op[Any], Any, BucketState]:
        """Check that the bucket is the one of the cursor, and was not recreated."""
        state = yield from call(GetBucket(self._bucket))
        found = Origin(self._store_id, self._bucket, state.incarnation)
        given = self._options.cursor
        if self._origin is not None:
            check_origin(self._origin, found)
        elif given is not None:
            check_origin(given.origin, found)
        self._origin = found
        return state

    def _answer(self) -> Steps:
        bucket, stream = self._bucket, self._stream
        match stream.request():
            case NeedVisible():
                stream.receive_sequence((yield from call(VisibleSequence(bucket))))
            case NeedFloor():
                usage = yield from call(GetUsage(bucket))
                stream.receive_sequence(max(usage.first_change - 1, 0))
            case NeedSequenceAt(time_ns):
                stream.receive_sequence((yield from call(SequenceAt(bucket, time_ns))))
            case NeedPage(after_name, as_of):
                yield from self._page(after_name, as_of)
            case NeedChanges(after):
                yield from self._changes(after)
            case NeedWait() | None:
                raise AssertionError

    def _page(self, after_name: str | None, as_of: int) -> Steps:
        prefix = self._options.filter.prefix
        page = yield from call(
            Page(self._bucket, prefix, after_name, PAGE_CHANGES, as_of)
        )
        # A seal marks what is due, and what it has not marked stays for good.
        is_sealed = (yield from self._check_bucket()).sealed
        now_ns = self._now_ns()
        current: list[tuple[str, Stored]] = [
            (meta.name, meta)
            for meta in page
            if self._admits(meta) and (is_sealed or not is_due(meta, now_ns))
        ]
        self._stream.receive_page(current, page[-1].name if page else None)

    def _changes(self, after: int) -> Steps:
        try:
            page = yield from call(Changes(self._bucket, after, PAGE_CHANGES))
        except CorruptionError as error:
            if error.sequence is not None:
                # told once; the next call goes on behind it
                self._stream.receive_changes([], error.sequence)
            raise
        yield from self._check_bucket()
        wanted = [
            (change.sequence, change) for change in page.changes if self._admits(change)
        ]
        self._stream.receive_changes(wanted, page.through)
        for change in page.changes[-1:]:
            self._witnesses[1] = Witness(change.sequence, change.time_ns)

    def _admits(self, change: Stored) -> bool:
        name = None if isinstance(change, BucketChange) else change.name
        return self._options.filter.admits(change.change, name)
