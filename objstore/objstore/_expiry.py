"""Objects whose time is over: hidden at the reading moment, marked when it is due.

A sealed bucket takes no marks any more, and what it had not marked stays for good.
"""

from __future__ import annotations

from objstore import _engine as ops
from objstore._document import Document, decode_document, encode_document
from objstore._engine import Engine, Steps, StoredMeta, call
from objstore_log import value_class
from objstore_log.errors import ConflictError

PAGE_ROWS = 1_000
"""Rows that one look-up or one append of marks takes."""


@value_class
class Scope:
    """Where object logic works: a bucket of an engine."""

    engine: Engine
    bucket: str
    incarnation: str | None = None
    """The bucket's that the logic began with; `None` goes with the name."""


def is_due(stored: StoredMeta, now_ns: int) -> bool:
    """Say whether a change's time is over, in a bucket that is not sealed."""
    expires_ns = stored.expires_ns
    return expires_ns is not None and expires_ns <= now_ns and not stored.is_marker


def is_sealed(scope: Scope) -> Steps[bool]:
    """Say whether the bucket is sealed."""
    state = yield from call(ops.GetBucket(scope.bucket))
    return state.sealed


def marker_of(stored: StoredMeta, change: ops.ChangeKind) -> ops.Meta:
    """Make the marker that says that a name is gone."""
    document = decode_document(stored.document).as_deleted()
    return ops.Meta(
        name=stored.name,
        document=encode_document(document),
        change=change,
        nuid=stored.nuid,
        size=0,
        chunk_bytes=stored.chunk_bytes,
    )


def as_expired(stored: StoredMeta) -> StoredMeta:
    """Show a change that is due as its mark will show it."""
    document: Document = decode_document(stored.document).as_deleted()
    return stored._replace(
        document=encode_document(document),
        change="expire",
        size=0,
        extents=(),
        expires_ns=None,
        stored_size=0,
    )


def expire_due(scope: Scope) -> Steps[int]:
    """Append the marks of everything that is due; give their number."""
    marked = 0
    while True:
        now_ns = scope.engine.purge_ns()
        due = yield from call(ops.DueExpiries(scope.bucket, now_ns, PAGE_ROWS))
        if not due:
            return marked
        op = ops.Append(
            scope.bucket,
            tuple(marker_of(stored, "expire") for stored in due),
            expect={stored.name: stored.sequence for stored in due},
            size_delta=-sum(stored.size for stored in due),
            incarnation=due[0].incarnation,
        )
        try:
            yield from call(op)
        except ConflictError:
            # One of them was written anew meanwhile and is not due any more.
            continue
        marked += len(due)
