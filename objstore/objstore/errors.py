"""Every error that the library raises on purpose, and the exit status of each.

A class is named by what the caller has to do, and also is the builtin that fits.
Facts are keyword arguments and stay readable as attributes; the class composes its
own message: what, where, the offending value, the limit, what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from objstore._bad_value import BadValueError, shown
from objstore_log.errors import (
    BusyError,
    ClosedError,
    CorruptionError,
    CursorExpiredError,
    ForkedError,
    HistoryRewoundError,
    NotSupportedError,
    ObjStoreError,
    PoisonedError,
    StorageError,
    StoreNotFoundError,
    StoreVersionError,
)
from objstore_watch.errors import BadCursorError, BadWatchError, CursorForeignError

if TYPE_CHECKING:
    from objstore._engine import BucketState

__all__ = [
    "EXIT_STATUS",
    "BadBucketError",
    "BadCursorError",
    "BadObjectMetaError",
    "BadStoreError",
    "BadWatchError",
    "BucketExistsError",
    "BucketNotFoundError",
    "BusyError",
    "ClosedError",
    "ConsumerConfigError",
    "ConsumerNotFoundError",
    "CorruptionError",
    "CursorExpiredError",
    "CursorForeignError",
    "DigestMismatchError",
    "EncryptionError",
    "ForkedError",
    "HistoryRewoundError",
    "InvalidRangeError",
    "KeyFormatError",
    "KeyNotFoundError",
    "LeaseLostError",
    "LimitExceededError",
    "LinkIsABucketError",
    "NotSupportedError",
    "ObjStoreError",
    "ObjectAlreadyExists",
    "ObjectDeletedError",
    "ObjectNotFoundError",
    "PoisonedError",
    "PreconditionFailedError",
    "SealedError",
    "StorageError",
    "StoreNotFoundError",
    "StoreVersionError",
    "VersionExpiredError",
    "WrongEventLoopError",
    "WrongKeyError",
    "exit_status",
]

# --- absent, or there already -----------------------------------------------------


class BucketNotFoundError(ObjStoreError, FileNotFoundError):
    """There is no bucket of that name."""

    bucket: str

    def __init__(self, *, bucket: str) -> None:
        super().__init__(
            f"there is no bucket {shown(bucket)}; make it with "
            f"create_object_store(bucket={shown(bucket)}), or open it with "
            "create=True",
            bucket=bucket,
        )


class ObjectNotFoundError(ObjStoreError, FileNotFoundError):
    """There is no object of that name, or it has expired."""

    bucket: str
    name: str
    link: str | None
    """The link that points to the missing object, as "bucket/name"."""

    def __init__(self, *, bucket: str, name: str, link: str | None = None) -> None:
        via = "" if link is None else f", where the link {shown(link)} points"
        super().__init__(
            f"there is no object {shown(name)} in bucket {shown(bucket)}{via}; "
            "put it, or list() what is there",
            bucket=bucket,
            name=name,
            link=link,
        )


class ObjectDeletedError(ObjectNotFoundError):
    """The object was deleted."""

    sequence: int

    def __init__(
        self, *, bucket: str, name: str, sequence: int, link: str | None = None
    ) -> None:
        via = "" if link is None else f", where the link {shown(link)} points,"
        ObjStoreError.__init__(
            self,
            f"object {shown(name)} in bucket {shown(bucket)}{via} was deleted at "
            f"sequence {sequence}; put it again, or get_info(show_deleted=True)",
            bucket=bucket,
            name=name,
            link=link,
            sequence=sequence,
        )


class ConsumerNotFoundError(ObjStoreError, FileNotFoundError):
    """There is no consumer of that name."""

    bucket: str
    name: str

    def __init__(self, *, bucket: str, name: str) -> None:
        super().__init__(
            f"there is no consumer {shown(name)} on bucket {shown(bucket)}; make it "
            f"with consumer({shown(name)})",
            bucket=bucket,
            name=name,
        )


class VersionExpiredError(ObjStoreError, FileNotFoundError):
    """The content of that version is no longer kept."""

    bucket: str
    name: str
    at: int | datetime

    def __init__(self, *, bucket: str, name: str, at: int | datetime) -> None:
        super().__init__(
            f"object {shown(name)} in bucket {shown(bucket)} as of {at} is no longer "
            "kept; read the current version, or raise the bucket's history",
            bucket=bucket,
            name=name,
            at=at,
        )


class BucketExistsError(ObjStoreError, FileExistsError):
    """The bucket exists, with another configuration."""

    bucket: str
    differing: tuple[str, ...]
    """The fields that differ, where they are known."""
    state: BucketState | None
    """The existing bucket, for the object logic to compare."""
    hint: str | None
    """What to do, where that is not what a bucket of its own needs."""

    def __init__(
        self,
        *,
        bucket: str,
        differing: tuple[str, ...] = (),
        state: BucketState | None = None,
        hint: str | None = None,
    ) -> None:
        other = f" with another {', '.join(differing)}" if differing else ""
        usual = f"open it with object_store({shown(bucket)}), or change it with "
        super().__init__(
            f"bucket {shown(bucket)} exists{other}; "
            f"{hint or f'{usual}update_object_store()'}",
            bucket=bucket,
            differing=differing,
            state=state,
            hint=hint,
        )


class PreconditionFailedError(ObjStoreError):
    """The object is not at the sequence that the caller expected; nothing changed."""

    bucket: str
    name: str
    expected: int
    actual: int
    """The sequence it is at; 0 when there is no such object."""

    def __init__(self, *, bucket: str, name: str, expected: int, actual: int) -> None:
        place = f"is at sequence {actual}" if actual else "does not exist"
        super().__init__(
            f"object {shown(name)} in bucket {shown(bucket)} {place}, expected "
            f"{expected}; nothing was changed, read it again and retry",
            bucket=bucket,
            name=name,
            expected=expected,
            actual=actual,
        )


class ObjectAlreadyExists(PreconditionFailedError, FileExistsError):  # noqa: N818 - the name is JetStream's
    """The name is taken, and the call was to make a new object or link."""

    def __init__(self, *, bucket: str, name: str, actual: int) -> None:
        ObjStoreError.__init__(
            self,
            f"object {shown(name)} exists in bucket {shown(bucket)} at sequence "
            f"{actual}; nothing was changed, choose another name, delete it first, or "
            "allow the overwrite",
            bucket=bucket,
            name=name,
            expected=0,
            actual=actual,
        )


# --- fix the call -----------------------------------------------------------------


class BadStoreError(BadValueError):
    """An option of a store, or a place that a backup is to have, is not allowed."""


class BadBucketError(BadValueError):
    """A bucket's name or configuration is not allowed."""


