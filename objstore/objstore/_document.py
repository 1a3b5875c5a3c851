"""The JSON form of an object's meta: written strictly, read liberally.

Source: ADR-20 of the NATS architecture.
Written are: header values as arrays of strings, digests in padded base64url, no
`mtime` (the record's time is the object's) and no empty field.
Read is what any known client writes: see `decode_document`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, cast

import orjson

from objstore._digest import digest_text, digest_wire, parse_digest
from objstore._engine import BucketChange, StoredMeta
from objstore._json import loads
from objstore._names import DEFAULT_CHUNK_SIZE, nuid_text
from objstore._types import (
    EPOCH,
    Change,
    ObjectInfo,
    ObjectLink,
    ObjectMetaOptions,
    info_read_later,
    read_later_with,
)
from objstore.errors import BadObjectMetaError
from objstore_log import value_class

RESERVED_PREFIX = "_objstore."
"""Metadata keys with it are this library's own; users do not see them."""
_FILENAME_KEY = RESERVED_PREFIX + "filename"
_HINT = "put the object again, or repair it with the client that wrote it"
Headers = Mapping[str, tuple[str, ...]]


@value_class
class Document:
    """An object's meta, apart from what the record around it knows."""

    name: str
    bucket: str
    nuid: str = ""
    """Any text; other clients' ids are not 22 characters."""
    description: str | None = None
    headers: Headers = field(default_factory=dict[str, tuple[str, ...]], hash=False)
    """Each with all its values; only other clients write more than one."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    filename: str | None = None
    link: ObjectLink | None = None
    chunk_bytes: int | None = None
    """Size of every chunk but the last, as the writer intended it."""
    size: int = 0
    chunks: int = 0
    digest: bytes = b""
    """32 bytes; empty for links and delete markers."""
    deleted: bool = False

    @property
    def content_type(self) -> str | None:
        """Give the `Content-Type` header, however it is spelled."""
        return content_type_of(self.headers)

    def with_content(
        self, nuid: str, size: int, chunks: int, digest: bytes
    ) -> Document:
        """Give the document of a put's content: what `replace` does, at a third."""
        return Document(
            self.name,
            self.bucket,
            nuid,
            self.description,
            self.headers,
            self.metadata,
            self.filename,
            self.link,
            self.chunk_bytes,
            size,
            chunks,
            digest,
            self.deleted,
        )

    def as_deleted(self) -> Document:
        """Give the delete marker that follows this document."""
        return replace(self, size=0, chunks=0, digest=b"", deleted=True)


def is_content_type(header: str) -> bool:
    """Say whether a header's name is `Content-Type`, however it is spelled."""
    return header.lower() == "content-type"


def content_type_of(headers: Headers) -> str | None:
    """Give the `Content-Type` among headers."""
    for name, values in headers.items():
        if is_content_type(name):
            return ", ".join(values)
    return None


# --- write ------------------------------------------------------------------------


def encode_document(document: Document) -> bytes:
    """Write a document as ADR-20 JSON that every known client reads."""
    metadata = dict(document.metadata)
    if document.filename:
        metadata[_FILENAME_KEY] = document.filename
    fields: dict[str, object] = {"name": document.name} if document.name else {}
    if document.description:
        fields["description"] = document.description
    if document.headers:
        headers = document.headers.items()
        fields["headers"] = {name: list(values) for name, values in headers}
    if metadata:
        fields["metadata"] = metadata
    options = _encode_options(document)
    if options:
        fields["options"] = options
    fields["bucket"] = document.bucket
    fields["nuid"] = document.nuid
    fields["size"] = document.size
    fields["chunks"] = document.chunks
    if document.digest:
        fields["digest"] = digest_wire(document.digest)
    if document.deleted:
        fields["deleted"] = True
    return orjson.dumps(fields)


def _encode_options(document: Document) -> dict[str, object]:
    options: dict[str, object] = {}
    link = document.link
    if link is not None:
        name = {} if link.name is None else {"name": link.name}
        options["link"] = {"bucket": link.bucket, **name}
    if document.chunk_bytes is not None:
        options["max_chunk_size"] = document.chunk_bytes
    return options


# --- read -------------------------------------------------------------------------


def decode_document(document: bytes) -> Document:
    """Read a document of any known client.

    Passed over are `mtime` (also `""`), `revision` and every unknown field; `null`
    and an empty value are the same as none; header values may be strings; `nuid`,
    `bucket` and `digest` may be missing; base64 may be unpadded.

    Raises:
        BadObjectMetaError: it is not JSON, has no name, or has a field of a type that
            no client writes.
    """
    try:
        found = loads(document)
    except orjson.JSONDecodeError as error:
        raise _bad("document", document, f"is not JSON ({error})") from None
    fields = _mapping("document", found)
    options = _mapping("options", fields.get("options"))
    metadata = {
        name: _text(f"metadata {name!r}", value)
        for name, value in _mapping("metadata", fields.get("metadata")).items()
    }
    name = _text("name", fields.get("name"))
    if not name:
        raise _bad("document", document, "has no name")
    digest = _text("digest", fields.get("digest"))
    return Document(
        name=name,
        bucket=_text("bucket", fields.get("bucket")),
        nuid=_text("nuid", fields.get("nuid")),
        description=_text("description", fields.get("description")) or None,
        headers=_read_headers(_mapping("headers", fields.get("headers"))),
        filename=metadata.pop(_FILENAME_KEY, None) or None,
        metadata=metadata,
        link=_read_link(_mapping("link", options.get("link"))),
        chunk_bytes=_count("max_chunk_size", options.get("max_chunk_size")) or None,
        size=_count("size", fields.get("size")),
        chunks=_count("chunks", fields.get("chunks")),
        digest=parse_digest(digest, field="digest") if digest else b"",
        deleted=bool(fields.get("deleted")),
    )


