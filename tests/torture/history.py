"""What clients of a store tell: their calls, what came of them, what they saw. Pure.

Every client writes a journal of its own, a line of JSON before a call and another one
behind it. A client that is killed loses at most the line in flight. Times are of the
monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

DONE: Final = "done"
EXISTS: Final = "exists"
"""Refused, because the name is taken; the answer says at which sequence it is."""
DIFFERS: Final = "differs"
"""Refused, because the name is at another sequence than `if_match`."""
MISSING: Final = "missing"
"""Refused, because the name is free; the answer says which one."""
BUSY: Final = "busy"
"""Given up after waiting for another process: it has no effect, now or later."""
CUT: Final = "cut"
"""Cancelled or interrupted: it has happened by its end, or never will."""
OPEN: Final = "open"
"""Its process was killed: it may have happened, or not."""
FAILED: Final = "failed"
"""Ended with an error that nothing explains."""

READS: Final = frozenset({"get", "read", "info", "list"})
CHANGES: Final = frozenset({"put", "meta", "copy", "rename", "delete"})


class Event(NamedTuple):
    """A change as the log has it."""

    seq: int
    kind: str
    name: str
    digest: str = ""
    nuid: str = ""
    description: str = ""


class Sight(NamedTuple):
    """A change as a watcher was given it."""

    event: Event
    asked_ns: float
    """When it asked for the next change."""
    given_ns: float


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a client, and what came of it."""

    id: str
    who: str
    """The process."""
    how: str
    bucket: str
    name: str
    begin_ns: float
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Its other arguments."""
    outcome: str = OPEN
    answer: Mapping[str, Any] = field(default_factory=dict[str, Any])
    end_ns: float = math.inf

    def __str__(self) -> str:
        told = f"{self.outcome} {dict(self.answer)}"
        return f"{self.how} of {self.name!r} {dict(self.facts)} by {self.id}: {told}"


@dataclass
class Journal:
    """What the processes of one place told, one after the other."""

    who: str
    calls: list[Call] = field(default_factory=list[Call])
    sights: list[Sight] = field(default_factory=list[Sight])
    cursor: str = ""
    """Where its watch goes on."""
    counted: dict[str, int] = field(default_factory=dict[str, int])
    """What it counted itself."""
    children: list[int] = field(default_factory=list[int])
    """Processes that it left."""


def read_journal(who: str, lines: Iterable[str]) -> Journal:
    """Read what a process told; what it did not finish to tell stays out.

    Args:
        who: A name for the process; those that followed one another have the same one.
        lines: Its journal.
    """
    journal = Journal(who)
    begun: dict[str, Call] = {}
    asked_ns = -math.inf
    for line in lines:
        if not line.endswith("\n"):
            break
        match json.loads(line):
            case ["call", number, how, bucket, name, facts, begin_ns]:
                begun[number] = Call(number, who, how, bucket, name, begin_ns, facts)
            case ["back", number, outcome, answer, end_ns]:
                # an interrupt may have it told twice: what was told first counts
                call = begun.pop(number, None)
                if call is not None:
                    journal.calls.append(_ended(call, outcome, answer, end_ns))
            case ["saw", fact, cursor, given_ns]:
                journal.sights.append(Sight(Event(*fact), asked_ns, given_ns))
                journal.cursor, asked_ns = cursor, given_ns
            case ["counted", counted]:
                journal.counted = counted
            case ["child", pid]:
                journal.children.append(pid)
            case ["ready"]:
                pass
            case other:
                message = f"{who} told what nobody understands: {other}"
                raise ValueError(message)
    journal.calls.extend(begun.values())
    return journal


def _ended(call: Call, outcome: str, answer: Mapping[str, Any], end_ns: float) -> Call:
    return Call(
        call.id,
        call.who,
        call.how,
        call.bucket,
        call.name,
        call.begin_ns,
        call.facts,
        outcome,
        answer,
        end_ns,
    )
