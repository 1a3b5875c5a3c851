"""Changing names and leaving content where it is: delete, rename, copy, link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from objstore._document import Document, decode_document, encode_document, info_of
from objstore._engine import (
    ChangeKind,
    GetBucket,
    Meta,
    Steps,
    StoredMeta,
    call,
)
from objstore._expiry import Scope, marker_of
from objstore._links import Version, resolve
from objstore._metas import PutMeta, bad_meta, check_ttl, merge_meta, resolve_link
from objstore._names import check_bucket_name, check_object_name, nuid_text
from objstore._operations import (
    Standing,
    bucket_config,
    change,
    check_free,
    check_match,
    config_of,
    find,
    found,
    meta_of,
)
from objstore._operations_read import read_span, read_version
from objstore._operations_write import SLAB_BYTES, Put, PutRequest, ttl_of
from objstore._ranges import check_match_option, plan_spans
from objstore._types import ObjectInfo, ObjectLink, ObjectMeta
from objstore.errors import ObjectAlreadyExists, ObjectNotFoundError

Before = Mapping[str, Standing]


def delete(
    scope: Scope, name: str, *, if_match: int | None, missing_ok: bool
) -> Steps[bool]:
    """Delete an object, or a link itself."""
    check_object_name(name)
    if_match = check_match_option(if_match)

    def build(before: Before) -> Sequence[Meta]:
        stored = before[name].live
        if stored is None:
            raise ObjectNotFoundError(bucket=scope.bucket, name=name)
        check_match(scope, name, before[name], if_match)
        return [marker_of(stored, "delete")]

    try:
        yield from change(scope, (name,), build)
    except ObjectNotFoundError:
        if missing_ok:
            return False
        raise
    return True


def _kind_of(document: Document) -> ChangeKind:
    return "put" if document.link is None else "link"


def _moved(stored: StoredMeta, document: Document) -> Sequence[Meta]:
    """Make the two changes that give an object another name."""
    moved = meta_of(document, _kind_of(document), stored)
    return [marker_of(stored, "delete"), moved]


def update_meta(scope: Scope, name: str, meta: ObjectMeta) -> Steps[ObjectInfo]:
    """Change what is said about an object, rename it, or make a link."""
    check_object_name(name)
    merge_meta(Document(name, scope.bucket), meta)
    if meta.options is not None and meta.options.link is not None:
        return (yield from put_link(scope, name, meta.options.link, meta))
    new_name = name if meta.name is None else meta.name
    ttl_ns = check_ttl(meta.ttl)

    def build(before: Before) -> Sequence[Meta]:
        stored = found(scope, name, before[name])
        document = merge_meta(decode_document(stored.document), meta)
        if ttl_ns is not None:
            expires_ns = stored.content_time_ns + ttl_ns if ttl_ns else None
            stored = stored._replace(expires_ns=expires_ns)
        if new_name == name:
            return [meta_of(document, "meta", stored)]
        check_free(scope, new_name, before[new_name])
        return _moved(stored, document)

    result = yield from change(scope, (name, new_name), build)
    return info_of(scope.bucket, result.metas[-1])


def rename(
    scope: Scope, name: str, new_name: str, *, overwrite: bool
) -> Steps[ObjectInfo]:
    """Give an object another name; content, age and expiry stay."""
    check_object_name(name)
    check_object_name(new_name, field="new name")
    if name == new_name:
        return info_of(scope.bucket, (yield from find(scope, name)))

    def build(before: Before) -> Sequence[Meta]:
        stored = found(scope, name, before[name])
        if not overwrite:
            check_free(scope, new_name, before[new_name])
        document = replace(decode_document(stored.document), name=new_name)
        return _moved(stored, document)

    result = yield from change(scope, (name, new_name), build)
    return info_of(scope.bucket, result.metas[-1])


# --- copies -----------------------------------------------------------------------


def copy(
    scope: Scope, name: str, new_name: str, *, bucket: str | None, overwrite: bool
) -> Steps[ObjectInfo]:
    """Copy the object behind a name; inside a bucket its content is shared.

    The copy's age starts anew. What is stored does not say where a TTL came from: one
    that differs from what the source's bucket gives now was set on the object and
    holds for the copy, too; with any other the copy lives as its own bucket says.
    """
    check_object_name(name)
    check_object_name(new_name, field="new name")
    target = scope if bucket is None else Scope(scope.engine, check_bucket_name(bucket))
    version = yield from resolve(scope, name)
    if version.scope.bucket == target.bucket:
        source = version.stored.name
        return (yield from _copy_shared(target, source, new_name, overwrite=overwrite))
    read = partial(_copy_streamed, target, new_name, overwrite=overwrite)
    return (yield from read_version(scope, name, read, is_pinned=True))


def _given_ttl(stored: StoredMeta) -> int | None:
    """Give how long the content was to live; `None` is for ever."""
    expires_ns = stored.expires_ns
    return None if expires_ns is None else expires_ns - stored.content_time_ns


def _copy_shared(
    scope: Scope, name: str, new_name: str, *, overwrite: bool
) -> Steps[ObjectInfo]:
    def build(before: Before) -> Sequence[Meta]:
        stored = found(scope, name, before[name])
        if not overwrite:
            check_free(scope, new_name, before[new_name])
        document = replace(decode_document(stored.document), name=new_name)
        meta = meta_of(document, _kind_of(document), stored)
        ttl_ns = _given_ttl(stored)
        return [replace(meta, content_time_ns=None, expires_ns=None, ttl_ns=ttl_ns)]

    result = yield from change(scope, (name, new_name), build)
    return info_of(scope.bucket, result.metas[-1])


def _copy_streamed(
    target: Scope, new_name: str, version: Version, *, overwrite: bool
) -> Steps[ObjectInfo]:
    state = yield from call(GetBucket(target.bucket))
    stored = version.stored
    source = yield from bucket_config(version.scope)
    ttl_ns = _given_ttl(stored)
    set_ns = None if ttl_ns == ttl_of(source, None) else ttl_ns or 0
    document = replace(version.document, name=new_name, bucket=target.bucket)
    request = PutRequest(
        PutMeta(document, stored.chunk_bytes, None),
        ttl_of(config_of(state.document), set_ns),
        create=not overwrite,
        digest=document.digest or None,
        incarnation=state.incarnation,
    )
    writing = Put(target, request)
    writing.total = stored.size
    try:
        yield from _feed(version, writing)
        return (yield from writing.commit())
    except BaseException:
        yield from writing.abandon()
        raise


def _feed(version: Version, writing: Put) -> Steps[None]:
    stored = version.stored
    for span in plan_spans(
        0, stored.size, chunk_bytes=stored.chunk_bytes, limit=SLAB_BYTES
    ):
        for piece in (yield from read_span(version, span)):
            yield from writing.feed(piece)


# --- links ------------------------------------------------------------------------


def add_link(
    scope: Scope, name: str, target: ObjectInfo | ObjectLink | str
) -> Steps[ObjectInfo]:
    """Make a link to something that exists."""
    check_object_name(name)
    link = _link_to(scope, target)
    resolve_link(scope.bucket, name, link)
    if link.name is None:
        yield from call(GetBucket(link.bucket))
    else:
        yield from find(Scope(scope.engine, link.bucket), link.name)
    return (yield from put_link(scope, name, link))


def _link_to(scope: Scope, target: ObjectInfo | ObjectLink | str) -> ObjectLink:
    if isinstance(target, ObjectLink):
        return target
    if isinstance(target, ObjectInfo):
        return ObjectLink(target.bucket, target.name)
    return ObjectLink(scope.bucket, check_object_name(target, field="link name"))


def put_link(
    scope: Scope, name: str, link: ObjectLink, meta: ObjectMeta | None = None
) -> Steps[ObjectInfo]:
    """Make a link on a free name, or point an existing link elsewhere."""
    meta = meta or ObjectMeta()
    if meta.name not in (None, name):
        problem = f"is not {name!r}, the name of the link that is to be made"
        hint = "make the link under its own name, or rename it with another call"
        raise bad_meta("meta.name", meta.name, problem, hint)
    fresh = resolve_link(scope.bucket, name, link, meta)
    config = yield from bucket_config(scope)
    ttl_ns = ttl_of(config, check_ttl(meta.ttl))
    nuid = scope.engine.new_nuid()

    def build(before: Before) -> Sequence[Meta]:
        document = _repointed(scope, name, before[name].live, fresh, meta)
        document = replace(document, nuid=nuid_text(nuid))
        encoded = encode_document(document)
        return [Meta(name, encoded, "link", nuid, 0, 0, ttl_ns=ttl_ns)]

    result = yield from change(scope, (name,), build)
    return info_of(scope.bucket, result.metas[-1])


def _repointed(
    scope: Scope, name: str, live: StoredMeta | None, fresh: Document, meta: ObjectMeta
) -> Document:
    if live is None:
        return fresh
    document = decode_document(live.document)
    if document.link is None:
        raise ObjectAlreadyExists(bucket=scope.bucket, name=name, actual=live.sequence)
    return replace(merge_meta(document, replace(meta, name=None)), link=fresh.link)
