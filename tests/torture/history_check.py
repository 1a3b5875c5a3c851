"""Does a history keep what the store promises? Pure.

The log's own history is a witness: it says in which order changes took effect. What has
to be shown is that it explains every answer. A bucket whose changes go at once has no
such witness; there only the answers are compared with one another.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.torture.history import (
    BUSY,
    CUT,
    DIFFERS,
    DONE,
    EXISTS,
    FAILED,
    MISSING,
    OPEN,
    READS,
    Call,
    Event,
    Sight,
)
from tests.torture.history_claims import Claims, find_claims
from tests.torture.history_moved import ABSENT, target
from tests.torture.history_order import (
    Look,
    check_order,
    look_of,
    looks_of_sights,
)
from tests.torture.linearize import Search

ANY: Final = -1
PRESENT: Final = -2
"""What a change may need of a name, beside a sequence; 0 is that it is free."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one call did to one name, or saw of it."""

    call: Call
    what: Literal["see", "change"]
    begin_ns: float
    end_ns: float
    needs: int = ANY
    """The sequence it was at; of a change also `PRESENT` or `ANY`."""
    seq: int | None = None
    """What a change made; `None` for a deletion."""
    digest: str | None = None
    """What was seen or made, where that is known."""


@dataclass
class Verdict:
    """What is wrong with a history, and how much was looked at."""

    wrong: list[str] = field(default_factory=list[str])
    counts: Counter[str] = field(default_factory=Counter[str])


def check(
    calls: Sequence[Call],
    log: Sequence[Event] | None,
    sights: Mapping[str, Sequence[Sight]],
) -> Verdict:
    """Check the history of one bucket.

    Args:
        calls: All calls of all clients.
        log: Its changes as they stand at the end; `None` when they do not stay.
        sights: What each watcher saw from the first change on.
    """
    verdict = Verdict()
    verdict.counts["operations"] = len(calls)
    verdict.counts["histories checked"] = 1
    verdict.wrong += [f"failed: {call}" for call in calls if call.outcome == FAILED]
    if log is None:
        _check_answers(verdict, calls)
        return verdict
    sequences = [event.seq for event in log]
    if sorted(set(sequences)) != sequences:
        verdict.wrong.append("the sequences of the log do not rise")
    claims = find_claims(calls, log)
    verdict.wrong += claims.wrong
    _check_names(verdict, calls, claims)
    for who, seen in sights.items():
        _check_sights(verdict, who, seen, log)
    _check_order(verdict, calls, claims, sights)
    return verdict


# --- the names, one by one ------------------------------------------------------------


def _steps(call: Call) -> Iterable[tuple[str, Step]]:
    """Give what a call did to which names, and what it saw of them."""

    def step(what: Literal["see", "change"], **facts: Any) -> Step:
        return Step(call, what, call.begin_ns, call.end_ns, **facts)

    answer = call.answer
    match call.outcome:
        case "exists":
            yield str(answer["name"]), step("see", needs=int(answer["actual"]))
        case "differs":
            yield call.name, step("see", needs=int(answer["actual"]))
        case "missing":
            yield str(answer["name"]), step("see", needs=0)
        case "done" if call.how in {"read", "info"}:
            digest = str(answer["digest"])
            yield call.name, step("see", needs=int(answer["seq"]), digest=digest)
        case "done" if call.how == "get":
            yield call.name, step("see", digest=str(answer["digest"]))
        case "done" if call.how == "list":
            for name in call.facts["names"]:
                seq, digest = answer["found"].get(name, (0, None))
                yield name, step("see", needs=seq, digest=digest)
        case _:
            return


def _needs(call: Call) -> int:
    """Give what a change has to find under the name that it changes."""
    if call.facts.get("create"):
        return 0
    if call.how in {"meta", "delete"} and "if_match" not in call.facts:
        return PRESENT
    return int(call.facts.get("if_match", ANY))


def _made(call: Call, event: Event) -> Step:
    """Give what a call is known to have done to the name of a change."""
    needs = _needs(call) if event.name == target(call) else PRESENT
    return Step(
        call, "change", call.begin_ns, call.end_ns, needs, event.seq, event.digest
    )


class Name:
    """What the log tells of one name; a state is how many of its changes are made."""

    def __init__(self, events: Sequence[Event], claims: Claims) -> None:
        self._states = (ABSENT, *events)
        self._free = [event.seq not in claims.by_seq for event in self._states]
        """Deletions that any call may have made."""

    def live(self, place: int) -> tuple[int, str]:
        """Give the sequence and digest after so many changes; 0 when there is none."""
        event = self._states[place]
        return (0, "") if event.kind == "delete" else (event.seq, event.digest)

    def apply(self, place: int, step: Step) -> int | None:
        """Give the state behind a step, if it fits."""
        seq, digest = self.live(place)
        if step.what == "see":
            fits = step.needs in {ANY, seq} and (step.digest or digest) == digest
            return place if fits else None
        if place + 1 == len(self._states) or not _fits(step.needs, seq):
            return None
        following = self._states[place + 1]
        if step.seq is None:
            is_it = following.kind == "delete" and self._free[place + 1]
        else:
            is_it = step.seq == following.seq
        return place + 1 if is_it else None

    def is_end(self, place: int) -> bool:
        """Say whether all changes are made."""
        return place + 1 == len(self._states)


