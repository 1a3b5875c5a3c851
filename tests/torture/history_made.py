"""Histories of a store that does everything at one moment, made up. Pure.

Clients call at random, one call after the other each; some are killed, some cut, some
give up. Nothing in such a history is wrong, so a checker that refuses one is.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from tests.torture.history import (
    BUSY,
    CHANGES,
    CUT,
    DIFFERS,
    DONE,
    EXISTS,
    MISSING,
    OPEN,
    Call,
    Event,
)

Outcome: TypeAlias = tuple[str, Mapping[str, Any]]
BUSY_SHARE = 0.05


class Shares(NamedTuple):
    """How many calls do not end well."""

    killed: float
    cut: float


@dataclass
class Made:
    """One call on its way."""

    call: Call
    fate: str
    has_effect: bool
    outcome: Outcome = (OPEN, {})


class _Step(NamedTuple):
    """What comes next, of whom."""

    at_ns: float
    number: int
    client: int
    what: Literal["effect", "end"]
    made: Made


@dataclass
class World:
    """A bucket, and what came of the calls so far."""

    names: list[str]
    moves: bool
    """Whether there are changes that a bucket without a log could not explain."""
    chance: random.Random
    log: list[Event] = field(default_factory=list[Event])
    live: dict[str, Event] = field(default_factory=dict[str, Event])
    calls: list[Call] = field(default_factory=list[Call])
    seen: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """What each client was last told of each name."""
    seq: int = 0

    # --- what a call does -------------------------------------------------------------

    def add(self, kind: str, name: str, *facts: str) -> Outcome:
        """Make a change."""
        self.seq += 1
        event = Event(self.seq, kind, name, *facts)
        self.log.append(event)
        if kind == "delete":
            del self.live[name]
            return DONE, {}
        self.live[name] = event
        return DONE, {"seq": event.seq, "digest": event.digest}

    def take_effect(self, call: Call) -> Outcome:
        """Do what a call asks for, now."""
        self.seq += self.chance.randrange(2)
        old = self.live.get(call.name)
        if call.how == "list":
            found = {name: [of.seq, of.digest] for name, of in self.live.items()}
            return DONE, {"found": found}
        if call.how == "put":
            return self._put(call, old)
        if call.how in {"info", "read"}:
            self.seen[call.who, call.name] = old.seq if old else 0
        if old is None:
            return MISSING, {"name": call.name}
        return self._change(call, old) if call.how in CHANGES else self._read(call, old)

    def _read(self, call: Call, old: Event) -> Outcome:
        answer = {"seq": old.seq, "digest": old.digest}
        return DONE, {"digest": old.digest} if call.how == "get" else answer

    def _change(self, call: Call, old: Event) -> Outcome:
        match call.how:
            case "meta":
                text = call.facts["text"]
                return self.add("meta", call.name, old.digest, old.nuid, text)
            case "delete" if call.facts.get("if_match", old.seq) != old.seq:
                return DIFFERS, {"actual": old.seq}
            case "delete":
                return self.add("delete", call.name)
            case _:
                return self._move(call, old)

    def _put(self, call: Call, old: Event | None) -> Outcome:
        facts, seq = call.facts, old.seq if old else 0
        if facts.get("create") and old:
            return EXISTS, {"name": call.name, "actual": seq}
        if facts.get("if_match", seq) != seq:
            return DIFFERS, {"actual": seq}
        return self.add("put", call.name, facts["digest"], call.id, facts["text"])

    def _move(self, call: Call, old: Event) -> Outcome:
        other = call.facts["other"]
        if call.facts.get("create") and other in self.live:
            return EXISTS, {"name": other, "actual": self.live[other].seq}
        if call.how == "rename":
            self.add("delete", call.name)
        return self.add("put", other, old.digest, old.nuid, old.description)

    # --- what is asked for ------------------------------------------------------------

    def ask(self, who: str, begin_ns: float) -> Call:
        """Make up a call."""
        chance = self.chance
        ways = ["put", "put", "put", "delete", "info", "get", "read", "list"]
        ways += ["meta", "rename", "rename", "copy", "copy"] if self.moves else []
        how, name = chance.choice(ways), chance.choice(self.names)
        number = f"{who}.{begin_ns:.4f}"
        facts: dict[str, Any] = {}
        if how in {"put", "meta"}:
            facts["text"] = f"text {number}"
        if how == "put":
            facts["digest"] = f"digest {number}"
        if how in {"rename", "copy"}:
            name, facts["other"] = chance.sample(self.names, 2)
        if how in {"put", "rename"} and chance.random() < 0.3:
            facts["create"] = True
        elif how in {"put", "delete"} and self.seen.get((who, name)):
            facts["if_match"] = self.seen[who, name]
        if how == "list":
            name, facts = "", {"names": self.names}
        return Call(number, who, how, "b", name, begin_ns, facts)

    def fate(self, call: Call, shares: Shares) -> Made:
        """Decide how a call ends, and whether it takes effect before."""
        drawn = self.chance.random()
        if drawn < shares.killed:
            return Made(call, OPEN, self.chance.random() < 0.5)
        if call.how in CHANGES:
            if drawn < shares.killed + shares.cut:
                return Made(call, CUT, self.chance.random() < 0.5)
            if drawn > 1 - BUSY_SHARE:
                return Made(call, BUSY, has_effect=False)
        return Made(call, DONE, has_effect=True)

    def end(self, made: Made, end_ns: float) -> None:
        """Note what a call was told."""
        nothing: Outcome = made.fate, {}
        outcome, answer = made.outcome if made.fate == DONE else nothing
        end_ns = math.inf if outcome == OPEN else end_ns
        call = made.call
        asked = call.id, call.who, call.how, call.bucket, call.name, call.begin_ns
        self.calls.append(Call(*asked, call.facts, outcome, answer, end_ns))


def make(
    seed: int, *, moves: bool, shares: Shares, clients: int = 6, each: int = 40
) -> tuple[list[Call], list[Event]]:
    """Make a history: all calls, and the changes in their order.

    Args:
        seed: Decides everything.
        moves: Whether there are renames, copies and new descriptions.
        shares: How many calls are killed and cut.
        clients: How many call at once.
        each: How many calls each of them makes.
    """
    chance = random.Random(seed)
    world = World([f"name {number}" for number in range(6)], moves, chance)
    coming: list[_Step] = []
    order = iter(range(clients * each * 3))

    def begin(client: int, now_ns: float) -> Iterator[None]:
        for _ in range(each):
            made = world.fate(world.ask(f"client {client}", now_ns), shares)
            effect_ns = now_ns + chance.expovariate(1)
            end_ns = effect_ns + chance.expovariate(1)
            if made.has_effect:
                step = _Step(effect_ns, next(order), client, "effect", made)
                heapq.heappush(coming, step)
            heapq.heappush(coming, _Step(end_ns, next(order), client, "end", made))
            yield
            now_ns = end_ns + chance.random() / 2

    running = [begin(client, chance.random()) for client in range(clients)]
    for calls in running:
        next(calls)
    while coming:
        now_ns, _, client, what, made = heapq.heappop(coming)
        if what == "effect":
            made.outcome = world.take_effect(made.call)
        else:
            world.end(made, now_ns)
            next(running[client], None)
    return world.calls, world.log
