"""Which call made which change of the log. Pure.

A finished call was told its sequence, except a plain deletion. What an unfinished one
made is known by what it wrote: each put and each new description has a text of its own.
What was copied or renamed has only the identity of its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.torture.history import (
    BUSY,
    CHANGES,
    CUT,
    DONE,
    OPEN,
    Call,
    Event,
)
from tests.torture.history_moved import (
    ABSENT,
    Moments,
    State,
    either,
    is_maker,
    is_rename_of,
    share,
    target,
)

MADE_BY = {"put": "put", "copy": "put", "rename": "put", "meta": "meta"}
"""The kind of change that a call makes, under its own or its other name."""


@dataclass
class Claims:
    """The changes of a log and the calls that made them."""

    events: Sequence[Event]
    by_seq: dict[int, Call] = field(default_factory=dict[int, Call])
    """The call behind a change; plain deletions are left out."""
    may_delete: list[Call] = field(default_factory=list[Call])
    """Unfinished renames that may have made a deletion that nobody else did."""
    wrong: list[str] = field(default_factory=list[str])

    def unclaimed(self) -> list[Event]:
        """Give the changes that no call is known for."""
        return [event for event in self.events if event.seq not in self.by_seq]

    def claim(self, seq: int, call: Call) -> None:
        """Note who made a change."""
        other = self.by_seq.setdefault(seq, call)
        if other is not call:
            self.wrong.append(f"two calls have sequence {seq}: {call} / {other}")


def find_claims(calls: Iterable[Call], events: Sequence[Event]) -> Claims:
    """Say which call made which change, and what is missing of those that did."""
    changes = [call for call in calls if call.how in CHANGES]
    claims = Claims(events)
    before = _befores(events)
    at = {event.seq: place for place, event in enumerate(events)}
    for call in changes:
        if call.outcome == DONE and call.how != "delete":
            _claim_done(claims, at, before, call)
    maybe = [call for call in changes if call.outcome in {CUT, OPEN}]
    _claim_written(claims, maybe)
    _claim_moved(claims, before, maybe)
    _refuse_busy(claims, changes)
    return claims


def _befores(events: Sequence[Event]) -> list[dict[str, Event]]:
    """Give the names as they stood before each change."""
    states: list[dict[str, Event]] = []
    state: dict[str, Event] = {}
    for event in events:
        states.append(state)
        state = {**state, event.name: event}
    states.append(state)
    return states


def _claim_done(
    claims: Claims, at: dict[int, int], before: list[dict[str, Event]], call: Call
) -> None:
    seq = int(call.answer["seq"])
    place = at.get(seq)
    if place is None:
        claims.wrong.append(f"lost: {call}")
        return
    event = claims.events[place]
    told = target(call), MADE_BY[call.how], str(call.answer["digest"])
    if told != (event.name, event.kind, event.digest):
        claims.wrong.append(f"the log has {event} for {call}")
        return
    wrote = call.facts.get("digest")
    if wrote is not None and wrote != event.digest:
        claims.wrong.append(f"other content in {event} than in {call}")
    claims.claim(seq, call)
    if call.how in {"copy", "rename"}:
        _check_moved(claims, place, before, call)
    elif call.how == "meta":
        old = before[place].get(event.name, ABSENT)
        if (old.nuid, old.digest) != (event.nuid, event.digest):
            claims.wrong.append(f"{call} has changed more than what is said: {event}")


def _check_moved(
    claims: Claims, place: int, before: list[dict[str, Event]], call: Call
) -> None:
    """A copy has what its source had at that moment; a rename takes it away at once."""
    event = claims.events[place]
    if call.how == "rename":
        marker = claims.events[place - 1] if place else ABSENT
        if (marker.seq, marker.kind, marker.name) != (
            event.seq - 1,
            "delete",
            call.name,
        ):
            claims.wrong.append(f"{call} has left {call.name!r} where it was")
            return
        claims.claim(marker.seq, call)
        place -= 1
    source = before[place].get(call.name, ABSENT)
    if source.kind == "delete" or source.digest != event.digest:
        claims.wrong.append(f"{call} made {event} from {source}")


def _claim_written(claims: Claims, maybe: Sequence[Call]) -> None:
    """Find what unfinished calls wrote by the text that they alone wrote."""
    by_text = {str(call.facts["text"]): call for call in maybe if "text" in call.facts}
    for event in claims.unclaimed():
        call = by_text.get(event.description)
        if call is None or (event.name, event.kind) != (
            call.name,
            MADE_BY[call.how],
        ):
            continue
        if call.facts.get("digest", event.digest) != event.digest:
            claims.wrong.append(f"other content in {event} than in {call}")
        claims.claim(event.seq, call)
        # behind it the text may be on that name again by renames
        del by_text[event.description]


def _claim_moved(
    claims: Claims, before: Sequence[State], maybe: Sequence[Call]
) -> None:
    """Find the unfinished copies and renames that made what is left."""
    moments = Moments(claims.events, claims.by_seq)
    makers: dict[int, list[Call]] = {}
    for place, event in enumerate(claims.events):
        if event.kind == "put" and event.seq not in claims.by_seq:
            marker = _marker(claims, before, place)
            fitting = [c for c in maybe if is_maker(c, event, before[place], marker)]
            timely = [call for call in fitting if moments.is_timely(call, place)]
            makers[place] = timely or fitting
    for place, calls in share(makers).items():
        claims.claim(claims.events[place].seq, either(calls))
        renames = [call for call in calls if call.how == "rename"]
        if len(renames) == len(calls):
            claims.claim(claims.events[place - 1].seq, either(calls))
        else:
            # the deletion before it may be one of its own, or half of a rename
            claims.may_delete += renames


def _marker(claims: Claims, before: Sequence[State], place: int) -> Event | None:
    """Give the deletion that a rename may have made together with a change."""
    if not place:
        return None
    marker, event = claims.events[place - 1 : place + 1]
    is_free = marker.seq not in claims.by_seq
    is_pair = is_rename_of(marker, event, before[place - 1])
    return marker if is_free and is_pair else None


def _refuse_busy(claims: Claims, changes: Iterable[Call]) -> None:
    """What was given up has no effect."""
    texts = {str(call.facts.get("text")): call for call in changes if _is_busy(call)}
    claims.wrong.extend(
        f"given up, and {event} is there: {texts[event.description]}"
        for event in claims.unclaimed()
        if event.description in texts
    )


def _is_busy(call: Call) -> bool:
    return call.outcome == BUSY and "text" in call.facts
