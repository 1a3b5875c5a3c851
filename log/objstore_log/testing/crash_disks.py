"""Which disks a power cut can leave: the fates of what was not synced.

`crash_storage` states the fault model; here it is turned into choices and those
into trees of files, each different tree once.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypeAlias

from objstore_log._memory_storage import Directory, Inode, Node
from objstore_log.testing.crash_trace import (
    DROPPED,
    Change,
    Fate,
    NameChange,
    Operation,
    Recorder,
    Sync,
)

Rules: TypeAlias = Literal["posix", "ext4"]
Fates: TypeAlias = dict[int, Fate]
"""Fate by place in the trace."""
Choice: TypeAlias = list[Fates]
"""Alternatives that exclude each other: all kept first, all dropped second."""


@dataclass(frozen=True)
class Image:
    """A tree that a power cut left; never changed."""

    root: Directory
    digest: bytes
    losses: tuple[tuple[Change, Fate], ...]


def images(
    recorder: Recorder,
    root: Directory,
    point: int,
    *,
    limit: int,
    rules: Rules,
    seed: int,
) -> Iterator[Image]:
    """Give the different trees that a power cut after `point` operations can leave."""
    trace = recorder.trace[:point]
    choices = _choices(trace, rules)
    builder = _Builder(recorder, trace)
    seen: set[bytes] = set()
    for picks in _picks([len(choice) for choice in choices], limit, seed):
        fates: Fates = {}
        for choice, pick in zip(choices, picks, strict=True):
            fates.update(choice[pick])
        image = builder.image(root, fates)
        if image.digest not in seen:
            seen.add(image.digest)
            yield image
            if len(seen) >= limit:
                return


def _choices(trace: Sequence[Operation], rules: Rules) -> list[Choice]:
    pending, lost = _unsynced(trace, rules)
    if rules == "posix":
        alone = sorted([*itertools.chain.from_iterable(pending.values()), *lost])
        return [_alone(trace, index) for index in alone]
    names = [
        index
        for owner, indexes in pending.items()
        if isinstance(owner, Directory)
        for index in indexes
    ]
    groups = [indexes for owner, indexes in pending.items() if isinstance(owner, Inode)]
    # One journal orders the names of all directories.
    groups.append(sorted(names))
    prefixes = [_prefixes(trace, group) for group in groups if group]
    return prefixes + [_alone(trace, index) for index in lost]


def _unsynced(
    trace: Sequence[Operation], rules: Rules
) -> tuple[dict[Node, list[int]], list[int]]:
    """Split what no sync covers into what one still can cover and what none can."""
    pending: dict[Node, list[int]] = {}
    lost: list[int] = []
    for index, operation in enumerate(trace):
        if not isinstance(operation, Sync):
            pending.setdefault(operation.owner, []).append(index)
            continue
        covered = pending.pop(operation.owner, [])
        if operation.is_failed:
            lost += covered
        elif rules == "ext4" and isinstance(operation.owner, Directory) and covered:
            for owner, indexes in pending.items():
                if isinstance(owner, Directory):
                    indexes[:] = [one for one in indexes if one > covered[-1]]
    return pending, lost


def _change(trace: Sequence[Operation], index: int) -> Change:
    operation = trace[index]
    assert not isinstance(operation, Sync)
    return operation


def _alone(trace: Sequence[Operation], index: int) -> Choice:
    change = _change(trace, index)
    fates = [change.kept, DROPPED, *change.partial_fates(reordered=True)]
    return [{index: fate} for fate in fates]


def _prefixes(trace: Sequence[Operation], indexes: Sequence[int]) -> Choice:
    kept: Fates = {index: _change(trace, index).kept for index in indexes}
    dropped: Fates = dict.fromkeys(indexes, DROPPED)
    choice = [kept, dropped]
    for place, index in enumerate(indexes):
        head = {one: kept[one] for one in indexes[:place]}
        partial = _change(trace, index).partial_fates(reordered=False)
        fates = [DROPPED, *partial] if place else partial
        choice += [{**dropped, **head, index: fate} for fate in fates]
    return choice


def _picks(sizes: Sequence[int], limit: int, seed: int) -> Iterator[tuple[int, ...]]:
    if math.prod(sizes) <= limit:
        yield from itertools.product(*map(range, sizes))
        return
    kept, dropped = (0,) * len(sizes), (1,) * len(sizes)
    yield kept
    yield dropped
    alone = [
        (*kept[:place], pick, *kept[place + 1 :])
        for place, size in enumerate(sizes)
        for pick in range(1, size)
    ]
    alone += [
        (*dropped[:place], 0, *dropped[place + 1 :]) for place in range(len(sizes))
    ]
    # Repeatable on purpose: a seed names a failure.
    chance = random.Random(seed)  # noqa: S311
    mixed = (tuple(map(chance.randrange, sizes)) for _ in range(limit))
    if len(alone) <= limit:
        yield from alone
        yield from mixed
        return
    # some of both kinds, and no place in the trace is left out for good
    for one in chance.sample(alone, limit):
        yield one
        yield next(mixed)


class _Builder:
    """Replays a trace under given fates; equal files are built once."""

    def __init__(self, recorder: Recorder, trace: Sequence[Operation]) -> None:
        self._recorder = recorder
        self._trace = trace
        self._by_owner: dict[Node, list[int]] = {}
        self._files: dict[tuple[Inode, tuple[Fate | None, ...]], Inode] = {}
        self._digests: dict[Inode, bytes] = {}
        for index, operation in enumerate(trace):
            if not isinstance(operation, Sync):
                self._by_owner.setdefault(operation.owner, []).append(index)

    def image(self, root: Directory, fates: Fates) -> Image:
        tree, digest = self._directory(root, fates)
        losses = [(_change(self._trace, index), fate) for index, fate in fates.items()]
        return Image(
            tree, digest, tuple(loss for loss in losses if loss[1].label != "kept")
        )

    def _directory(self, live: Directory, fates: Fates) -> tuple[Directory, bytes]:
        entries = Directory()
        entries.entries.update(self._recorder.entries.get(live, {}))
        for index in self._by_owner.get(live, []):
            change = self._trace[index]
            assert isinstance(change, NameChange)
            if index not in fates or fates[index].stop:
                entries.change(change.name, change.node, change.source)
        tree, digest = Directory(), blake2b(digest_size=16)
        for name, node in sorted(entries.entries.items()):
            kept, part = self._node(node, fates)
            tree.entries[name] = kept
            kind = type(kept).__name__
            digest.update(repr((name, kind, part)).encode())
        return tree, digest.digest()

    def _node(self, node: Node, fates: Fates) -> tuple[Node, bytes]:
        if isinstance(node, Directory):
            return self._directory(node, fates)
        inode = self._file(node, fates)
        if inode not in self._digests:
            self._digests[inode] = blake2b(inode.content, digest_size=16).digest()
        return inode, self._digests[inode]

    def _file(self, live: Inode, fates: Fates) -> Inode:
        indexes = self._by_owner.get(live, [])
        key = live, tuple(fates.get(index) for index in indexes)
        if key not in self._files:
            start = self._recorder.files.get(live)
            inode = Inode() if start is None else start.copy()
            for index in indexes:
                change = self._trace[index]
                assert not isinstance(change, NameChange | Sync)
                change.apply(inode, fates.get(index, change.kept))
            self._files[key] = inode
        return self._files[key]
