"""What must be on a disk, judged from accounts that were kept elsewhere.

Pure: takes what writers told and what an inspector found, gives what is wrong.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.torture.disk_steps import BRIEF, BUCKETS, SOON, SOON_S, STORE

SLACK_S = 2.0
"""How much later than promised a sync may come on a busy machine."""


class Fact(NamedTuple):
    """A change on the feed of a bucket, as far as it says what was asked for."""

    kind: str
    name: str
    digest: str
    description: str


@dataclass
class Act:
    """A change that a writer tried, and what became of it."""

    who: str
    generation: int
    """How many times the power was cut before."""
    how: str
    bucket: str
    name: str
    other: str = ""
    digest: str = ""
    description: str = ""
    after: int = 0
    """The change that a deletion has to come directly behind."""
    state: str = "unknown"
    """Then `done`, `refused`, or `lost` when it was looked for and not found."""
    seq: int = 0
    told_s: float = 0.0
    is_found: bool = False
    """It was on a feed."""
    is_firm: bool = False
    """It was read from the disk after a cut."""

    def facts(self) -> list[Fact]:
        """Give the changes it makes, in order; the last one has its sequence."""
        made = self.digest, self.description
        deleted = Fact("delete", self.name, "", "")
        match self.how:
            case "delete":
                return [deleted]
            case "rename":
                return [deleted, Fact("put", self.other, *made)]
            case "copy":
                return [Fact("put", self.other, *made)]
            case "meta":
                return [Fact("meta", self.name, *made)]
            case _:
                return [Fact("put", self.name, *made)]

    def apply(self, state: dict[str, tuple[str, str]]) -> None:
        """Change what names hold as it does."""
        for fact in self.facts():
            if fact.kind == "delete":
                state.pop(fact.name, None)
            else:
                state[fact.name] = fact.digest, fact.description


def acts_of(
    who: str, generation: int, lines: Iterable[Sequence[Any]], cut_s: float = math.inf
) -> Iterator[Act]:
    """Give what an account tells.

    What was told behind the cut counts as unknown: the machine would have been dead.
    While a file system is being shut down, even a plain `fdatasync` reports success
    for bytes that are gone afterwards (measured: 23 of 96 times on ext4, 2 of 36 on
    xfs).

    Args:
        who: whose account it is.
        generation: how many times the power had been cut before.
        lines: the account.
        cut_s: when the power was cut.
    """
    act: Act | None = None
    for what, *told in lines:
        if what == "try":
            act = Act(who, generation, **told[0])
            yield act
            continue
        assert act is not None
        if what == "done":
            seq, told_s = told
            if told_s < cut_s:
                act.state, act.seq, act.told_s = what, seq, told_s
        elif what == "refused" or (told[0] != "PoisonedError" and act.bucket != STORE):
            # only what could not be synced may have been written all the same, and
            # a bucket is made and dropped in more steps than one
            act.state = "refused"


@dataclass
class Oracle:
    """Everything that was tried on one disk, and what every look at it must find."""

    acts: list[Act] = field(default_factory=list[Act])
    cuts_s: list[float] = field(default_factory=list[float])
    """When the power was cut, by generation."""

    def judge(self, found: Mapping[str, Any], *, is_firm: bool) -> list[str]:
        """Say what is wrong with what an inspector found; afterwards it is known.

        Args:
            found: what `disk_worker.inspect` tells.
            is_firm: it was read from the disk, not from the page cache.
        """
        wrong = [f"damage: {damage}" for damage in found["damaged"]]
        wrong += self._judge_unique()
        for bucket, seen in found["objects"].items():
            wrong += [f"{bucket}/{name} does not read" for name in seen["bad"]]
            if bucket == BRIEF:
                listed = {name: tuple(held) for _, name, *held in seen["listed"]}
                wrong += self._judge_states(bucket, listed)
            else:
                wrong += self._judge_feed(bucket, seen)
                for act in self._of(bucket):
                    act.is_firm |= is_firm and act.state == "done"
        names = {name: ("", "") for name in found["buckets"] if name not in BUCKETS}
        wrong += self._judge_states(STORE, names)
        return wrong

    def _of(self, bucket: str) -> list[Act]:
        return [act for act in self.acts if act.bucket == bucket]

    def _judge_unique(self) -> Iterator[str]:
        """No sequence is given twice, and a later life gives greater ones."""
        for bucket in BUCKETS:
            given: dict[int, Act] = {}
            lives: dict[int, list[int]] = defaultdict(list)
            for act in self._of(bucket):
                if act.seq:
                    if act.seq in given:
                        yield f"{bucket}: {act} and {given[act.seq]} have one sequence"
                    given[act.seq] = act
                    lives[act.generation].append(act.seq)
            greatest = 0
            for _, sequences in sorted(lives.items()):
                if min(sequences) <= greatest:
                    yield f"{bucket}: {min(sequences)} was given after {greatest}"
                greatest = max(sequences)

    # --- buckets that keep no old changes -------------------------------------------

    def _judge_states(
        self, bucket: str, listed: Mapping[str, tuple[str, ...]]
    ) -> Iterator[str]:
        """A writer's names are as after its last acknowledged change or one later."""
        writers: dict[str, list[Act]] = defaultdict(list)
        for act in self._of(bucket):
            if act.how != "retain":
                writers[act.who].append(act)
        expected: set[str] = set()
        for who, acts in writers.items():
            names = {fact.name for act in acts for fact in act.facts()}
            expected |= names
            actual = {name: held for name, held in listed.items() if name in names}
            yield from self._judge_state(f"{bucket} of {who}", acts, actual)
        for name in listed.keys() - expected:
            yield f"{bucket}: nobody made {name}"

    def _judge_state(
        self, what: str, acts: Sequence[Act], actual: Mapping[str, tuple[str, ...]]
    ) -> Iterator[str]:
        """Try every way in which the unknown changes may have ended."""
        states: list[tuple[dict[str, tuple[str, str]], list[Act]]] = [({}, [])]
        for act in acts:
            if act.state == "unknown":
                states += [(dict(state), [*made, act]) for state, made in states]
                for state, made in states[len(states) // 2 :]:
                    made[-1].apply(state)
            elif act.state == "done":
                for state, _ in states:
                    act.apply(state)
        for state, made in states:
            if state == actual:
                for act in acts:
                    if act.state == "unknown":
                        act.state = "done" if act in made else "lost"
                return
        last = states[0][0]
        differing = {
            name: (last.get(name), actual.get(name))
            for name in last.keys() | actual.keys()
            if last.get(name) != actual.get(name)
        }
        told = f"acknowledged and found differ: {differing}, after {acts[-3:]}"
        yield f"{what}: {told}"

    # --- buckets that keep all changes ----------------------------------------------

    def _judge_feed(self, bucket: str, seen: Mapping[str, Any]) -> Iterator[str]:
        """Match changes on the feed with what was tried, then say what is left."""
        feed: dict[int, Fact] = {}
        last: dict[str, tuple[int, str, str]] = {}
        behind: dict[int, int] = {}
        before = 0
        for seq, kind, name, digest, description in seen["feed"]:
            if seq <= before:
                yield f"{bucket}: {seq} is behind {before} on the feed"
            before = seq
            if name in last:
                behind[last[name][0]] = seq
            last[name] = seq, digest, description
            is_gone = kind == "delete"
            held = ("", "") if is_gone else (digest, description)
            feed[seq] = Fact(kind, name, *held)
        yield from self._judge_list(bucket, feed, seen["listed"])
        for act in self._of(bucket):
            if act.how == "delete" and act.state == "done" and not act.seq:
                act.seq = behind.get(act.after, 0)
        left = dict(feed)
        missing = [act for act in self._of(bucket) if not self._take(act, left)]
        yield from self._explain(bucket, left)
        yield from self._judge_missing(bucket, missing)

    def _judge_list(
        self, bucket: str, feed: Mapping[int, Fact], listed: Sequence[Sequence[Any]]
    ) -> Iterator[str]:
        current: dict[str, tuple[Any, ...]] = {}
        for seq, fact in feed.items():
            if fact.kind == "delete":
                current.pop(fact.name, None)
            else:
                current[fact.name] = seq, *fact[1:]
        found = {row[1]: tuple(row) for row in listed}
        for name in current.keys() | found.keys():
            if current.get(name) != found.get(name):
                told = f"fed {current.get(name)}, listed {found.get(name)}"
                yield f"{bucket}/{name}: {told}"

    def _take(self, act: Act, left: dict[int, Fact]) -> bool:
        """Take an acknowledged change's facts off the feed, if they are there."""
        if act.state != "done":
            return True
        facts = act.facts()
        places = range(act.seq - len(facts) + 1, act.seq + 1)
        if [left.get(place) for place in places] != facts:
            return False
        for place in places:
            del left[place]
        act.is_found = True
        return True

    def _judge_missing(self, bucket: str, missing: Sequence[Act]) -> Iterator[str]:
        """Only the end of what a relaxed bucket was told may be missing."""
        sync = BUCKETS[bucket]["sync"]
        for act in missing:
            if sync == "always":
                yield f"{bucket}: acknowledged, and missing: {act}"
            elif act.is_firm:
                yield f"{bucket}: it was on the disk before: {act}"
            elif self._is_late(act):
                yield f"{bucket}: acknowledged {SLACK_S} s before, missing: {act}"
            else:
                later = self._present_behind(act)
                if later is not None:
                    yield f"{bucket}: {act} is missing, and behind it is {later}"
        for act in missing:
            act.state = "lost"

    def _is_late(self, act: Act) -> bool:
        if act.bucket != SOON or act.generation >= len(self.cuts_s):
            return False
        return act.told_s < self.cuts_s[act.generation] - SOON_S - SLACK_S

    def _present_behind(self, act: Act) -> Act | None:
        """Find a change of the same life that came later and is there."""
        is_behind = False
        for other in self._of(act.bucket):
            is_behind |= other is act
            if other.generation != act.generation or other.state != "done":
                continue
            in_program = is_behind and other is not act and other.who == act.who
            in_log = 0 < act.seq < other.seq
            if other.is_found and (in_program or in_log):
                return other
        return None

    def _explain(self, bucket: str, left: dict[int, Fact]) -> Iterator[str]:
        """What nobody was told of must be a change that was cut off."""
        for act in self._of(bucket):
            if act.state != "unknown":
                continue
            facts = act.facts()
            act.state = "lost"
            for seq in sorted(left):
                places = range(seq, seq + len(facts))
                if [left.get(place) for place in places] == facts:
                    for place in places:
                        del left[place]
                    act.state, act.seq, act.is_found = "done", places[-1], True
                    break
        for seq, fact in left.items():
            yield f"{bucket}: nobody made change {seq}, {fact}"
