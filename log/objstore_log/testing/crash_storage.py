"""A disk in memory that can fail, stop and lose what was not synced.

The fault model
- Process death (`kill`): every byte and name written so far stays, unsynced still;
  locks are freed, old handles change nothing any more.
- Power cut (`disks`): a write that a later successful sync of its file covers stays
  whole. Any other write is kept, dropped, torn (a prefix stays), zero-filled (all of
  it or behind a tear) or, under posix rules, loses its first part and keeps the rest,
  or gets blocks that still hold another file's bytes (all of it or behind a tear).
  A punch, and a name made, replaced or removed without a later sync of its directory,
  happened or did not. A replacement is one atomic step. Syncing a file says nothing
  about its name, nor a directory about bytes.
- `posix` rules: each of these is chosen for itself. `ext4` rules: the unsynced writes
  of one file reach the disk in order, and so do the names of all directories; a
  directory's sync also covers the earlier names of other directories.
- A failed sync: the system takes those bytes for clean, so they stay readable until
  the power cut, and no later sync covers them (fsync of ext4, XFS, Btrfs does so).
- A failed write leaves the stated part of its bytes; a failed name operation nothing.
Not modelled: damage to synced bytes, and the catalog databases (each mount starts with
none).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence

from objstore_log._memory_storage import (
    Directory,
    Guard,
    Inode,
    MemoryFile,
    MemoryLock,
    MemoryStorage,
    NameChangeKind,
    Node,
    system_error,
)
from objstore_log._storage import Buffer
from objstore_log.testing.crash_disks import Image, Rules, images
from objstore_log.testing.crash_trace import (
    Fault,
    FaultKind,
    FilePunch,
    NameChange,
    Operation,
    Recorder,
    Sync,
    is_unsupported_punch,
    make_write,
)

DISKS_LIMIT = 512


class Crashed(BaseException):
    """The simulated process is dead; nothing it does from here on reaches the disk."""


class _Process:
    """One simulated process: when it dies and which locks die with it."""

    def __init__(self) -> None:
        self.is_alive = True
        self.kill_before: int | None = None
        self.kill_after: int | None = None
        self.files: list[CrashFile] = []

    def check(self) -> None:
        if not self.is_alive:
            raise Crashed

    def die(self) -> None:
        self.is_alive = False
        for file in self.files:
            file.unlock()


class _Machine:
    """The disk and the process that one storage tree belongs to."""

    def __init__(self, recorder: Recorder, process: _Process, guard: Guard) -> None:
        self.recorder = recorder
        self.process = process
        self.guard = guard

    def mutate(self, operation: Operation, apply: Callable[[], None]) -> None:
        """Do and record one operation, or die before or after it."""
        trace = self.recorder.trace
        self.process.check()
        if self.process.kill_before == len(trace) + 1:
            self.process.die()
            raise Crashed
        apply()
        trace.append(operation)
        if self.process.kill_after == len(trace):
            self.process.die()
            raise Crashed


def _nothing() -> None:
    pass


class CrashFile(MemoryFile):
    """One open file whose changes are recorded."""

    def __init__(self, name: str, inode: Inode, machine: _Machine) -> None:
        """Open `inode` for that machine's process."""
        super().__init__(name, inode, machine.guard)
        self._machine = machine

    def read_at(self, position: int, length: int) -> bytes:
        """Read, unless a fault is due."""
        with self._guard:
            self._machine.recorder.check("read", self.name)
            return super().read_at(position, length)

    def write_at(self, position: int, buffers: Sequence[Buffer]) -> int:
        """Write and record it, whole or the part that the due fault allows."""
        with self._guard:
            self._check(position, 0)
            others = self._machine.recorder.written(self._inode)
            write = make_write(self._inode, self.name, position, buffers, others)
            fault = self._machine.recorder.due("write")
            if fault is not None:
                part = write.data[: int(len(write.data) * fault.written_part)]
                write = make_write(self._inode, self.name, position, [part], others)
            if write.data:
                self._machine.mutate(
                    write, lambda: write.apply(self._inode, write.kept)
                )
            if fault is not None:
                raise system_error(fault.code, self.name)
            return len(write.data)

    def sync(self) -> None:
        """Make the file's bytes durable, or lose them for good."""
        with self._guard:
            self._check(0, 0)
            fault = self._machine.recorder.due("sync")
            sync = Sync(self._inode, self.name, is_failed=fault is not None)
            self._machine.mutate(sync, _nothing)
            if fault is not None:
                raise system_error(fault.code, self.name)

    def punch(self, position: int, length: int) -> bool:
        """Punch and record it; a fault of EOPNOTSUPP makes it unsupported."""
        with self._guard:
            self._check(position, length)
            fault = self._machine.recorder.due("punch")
            if fault is not None:
                if is_unsupported_punch(fault):
                    return False
                raise system_error(fault.code, self.name)
            punch = FilePunch(self._inode, self.name, position, length)
            self._machine.mutate(punch, lambda: self._inode.punch(position, length))
            return True

    def try_lock(self, *, shared: bool) -> bool:
        """Lock for this process, which must be alive."""
        with self._guard:
            self._machine.process.check()
            is_locked = super().try_lock(shared=shared)
            if is_locked:
                self._machine.process.files.append(self)
            return is_locked


