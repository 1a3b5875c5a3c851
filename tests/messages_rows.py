"""Calls that must fail, for the table of `test_messages`: names, buckets, puts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import objstore
from objstore import (
    BadBucketError,
    BadObjectMetaError,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
)
from objstore.blocking import ObjectStore, Store

OLD = b"12345"
"""What the object `a` of the bucket `b` holds before every call, and afterwards."""


@dataclass(frozen=True)
class Given:
    """What a call may use: a store on files with the bucket `b` and its object `a`."""

    folder: Path
    """Where the store is, as `store`; else empty."""
    store: Store
    bucket: ObjectStore


@dataclass(frozen=True)
class Row:
    """A call that must fail, and how."""

    case: str
    call: Callable[[Given], object]
    error: type[BaseException]
    fragments: tuple[str, ...]
    """Parts of the error's text: the offending value, the limit, what to do next."""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the bucket's configuration."""


def row(
    case: str,
    call: Callable[[ObjectStore], object],
    error: type[BaseException],
    *fragments: str,
    **config: Any,
) -> Row:
    """Give a row for a call on the bucket."""
    return Row(case, lambda given: call(given.bucket), error, fragments, config)


def store_row(
    case: str,
    call: Callable[[Store], object],
    error: type[BaseException],
    *fragments: str,
) -> Row:
    """Give a row for a call on the store."""
    return Row(case, lambda given: call(given.store), error, fragments)


def put_row(case: str, arguments: Mapping[str, Any], *fragments: str) -> Row:
    """Give a row for an argument of a put."""
    return row(
        f"put: {case}",
        lambda b: b.put("a", b"new", **arguments),
        BadObjectMetaError,
        *fragments,
    )


# --- names ------------------------------------------------------------------------

_NAME_CALLS: dict[str, Callable[[ObjectStore, Any], object]] = {
    "put": lambda b, name: b.put(name, b"new"),
    "get": lambda b, name: b.get(name),
    "rename to": lambda b, name: b.rename("a", name),
    "update_meta to": lambda b, name: b.update_meta("a", ObjectMeta(name=name)),
    "link to": lambda b, name: b.add_link("l", ObjectLink("b", name)),
}
_BAD_NAMES: list[tuple[str, Any, str]] = [
    ("empty", "", "'' is empty"),
    ("NUL", "a\0b", r"'a\x00b' has the control character U+0000 at index 1"),
    ("line feed", "a\n", r"'a\n' has the control character U+000A at index 1"),
    ("unit separator", "\x1f", "has the control character U+001F at index 0"),
    ("delete", "\x7f", "has the control character U+007F at index 0"),
    ("surrogate", "a\ud83d", r"'a\ud83d' has the surrogate U+D83D at index 1"),
    ("1,025 bytes", "a" * 1_025, "has 1,025 bytes, over 1,024"),
    ("1,026 bytes of UTF-8", "ä" * 513, "has 1,026 bytes, over 1,024"),
    ("bytes", b"n", "b'n' is not a string but bytes"),
]


def _name_row(call: str, case: str, name: Any, fragment: str) -> Row:
    hint = "use 1 to 1,024 bytes of UTF-8 without control characters and surrogates"
    return row(
        f"{call} a name: {case}",
        lambda b: _NAME_CALLS[call](b, name),
        BadObjectMetaError,
        fragment,
        hint,
    )


NAME_ROWS = [_name_row(call, *bad) for call in _NAME_CALLS for bad in _BAD_NAMES]

_BAD_BUCKETS: list[tuple[str, Any, str]] = [
    ("empty", "", "'' is empty"),
    ("space", "a b", "'a b' does not match ^[a-zA-Z0-9_-]+$ as a whole"),
    ("dot", "a.b", "'a.b' does not match"),
    ("slash", "a/b", "'a/b' does not match"),
    ("parent", "..", "'..' does not match"),
    ("trailing newline", "a\n", r"'a\n' does not match"),
    ("letter of another alphabet", "ä", "'ä' does not match"),
    ("256 characters", "a" * 256, "has 256 characters, over 255"),
    ("none", None, "None is not a string but NoneType"),
]
_BUCKET_CALLS: dict[str, Callable[[Store, Any], object]] = {
    "create": lambda store, name: store.create_object_store(bucket=name),
    "open": lambda store, name: store.object_store(name, create=True),
    "delete": lambda store, name: store.delete_object_store(name),
}


def _bucket_row(call: str, case: str, name: Any, fragment: str) -> Row:
    return store_row(
        f"{call} a bucket: {case}",
        lambda store: _BUCKET_CALLS[call](store, name),
        BadBucketError,
        "bucket name",
        fragment,
        "use 1 to 255 letters, digits, underscores and dashes",
    )


BUCKET_ROWS = [
    _bucket_row(call, *bad) for call in _BUCKET_CALLS for bad in _BAD_BUCKETS
]

# --- configuration ----------------------------------------------------------------


def config_row(name: str, value: Any, *fragments: str) -> Row:
    """Give a row for a field of a bucket's configuration."""
    return store_row(
        f"configuration: {name} {str(value)[:20]}",
        lambda store: store.create_object_store("c", **{name: value}),
        BadBucketError,
        name,
        *fragments,
    )


