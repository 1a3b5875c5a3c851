"""What a caller says about an object, made into a checked document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict

from objstore._config import DURATION_MAX, METADATA_BYTES_MAX, nanoseconds_of
from objstore._document import (
    RESERVED_PREFIX,
    Document,
    Headers,
    content_type_of,
    is_content_type,
)
from objstore._names import (
    DEFAULT_CHUNK_SIZE,
    MAX_CHUNK_SIZE,
    check_bucket_name,
    check_object_name,
    text_fault,
)
from objstore._types import Duration, ObjectLink, ObjectMeta, ObjectMetaOptions
from objstore.errors import BadBucketError, BadObjectMetaError
from objstore_log import value_class

_TEXT_HINT = "give text that UTF-8 can hold"
_PAIRS_HINT = "give a mapping of strings to strings"


@value_class
class PutMeta:
    """The checked arguments of a put, apart from its data and conditions."""

    document: Document
    """Without nuid, size, chunks and digest, which the upload finds."""
    chunk_bytes: int
    """Size of every chunk but the last."""
    ttl_ns: int | None
    """How long the content lives; 0 is for ever, `None` as the bucket says."""


class MetaOptions(TypedDict, total=False):
    """The arguments of a put that say something about the object."""

    description: str | ObjectMeta | None
    filename: str | None
    headers: Mapping[str, str] | None
    meta: ObjectMeta | None
    metadata: Mapping[str, str] | None
    content_type: str | None
    chunk_size: int | None
    ttl: Duration | None


_SINGLE = MetaOptions.__optional_keys__ - {"chunk_size", "meta"}


def resolve_meta(
    bucket: str,
    name: object,
    options: MetaOptions,
    *,
    bucket_chunk_size: int | None = None,
    guessed: ObjectMeta | None = None,
) -> PutMeta:
    """Check and join the arguments of a put; single ones go before those of `meta`.

    Args:
        bucket: The bucket's name.
        name: The object's name; that of a meta is not looked at.
        options: What is said; a meta may be given in the place of `description`.
        bucket_chunk_size: Bytes a chunk, as the bucket's configuration has it.
        guessed: File name and content type where neither is said.

    Raises:
        BadObjectMetaError: one of them is not allowed, or two contradict each other.
    """
    given: dict[str, Any] = {
        key: value
        for key, value in options.items()
        if key in _SINGLE and value is not None
    }
    meta = options.get("meta")
    if isinstance(given.get("description"), ObjectMeta):
        if meta is not None:
            problem, hint = "is given beside meta=", "give one of them"
            raise bad_meta("third argument", given["description"], problem, hint)
        meta = given.pop("description")
    said = ObjectMeta() if meta is None else meta
    _check_is("meta", said, ObjectMeta, "give an ObjectMeta")
    chunk_size = options.get("chunk_size")
    chunk_bytes = _resolve_chunk_bytes(chunk_size, said, bucket_chunk_size)
    if said.options is not None and said.options.link is not None:
        link = str(said.options.link)
        hint = "make links with add_link(), add_bucket_link() or update_meta()"
        raise bad_meta("options.link", link, "is given with content", hint)
    said = replace(said, name=None, **given)
    if guessed is not None:
        said = _completed(said, guessed)
    blank = Document(check_object_name(name), bucket, chunk_bytes=chunk_bytes)
    return PutMeta(merge_meta(blank, said), chunk_bytes, check_ttl(said.ttl))


def plain_meta(bucket: str, name: object, bucket_chunk_size: int | None) -> PutMeta:
    """Give what `resolve_meta` gives where nothing is said of the object."""
    chunk_bytes = DEFAULT_CHUNK_SIZE
    if bucket_chunk_size is not None:
        chunk_bytes = _check_chunk_size(bucket_chunk_size)
    document = Document(check_object_name(name), bucket, chunk_bytes=chunk_bytes)
    return PutMeta(document, chunk_bytes, None)


def merge_meta(existing: Document, update: ObjectMeta) -> Document:
    """Change what an update says; a field of `None` stays, an empty one is cleared.

    The update's `options` are checked and change nothing, its `ttl` is not looked at.

    Raises:
        BadObjectMetaError: a field is not allowed, or two contradict each other.
    """
    _check_is("meta", update, ObjectMeta, "give an ObjectMeta")
    _resolve_chunk_bytes(None, update, None)
    merged = existing
    if update.name is not None:
        merged = replace(merged, name=check_object_name(update.name))
    if update.description is not None:
        text = _check_text("description", update.description, control_characters=True)
        merged = replace(merged, description=text or None)
    if update.filename is not None:
        filename = _check_text("filename", update.filename)
        merged = replace(merged, filename=filename or None)
    if update.metadata is not None:
        merged = replace(merged, metadata=_check_metadata(update.metadata))
    if update.headers is not None or update.content_type is not None:
        merged = replace(merged, headers=_merge_headers(existing.headers, update))
    size = _text_bytes(merged)
    # What another client wrote may be larger; then it may only shrink.
    if size > max(METADATA_BYTES_MAX, _text_bytes(existing)):
        problem = f"leaves {size:,} bytes of text, over {METADATA_BYTES_MAX:,}"
        hint = "shorten description, headers or metadata, or put them in an object"
        raise bad_meta("meta", update, problem, hint)
    return merged


def resolve_link(
    bucket: str, name: object, link: ObjectLink, meta: ObjectMeta | None = None
) -> Document:
    """Make the document of a link, without its nuid.

    Args:
        bucket: The bucket that the link is in.
        name: The link's own name.
        link: Where it points; its `name` is `None` for a whole bucket.
        meta: Description, headers and so on of the link itself.

    Raises:
        BadObjectMetaError: a name or a field is not allowed.
    """
    _check_is("link", link, ObjectLink, "give an ObjectLink")
    try:
        target = check_bucket_name(link.bucket, field="link bucket")
    except BadBucketError as error:
        raise bad_meta(error.field, error.value, error.problem, error.hint) from None
    target_name = link.name
    if target_name is not None:
        target_name = check_object_name(target_name, field="link name")
    target_link = ObjectLink(target, target_name)
    if target_link == ObjectLink(bucket, check_object_name(name)):
        text, hint = str(target_link), "point it to another name"
        raise bad_meta("link", text, "points to itself", hint)
    document = Document(check_object_name(name), bucket, link=target_link)
    return merge_meta(document, replace(meta or ObjectMeta(), name=None))


def check_ttl(ttl: Duration | None) -> int | None:
    """Give a TTL in nanoseconds; 0 is for ever.

    Raises:
        BadObjectMetaError: it is negative, too long, or no duration.
    """
    try:
        return nanoseconds_of(ttl)
    except ValueError as error:
        hint = f"give a timedelta or seconds from 0 to {DURATION_MAX.days} days"
        raise bad_meta("ttl", ttl, str(error), hint) from None


def bad_meta(name: str, value: object, problem: str, hint: str) -> BadObjectMetaError:
    """Give the error about a value of a caller's."""
    return BadObjectMetaError(field=name, value=value, problem=problem, hint=hint)


