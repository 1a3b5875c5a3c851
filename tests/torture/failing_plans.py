"""Which calls shall fail under a program: every position of every kind of call.

A walk has each position twice, once failing alone and once with all calls behind it.
The errors, and how much of a failed write is written, take turns from one position to
the next and from one program to the next.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from objstore_log.testing import CrashStorage
from objstore_log.testing.crash_trace import Fault, FaultKind

NEVER = 1 << 40
KINDS: Mapping[FaultKind, Sequence[int]] = {
    "write": [errno.ENOSPC, errno.EIO, errno.EDQUOT],
    "sync": [errno.EIO, errno.ENOSPC],
    "sync_directory": [errno.EIO],
    "open": [errno.EMFILE, errno.EIO],
    "create": [errno.ENOSPC, errno.EDQUOT, errno.EMFILE],
    "read": [errno.EIO],
    "replace": [errno.EIO, errno.ENOSPC],
    "remove": [errno.EIO],
    "punch": [errno.EIO, errno.EOPNOTSUPP],
}
"""The calls that may fail, with the errors that each may fail with."""
PARTS = (0.0, 0.5, 0.2, 0.97, 1.0)
"""Of a write that fails: how much of it was written."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
READ_STEP = 4
RUNNING = -1


@dataclass(frozen=True)
class Failure:
    """One plan of a call that fails."""

    kind: FaultKind
    nth: int
    code: int
    is_sticky: bool
    part: float
    kill_at: int = RUNNING
    """Before which mutation a process is killed whose successor it hits while it
    opens; 0 for the opening that makes the store."""

    @property
    def is_of_opening(self) -> bool:
        """Say whether it hits the opening of a store."""
        return self.kill_at != RUNNING

    def plant(self, disk: CrashStorage) -> Fault:
        """Let it happen from now on."""
        disk.fail(
            self.kind,
            nth=self.nth,
            code=self.code,
            sticky=self.is_sticky,
            written_part=self.part,
        )
        return disk._machine.recorder.faults[-1]

    @property
    def label(self) -> str:
        """Give what it is counted by."""
        times = "for good" if self.is_sticky else "once"
        part = ""
        if self.kind == "write" and self.part:
            part = " whole" if self.part == 1 else " short"
        return f"{self.kind} {errno.errorcode[self.code]}{part} {times}"

    def __str__(self) -> str:
        times = "and all after it fail" if self.is_sticky else "fails"
        part = f" with {self.part:.0%} written" if self.kind == "write" else ""
        name = errno.errorcode[self.code]
        where = f" of opening after {self.kill_at}" if self.is_of_opening else ""
        return f"{self.kind} {self.nth}{where} {times} with {name}{part}"


def count_calls(disk: CrashStorage) -> None:
    """Count the calls of each kind from now on."""
    for kind in KINDS:
        disk.fail(kind, nth=NEVER)


def counted(disk: CrashStorage) -> dict[FaultKind, int]:
    """Give what was counted, and count no more."""
    faults = disk._machine.recorder.faults
    calls: dict[FaultKind, int] = {fault.kind: fault.calls for fault in faults}
    disk.heal()
    return calls


def walk(
    calls: Mapping[FaultKind, int], chance: random.Random, kill_at: int = RUNNING
) -> list[Failure]:
    """Give every position of every kind of call, once and for good.

    Of the reads, which are more than all others together, it has a part.
    """
    failures: list[Failure] = []
    for kind, count in calls.items():
        codes = KINDS[kind]
        first = chance.randrange(len(codes) * len(PARTS) * READ_STEP)
        step = READ_STEP if kind == "read" else 1
        for nth in range(1 + first % step, count + 1, step):
            for is_sticky in (False, True):
                turn = first + nth + is_sticky
                code = codes[turn % len(codes)]
                part = PARTS[turn // len(codes) % len(PARTS)] * (kind == "write")
                if code in _NO_ROOM:
                    # what has no room for it never has all of it
                    part = min(part, PARTS[-2])
                failures.append(Failure(kind, nth, code, is_sticky, part, kill_at))
    return failures