class BadObjectMetaError(BadValueError):
    """An object's name, headers or other description is not allowed."""


class ConsumerConfigError(BadValueError):
    """A consumer's configuration is not allowed, or differs from the existing one."""


class InvalidRangeError(ObjStoreError, ValueError):
    """The byte range does not lie in the object."""

    bucket: str
    name: str
    start: int
    end: int | None
    size: int

    def __init__(
        self, *, bucket: str, name: str, start: int, end: int | None, size: int
    ) -> None:
        problem = (
            f"starts beyond the object's {size} bytes"
            if start > size
            else "ends before it starts"
        )
        super().__init__(
            f"range from {start} to {'the end' if end is None else end} of object "
            f"{shown(name)} in bucket {shown(bucket)} {problem}; give a start of at "
            f"most {size} and an end that is not below it",
            bucket=bucket,
            name=name,
            start=start,
            end=end,
            size=size,
        )


class LinkIsABucketError(ObjStoreError):
    """The link points to a whole bucket, which has no content of its own."""

    bucket: str
    name: str
    target: str

    def __init__(self, *, bucket: str, name: str, target: str) -> None:
        super().__init__(
            f"object {shown(name)} in bucket {shown(bucket)} is a link to the whole "
            f"bucket {shown(target)}; open that bucket and name an object in it",
            bucket=bucket,
            name=name,
            target=target,
        )


class WrongEventLoopError(ObjStoreError, RuntimeError):
    """The asynchronous handle belongs to another event loop."""

    what: str

    def __init__(self, *, what: str) -> None:
        super().__init__(
            f"{what} was opened on another event loop; open it again on this one, or "
            "use the synchronous API, whose handles work everywhere",
            what=what,
        )


# --- refused ----------------------------------------------------------------------


class SealedError(ObjStoreError, PermissionError):
    """The bucket is sealed: it takes no more changes of objects."""

    bucket: str

    def __init__(self, *, bucket: str) -> None:
        super().__init__(
            f"bucket {shown(bucket)} is sealed, it can only be read; write to another "
            "bucket",
            bucket=bucket,
        )