_MISSING_CALLS: dict[str, Callable[[Store], object]] = {
    "open": lambda store: store.object_store("missing"),
    "change": lambda store: store.update_object_store("missing", ttl=7),
    "delete": lambda store: store.delete_object_store("missing"),
}

CONFIG_ROWS = [
    config_row("storage", "disk", "'disk' is unknown", 'use "file" or "memory"'),
    config_row(
        "max_bytes",
        -2,
        "-2 is not between 1 and 9,223,372,036,854,775,807",
        "from 1 to 9,223,372,036,854,775,807, or -1 or 0 for no limit",
    ),
    config_row("max_bytes", 1.5, "1.5 has the type float", "give a whole number"),
    config_row(
        "replicas", 0, "0 is not between 1 and 5; give a whole number from 1 to 5"
    ),
    config_row("replicas", 6, "6 is not between 1 and 5"),
    config_row("chunk_size", 0, "0 is not between 1 and 1,048,576"),
    config_row("chunk_size", -1, "-1 is not between 1 and 1,048,576"),
    config_row("chunk_size", 1_048_577, "1048577 is not between 1 and 1,048,576"),
    config_row("segment_bytes", 1, "1 is not between 1,024 and 1,073,741,824"),
    config_row("changes_max_bytes", -1, "-1 is not between 0 and"),
    config_row("ttl", -1, "-1 is negative", "give a timedelta or seconds from 0 to"),
    config_row("ttl", "1h", "'1h' is not a duration", "give a timedelta or seconds"),
    config_row("ttl", timedelta.max, "is over 36525 days", "from 0 to 36525 days"),
    config_row("changes_ttl", -1, "-1 is negative", "give a timedelta or seconds"),
    config_row("sync", "often", "'often' is not a way", "seconds above 0 and up to"),
    config_row("sync", 0, "0 is not a way", 'use "always", "never" or seconds'),
    config_row("sync", True, "True is not a way", 'use "always", "never" or seconds'),
    config_row("sync", timedelta(days=1), "86400.0 is not a way", "up to 3,600"),
    config_row("description", 7, "7 has the type int", "give a string"),
    config_row("placement", "eu", "'eu' has the type str", "give a Placement"),
    config_row("metadata", {"k": 1}, "1 has the type int", "give strings"),
    config_row("metadata", {"k": "a" * 65_537}, "over 65,536 bytes", "shorten it"),
    config_row("max_byte", 1, "'max_byte' is unknown", "use bucket, description, ttl"),
    store_row(
        "configuration: of another type",
        lambda store: store.create_object_store(7),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        BadBucketError,
        "config 7 has the type int",
        "give an ObjectStoreConfig",
    ),
    store_row(
        "configuration: another storage",
        lambda store: store.update_object_store("b", storage="memory"),
        BadBucketError,
        "storage 'memory' cannot replace 'file'",
        "make another bucket and copy the objects",
    ),
    store_row(
        "configuration: of an existing bucket",
        lambda store: store.create_object_store("b", ttl=7),
        objstore.BucketExistsError,
        "bucket 'b' exists with another ttl",
        "open it with object_store('b'), or change it with update_object_store()",
    ),
    store_row(
        "configuration: replicas without a cluster",
        lambda store: store.create_object_store("c", replicas=3),
        objstore.NotSupportedError,
        "replicas=3 of bucket 'c'",
        "the JetStream engine has replicas; use replicas=1 with this one",
    ),
    *[
        store_row(
            f"configuration: {case} a missing bucket",
            call,
            objstore.BucketNotFoundError,
            "no bucket 'missing'",
            "make it with create_object_store(bucket='missing'), or open it with",
        )
        for case, call in _MISSING_CALLS.items()
    ],
]

# --- what a put is told -----------------------------------------------------------

_CHUNK_HINT = "give a whole number of bytes from 1 to 1,048,576"

_COLOUR: Any = {"colour": 1}
_UNKNOWN_OPTIONS: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda b: b.put("a", b"", **_COLOUR),
    "upload": lambda b: b.upload("a", __file__, **_COLOUR),
    "open_writer": lambda b: b.open_writer("a", **_COLOUR),
}

