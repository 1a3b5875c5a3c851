"""The state machine of a change stream; it does no I/O and reads no clock.

`request()` says what is needed next, a `receive_*` method takes the answer, `take()`
hands out what is ready.
A request changes nothing: one that was cancelled or failed is simply asked again, so
that no change is lost, and there is no queue that a slow reader could fill.

Phases: the start is resolved to a sequence S; initial values are pages, in order of
subjects, of what was newest at S; then the caught-up marker comes; then changes from
S + 1 on, in order of the log.
A subject that changes while its page is read is left out of the pages (`as_of`) and
comes live, so nothing is left out at the seam and nothing comes twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader has come."""

    sequence: int
    """Everything at or below it was handed out, except as `subject` says."""
    subject: str | None = None
    """Within the initial values as of `sequence`: the last subject handed out, empty
    before the first one. `None` when all of them were."""


# --- where to start ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartCurrent:
    """Current values first, then what changes."""


@dataclass(frozen=True, slots=True)
class StartNew:
    """Only what changes from now on."""


@dataclass(frozen=True, slots=True)
class StartAll:
    """Every change that is kept."""


@dataclass(frozen=True, slots=True)
class StartAtSequence:
    """Changes from this sequence on, itself included."""

    sequence: int


@dataclass(frozen=True, slots=True)
class StartAtTime:
    """Changes from this time on, itself included; nanoseconds since 1970."""

    time_ns: int


@dataclass(frozen=True, slots=True)
class StartAfter:
    """What comes behind a place."""

    place: Place


Start: TypeAlias = (
    StartCurrent | StartNew | StartAll | StartAtSequence | StartAtTime | StartAfter
)
"""Where a stream starts."""

# --- what the machine asks for ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class NeedVisible:
    """Needs the greatest visible sequence: `receive_sequence`."""


@dataclass(frozen=True, slots=True)
class NeedFloor:
    """Needs the sequence before the oldest kept change: `receive_sequence`."""


@dataclass(frozen=True, slots=True)
class NeedSequenceAt:
    """Needs the last sequence committed at or before a time: `receive_sequence`."""

    time_ns: int


@dataclass(frozen=True, slots=True)
class NeedPage:
    """Needs the newest values behind a subject: `receive_page`."""

    after: str | None
    as_of: int
    """Leave out subjects whose newest value is above this sequence."""


@dataclass(frozen=True, slots=True)
class NeedChanges:
    """Needs changes above a sequence: `receive_changes`, or `receive_expired`."""

    after: int


@dataclass(frozen=True, slots=True)
class NeedWait:
    """Needs to sleep until the visible sequence is above this: `receive_visible`."""

    after: int


Request: TypeAlias = (
    NeedVisible | NeedFloor | NeedSequenceAt | NeedPage | NeedChanges | NeedWait
)
"""What a stream needs next."""


class Marker(Enum):
    """What a stream hands out beside changes."""

    CAUGHT_UP = "caught up"
    """All that existed at the start was handed out. Comes once."""


