"""Is there an order of calls that explains what each was told? Pure.

The search of Wing and Gong with the memory of Lowe, as Porcupine has it: a call takes
effect at one moment between its begin and its end. An unfinished one may do so, or
never; one that was killed has no end.

An unfinished call that the next one would not notice is left out, because the order
without it is as good: otherwise every choice of some of them is a place of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

PLACES_MAX = 1_000_000
"""Places of the search before it gives up."""


class Timed(Protocol):
    """A call as the search sees it."""

    @property
    def begin_ns(self) -> float:
        """When it was made."""
        ...

    @property
    def end_ns(self) -> float:
        """When it came back."""
        ...


S = TypeVar("S", bound=Hashable)
C = TypeVar("C", bound=Timed)


@dataclass(frozen=True, slots=True)
class _Place(Generic[S]):
    """How far an order has come."""

    first: int
    """All calls before this one have taken effect."""
    ahead: frozenset[int]
    """Those behind it that have, too."""
    used: frozenset[int]
    """The unfinished ones that have."""
    state: S
    before: S | None = None
    """The state without the last call, if that is an unfinished one."""


@dataclass(frozen=True, slots=True)
class Stuck(Generic[S, C]):
    """No order explains all; the longest one ends here."""

    call: C | None
    """One that had to take effect next; `None` when all have, and it is not the end."""
    state: S
    count: int
    """How many could be put in order."""


class Search(Generic[S, C]):
    """Looks for an order of the calls of one object."""

    def __init__(
        self,
        finished: Sequence[C],
        unfinished: Sequence[C],
        apply: Callable[[S, C], S | None],
        is_end: Callable[[S], bool] = lambda _: True,
    ) -> None:
        """Take the calls and what they do.

        Args:
            finished: Calls that have to take effect.
            unfinished: Calls that may.
            apply: Gives the state behind a call; `None` when the state before it does
                not explain what the call was told.
            is_end: Says whether a state may be the last one.
        """
        self._finished = sorted(finished, key=lambda call: call.begin_ns)
        self._unfinished = sorted(unfinished, key=lambda call: call.begin_ns)
        self._apply = apply
        self._is_end = is_end

    def run(self, start: S) -> Stuck[S, C] | None:
        """Look for an order from a state on; `None` when there is one."""
        nothing = frozenset[int]()
        stack = [_Place(0, nothing, nothing, start)]
        known = set(stack)
        best = stack[0]
        while stack:
            place = stack.pop()
            if _count(place) > _count(best):
                best = place
            if place.first == len(self._finished) and self._is_end(place.state):
                return None
            for following in self._behind(place):
                if following not in known:
                    known.add(following)
                    stack.append(following)
            if len(known) > PLACES_MAX:
                message = f"{len(self._finished)} calls are too many to put in order"
                raise RuntimeError(message)
        due = min(
            (self._finished[at] for at in self._window(best)),
            key=lambda call: call.end_ns,
            default=None,
        )
        return Stuck(due, best.state, _count(best))

    def _window(self, place: _Place[S]) -> list[int]:
        """Give those that may be next: no other one ends before they begin."""
        window: list[int] = []
        limit_ns = math.inf
        for at in range(place.first, len(self._finished)):
            call = self._finished[at]
            if call.begin_ns > limit_ns:
                break
            if at not in place.ahead:
                window.append(at)
                limit_ns = min(limit_ns, call.end_ns)
        return window

    def _behind(self, place: _Place[S]) -> Iterator[_Place[S]]:
        window = self._window(place)
        maybe = self._maybe(place, window)
        last_chance_ns = min(
            (self._unfinished[at].end_ns for at in maybe), default=math.inf
        )
        found: list[_Place[S]] = []
        for at in window:
            call = self._finished[at]
            state = self._state(place, call)
            if state is None:
                continue
            following = self._with(place, at, state)
            if state == place.state and call.begin_ns <= last_chance_ns:
                # what changes nothing and makes nothing too late is never too early
                yield following
                return
            found.append(following)
        for at in maybe:
            state = self._state(place, self._unfinished[at])
            if state is not None and state != place.state:
                used = place.used | {at}
                yield _Place(place.first, place.ahead, used, state, place.state)
        yield from reversed(found)

    def _maybe(self, place: _Place[S], window: Sequence[int]) -> list[int]:
        """Give the unfinished calls whose time is now."""
        limit_ns = min((self._finished[at].end_ns for at in window), default=math.inf)
        latest_ns = self._latest_ns(place)
        return [
            at
            for at, call in enumerate(self._unfinished)
            if latest_ns <= call.end_ns
            and call.begin_ns <= limit_ns
            and at not in place.used
        ]

    def _state(self, place: _Place[S], call: C) -> S | None:
        """Give the state behind a call, unless the last one would be in vain."""
        state = self._apply(place.state, call)
        if state is not None and place.before is not None:
            return None if state == self._apply(place.before, call) else state
        return state

    def _latest_ns(self, place: _Place[S]) -> float:
        """Give the time before which nothing takes effect any more."""
        last = max(place.ahead, default=place.first - 1)
        finished_ns = self._finished[last].begin_ns if last >= 0 else -math.inf
        used = max(place.used, default=-1)
        unfinished_ns = self._unfinished[used].begin_ns if used >= 0 else -math.inf
        return max(finished_ns, unfinished_ns)

    def _with(self, place: _Place[S], at: int, state: S) -> _Place[S]:
        ahead = set(place.ahead)
        ahead.add(at)
        first = place.first
        while first in ahead:
            ahead.remove(first)
            first += 1
        return _Place(first, frozenset(ahead), place.used, state)


def _count(place: _Place[S]) -> int:
    return place.first + len(place.ahead)
