"""What a store acknowledged, against what it gives after a fault. Pure.

A name may show its last acknowledged version, or that of a later change whose end
nobody was told. Everything else is a loss: told, by an error that names the object or
by another one; or silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

ABSENT = ""
"""In the place of a digest: there is no such object."""


@dataclass(frozen=True)
class Act:
    """One change that was tried."""

    name: str
    digest: str
    """Of the content; `ABSENT` for a delete."""
    end: Literal["done", "failed", "unknown"]
    """`failed` may have left a trace or not; only `done` binds the store."""


@dataclass(frozen=True)
class Found:
    """What a process saw that opened the store after the fault."""

    open_error: str | None = None
    """Why nothing could be read: an error, or how the process died."""
    told: Sequence[str] = ()
    """What opening and listing said of damage, errors included."""
    listed: frozenset[str] | None = None
    """The names; `None` when listing failed."""
    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name, of what `get` gave; `ABSENT` when it said that there is nothing."""
    errors: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name, what `get` raised instead."""
    check: Sequence[str] | None = None
    """What the peer's own check found; `None` when it has none."""
    serves: bool = False
    """Whether a new object went in and came out."""


@dataclass
class Verdict:
    """Counts of one fault, or of several added up."""

    trials: int = 0
    acknowledged: int = 0
    """Changes."""
    objects: int = 0
    """Names that an acknowledged change was about."""
    lost: int = 0
    """Objects whose acknowledged state is not there."""
    named: int = 0
    """Of these: an error or a report named the object."""
    told: int = 0
    """Of these: an error was raised that named no object."""
    silent: int = 0
    """Of these: nothing was raised or reported at all."""
    wrong: int = 0
    """Of the silent ones: bytes that nobody ever put under that name."""
    old: int = 0
    """Of the silent ones: an overwritten version."""
    back: int = 0
    """Of the silent ones: deleted objects that were there again."""
    unlisted: int = 0
    """Of the silent ones: readable, and missing from the list."""
    trials_lossy: int = 0
    trials_silent: int = 0
    trials_unopened: int = 0
    trials_serving: int = 0
    lossy_checked: int = 0
    """Trials with a loss, of a peer that has a check of its own."""
    lossy_seen: int = 0
    """Of these: the check found something."""
    full_deletes: int = 0
    """Trials on a full disk in which every delete worked."""
    full_went_on: int = 0
    """Trials on a full disk in which the open store went on when it had room."""

    def add(self, other: Verdict) -> None:
        """Add the counts of other trials."""
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)


def judge(acts: Sequence[Act], found: Found) -> Verdict:
    """Compare one store after one fault with what it had acknowledged."""
    verdict = Verdict(trials=1, acknowledged=sum(act.end == "done" for act in acts))
    by_name: dict[str, list[Act]] = {}
    for act in acts:
        by_name.setdefault(act.name, []).append(act)
    for name, own in by_name.items():
        allowed = _allowed(own)
        if allowed is not None:
            verdict.objects += 1
            _judge_object(name, own, allowed, found, verdict)
    verdict.trials_lossy = int(verdict.lost > 0)
    verdict.trials_silent = int(verdict.silent > 0)
    verdict.trials_unopened = int(found.open_error is not None)
    verdict.trials_serving = int(found.serves)
    if verdict.lost and found.check is not None:
        verdict.lossy_checked = 1
        verdict.lossy_seen = int(len(found.check) > 0)
    return verdict


def _allowed(acts: Sequence[Act]) -> list[str] | None:
    """Give the states that a name may show, the acknowledged one first."""
    allowed: list[str] | None = None
    for act in acts:
        if act.end == "done":
            allowed = [act.digest]
        elif allowed is not None:
            allowed.append(act.digest)
    return allowed


def _judge_object(
    name: str, acts: Sequence[Act], allowed: list[str], found: Found, verdict: Verdict
) -> None:
    if found.open_error is not None:
        if ABSENT not in allowed:
            verdict.lost += 1
            verdict.told += 1
        return
    if name in found.errors:
        # an error in the place of "not found" costs nobody anything
        if ABSENT not in allowed:
            verdict.lost += 1
            verdict.named += 1
        return
    digest = found.digests.get(name, ABSENT)
    is_listed = found.listed is None or name in found.listed
    if digest in allowed and (is_listed or digest == ABSENT):
        return
    verdict.lost += 1
    if any(name in text for text in found.told):
        verdict.named += 1
    elif found.told:
        verdict.told += 1
    else:
        verdict.silent += 1
        _say_how(digest, acts, allowed, verdict)


def _say_how(
    digest: str, acts: Sequence[Act], allowed: list[str], verdict: Verdict
) -> None:
    """Count a silent loss by what was there instead."""
    if digest in allowed:
        verdict.unlisted += 1
    elif digest != ABSENT and digest not in {act.digest for act in acts}:
        verdict.wrong += 1
    elif allowed[0] == ABSENT:
        verdict.back += 1
    elif digest != ABSENT:
        verdict.old += 1