class ChangeStream(Generic[C]):
    """One reader's way through the changes of a log.

    Invariants: what is ready lies between the reader's place and `_through`; pages
    are asked for only while `_initial` is a subject; `_through` never goes down
    except by `restart`.
    """

    def __init__(self, start: Start) -> None:
        self._place: Place | None = None
        self._is_marked = False
        self._begin(start)

    def _begin(self, start: Start) -> None:
        self._start = start
        self._ready: deque[tuple[Place, C]] = deque()
        self._has_changes = False
        self._through: int | None = None
        self._initial: str | None = None
        # What existed at the start is what is at or below this sequence.
        self._target: int | None = None
        self._visible = 0
        match start:
            case StartAtSequence(sequence):
                self._through = max(sequence - 1, 0)
            case StartAfter(place):
                self._through, self._initial = place.sequence, place.subject
            case StartCurrent() | StartNew() | StartAll() | StartAtTime():
                pass

    @property
    def place(self) -> Place | None:
        """Where the reader is; `None` until the start is resolved."""
        return self._place

    @property
    def is_ready(self) -> bool:
        """Say whether `take` has something to give."""
        return bool(self._ready) or self._is_marker_due

    @property
    def is_caught_up(self) -> bool:
        """Say whether all that existed at the start was handed out."""
        return self._is_marked or self._is_marker_due

    @property
    def _is_marker_due(self) -> bool:
        if self._is_marked or self._target is None or self._initial is not None:
            return False
        if self._ready:
            return self._ready[0][0].sequence > self._target
        # A start above the end is not caught up but an error to come.
        assert self._through is not None
        return self._target <= self._through <= self._visible

    def request(self) -> Request | None:
        """Say what is needed next; `None` when something is ready.

        Guarantee: it changes nothing; without an answer it says the same again.
        """
        if self.is_ready:
            return None
        if self._through is None:
            return self._start_request()
        if self._target is None:
            return NeedVisible()
        if self._initial is not None:
            return NeedPage(self._initial or None, as_of=self._target)
        if self._through == self._visible:
            return NeedWait(self._through)
        return NeedChanges(self._through)

    def _start_request(self) -> Request:
        match self._start:
            case StartAll():
                return NeedFloor()
            case StartAtTime(time_ns):
                return NeedSequenceAt(time_ns - 1)
            case _:
                return NeedVisible()

    def take(self) -> C | Marker:
        """Hand out what is ready and move the reader's place behind it."""
        if self._is_marker_due:
            self._is_marked = True
            return Marker.CAUGHT_UP
        self._place, change = self._ready.popleft()
        self._settle()
        return change

    def receive_sequence(self, sequence: int) -> None:
        """Take the answer to a request that needs one sequence."""
        request = self.request()
        match request:
            case NeedVisible():
                self._resolve(sequence)
            case NeedFloor() | NeedSequenceAt():
                self._through = sequence
            case _:
                raise AssertionError(request)

    def receive_visible(self, sequence: int) -> None:
        """Take a visible sequence; at any time, for several may sleep at once."""
        self._visible = max(self._visible, sequence)

    def _resolve(self, visible: int) -> None:
        self._visible = self._target = visible
        if self._through is None:
            self._through = visible
            if isinstance(self._start, StartCurrent):
                self._initial = ""
        elif self._initial is not None:
            self._target = self._through
        self._settle()

    def receive_page(
        self, values: Iterable[tuple[str, C]], last_subject: str | None
    ) -> None:
        """Take a page of initial values.

        Args:
            values: those that the reader wants, in order, each with its subject.
            last_subject: the last subject of the page, wanted or not; `None` for an
                empty page, which is the end.
        """
        request = self.request()
        assert isinstance(request, NeedPage), request
        self._initial = last_subject
        self._ready.extend((Place(request.as_of, key), value) for key, value in values)
        self._settle()

    def receive_changes(self, changes: Iterable[tuple[int, C]], through: int) -> None:
        """Take changes.

        Args:
            changes: those that the reader wants, in order, each with its sequence.
            through: the sequence up to which the log has no others.
        """
        request = self.request()
        assert isinstance(request, NeedChanges), request
        assert through >= request.after, (request, through)
        self._has_changes = True
        self._through = through
        self._visible = max(self._visible, through)
        self._ready.extend((Place(number), change) for number, change in changes)
        self._settle()

    def receive_expired(self) -> bool:
        """Take that the changes asked for are gone; say whether there is a way on.

        Reading all that is kept goes on from the new floor, which was raised between
        asking for the floor and asking for the changes.
        """
        if isinstance(self._start, StartAll) and not self._has_changes:
            self._begin(self._start)
            return True
        return False

    def restart(self) -> None:
        """Go on from current values; the marker does not come a second time."""
        self._begin(StartCurrent())

    def _settle(self) -> None:
        # Behind the last ready one lie only changes that the reader does not want;
        # passing them keeps a filtered reader's place from getting stale.
        if not self._ready and self._target is not None:
            assert self._through is not None
            self._place = Place(self._through, self._initial)
