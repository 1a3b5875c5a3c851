"""What a crash simulation records: the mutations of one disk, in order.

An operation refers to the live inode or directory that it changed, so names may
come and go and still one sees which bytes belong together.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from objstore_log._memory_storage import (
    Directory,
    Inode,
    NameChangeKind,
    Node,
    system_error,
)
from objstore_log._storage import Buffer

FaultKind: TypeAlias = Literal[
    "open",
    "create",
    "read",
    "write",
    "sync",
    "punch",
    "replace",
    "remove",
    "sync_directory",
]

_CUTS_PER_END = 3
_RECENT = 64
"""Operations in which to look for other files."""


class Fate(NamedTuple):
    """What became of one unsynced operation."""

    label: str
    start: int
    """The first byte of a write that reached the disk."""
    stop: int
    """The byte behind the last one that reached the disk."""
    is_zeroed: bool = False
    """Whether the rest of the range reads as zeros and counts into the length."""
    is_stale: bool = False
    """The same with bytes that the blocks held for another file before."""


DROPPED = Fate("dropped", 0, 0)


@dataclass(frozen=True, eq=False)
class FileWrite:
    """Bytes put into a file."""

    owner: Inode
    name: str
    position: int
    data: bytes
    cuts: tuple[int, ...]
    """Where a tear is worth trying, in bytes from the write's start."""
    stale: bytes = b""
    """As long as the data: what its blocks may have held for another file."""

    @property
    def kept(self) -> Fate:
        """Say that all of it reached the disk."""
        return Fate("kept", 0, len(self.data))

    def partial_fates(self, *, reordered: bool) -> list[Fate]:
        """Give the fates between kept and dropped."""
        size = len(self.data)
        fates = [Fate("zeroed", 0, 0, is_zeroed=True)]
        fates += [Fate(f"torn at {cut}", 0, cut) for cut in self.cuts]
        if self.cuts:
            middle = self.cuts[len(self.cuts) // 2]
            fates.append(Fate(f"zeroed from {middle}", 0, middle, is_zeroed=True))
        if reordered:
            ends = sorted({*self.cuts[:1], *self.cuts[-1:]})
            fates += [Fate(f"lost before {cut}", cut, size) for cut in ends]
        if reordered and self.stale:
            fates.append(Fate("stale", 0, 0, is_stale=True))
            fates += [
                Fate(f"stale from {cut}", 0, cut, is_stale=True)
                for cut in self.cuts[len(self.cuts) // 2 :][:1]
            ]
        return fates

    def apply(self, inode: Inode, fate: Fate) -> None:
        """Leave on `inode` what that fate leaves."""
        if fate.is_zeroed:
            inode.write(self.position, bytes(len(self.data)))
        elif fate.is_stale:
            inode.write(self.position, self.stale)
        piece = memoryview(self.data)[fate.start : fate.stop]
        inode.write(self.position + fate.start, piece)

    def __str__(self) -> str:
        return f"write {self.name}@{self.position}+{len(self.data)}"


@dataclass(frozen=True, eq=False)
class FilePunch:
    """A range of a file given back."""

    owner: Inode
    name: str
    position: int
    length: int

    @property
    def kept(self) -> Fate:
        """Say that all of it reached the disk."""
        return Fate("kept", 0, 1)

    def partial_fates(self, *, reordered: bool) -> list[Fate]:
        """Give none: a punch happens or does not."""
        del reordered
        return []

    def apply(self, inode: Inode, fate: Fate) -> None:
        """Punch `inode` if the fate says so."""
        if fate.stop:
            inode.punch(self.position, self.length)

    def __str__(self) -> str:
        return f"punch {self.name}@{self.position}+{self.length}"


@dataclass(frozen=True, eq=False)
class NameChange:
    """A name created or replaced (`node`) or removed (`None`)."""

    owner: Directory
    kind: NameChangeKind
    name: str
    node: Node | None
    source: str | None

    @property
    def kept(self) -> Fate:
        """Say that all of it reached the disk."""
        return Fate("kept", 0, 1)

    def partial_fates(self, *, reordered: bool) -> list[Fate]:
        """Give none: every name operation is atomic."""
        del reordered
        return []

    def __str__(self) -> str:
        source = "" if self.source is None else f"{self.source} -> "
        return f"{self.kind} {source}{self.name}"


@dataclass(frozen=True, eq=False)
class Sync:
    """A sync of a file or a directory; a failed one made nothing durable."""

    owner: Node
    name: str
    is_failed: bool = False

    def __str__(self) -> str:
        return f"{'failed ' if self.is_failed else ''}sync {self.name}"


FileChange: TypeAlias = FileWrite | FilePunch
Change: TypeAlias = FileWrite | FilePunch | NameChange
Operation: TypeAlias = FileWrite | FilePunch | NameChange | Sync


def make_write(
    owner: Inode,
    name: str,
    position: int,
    buffers: Sequence[Buffer],
    others: Sequence[Inode] = (),
) -> FileWrite:
    """Describe one write of several buffers; their borders are places to tear.

    Args:
        owner: the file.
        name: its name.
        position: where it begins.
        buffers: the bytes.
        others: files whose blocks it may have got, the likeliest first.
    """
    data = b"".join(buffers)
    borders = list(itertools.accumulate(map(len, buffers)))
    places = {1, len(data) // 2, len(data) - 1}
    places.update(borders[:_CUTS_PER_END], borders[-_CUTS_PER_END:])
    cuts = tuple(sorted(cut for cut in places if 0 < cut < len(data)))
    stale = _stale(position, len(data), others)
    return FileWrite(owner, name, position, data, cuts, stale)


def _stale(position: int, length: int, others: Sequence[Inode]) -> bytes:
    """Give what stands in another file at the same place, the hardest to tell."""
    for other in others:
        found = bytes(other.content[position : position + length])
        if any(found):
            return found.ljust(length, found[-1:])
    return b""


@dataclass
class Fault:
    """A plan to let calls of one kind fail."""

    kind: FaultKind
    nth: int
    code: int
    is_sticky: bool
    written_part: float
    calls: int = 0

    def is_due(self) -> bool:
        """Count one call; tell whether it fails."""
        self.calls += 1
        return self.calls == self.nth or (self.is_sticky and self.calls > self.nth)


@dataclass
class Recorder:
    """The history of one simulated disk since it was mounted."""

    files: dict[Inode, Inode] = field(default_factory=dict[Inode, Inode])
    """The bytes at the mount of every file that there was."""
    entries: dict[Directory, dict[str, Node]] = field(
        default_factory=dict[Directory, dict[str, Node]]
    )
    """The names at the mount of every directory that there was."""
    trace: list[Operation] = field(default_factory=list[Operation])
    faults: list[Fault] = field(default_factory=list[Fault])

    def due(self, kind: FaultKind) -> Fault | None:
        """Count one call of that kind; give the fault that hits it."""
        hits = [one for one in self.faults if one.kind == kind and one.is_due()]
        return hits[0] if hits else None

    def check(self, kind: FaultKind, name: str) -> None:
        """Count one call of that kind; raise if it shall fail."""
        fault = self.due(kind)
        if fault is not None:
            raise system_error(fault.code, name)

    def written(self, owner: Inode) -> list[Inode]:
        """Give the other files that were written to, the latest first."""
        owners = [
            item.owner for item in self.trace[-_RECENT:] if isinstance(item, FileWrite)
        ]
        return [other for other in dict.fromkeys(owners[::-1]) if other is not owner]

    def adopt(self, frozen: Directory) -> Directory:
        """Copy a frozen tree into a live one and remember it as the start."""
        live = Directory()
        for name, node in frozen.entries.items():
            if isinstance(node, Directory):
                live.entries[name] = self.adopt(node)
            else:
                copied = node.copy()
                self.files[copied] = node
                live.entries[name] = copied
        self.entries[live] = dict(live.entries)
        return live


def is_unsupported_punch(fault: Fault) -> bool:
    """Tell a disk that cannot punch from one where punching failed."""
    return fault.code == errno.EOPNOTSUPP
