"""Which unfinished copies and renames may have made which changes. Pure.

What they make has the identity of its source and nothing of their own, so that several
may have made one change. Choosing one of them would have the checker refuse a history
that another choice explains: a change keeps all that are possible, and counts as made
at any moment that one of them leaves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tests.torture.history import OPEN, Call, Event

ABSENT = Event(0, "delete", "")
State = Mapping[str, Event]
"""The newest change of each name."""


def target(call: Call) -> str:
    """Give the name that gets a change."""
    return str(call.facts.get("other", call.name))


def is_rename_of(marker: Event, event: Event, before: State) -> bool:
    """Say whether a deletion and the change behind it may be one rename.

    Args:
        marker: The deletion.
        event: The change behind it.
        before: The names as they stood before both.
    """
    old = before.get(marker.name, ABSENT)
    is_pair = (marker.kind, marker.seq) == ("delete", event.seq - 1)
    return is_pair and marker.name != event.name and old.nuid == event.nuid


def is_maker(call: Call, event: Event, before: State, marker: Event | None) -> bool:
    """Say whether an unfinished call may have made a change, but for its time.

    Args:
        call: The call.
        event: The change.
        before: The names as they stood before it.
        marker: The deletion that may belong to it.
    """
    if call.how not in {"copy", "rename"} or target(call) != event.name:
        return False
    if call.facts.get("create") and before.get(event.name, ABSENT).kind != "delete":
        return False
    if call.how == "rename":
        return marker is not None and call.name == marker.name
    source = before.get(call.name, ABSENT)
    return source.kind != "delete" and source.nuid == event.nuid


def share(makers: Mapping[int, Sequence[Call]]) -> dict[int, list[Call]]:
    """Leave each change the calls that may have made it when no call made two.

    Args:
        makers: The calls that may have made each change.

    Returns:
        The same without calls that other changes cannot do without; a change that
        none is left for is not in it.
    """
    matched = set(_matching(makers).values())
    shared: dict[int, list[Call]] = {}
    for place in sorted(matched):
        others = {other: makers[other] for other in matched - {place}}
        shared[place] = [
            call
            for call in makers[place]
            if len(makers[place]) == 1 or _is_spared(call, others)
        ]
    return shared


def _is_spared(call: Call, others: Mapping[int, Sequence[Call]]) -> bool:
    """Say whether the other changes can all be made without a call."""
    left = {
        place: [maker for maker in calls if maker is not call]
        for place, calls in others.items()
    }
    return len(_matching(left)) == len(left)


def _matching(makers: Mapping[int, Sequence[Call]]) -> dict[str, int]:
    """Give as many changes as possible a call of their own."""
    taken: dict[str, int] = {}

    def is_placed(place: int, tried: set[str]) -> bool:
        for call in makers[place]:
            if call.id in tried:
                continue
            tried.add(call.id)
            if call.id not in taken or is_placed(taken[call.id], tried):
                taken[call.id] = place
                return True
        return False

    for place in makers:
        is_placed(place, set())
    return taken


def either(calls: Sequence[Call]) -> Call:
    """Give a call that stands for whichever of some made a change."""
    first = calls[0]
    if len(calls) == 1:
        return first
    is_rename = all(call.how == "rename" for call in calls)
    return Call(
        " or ".join(call.id for call in calls),
        first.who,
        "rename" if is_rename else "copy",
        first.bucket,
        first.name,
        min(call.begin_ns for call in calls),
        {"other": target(first)},
        OPEN,
        {},
        max(call.end_ns for call in calls),
    )


class Moments:
    """When changes were made: behind those before them, before those behind them."""

    def __init__(self, events: Sequence[Event], by_seq: Mapping[int, Call]) -> None:
        """Take the calls that are known."""
        self._after = [-math.inf]
        for event in events:
            call = by_seq.get(event.seq)
            begin_ns = -math.inf if call is None else call.begin_ns
            self._after.append(max(self._after[-1], begin_ns))
        self._until = [math.inf]
        for event in reversed(events):
            call = by_seq.get(event.seq)
            end_ns = math.inf if call is None else call.end_ns
            self._until.append(min(self._until[-1], end_ns))
        self._until.reverse()

    def is_timely(self, call: Call, place: int) -> bool:
        """Say whether a call had the time to make a change."""
        begins = call.begin_ns <= self._until[place + 1]
        return begins and call.end_ns >= self._after[place]