class CrashStorage(MemoryStorage):
    """One directory of the simulated disk, used by one simulated process."""

    def __init__(
        self,
        path: str = "crash:",
        *,
        tree: Directory | None = None,
        machine: _Machine | None = None,
    ) -> None:
        """Make an empty disk, or mount the frozen `tree` of an earlier one.

        With `machine` it is a view of a directory that is mounted already.
        """
        if machine is None:
            recorder = Recorder()
            tree = recorder.adopt(Directory() if tree is None else tree)
            super().__init__(path, tree=tree)
            machine = _Machine(recorder, _Process(), self._guard)
            self._root = tree
        else:
            assert tree is not None
            super().__init__(path, tree=tree, guard=machine.guard)
            self._root = tree
        self._machine = machine

    @property
    def trace(self) -> tuple[Operation, ...]:
        """Every mutation of the whole tree since the mount, in order."""
        return tuple(self._machine.recorder.trace)

    @property
    def mutation_count(self) -> int:
        """The length of `trace`: the point that the disk is at now."""
        return len(self._machine.recorder.trace)

    def fail(
        self,
        kind: FaultKind,
        *,
        nth: int = 1,
        code: int = errno.EIO,
        sticky: bool = False,
        written_part: float = 0.0,
    ) -> None:
        """Let the `nth` call of that kind from now on fail, for all processes.

        Args:
            kind: the call; `open` counts creating ones too, `create` only those
                that make a file or directory.
            nth: which call, from 1.
            code: the `errno` to raise.
            sticky: fail all later ones too, until `heal`.
            written_part: the share of a failed write's bytes that is written.
        """
        fault = Fault(kind, nth, code, sticky, written_part)
        self._machine.recorder.faults.append(fault)

    def heal(self) -> None:
        """Let all calls succeed again; what a failed sync lost stays lost."""
        self._machine.recorder.faults.clear()

    def kill_before(self, mutation: int) -> None:
        """Die instead of doing that mutation, counted from 1 since the mount."""
        self._machine.process.kill_before = mutation

    def kill_after(self, mutation: int) -> None:
        """Die right after that mutation, counted from 1 since the mount."""
        self._machine.process.kill_after = mutation

    def process(self) -> CrashStorage:
        """Give another process's view of this directory on the same disk."""
        old = self._machine
        machine = _Machine(old.recorder, _Process(), old.guard)
        return CrashStorage(self.path, tree=self._root, machine=machine)

    def kill(self) -> CrashStorage:
        """End this process now; give a new one's view, with all bytes still there.

        What was not synced can still be lost in a later power cut: the trace goes on.
        """
        with self._guard:
            self._machine.process.die()
        return self.process()

    def disks(
        self,
        point: int | None = None,
        *,
        limit: int = DISKS_LIMIT,
        rules: Rules = "posix",
        seed: int = 0,
    ) -> Iterator[Disk]:
        """Give the different disks that a power cut can leave of this directory.

        All of them when their choices are at most `limit`; otherwise all kept, all
        dropped, each single thing lost in each way, each single thing kept, and a
        sample by `seed`; and a sample of all of these when there are more than
        `limit`.

        Args:
            point: the cut comes after so many mutations; now, when left out.
            limit: the greatest number of disks.
            rules: what the file system promises, see the head of this module.
            seed: where the sample starts.
        """
        recorder = self._machine.recorder
        point = len(recorder.trace) if point is None else point
        for image in images(
            recorder, self._root, point, limit=limit, rules=rules, seed=seed
        ):
            yield Disk(point, image)

    def open(self, name: str, *, create: bool = False) -> MemoryFile:
        """Open, unless a fault is due."""
        with self._guard:
            self._machine.recorder.check("open", name)
            return super().open(name, create=create)

    def directory(self, name: str, *, create: bool = False) -> CrashStorage:
        """Give a directory of the same disk and process."""
        view = super().directory(name, create=create)
        assert isinstance(view, CrashStorage)
        return view

    def sync_directory(self) -> None:
        """Make the names durable, or lose them for good."""
        with self._guard:
            fault = self._machine.recorder.due("sync_directory")
            sync = Sync(self._directory, self.path, is_failed=fault is not None)
            self._machine.mutate(sync, _nothing)
            if fault is not None:
                raise system_error(fault.code, self.path)

    def try_lock(
        self, name: str, *, shared: bool = False, is_kept: bool = False
    ) -> MemoryLock | None:
        """Lock for this process, which must be alive."""
        self._machine.process.check()
        return super().try_lock(name, shared=shared, is_kept=is_kept)

    def _change(
        self,
        kind: NameChangeKind,
        name: str,
        node: Node | None,
        source: str | None = None,
    ) -> None:
        self._machine.recorder.check(kind, name)
        self._machine.mutate(
            NameChange(self._directory, kind, name, node, source),
            lambda: self._directory.change(name, node, source),
        )

    def _file(self, name: str, inode: Inode) -> CrashFile:
        return CrashFile(name, inode, self._machine)

    def _view(self, path: str, directory: Directory) -> CrashStorage:
        return CrashStorage(path, tree=directory, machine=self._machine)


class Disk:
    """What a power cut left; equal to every disk with the same files."""

    def __init__(self, point: int, image: Image) -> None:
        """Wrap an image that was cut at `point`."""
        self.point = point
        self.digest = image.digest
        self._image = image

    def mount(self) -> CrashStorage:
        """Start again from it; each mount is a disk of its own."""
        return CrashStorage(tree=self._image.root)

    def files(self) -> dict[str, bytes]:
        """Give every file's bytes by its path."""
        return dict(_files(self._image.root, ""))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Disk) and self.digest == other.digest

    def __hash__(self) -> int:
        return int.from_bytes(self.digest[:8])

    def __repr__(self) -> str:
        losses = [f"{fate.label}: {change}" for change, fate in self._image.losses]
        return f"<Disk cut after {self.point}, {'; '.join(losses) or 'all kept'}>"


def _files(directory: Directory, prefix: str) -> Iterator[tuple[str, bytes]]:
    for name, node in directory.entries.items():
        if isinstance(node, Directory):
            yield from _files(node, f"{prefix}{name}/")
        else:
            yield prefix + name, bytes(node.content)