class LimitExceededError(ObjStoreError):
    """The bucket's content would pass its `max_bytes`; nothing was changed."""

    bucket: str
    max_bytes: int
    size: int
    """Content bytes that the bucket holds."""
    wanted: int
    """Content bytes that the call would have added."""

    def __init__(self, *, bucket: str, max_bytes: int, size: int, wanted: int) -> None:
        super().__init__(
            f"bucket {shown(bucket)} holds {size} bytes, {wanted} more would pass its "
            f"max_bytes of {max_bytes}; nothing was changed, delete objects or raise "
            "max_bytes with update_object_store()",
            bucket=bucket,
            max_bytes=max_bytes,
            size=size,
            wanted=wanted,
        )


class LeaseLostError(ObjStoreError):
    """The lease on a delivery has passed to another worker."""

    bucket: str
    consumer: str
    sequence: int

    def __init__(self, *, bucket: str, consumer: str, sequence: int) -> None:
        super().__init__(
            f"the lease of consumer {shown(consumer)} on sequence {sequence} of "
            f"bucket {shown(bucket)} has passed to another; drop this delivery, or "
            "raise ack_wait",
            bucket=bucket,
            consumer=consumer,
            sequence=sequence,
        )


# --- damaged, or unreadable -------------------------------------------------------


class DigestMismatchError(ObjStoreError):
    """The content's SHA-256 is not the one that was stated."""

    bucket: str
    name: str
    expected: str
    actual: str
    stored: bool
    """True for content read back, False for content that was refused on its way in."""

    def __init__(
        self, *, bucket: str, name: str, expected: str, actual: str, stored: bool
    ) -> None:
        step = (
            "restore it from a backup, run verify for the whole extent"
            if stored
            else "nothing was stored, send the data again or mend expected_digest"
        )
        super().__init__(
            f"object {shown(name)} in bucket {shown(bucket)} has the digest "
            f"{actual}, expected {expected}; {step}",
            bucket=bucket,
            name=name,
            expected=expected,
            actual=actual,
            stored=stored,
        )


class EncryptionError(ObjStoreError):
    """The content cannot be encrypted or decrypted."""


class KeyNotFoundError(EncryptionError):
    """The key provider does not have the key."""

    key_id: str

    def __init__(self, *, key_id: str) -> None:
        super().__init__(
            f"the key provider has no key {shown(key_id)}; add that key to it",
            key_id=key_id,
        )


class WrongKeyError(EncryptionError):
    """The key of that id is not the one that encrypted the content."""

    key_id: str

    def __init__(self, *, key_id: str) -> None:
        super().__init__(
            f"key {shown(key_id)} does not open what was encrypted under that id; "
            "give the key provider the original key",
            key_id=key_id,
        )


class KeyFormatError(EncryptionError):
    """The key is not in a form that can be used."""

    problem: str

    def __init__(self, *, problem: str) -> None:
        super().__init__(
            f"the key cannot be used: {problem}; make one with `objstore key new`",
            problem=problem,
        )


# --- exit statuses ----------------------------------------------------------------

EXIT_STATUS: Final[Mapping[type[BaseException], int]] = MappingProxyType(
    {
        ObjStoreError: 1,
        StoreNotFoundError: 3,
        StoreVersionError: 1,
        BucketNotFoundError: 3,
        ObjectNotFoundError: 3,
        ObjectDeletedError: 3,
        ConsumerNotFoundError: 3,
        VersionExpiredError: 3,
        BucketExistsError: 4,
        ObjectAlreadyExists: 4,
        PreconditionFailedError: 4,
        BadStoreError: 2,
        BadBucketError: 2,
        BadObjectMetaError: 2,
        InvalidRangeError: 2,
        ConsumerConfigError: 2,
        BadWatchError: 2,
        BadCursorError: 2,
        CursorForeignError: 2,
        WrongEventLoopError: 1,
        SealedError: 7,
        LimitExceededError: 1,
        DigestMismatchError: 5,
        CorruptionError: 5,
        StorageError: 1,
        PoisonedError: 1,
        BusyError: 6,
        CursorExpiredError: 1,
        HistoryRewoundError: 1,
        LeaseLostError: 4,
        LinkIsABucketError: 1,
        ForkedError: 1,
        ClosedError: 1,
        NotSupportedError: 1,
        EncryptionError: 1,
        KeyNotFoundError: 7,
        WrongKeyError: 7,
        KeyFormatError: 2,
        # What files on the command line raise.
        FileNotFoundError: 3,
        FileExistsError: 4,
        PermissionError: 7,
        KeyboardInterrupt: 130,
        BaseException: 1,
    }
)
"""The exit status of the command line for each class; total over the public ones."""


def exit_status(error: BaseException) -> int:
    """Give the exit status for an error: that of its nearest class in the table."""
    return next(
        EXIT_STATUS[kind] for kind in type(error).__mro__ if kind in EXIT_STATUS
    )