def stated_digest(document: bytes) -> bytes:
    """Give the digest that an object's document states, empty for links and markers.

    Raises as `decode_document`.
    """
    fields = _mapping("document", loads(document))
    digest, options = fields.get("digest"), fields.get("options")
    if not digest or fields.get("deleted"):
        return b""
    is_link = options and _mapping("options", options).get("link")
    return b"" if is_link else parse_digest(digest, field="digest")


def _bad(name: str, value: object, problem: str) -> BadObjectMetaError:
    return BadObjectMetaError(field=name, value=value, problem=problem, hint=_HINT)


def _mapping(name: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise _bad(name, value, "is not a JSON object")


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise _bad(name, value, "is not a JSON string")


def _count(name: str, value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, int | float) and value >= 0 and float(value).is_integer():
        return int(value)
    raise _bad(name, value, "is not a whole number from 0 on")


def _read_headers(headers: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    read: dict[str, tuple[str, ...]] = {}
    for name, value in headers.items():
        values = cast("list[object]", value) if isinstance(value, list) else [value]
        texts = [_text(f"header {name!r}", item) for item in values if item is not None]
        if texts:
            read[name] = tuple(texts)
    return read


def _read_link(link: Mapping[str, object]) -> ObjectLink | None:
    bucket = _text("link bucket", link.get("bucket"))
    if not link:
        return None
    if not bucket:
        raise _bad("link", link, "has no bucket")
    return ObjectLink(bucket, _text("link name", link.get("name")) or None)


# --- what users see ---------------------------------------------------------------


def info_of(
    bucket: str, stored: StoredMeta, document: Document | None = None
) -> ObjectInfo:
    """Give an object as users see it.

    Args:
        bucket: The bucket's name.
        stored: Its meta.
        document: What `decode_document` gives for it, where that is known already.

    Raises:
        BadObjectMetaError: its document cannot be read.
    """
    return ObjectInfo(**_info_fields(bucket, stored, document))


def listed_of(bucket: str, stored: StoredMeta) -> ObjectInfo:
    """Give what `info_of` gives, but read the document when a field is asked for.

    A document that cannot be read then hides no other object of a list: who asks for
    its fields gets `BadObjectMetaError`.
    """
    return info_read_later(bucket, stored)


def change_of(bucket: str, stored: StoredMeta | BucketChange) -> Change:
    """Give a change as watchers see it. Raises as `info_of`."""
    if isinstance(stored, BucketChange):
        time = _time_of(stored.time_ns)
        return Change("", bucket, mtime=time, seq=stored.sequence, kind=stored.change)
    return Change(**_info_fields(bucket, stored), kind=stored.change)


@lru_cache(maxsize=64)
def _options_of(link: ObjectLink | None, chunk_bytes: int) -> ObjectMetaOptions:
    """Give options, which many objects have in common."""
    return ObjectMetaOptions(link=link, max_chunk_size=chunk_bytes)


def _info_fields(
    bucket: str, stored: StoredMeta, document: Document | None = None
) -> dict[str, Any]:
    if document is None:
        document = decode_document(stored.document)
    headers: dict[str, str] | None = None
    content_type: str | None = None
    if document.headers:
        headers = {name: ", ".join(values) for name, values in document.headers.items()}
        content_type = document.content_type
    link = document.link
    chunk_bytes = document.chunk_bytes or stored.chunk_bytes or DEFAULT_CHUNK_SIZE
    deleted = document.deleted or stored.is_marker
    # Other clients write the digest of nothing on links, and may leave an old one.
    has_content = link is None and not deleted
    expires_ns = stored.expires_ns
    return {
        "name": stored.name,
        "bucket": bucket,
        "description": document.description,
        "headers": headers,
        "metadata": dict(document.metadata) or None,
        "size": stored.size if has_content else 0,
        "chunks": document.chunks if has_content else 0,
        "digest": digest_text(document.digest)
        if has_content and document.digest
        else "",
        "deleted": deleted,
        "mtime": _time_of(stored.time_ns),
        "nuid": document.nuid or nuid_text(stored.nuid),
        "links": None if link is None else [str(link)],
        "options": _options_of(link, chunk_bytes),
        "link": link,
        "seq": stored.sequence,
        "expires": None if expires_ns is None else _time_of(expires_ns),
        "stored_size": stored.stored_size,
        "content_type": content_type,
        "filename": document.filename,
    }


read_later_with(_info_fields)


def _time_of(time_ns: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_ns // 1_000)
