"""Bad input gets a clear error: one row for each case.

A row is a call, the class of its error, and fragments of the error's text: the
offending value, the limit, what to do next.
A layer adds its rows as one more list to `ROWS`; a call gets an empty directory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from objstore._config import ObjectStoreConfig, check_config, resolve_config
from objstore._digest import parse_digest
from objstore._metas import merge_meta, resolve_link, resolve_meta
from objstore._names import check_bucket_name, check_object_name
from objstore._types import ObjectLink, ObjectMeta, ObjectMetaOptions
from objstore.errors import BadBucketError, BadObjectMetaError, ObjStoreError


@dataclass(frozen=True)
class Row:
    """A call that must fail, and how."""

    case: str
    call: Callable[[Path], object]
    error: type[ObjStoreError]
    fragments: tuple[str, ...]


def name_row(case: str, name: object, *fragments: str) -> Row:
    """Give a row for an object's name."""
    hint = "use 1 to 1,024 bytes of UTF-8 without control characters and surrogates"
    return Row(
        f"object name: {case}",
        lambda _: check_object_name(name),
        BadObjectMetaError,
        ("object name", *fragments, hint),
    )


def bucket_row(case: str, name: object, *fragments: str) -> Row:
    """Give a row for a bucket's name."""
    hint = "use 1 to 255 letters, digits, underscores and dashes"
    return Row(
        f"bucket name: {case}",
        lambda _: check_bucket_name(name),
        BadBucketError,
        ("bucket name", *fragments, hint),
    )


def config_row(field: str, value: Any, *fragments: str) -> Row:
    """Give a row for a field of a bucket's configuration."""
    config: dict[str, Any] = {"bucket": "b", field: value}
    return Row(
        f"configuration: {field} {str(value)[:20]}",
        lambda _: check_config(ObjectStoreConfig(**config)),
        BadBucketError,
        (field, *fragments),
    )


def put_row(case: str, arguments: Mapping[str, Any], *fragments: str) -> Row:
    """Give a row for an argument of a put."""
    call: dict[str, Any] = {"name": "n", **arguments}
    return Row(
        f"put: {case}",
        lambda _: resolve_meta("b", **call),
        BadObjectMetaError,
        fragments,
    )


NAME_ROWS = [
    name_row("empty", "", "'' is empty"),
    name_row("NUL", "a\0b", r"'a\x00b' has the control character U+0000 at index 1"),
    name_row("line feed", "a\n", r"'a\n' has the control character U+000A at index 1"),
    name_row("unit separator", "\x1f", "control character U+001F at index 0"),
    name_row("delete", "\x7f", "control character U+007F at index 0"),
    name_row("surrogate", "a\ud83d", r"'a\ud83d' has the surrogate U+D83D at index 1"),
    name_row("too long", "a" * 1_025, "'aaa", "has 1,025 bytes, over 1,024"),
    name_row("too long in UTF-8", "ä" * 513, "has 1,026 bytes, over 1,024"),
    name_row("bytes", b"n", "b'n' is not a string but bytes"),
    name_row("none", None, "None is not a string but NoneType"),
    bucket_row("empty", "", "'' is empty"),
    bucket_row("space", "a b", "'a b' does not match ^[a-zA-Z0-9_-]+$ as a whole"),
    bucket_row("dot", "a.b", "'a.b' does not match"),
    bucket_row("slash", "a/b", "'a/b' does not match"),
    bucket_row("parent", "..", "'..' does not match"),
    bucket_row("trailing newline", "a\n", r"'a\n' does not match"),
    bucket_row("letter of another alphabet", "ä", "'ä' does not match"),
    bucket_row("too long", "a" * 256, "has 256 characters, over 255"),
    bucket_row("none", None, "None is not a string but NoneType"),
]

CONFIG_ROWS = [
    config_row("storage", "disk", "'disk' is unknown", 'use "file" or "memory"'),
    config_row("max_bytes", -2, "-2 is not between 1 and 9,223,372,036,854,775,807"),
    config_row("max_bytes", 1.5, "1.5 has the type float", "give a whole number"),
    config_row("replicas", 0, "0 is not between 1 and 5"),
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
    config_row("description", 7, "7 has the type int", "give a string"),
    config_row("placement", "eu", "'eu' has the type str", "give a Placement"),
    config_row("metadata", {"k": 1}, "1 has the type int", "give strings"),
    config_row("metadata", {"k": "a" * 65_537}, "over 65,536 bytes", "shorten it"),
    Row(
        "configuration: unknown field",
        lambda _: resolve_config("b", {"max_byte": 1}),
        BadBucketError,
        ("'max_byte' is unknown", "use bucket, description, ttl, max_bytes"),
    ),
    Row(
        "configuration: of another type",
        lambda _: resolve_config(7, {}),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        BadBucketError,
        ("config 7 has the type int", "give an ObjectStoreConfig"),
    ),
]

PUT_ROWS = [
    put_row("chunk size 0", {"chunk_size": 0}, "chunk_size 0 is not between 1 and"),
    put_row("negative chunk size", {"chunk_size": -1}, "-1", "from 1 to 1,048,576"),
    put_row(
        "chunk size over 1 MiB",
        {"chunk_size": 1_048_577},
        "chunk_size 1048577 is not between 1 and 1,048,576",
        "give a whole number of bytes from 1 to 1,048,576",
    ),
    put_row(
        "chunk size in the options",
        {"meta": ObjectMeta(options=ObjectMetaOptions(max_chunk_size=2_000_000))},
        "chunk_size 2000000 is not between 1 and 1,048,576",
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
        "has 65,537 bytes of text, over 65,536",
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
    Row(
        "update: bad new name",
        lambda _: merge_meta(resolve_meta("b", "n").document, ObjectMeta(name="")),
        BadObjectMetaError,
        ("object name '' is empty", "use 1 to 1,024 bytes"),
    ),
    Row(
        "link: bad bucket",
        lambda _: resolve_link("b", "n", ObjectLink("a b", "x")),
        BadObjectMetaError,
        ("link bucket 'a b' does not match", "use 1 to 255 letters"),
    ),
    Row(
        "link: bad name",
        lambda _: resolve_link("b", "n", ObjectLink("b", "")),
        BadObjectMetaError,
        ("link name '' is empty", "use 1 to 1,024 bytes"),
    ),
    Row(
        "expected digest: too short",
        lambda _: parse_digest("SHA-256=abc"),
        BadObjectMetaError,
        ("expected_digest 'SHA-256=abc'", "give 64 hex characters", "32 bytes"),
    ),
]

ROWS = [*NAME_ROWS, *CONFIG_ROWS, *PUT_ROWS]


@pytest.mark.parametrize("row", ROWS, ids=[row.case for row in ROWS])
def test_bad_input_gets_a_clear_error(row: Row, tmp_path: Path) -> None:
    """The error is of the right class and says what, the limit, what to do."""
    with pytest.raises(row.error) as caught:
        row.call(tmp_path)

    text = str(caught.value)
    assert [] == [fragment for fragment in row.fragments if fragment not in text]
    assert text.isprintable()
