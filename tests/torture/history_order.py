"""Is there one moment for every answer, over all names of a bucket? Pure.

The log fixes the order of changes, so that only their moments have to be found; there
is nothing to search: an answer takes its moment as early as it can, and a change as
late as it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tests.torture.history import (
    DIFFERS,
    DONE,
    EXISTS,
    MISSING,
    READS,
    Call,
    Event,
    Sight,
)
from tests.torture.history_claims import Claims

TELLING = frozenset({EXISTS, DIFFERS, MISSING})
Live = dict[str, tuple[int, str]]
"""Names that are there, with sequence and digest."""


@dataclass(frozen=True, slots=True)
class Look:
    """An answer that tells what a bucket held at one moment."""

    begin_ns: float
    end_ns: float
    explains: Callable[[int, Live], bool]
    """Takes how many changes are made, and the names."""
    told: str


def _explains(call: Call, _: int, live: Live) -> bool:
    """Say whether names as they stand explain what a call was told."""
    answer = call.answer
    seq, digest = live.get(str(answer.get("name", call.name)), (0, ""))
    match call.outcome:
        case "missing":
            return seq == 0
        case "exists" | "differs":
            return bool(seq == answer["actual"])
        case _:
            pass
    match call.how:
        case "list":
            names = call.facts["names"]
            wanted = {key: tuple(value) for key, value in answer["found"].items()}
            return {key: live[key] for key in names if key in live} == wanted
        case "get":
            return bool(digest == answer["digest"])
        case _:
            return bool((seq, digest) == (answer["seq"], answer["digest"]))


def look_of(call: Call) -> Look | None:
    """Give what a read, or a refusal, tells of the bucket."""
    if call.outcome in TELLING or (call.outcome == DONE and call.how in READS):
        explains = partial(_explains, call)
        return Look(call.begin_ns, call.end_ns, explains, str(call))
    return None


def looks_of_sights(
    who: str, sights: Sequence[Sight], log: Sequence[Event]
) -> Iterator[Look]:
    """Give what a watcher tells: that a change had been made when it was given."""
    places = {event.seq: place for place, event in enumerate(log, start=1)}
    for sight in sights:
        place = places.get(sight.event.seq, math.inf)

        def explains(made: int, _: Live, place: float = place) -> bool:
            return made >= place

        told = f"{who} saw {sight.event}"
        yield Look(sight.asked_ns, sight.given_ns, explains, told)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Changes that are made at one moment, and when that may be."""

    events: tuple[Event, ...]
    begin_ns: float
    end_ns: float


def _batches(claims: Claims, *, by_time: bool) -> list[_Batch]:
    """Give the changes in their order; the two of a rename are one."""
    batches: list[_Batch] = []
    marker: Event | None = None
    for event in claims.events:
        call = claims.by_seq.get(event.seq)
        if call is not None and call.how == "rename" and event.name == call.name:
            marker = event
            continue
        events = (event,) if marker is None else (marker, event)
        marker = None
        if call is None or not by_time:
            batches.append(_Batch(events, -math.inf, math.inf))
        else:
            batches.append(_Batch(events, call.begin_ns, call.end_ns))
    return batches


def check_order(
    looks: Sequence[Look], claims: Claims, *, by_time: bool = True
) -> str | None:
    """Say which answer or change has no moment.

    Args:
        looks: Answers.
        claims: The log, and who made its changes.
        by_time: Whether a change has its moment between begin and end of its call;
            otherwise all that counts is that no answer is older than the one before.
    """
    batches = _batches(claims, by_time=by_time)
    limits = [math.inf]
    for batch in reversed(batches):
        limits.append(min(batch.end_ns, limits[-1]))
    limits.reverse()
    coming = sorted(looks, key=lambda look: look.begin_ns, reverse=True)
    live: Live = {}
    current: list[Look] = []
    at = made = 0
    while True:
        limit_ns = min([limits[at], *(look.end_ns for look in current)])
        while coming and coming[-1].begin_ns <= limit_ns:
            current.append(coming.pop())
            limit_ns = min(limit_ns, current[-1].end_ns)
        left = [look for look in current if not look.explains(made, live)]
        if len(left) < len(current):
            current = left
        elif at == len(batches):
            return f"no moment for: {current[0].told}" if current else None
        elif batches[at].begin_ns > limit_ns:
            late = min(current, key=lambda look: look.end_ns, default=None)
            first = batches[at].events[-1]
            told = f"{first} was not even asked for" if late is None else late.told
            return f"no moment for: {told}"
        else:
            _make(live, batches[at])
            made += len(batches[at].events)
            at += 1


def _make(live: Live, batch: _Batch) -> None:
    for event in batch.events:
        live.pop(event.name, None)
        if event.kind != "delete":
            live[event.name] = event.seq, event.digest