def _fits(needs: int, seq: int) -> bool:
    return needs in {ANY, seq} or (needs == PRESENT and seq > 0)


def _check_names(verdict: Verdict, calls: Sequence[Call], claims: Claims) -> None:
    """Each name has an order of calls that explains every answer."""
    events: dict[str, list[Event]] = defaultdict(list)
    steps: dict[str, list[Step]] = defaultdict(list)
    maybe: dict[str, list[Step]] = defaultdict(list)
    for event in claims.events:
        events[event.name].append(event)
        if event.seq in claims.by_seq:
            steps[event.name].append(_made(claims.by_seq[event.seq], event))
        elif event.kind != "delete":
            verdict.wrong.append(f"nobody made {event}")
    for call in calls:
        for name, step in _steps(call):
            steps[name].append(step)
        if call.how == "delete" and call.outcome in {DONE, CUT, OPEN}:
            step = Step(call, "change", call.begin_ns, call.end_ns, _needs(call))
            (steps if call.outcome == DONE else maybe)[call.name].append(step)
    for call in claims.may_delete:
        step = Step(call, "change", call.begin_ns, call.end_ns, PRESENT)
        maybe[call.name].append(step)
    for name in sorted({*events, *steps}):
        verdict.counts["names checked"] += 1
        one = Name(events[name], claims)
        search: Search[int, Step] = Search(
            steps[name], maybe[name], one.apply, one.is_end
        )
        stuck = search.run(0)
        if stuck is not None:
            seq, _ = one.live(stuck.state)
            what = "a change is nobody's" if stuck.call is None else stuck.call.call
            verdict.wrong.append(f"{name!r} at sequence {seq} does not explain: {what}")


# --- a bucket without its log ---------------------------------------------------------


def _seen_or_done(state: tuple[int, str], step: Step) -> tuple[int, str] | None:
    """Apply a step to a name of which only sequence and digest are known."""
    seq, digest = state
    if step.what == "see":
        fits = step.needs in {ANY, seq} and (step.digest or digest) == digest
        if seq < 0 < step.needs and step.digest in {None, digest}:
            # an unfinished put, whose sequence this one is the first to tell
            return step.needs, digest
        return state if fits else None
    is_unknown = seq < 0 < step.needs
    if not is_unknown and not _fits(step.needs, abs(seq)):
        return None
    return (0, "") if step.seq is None else (step.seq, step.digest or "")


def _check_answers(verdict: Verdict, calls: Sequence[Call]) -> None:
    """Compare the answers alone: puts and deletions of a bucket, and reads."""
    steps: dict[str, list[Step]] = defaultdict(list)
    maybe: dict[str, list[Step]] = defaultdict(list)
    for call in calls:
        for name, step in _steps(call):
            steps[name].append(step)
        if call.how in READS or call.outcome in {EXISTS, DIFFERS, MISSING, BUSY}:
            continue
        seq = None if call.how == "delete" else int(call.answer.get("seq", ANY))
        digest = call.facts.get("digest")
        needs, end_ns = _needs(call), call.end_ns
        is_done = call.outcome == DONE
        step = Step(call, "change", call.begin_ns, end_ns, needs, seq, digest)
        (steps if is_done else maybe)[call.name].append(step)
    for name in sorted(steps):
        verdict.counts["names checked"] += 1
        search: Search[tuple[int, str], Step] = Search(
            steps[name], maybe[name], _seen_or_done
        )
        stuck = search.run((0, ""))
        if stuck is not None:
            told = "nothing" if stuck.call is None else stuck.call.call
            verdict.wrong.append(f"{name!r} at {stuck.state} does not explain: {told}")


# --- watchers -------------------------------------------------------------------------


def _check_sights(
    verdict: Verdict, who: str, seen: Sequence[Sight], log: Sequence[Event]
) -> None:
    """A watcher was given every change in order, none left out, none twice."""
    verdict.counts["changes watched"] += len(seen)
    for number, (sight, event) in enumerate(zip(seen, log, strict=False)):
        if sight.event != event:
            verdict.wrong.append(
                f"{who} saw as change {number}: {sight.event}, the log has {event}"
            )
            return
    if len(seen) != len(log):
        verdict.wrong.append(f"{who} saw {len(seen)} changes of {len(log)}")


# --- all names at once ----------------------------------------------------------------


def _check_order(
    verdict: Verdict,
    calls: Sequence[Call],
    claims: Claims,
    sights: Mapping[str, Sequence[Sight]],
) -> None:
    """Nobody sees an older state behind a newer one; all see one order."""
    looks = defaultdict[str, list[Look]](list)
    for call in calls:
        look = look_of(call)
        if look is not None:
            looks[call.who].append(look)
    for who, own in looks.items():
        stuck = check_order(own, claims, by_time=False)
        if stuck is not None:
            verdict.wrong.append(f"{who} went back: {stuck}")
    for who, seen in sights.items():
        looks[who].extend(looks_of_sights(who, seen, claims.events))
    every = [look for own in looks.values() for look in own]
    verdict.counts["answers put in order"] += len(every)
    stuck = check_order(every, claims)
    if stuck is not None:
        verdict.wrong.append(stuck)
