"""What all object logic stands on: looking names up, and changing them.

Every change is: read, build, append with expectations, again on a conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from objstore import _engine as ops
from objstore._config import ObjectStoreConfig, decode_config
from objstore._document import Document, encode_document
from objstore._engine import Steps, StoredMeta, call
from objstore._expiry import Scope, as_expired, expire_due, is_due, is_sealed, marker_of
from objstore.errors import (
    BucketNotFoundError,
    CorruptionError,
    LimitExceededError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectNotFoundError,
    PreconditionFailedError,
)
from objstore_log import value_class
from objstore_log.errors import ConflictError


@value_class
class Standing:
    """A name before a change."""

    stored: StoredMeta | None
    """Its newest change, as the engine has it."""
    live: StoredMeta | None
    """The same where readers see an object or a link, else `None`."""

    @property
    def sequence(self) -> int:
        """Give what an append has to expect."""
        return 0 if self.stored is None else self.stored.sequence

    @property
    def lapsed(self) -> StoredMeta | None:
        """Give the object whose time is over and which has no mark yet."""
        stored = self.stored
        gone = stored is None or self.live is not None or stored.is_marker
        return None if gone else stored

    @property
    def size(self) -> int:
        """Give the content bytes that a change of this name gives back."""
        return 0 if self.stored is None else self.stored.size


@lru_cache(maxsize=256)
def config_of(document: bytes) -> ObjectStoreConfig:
    """Read a bucket's configuration, which hardly ever changes."""
    return decode_config(document)


def bucket_config(scope: Scope) -> Steps[ObjectStoreConfig]:
    """Give the bucket's configuration as it is now."""
    state = yield from call(ops.GetBucket(scope.bucket))
    return config_of(state.document)


def naming(error: CorruptionError, name: str) -> CorruptionError:
    """Give an error of the engine with the name of the object that it hit."""
    facts: dict[str, Any] = {**error.facts, "name": name}
    return CorruptionError(**facts)


def last(scope: Scope, name: str) -> Steps[StoredMeta | None]:
    """Give the newest change of a name, as the engine has it."""
    try:
        stored = yield from call(ops.Last(scope.bucket, name))
    except CorruptionError as error:
        raise naming(error, name) from error
    wanted = scope.incarnation
    if stored is not None and wanted is not None and stored.incarnation != wanted:
        raise BucketNotFoundError(bucket=scope.bucket)
    return stored


def seen(scope: Scope, name: str) -> Steps[StoredMeta | None]:
    """Give the newest change of a name as readers see it: expired ones are marked."""
    stored = yield from last(scope, name)
    if stored is None or not is_due(stored, scope.engine.now_ns()):
        return stored
    return stored if (yield from is_sealed(scope)) else as_expired(stored)


def standing(scope: Scope, name: str) -> Steps[Standing]:
    """Give a name as a change finds it."""
    stored = yield from last(scope, name)
    if stored is None or stored.is_marker:
        return Standing(stored, None)
    due = is_due(stored, scope.engine.now_ns()) and not (yield from is_sealed(scope))
    return Standing(stored, None if due else stored)


def existing(
    scope: Scope, name: str, stored: StoredMeta | None, *, link: str | None = None
) -> StoredMeta:
    """Give a change back unless the name is gone by it.

    Raises:
        ObjectNotFoundError: there never was an object, or it has expired.
        ObjectDeletedError: it was deleted.
    """
    bucket = scope.bucket
    if stored is not None and stored.change == "delete":
        raise ObjectDeletedError(
            bucket=bucket, name=name, sequence=stored.sequence, link=link
        )
    if stored is None or stored.is_marker:
        raise ObjectNotFoundError(bucket=bucket, name=name, link=link)
    return stored


def find(scope: Scope, name: str, *, link: str | None = None) -> Steps[StoredMeta]:
    """Give the object or link of a name. Raises as `existing`."""
    stored = yield from seen(scope, name)
    return existing(scope, name, stored, link=link)


def found(scope: Scope, name: str, before: Standing) -> StoredMeta:
    """Give what a change starts from. Raises as `existing`."""
    stored = before.live if before.lapsed is not None else before.stored
    return existing(scope, name, stored)


def check_free(scope: Scope, name: str, before: Standing) -> None:
    """Raise `ObjectAlreadyExists` when the name is taken."""
    if before.live is not None:
        actual = before.live.sequence
        raise ObjectAlreadyExists(bucket=scope.bucket, name=name, actual=actual)


def check_match(
    scope: Scope, name: str, before: Standing, if_match: int | None
) -> None:
    """Raise `PreconditionFailedError` when the name is at another sequence."""
    actual = 0 if before.live is None else before.live.sequence
    if if_match is not None and actual != if_match:
        raise PreconditionFailedError(
            bucket=scope.bucket, name=name, expected=if_match, actual=actual
        )


def meta_of(document: Document, change: ops.ChangeKind, stored: StoredMeta) -> ops.Meta:
    """Make a change of a name that keeps the content, its age and its expiry."""
    return ops.Meta(
        name=document.name,
        document=encode_document(document),
        change=change,
        nuid=stored.nuid,
        size=stored.size,
        chunk_bytes=stored.chunk_bytes,
        extents=stored.extents,
        content_time_ns=stored.content_time_ns,
        expires_ns=stored.expires_ns,
    )


Build = Callable[[Mapping[str, Standing]], Sequence[ops.Chunk | ops.Meta]]
"""Makes the records of a change from the names as they stand; raises to refuse it."""


def append(scope: Scope, op: ops.Append) -> Steps[ops.AppendResult]:
    """Append; when there is no room, what has expired makes room first."""
    while True:
        try:
            return (yield from call(op))
        except LimitExceededError:
            if not (yield from expire_due(scope)):
                raise


def _incarnation_of(before: Mapping[str, Standing]) -> str | None:
    """Give the bucket's that names were read in; `None` when there were none."""
    read = (name.stored.incarnation for name in before.values() if name.stored)
    return next(read, None)


def change(scope: Scope, names: Sequence[str], build: Build) -> Steps[ops.AppendResult]:
    """Look names up, build records from them, append; again on a conflict.

    Names that are looked up and not changed are expected to stay as they are, too.
    """
    while True:
        before: dict[str, Standing] = {}
        for name in names:
            before[name] = yield from standing(scope, name)
        records = tuple(build(before))
        metas = [record for record in records if isinstance(record, ops.Meta)]
        changed = [before[name] for name in {meta.name for meta in metas}]
        lapsed = [name.lapsed for name in changed if name.lapsed is not None]
        op = ops.Append(
            scope.bucket,
            (*(marker_of(stored, "expire") for stored in lapsed), *records),
            expect={name: found.sequence for name, found in before.items()},
            size_delta=sum(meta.size for meta in metas)
            - sum(name.size for name in changed),
            incarnation=scope.incarnation or _incarnation_of(before),
        )
        try:
            return (yield from append(scope, op))
        except ConflictError:
            continue
