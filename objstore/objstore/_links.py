"""Links: from a name to the object behind it, through chains, never round a loop."""

from __future__ import annotations

from dataclasses import dataclass

from objstore._document import Document, decode_document, info_of
from objstore._engine import PinHandle, Steps, StoredMeta
from objstore._expiry import Scope
from objstore._operations import find
from objstore._types import ObjectInfo
from objstore.errors import (
    BadObjectMetaError,
    BucketNotFoundError,
    LinkIsABucketError,
    ObjectNotFoundError,
)

LINK_HOPS_MAX = 16
"""No object is further away from the name that was asked for."""


@dataclass(frozen=True, slots=True)
class Version:
    """An object with content, at one sequence."""

    scope: Scope
    stored: StoredMeta
    document: Document
    pin: PinHandle | None = None
    """What holds its content, if anything does."""

    @property
    def info(self) -> ObjectInfo:
        """Give it as users see it."""
        return info_of(self.scope.bucket, self.stored)


def resolve(scope: Scope, name: str) -> Steps[Version]:
    """Follow links from a name to an object.

    Raises:
        ObjectNotFoundError: there is none, or a link dangles; `link` names that link.
        ObjectDeletedError: it was deleted.
        LinkIsABucketError: a link leads to a whole bucket.
        BadObjectMetaError: it is further away than `LINK_HOPS_MAX` links.
    """
    place, here, link = scope, name, None
    for _ in range(LINK_HOPS_MAX + 1):
        try:
            stored = yield from find(place, here, link=link)
        except BucketNotFoundError:
            if link is None:
                raise
            bucket = place.bucket
            raise ObjectNotFoundError(bucket=bucket, name=here, link=link) from None
        document = decode_document(stored.document)
        target = document.link
        if target is None:
            return Version(place, stored, document)
        if target.name is None:
            raise LinkIsABucketError(
                bucket=place.bucket, name=here, target=target.bucket
            )
        link = f"{place.bucket}/{here}"
        place, here = Scope(scope.engine, target.bucket), target.name
    raise BadObjectMetaError(
        field="link",
        value=f"{scope.bucket}/{name}",
        problem=f"leads through more than {LINK_HOPS_MAX} links, perhaps in a circle",
        hint="point one of them at an object with add_link()",
    )