def _completed(said: ObjectMeta, guessed: ObjectMeta) -> ObjectMeta:
    if said.filename is None:
        said = replace(said, filename=guessed.filename)
    headers = {} if said.headers is None else _check_headers(said.headers)
    if said.content_type is None and content_type_of(headers) is None:
        said = replace(said, content_type=guessed.content_type)
    return said


def _check_is(name: str, value: object, wanted: type, hint: str) -> None:
    if not isinstance(value, wanted):
        raise bad_meta(name, value, f"has the type {type(value).__name__}", hint)


def _resolve_chunk_bytes(
    chunk_size: int | None, meta: ObjectMeta, bucket_chunk_size: int | None
) -> int:
    candidates = [chunk_size]
    if meta.options is not None:
        _check_is("options", meta.options, ObjectMetaOptions, "give ObjectMetaOptions")
        most = meta.options.max_chunk_size
        candidates += [meta.options.chunk_size]
        candidates += [None if most == DEFAULT_CHUNK_SIZE else most]
    candidates += [bucket_chunk_size]
    given = [_check_chunk_size(size) for size in candidates if size is not None]
    return given[0] if given else DEFAULT_CHUNK_SIZE


def _check_chunk_size(size: object) -> int:
    if isinstance(size, int) and not isinstance(size, bool):
        if 1 <= size <= MAX_CHUNK_SIZE:
            return size
        problem = f"is not between 1 and {MAX_CHUNK_SIZE:,}"
    else:
        problem = f"has the type {type(size).__name__}"
    hint = f"give a whole number of bytes from 1 to {MAX_CHUNK_SIZE:,}"
    raise bad_meta("chunk_size", size, problem, hint)


def _check_text(name: str, text: Any, *, control_characters: bool = False) -> str:
    _check_is(name, text, str, "give a string")
    fault = text_fault(text, control_characters=control_characters)
    if fault:
        hint = _TEXT_HINT
        if not control_characters:
            hint += ", without control characters"
        raise bad_meta(name, text, fault, hint)
    return str.__str__(text)  # an enum member would not survive the codec


def _check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    _check_is("metadata", metadata, Mapping, _PAIRS_HINT)
    checked: dict[str, str] = {}
    for given, value in metadata.items():
        key = _check_text("metadata name", given)
        if not key or key.startswith(RESERVED_PREFIX):
            problem = "is reserved" if key else "is empty"
            hint = f"give a name that does not begin with {RESERVED_PREFIX}"
            raise bad_meta("metadata name", key, problem, hint)
        field = f"metadata {key!r} with the value"
        checked[key] = _check_text(field, value, control_characters=True)
    return checked


def _check_headers(headers: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    _check_is("headers", headers, Mapping, _PAIRS_HINT)
    checked: dict[str, tuple[str, ...]] = {}
    for given, value in headers.items():
        name = _check_text("header name", given)
        if not name:
            raise bad_meta("header name", name, "is empty", "give it a name")
        checked[name] = (_check_text(f"header {name!r} with the value", value),)
    types = {value for name, value in checked.items() if is_content_type(name)}
    if len(types) > 1:
        problem = "has two different content types"
        raise bad_meta("headers", headers, problem, "give one of them")
    return checked


def _merge_headers(existing: Headers, update: ObjectMeta) -> Headers:
    headers = dict(existing)
    if update.headers is not None:
        headers = _check_headers(update.headers)
    if update.content_type is None:
        return headers
    content_type = _check_text("content_type", update.content_type)
    stated = content_type_of(headers)
    if update.headers is not None and stated not in (None, content_type):
        problem = f"differs from the header Content-Type {stated!r}"
        raise bad_meta("content_type", content_type, problem, "give one of them")
    names = [name for name in headers if is_content_type(name)]
    for name in names:
        del headers[name]
    if content_type:
        headers[names[0] if names else "Content-Type"] = (content_type,)
    return headers


def _text_bytes(document: Document) -> int:
    texts = [document.description or "", document.filename or "", *document.headers]
    texts += [text for values in document.headers.values() for text in values]
    texts += [*document.metadata, *document.metadata.values()]
    return sum(len(text.encode()) for text in texts)