PUT_ROWS = [
    put_row("chunk size 0", {"chunk_size": 0}, "0 is not between 1 and", _CHUNK_HINT),
    put_row("negative chunk size", {"chunk_size": -1}, "size -1 is", _CHUNK_HINT),
    put_row(
        "chunk size over 1 MiB",
        {"chunk_size": 1_048_577},
        "chunk_size 1048577 is not between 1 and 1,048,576",
        _CHUNK_HINT,
    ),
    put_row(
        "chunk size in the options",
        {"meta": ObjectMeta(options=ObjectMetaOptions(max_chunk_size=2_000_000))},
        "chunk_size 2000000 is not between 1 and 1,048,576",
        _CHUNK_HINT,
    ),
    put_row("chunk size of text", {"chunk_size": "8"}, "'8' has the type str"),
    put_row("headers of another type", {"headers": 7}, "headers 7", "give a mapping"),
    put_row(
        "header value of another type",
        {"headers": {"Pages": 7}},
        "header 'Pages' with the value 7 has the type int; give a string",
    ),
    put_row(
        "header name of another type",
        {"headers": {7: "Pages"}},
        "header name 7 has the type int; give a string",
    ),
    put_row("empty header name", {"headers": {"": "x"}}, "header name '' is empty"),
    put_row(
        "header value with a line break",
        {"headers": {"A": "x\r\ny"}},
        r"header 'A' with the value 'x\r\ny' has the control character U+000D at",
        "without control characters",
    ),
    put_row(
        "header value with a surrogate",
        {"headers": {"A": "\ud800"}},
        r"header 'A' with the value '\ud800' has the surrogate U+D800 at index 0",
        "UTF-8",
    ),
    put_row(
        "two content types",
        {"headers": {"content-type": "a/b"}, "content_type": "a/c"},
        "content_type 'a/c' differs from the header Content-Type 'a/b'",
        "give one of them",
    ),
    put_row(
        "metadata value of another type",
        {"metadata": {"pages": 7}},
        "metadata 'pages' with the value 7 has the type int; give a string",
    ),
    put_row(
        "reserved metadata",
        {"metadata": {"_objstore.x": "1"}},
        "metadata name '_objstore.x' is reserved",
        "does not begin with _objstore.",
    ),
    put_row(
        "too much text",
        {"metadata": {"a": "x" * 65_536}},
        "leaves 65,537 bytes of text, over 65,536",
        "shorten",
    ),
    put_row("negative ttl", {"ttl": -5}, "ttl -5 is negative", "give a timedelta or"),
    put_row("filename with NUL", {"filename": "a\0"}, "filename", "U+0000 at index 1"),
    put_row(
        "link with content",
        {"meta": ObjectMeta(options=ObjectMetaOptions(link=ObjectLink("b", "x")))},
        "options.link 'b/x' is given with content",
        "make links with add_link()",
    ),
    put_row(
        "two metas",
        {"description": ObjectMeta(), "meta": ObjectMeta()},
        "is given beside meta=",
        "give one of them",
    ),
    put_row("meta of another type", {"meta": {"a": 1}}, "has the type dict", "Object"),
    put_row(
        "no digest",
        {"expected_digest": "SHA-256=abc"},
        "expected_digest 'SHA-256=abc' is not a SHA-256 digest",
        "give 64 hex characters",
        "32 bytes",
    ),
    row(
        "put: wrong expected digest",
        lambda b: b.put("a", b"x", expected_digest="00" * 32),
        objstore.DigestMismatchError,
        "SHA-256=2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        "expected SHA-256=0000",
        "nothing was stored, send the data again or mend expected_digest",
    ),
    row(
        "put: wrong expected digest of large content",
        lambda b: b.put("a", bytes(3_000_000), expected_digest="00" * 32),
        objstore.DigestMismatchError,
        "expected SHA-256=0000",
        "nothing was stored",
    ),
    row(
        "put: create on a taken name",
        lambda b: b.put("a", b"", create=True),
        objstore.ObjectAlreadyExists,
        "object 'a' exists in bucket 'b' at sequence",
        "choose another name",
    ),
    put_row("if_match of text", {"if_match": "1"}, "if_match '1' has the type str"),
    put_row(
        "negative if_match",
        {"if_match": -1},
        "if_match -1 can never match",
        "give an object's sequence, or 0 for none",
    ),
    row(
        "delete: negative if_match",
        lambda b: b.delete("a", if_match=-1),
        BadObjectMetaError,
        "if_match -1 can never match",
    ),
    row(
        "update_meta: chunk size 0",
        lambda b: b.update_meta(
            "a", ObjectMeta(options=ObjectMetaOptions(chunk_size=0))
        ),
        BadObjectMetaError,
        "chunk_size 0 is not between 1 and",
        _CHUNK_HINT,
    ),
    *[
        row(
            f"{method}: unknown option",
            call,
            TypeError,
            f"{method}() got an unexpected keyword argument 'colour'",
        )
        for method, call in _UNKNOWN_OPTIONS.items()
    ],
    row(
        "put: another sequence than if_match",
        lambda b: b.put("a", b"", if_match=99),
        objstore.PreconditionFailedError,
        "expected 99",
        "read it again and retry",
    ),
]

ARGUMENT_ROWS = [*NAME_ROWS, *BUCKET_ROWS, *CONFIG_ROWS, *PUT_ROWS]
