"""Random programs over named workloads; a seed decides every step of one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.torture import crash_steps as steps
from tests.torture.crash_steps import Contents, Step

STEPS_MIN, STEPS_MAX = 6, 12
NAMES = "abcd"
SMALL_SIZES = (0, 1, 80, 300, 520, 1_150)
LARGE_SIZES = (1_300, 2_500, 5_000, 7_000, 9_000)
HUGE_SIZES = (18_000, 25_000, 41_000)
"""So large that chunks of them are punched out."""
CHUNKED: Mapping[str, Any] = {"chunk_size": 300}
ROLLING: Mapping[str, Any] = {"chunk_size": 300, "segment_bytes": 1_024}
PUNCHED: Mapping[str, Any] = {"chunk_size": 20_000, "changes_ttl": 0}
REWRITTEN: Mapping[str, Any] = {"chunk_size": 300, "segment_bytes": 2_000}
RECLAIMED: Mapping[str, Any] = {**ROLLING, "changes_ttl": 0}


@dataclass(frozen=True)
class Workload:
    """What programs of one name are made of."""

    name: str
    configs: Sequence[Mapping[str, Any]]
    weights: Mapping[str, int]
    """How often each kind of step comes, by the name of its maker."""


PUTS = {"put_small": 2, "put_large": 1}
WORKLOADS = [
    Workload("small puts", [{}, ROLLING], {"put_small": 6, "keep": 1}),
    Workload(
        "large puts", [CHUNKED, ROLLING], {"put_large": 4, "put_small": 1, "keep": 1}
    ),
    Workload("overwrites", [CHUNKED, ROLLING], {**PUTS, "overwrite": 5, "keep": 1}),
    Workload("deletes", [CHUNKED, ROLLING], {**PUTS, "delete": 3, "keep": 1}),
    Workload(
        "names",
        [CHUNKED, ROLLING],
        {**PUTS, "describe": 2, "rename": 2, "copy": 2, "link": 1, "delete": 1},
    ),
    Workload(
        "buckets",
        [{}, ROLLING],
        {"put_small": 4, "create": 3, "drop": 2, "configure": 1, "retention": 1},
    ),
    Workload("seal", [{}, ROLLING], {**PUTS, "create": 1, "seal": 2, "retention": 1}),
    Workload(
        "expiry",
        [CHUNKED, RECLAIMED],
        {**PUTS, "expiring": 3, "overwrite": 1, "retention": 2, "keep": 1},
    ),
    Workload(
        "reclaim under readers",
        [RECLAIMED, PUNCHED],
        {"put_large": 2, "overwrite": 2, "delete": 1, "retention": 3, "pin": 3}
        | {"read_pinned": 1, "keep": 1, "put_huge": 3},
    ),
    Workload(
        "several processes",
        [CHUNKED, RECLAIMED],
        {**PUTS, "other_put": 3, "other_delete": 1, "other_retention": 1}
        | {"close_other": 1, "retention": 1, "kill": 1},
    ),
    Workload(
        "relaxed syncs",
        [
            {"sync": "never", **ROLLING},
            {"sync": 3_600.0, **CHUNKED},
            {"sync": "never", **RECLAIMED},
        ],
        {**PUTS, "overwrite": 1, "delete": 1, "reopen": 1, "kill": 1, "keep": 2}
        | {"retention": 1, "create": 1},
    ),
    Workload(
        "killed processes",
        [CHUNKED, ROLLING],
        {**PUTS, "kill": 2, "leave": 2, "retention": 1, "overwrite": 1},
    ),
    Workload(
        "catalogs of other days",
        [CHUNKED, RECLAIMED],
        {**PUTS, "keep": 4, "delete": 1, "rename": 1, "retention": 1, "reopen": 1},
    ),
    Workload(
        "watches",
        [CHUNKED, RECLAIMED, {"sync": "never", **CHUNKED}],
        {**PUTS, "watch": 3, "overwrite": 1, "delete": 1, "retention": 1},
    ),
    Workload(
        "puts that are given up",
        [CHUNKED, ROLLING],
        {**PUTS, "broken": 2, "abort": 2, "leave": 1, "drop_writers": 1, "pieces": 2}
        | {"retention": 1},
    ),
    Workload(
        "rewriting",
        [REWRITTEN, {**REWRITTEN, "changes_ttl": 0}],
        {"put_small": 6, "overwrite": 6, "delete": 1, "describe": 1, "rename": 1}
        | {"retention": 4, "other_retention": 1, "pin": 1, "read_pinned": 1}
        | {"watch": 1, "keep": 2, "kill": 1, "reopen": 1},
    ),
    Workload(
        "everything",
        [CHUNKED, ROLLING, RECLAIMED, PUNCHED, {"sync": "never", **ROLLING}],
        {**PUTS, "overwrite": 2, "delete": 1, "describe": 1, "rename": 1, "copy": 1}
        | {"expiring": 1, "retention": 2, "pin": 1, "read_pinned": 1, "watch": 1}
        | {"other_put": 1, "broken": 1, "leave": 1, "kill": 1, "reopen": 1}
        | {"create": 1, "drop": 1, "keep": 1, "pieces": 1, "other_retention": 1},
    ),
]
LIFE = frozenset({"kill", "reopen", "keep"})
"""What becomes of processes, which a campaign may have its own mind about."""
OTHER = frozenset({"other_put", "other_delete", "other_retention", "close_other"})

Maker: TypeAlias = Callable[[], Step | None]


@dataclass
class Programmer:
    """Makes steps that fit what the steps before them have left."""

    chance: random.Random
    configs: Sequence[Mapping[str, Any]]
    contents: Contents = field(default_factory=Contents)
    sealed: set[str] = field(default_factory=set[str])
    links: int = 0

    def program(
        self, workload: Workload, count: int, leave_out: frozenset[str] = frozenset()
    ) -> list[Step]:
        """Make a program; buckets that it needs are created first."""
        weights = {
            maker: weight
            for maker, weight in workload.weights.items()
            if maker not in leave_out
        }
        made: list[Step] = []
        while len(made) < count:
            if not set(self.contents) - self.sealed:
                # else no step would fit, for ever
                made.append(self._taken(steps.create(self._free(), self._config())))
                continue
            maker = self.chance.choices([*weights], [*weights.values()])[0]
            step: Step | None = getattr(self, f"_make_{maker}")()
            if step is not None:
                made.append(self._taken(step))
        if "pin" in weights:
            made += [steps.retention(), steps.read_pinned()]
        return made

    def _taken(self, step: Step) -> Step:
        self.contents = step.change(self.contents)
        if step.kind in {"create", "drop"}:
            self.sealed.discard(step.bucket)
        return step

    # --- what steps are about -------------------------------------------------

    def _config(self) -> Mapping[str, Any]:
        return self.chance.choice(self.configs)

    def _bucket(self) -> str:
        """Give a bucket that takes changes; one that is not there when none does."""
        open_ones = sorted(set(self.contents) - self.sealed)
        return self.chance.choice(open_ones) if open_ones else "never"

    def _free(self) -> str:
        """Give a name that no bucket has."""
        names = ("b" * length for length in range(1, len(self.contents) + 2))
        return next(name for name in names if name not in self.contents)

    def _name(self) -> str:
        return self.chance.choice(NAMES)

    def _there(self, bucket: str) -> tuple[str, bytes] | None:
        """Give an object of a bucket with its content."""
        names = self.contents.get(bucket)
        return self.chance.choice(sorted(names.items())) if names else None

    def _content(self, sizes: Sequence[int]) -> bytes:
        size = self.chance.choice(sizes)
        # its length is no secret, so that neighbours begin at odd places
        return steps.content(self.chance, size + self.chance.randrange(3))

    # --- makers ---------------------------------------------------------------

    def _put(self, sizes: Sequence[int], *, other: bool = False) -> Step | None:
        bucket = self._bucket()
        if bucket not in self.contents:
            return None
        return steps.put(bucket, self._name(), self._content(sizes), other=other)

    def _make_put_small(self) -> Step | None:
        return self._put(SMALL_SIZES)

    def _make_put_large(self) -> Step | None:
        return self._put(LARGE_SIZES)

    def _make_put_huge(self) -> Step | None:
        return self._put(HUGE_SIZES)

    def _make_other_put(self) -> Step | None:
        return self._put(SMALL_SIZES + LARGE_SIZES[:2], other=True)

    def _make_overwrite(self) -> Step | None:
        bucket = self._bucket()
        there = self._there(bucket)
        if there is None:
            return None
        return steps.put(bucket, there[0], self._content(SMALL_SIZES + LARGE_SIZES))

    def _make_pieces(self) -> Step | None:
        bucket = self._bucket()
        if bucket not in self.contents:
            return None
        data = self._content(SMALL_SIZES + LARGE_SIZES)
        return steps.put_pieces(bucket, self._name(), data, self.chance.randint(1, 4))

    def _part(
        self, make: Callable[[str, str, bytes], Step], sizes: Sequence[int]
    ) -> Step | None:
        bucket = self._bucket()
        if bucket not in self.contents:
            return None
        return make(bucket, self._name(), self._content(sizes))

    def _make_broken(self) -> Step | None:
        return self._part(steps.put_broken, LARGE_SIZES)

    def _make_abort(self) -> Step | None:
        return self._part(steps.abort_writer, LARGE_SIZES)

    def _make_leave(self) -> Step | None:
        return self._part(steps.leave_writer, LARGE_SIZES)

    def _make_expiring(self) -> Step | None:
        return self._part(steps.put_expiring, SMALL_SIZES + LARGE_SIZES[:2])

    def _make_drop_writers(self) -> Step | None:
        return steps.drop_writers()

    def _delete(self, *, other: bool = False) -> Step | None:
        bucket = self._bucket()
        there = self._there(bucket)
        return None if there is None else steps.delete(bucket, there[0], other=other)

    def _make_delete(self) -> Step | None:
        return self._delete()

    def _make_other_delete(self) -> Step | None:
        return self._delete(other=True)

    def _make_describe(self) -> Step | None:
        bucket = self._bucket()
        there = self._there(bucket)
        if there is None:
            return None
        return steps.update_meta(bucket, there[0], f"text {self.chance.random()}")

    def _moved(self, make: Callable[[str, str, str, bytes], Step]) -> Step | None:
        bucket = self._bucket()
        there = self._there(bucket)
        if there is None:
            return None
        target = self.chance.choice([name for name in NAMES if name != there[0]])
        return make(bucket, there[0], target, there[1])

    def _make_rename(self) -> Step | None:
        return self._moved(steps.rename)

    def _make_copy(self) -> Step | None:
        return self._moved(steps.copy)

    def _make_link(self) -> Step | None:
        bucket = self._bucket()
        there = self._there(bucket)
        if there is None:
            return None
        self.links += 1
        return steps.link(bucket, f"link {self.links}", there[0])

    def _make_pin(self) -> Step | None:
        bucket = self._bucket()
        there = self._there(bucket)
        if there is None:
            return None
        return steps.pin(bucket, there[0], self.chance.choice([0, 10, 700]))

    def _make_read_pinned(self) -> Step | None:
        return steps.read_pinned()

    def _make_watch(self) -> Step | None:
        bucket = self._bucket()
        if bucket not in self.contents:
            return None
        return steps.watch(bucket, self.chance.randrange(1, 7))

    def _make_create(self) -> Step | None:
        missing = [name for name in "bcd" if name not in self.contents]
        if not missing:
            return None
        return steps.create(self.chance.choice(missing), self._config())

    def _make_drop(self) -> Step | None:
        if len(self.contents) == 1 and self.chance.random() < 0.5:
            return None
        if not self.contents:
            return None
        return steps.drop(self.chance.choice(sorted(self.contents)))

    def _make_configure(self) -> Step | None:
        bucket = self._bucket()
        if bucket not in self.contents:
            return None
        return steps.describe_bucket(bucket, f"text {self.chance.random()}")

    def _make_seal(self) -> Step | None:
        bucket = self._bucket()
        if bucket not in self.contents or not self.contents[bucket]:
            return None
        self.sealed.add(bucket)
        return steps.seal(bucket)

    def _make_retention(self) -> Step:
        return steps.retention()

    def _make_other_retention(self) -> Step:
        return steps.retention(other=True)

    def _make_close_other(self) -> Step:
        return steps.close_other()

    def _make_kill(self) -> Step:
        return steps.KILL

    def _make_reopen(self) -> Step:
        return steps.REOPEN

    def _make_keep(self) -> Step:
        return steps.KEEP


def program(
    seed: int, workload: Workload, leave_out: frozenset[str] = frozenset()
) -> list[Step]:
    """Make the program that a seed decides."""
    chance = random.Random(f"{seed} {workload.name}")
    count = chance.randint(STEPS_MIN, STEPS_MAX)
    configs = [chance.choice(workload.configs)] if chance.random() < 0.7 else None
    return Programmer(chance, configs or workload.configs).program(
        workload, count, leave_out
    )
