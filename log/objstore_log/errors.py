"""The error root and every error that the log can raise.

A class is named by what the caller has to do.
Facts are keyword arguments and stay readable as attributes; the class composes its
own message: what happened, where, and what to do next.
Every error survives pickling, so it can cross a process boundary.
"""

from __future__ import annotations

from typing import Any


def _restore(
    cls: type[ObjStoreError], facts: dict[str, Any], message: str
) -> ObjStoreError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.facts = facts
    error.__dict__.update(facts)
    return error


class ObjStoreError(Exception):
    """The root of every error that this library raises on purpose."""

    facts: dict[str, Any]
    """The facts that the message was composed from, by name."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts
        self.__dict__.update(facts)

    def __str__(self) -> str:
        """Give the message alone, whatever builtin the class also is."""
        return str(self.args[0]) if self.args else type(self).__name__

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by facts, because constructors take keywords only."""
        return _restore, (type(self), self.facts, str(self))


class StoreNotFoundError(ObjStoreError, FileNotFoundError):
    """There is no store at that place, and perhaps none can be made there."""

    path: str
    reason: str
    hint: str

    def __init__(
        self,
        *,
        path: str,
        reason: str = "there is no store",
        hint: str = "open it with create=True to make one",
    ) -> None:
        super().__init__(
            f"{path}: {reason}; {hint}", path=path, reason=reason, hint=hint
        )


class StoreVersionError(ObjStoreError):
    """The store was written by a newer version of this library."""

    path: str
    found: int
    supported: int

    def __init__(self, *, path: str, found: int, supported: int, what: str) -> None:
        super().__init__(
            f"{path}: {what} {found} is newer than {supported}, the newest that this "
            "version reads; upgrade objstore-embedded",
            path=path,
            found=found,
            supported=supported,
            what=what,
        )


class StorageError(ObjStoreError, OSError):
    """The operating system refused; nothing that was acknowledged is lost."""

    path: str
    operation: str

    def __init__(
        self, *, path: str, operation: str, reason: str, errno: int | None = None
    ) -> None:
        super().__init__(
            f"{operation} {path}: {reason}; mend the cause, then try again",
            path=path,
            operation=operation,
            reason=reason,
        )
        self.errno = errno
        self.facts["errno"] = errno


class PoisonedError(StorageError):
    """A sync failed, so this handle writes no more; reads go on."""

    def __init__(self, *, path: str, reason: str, errno: int | None = None) -> None:
        ObjStoreError.__init__(
            self,
            f"{path}: an earlier sync failed ({reason}), the log is read-only in this "
            "process; close the store, mend the disk, open it again",
            path=path,
            operation="append",
            reason=reason,
        )
        self.errno = errno
        self.facts["errno"] = errno


class BusyError(ObjStoreError, TimeoutError):
    """Another process holds the write lock for longer than `lock_timeout`."""

    path: str
    holder_pid: int | None
    waited_s: float

    def __init__(self, *, path: str, holder_pid: int | None, waited_s: float) -> None:
        holder = "another process" if holder_pid is None else f"process {holder_pid}"
        super().__init__(
            f"{path}: {holder} has held the write lock for {waited_s:.1f} s; wait, "
            "continue it if it is stopped, or end it",
            path=path,
            holder_pid=holder_pid,
            waited_s=waited_s,
        )


class ClosedError(ObjStoreError):
    """The handle was used after it was closed."""

    what: str

    def __init__(self, *, what: str) -> None:
        super().__init__(f"{what} is closed; open it again", what=what)


class ForkedError(ObjStoreError):
    """The handle was made in a parent process."""

    what: str

    def __init__(self, *, what: str) -> None:
        super().__init__(
            f"{what} was opened before fork(); open it again in the child process",
            what=what,
        )


class ConflictError(ObjStoreError):
    """A subject's last sequence is not the expected one; nothing was appended."""

    subject: bytes
    expected: int
    actual: int

    def __init__(self, *, subject: bytes, expected: int, actual: int) -> None:
        super().__init__(
            f"subject {subject!r} is at sequence {actual}, expected {expected}; "
            "read it again and retry",
            subject=subject,
            expected=expected,
            actual=actual,
        )


class CorruptionError(ObjStoreError):
    """Stored bytes are damaged; the error names what they belonged to."""

    path: str
    segment: int
    position: int
    sequence: int | None
    name: str | None
    """The object or bucket, where the damaged bytes still tell it."""
    reason: str

    def __init__(
        self,
        *,
        path: str,
        segment: int,
        position: int,
        reason: str,
        sequence: int | None = None,
        name: str | None = None,
    ) -> None:
        victim = "" if name is None else f" of {name!r}"
        number = "" if sequence is None else f" (sequence {sequence})"
        super().__init__(
            f"{path}: segment {segment:016x} at {position}{number}{victim}: {reason}; "
            "restore it from a backup, run verify for the whole extent",
            path=path,
            segment=segment,
            position=position,
            reason=reason,
            sequence=sequence,
            name=name,
        )


class SequenceGoneError(ObjStoreError):
    """No record with that sequence is kept any more."""

    sequence: int

    def __init__(self, *, sequence: int) -> None:
        super().__init__(
            f"sequence {sequence} is no longer kept; read the current value",
            sequence=sequence,
        )


class CursorExpiredError(ObjStoreError):
    """The changes behind a cursor are no longer kept."""

    sequence: int
    oldest: int

    def __init__(self, *, sequence: int, oldest: int) -> None:
        super().__init__(
            f"changes after sequence {sequence} are gone, the oldest kept one is "
            f"{oldest}; start again from current values",
            sequence=sequence,
            oldest=oldest,
        )


class HistoryRewoundError(ObjStoreError):
    """A cursor is ahead of the log, or in a gap that a crash left."""

    sequence: int
    last_sequence: int

    def __init__(self, *, sequence: int, last_sequence: int) -> None:
        super().__init__(
            f"the cursor is at sequence {sequence}, which this log never kept (it is "
            f"at {last_sequence}); start again from current values",
            sequence=sequence,
            last_sequence=last_sequence,
        )


class NotSupportedError(ObjStoreError):
    """This engine or this machine cannot do it; the text says which can."""

    what: str

    def __init__(self, *, what: str, hint: str) -> None:
        super().__init__(f"{what} is not supported here; {hint}", what=what, hint=hint)
