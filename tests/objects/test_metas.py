"""What a caller says about an object, made into a checked document."""

from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

import pytest

from objstore._document import Document, decode_document, encode_document
from objstore._metas import (
    PutMeta,
    check_ttl,
    merge_meta,
    resolve_link,
    resolve_meta,
)
from objstore._types import ObjectLink, ObjectMeta, ObjectMetaOptions
from objstore.errors import BadObjectMetaError

KIB = 1_024
SAID = ObjectMeta(
    name="not looked at",
    description="d1",
    headers={"A": "1"},
    metadata={"m": "1"},
    filename="f1",
    ttl=60,
)
EXISTING = Document(
    name="n",
    bucket="b",
    nuid="u",
    description="d",
    headers={"content-type": ("text/plain",), "A": ("1", "2")},
    metadata={"m": "1"},
    filename="f",
    chunk_bytes=8,
    size=3,
    chunks=1,
    digest=bytes(32),
)


class Header(StrEnum):
    """A header's name as an enum member."""

    AUTHOR = "Author"


def resolve(
    name: object = "n", bucket_chunk_size: int | None = None, **said: Any
) -> PutMeta:
    """Make what a put of an object in the bucket `b` is told."""
    options: Any = said
    return resolve_meta("b", name, options, bucket_chunk_size=bucket_chunk_size)


# --- put --------------------------------------------------------------------------


def test_put_without_meta_has_defaults() -> None:
    """A name alone makes a document."""
    put = resolve()

    assert put.document == Document("n", "b", chunk_bytes=128 * KIB)
    assert (put.chunk_bytes, put.ttl_ns) == (128 * KIB, None)


def test_put_takes_single_arguments() -> None:
    """Each argument arrives in its field."""
    put = resolve(
        description="d",
        filename="f",
        headers={"A": "1"},
        metadata={"m": "2"},
        content_type="text/plain",
        chunk_size=8,
        ttl=timedelta(seconds=1),
    )

    assert put.document == Document(
        "n",
        "b",
        description="d",
        headers={"A": ("1",), "Content-Type": ("text/plain",)},
        metadata={"m": "2"},
        filename="f",
        chunk_bytes=8,
    )
    assert put.ttl_ns == 1_000_000_000


@pytest.mark.parametrize("place", ["third", "keyword"])
def test_put_takes_a_meta(place: str) -> None:
    """A meta may stand in the third place, or be named."""
    put = resolve(description=SAID) if place == "third" else resolve(meta=SAID)

    assert put.document == Document(
        "n",
        "b",
        description="d1",
        headers={"A": ("1",)},
        metadata={"m": "1"},
        filename="f1",
        chunk_bytes=128 * KIB,
    )
    assert put.ttl_ns == 60 * 10**9


def test_single_arguments_go_before_the_meta() -> None:
    """What is said twice holds as it was said singly."""
    put = resolve(description="d2", meta=SAID, filename="f2", ttl=0)

    assert (put.document.description, put.document.filename) == ("d2", "f2")
    assert put.document.headers == {"A": ("1",)}
    assert put.ttl_ns == 0


@pytest.mark.parametrize(
    ("chunk_size", "options", "bucket_chunk_size", "expected"),
    [
        (None, None, None, 128 * KIB),
        (None, None, 4, 4),
        (None, ObjectMetaOptions(), 4, 4),
        (None, ObjectMetaOptions(max_chunk_size=3), 4, 3),
        (None, ObjectMetaOptions(max_chunk_size=128 * KIB), 4, 4),
        (None, ObjectMetaOptions(chunk_size=2, max_chunk_size=3), 4, 2),
        (None, ObjectMetaOptions(chunk_size=128 * KIB), 4, 128 * KIB),
        (1, ObjectMetaOptions(chunk_size=2, max_chunk_size=3), 4, 1),
        (1_024 * KIB, None, None, 1_024 * KIB),
    ],
)
def test_chunk_size_has_an_order(
    chunk_size: int | None,
    options: ObjectMetaOptions | None,
    bucket_chunk_size: int | None,
    expected: int,
) -> None:
    """The put, the meta's two options, the bucket, the default: the first holds."""
    put = resolve(
        meta=ObjectMeta(options=options),
        chunk_size=chunk_size,
        bucket_chunk_size=bucket_chunk_size,
    )

    assert (put.chunk_bytes, put.document.chunk_bytes) == (expected, expected)


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_content_type_is_the_header(name: str) -> None:
    """However it is spelled, the header is the content type."""
    put = resolve(headers={name: "a/b"}, content_type="a/b")

    assert put.document.headers == {name: ("a/b",)}
    assert put.document.content_type == "a/b"


def test_enum_members_become_plain_strings() -> None:
    """A header's name from an enum is stored and read back."""
    document = resolve(headers={Header.AUTHOR: Header.AUTHOR}).document

    assert document == decode_document(encode_document(document))


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"description": 7},
        {"description": "\ud800"},
        {"description": SAID, "meta": SAID},
        {"meta": {"description": "x"}},
        {"meta": {}},
        {"meta": ObjectMeta(options={"chunk_size": 8})},  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        {"meta": ObjectMeta(options=ObjectMetaOptions(link=ObjectLink("b", "n")))},
        {"filename": "a\nb"},
        {"filename": 7},
        {"headers": ["A"]},
        {"headers": {"A": 1}},
        {"headers": {"A": None}},
        {"headers": {"A": b"1"}},
        {"headers": {"A": ["1"]}},
        {"headers": {1: "A"}},
        {"headers": {"": "A"}},
        {"headers": {"A": "x\r\nB: y"}},
        {"headers": {"A\n": "x"}},
        {"headers": {"A": "\ud800"}},
        {"headers": {"A": "a" * 65_536}},
        {"headers": {"Content-Type": "a/b", "content-type": "a/c"}},
        {"headers": {"content-type": "a/b"}, "content_type": "a/c"},
        {"content_type": "a\0"},
        {"metadata": "m"},
        {"metadata": {"m": 1}},
        {"metadata": {1: "m"}},
        {"metadata": {"": "m"}},
        {"metadata": {"_objstore.filename": "m"}},
        {"metadata": {"m": "\ud800"}},
        {"chunk_size": 0},
        {"chunk_size": -1},
        {"chunk_size": 1_024 * KIB + 1},
        {"chunk_size": True},
        {"chunk_size": 1.0},
        {"meta": ObjectMeta(options=ObjectMetaOptions(chunk_size=0))},
        {"meta": ObjectMeta(options=ObjectMetaOptions(max_chunk_size=-1))},
        {"ttl": -1},
        {"ttl": "1h"},
        {"ttl": float("nan")},
        {"ttl": timedelta.max},
    ],
    ids=lambda arguments: str(arguments)[:200],
)
def test_bad_argument_is_refused(arguments: dict[str, Any]) -> None:
    """Each argument of a put has limits."""
    with pytest.raises(BadObjectMetaError):
        resolve(**arguments)


# --- update -----------------------------------------------------------------------


def test_update_of_nothing_changes_nothing() -> None:
    """Fields that are `None` stay."""

    assert EXISTING == merge_meta(EXISTING, ObjectMeta())


@pytest.mark.parametrize(
    ("update", "change"),
    [
        ({"description": ""}, {"description": None}),
        ({"filename": ""}, {"filename": None}),
        ({"metadata": {}}, {"metadata": {}}),
        ({"headers": {}}, {"headers": {}}),
        ({"content_type": ""}, {"headers": {"A": ("1", "2")}}),
    ],
)
def test_empty_value_clears(update: dict[str, Any], change: dict[str, Any]) -> None:
    """An empty value takes a field away, and nothing else."""

    assert replace(EXISTING, **change) == merge_meta(EXISTING, ObjectMeta(**update))


@pytest.mark.parametrize(
    ("update", "change"),
    [
        ({"name": "n2"}, {"name": "n2"}),
        ({"description": "d2"}, {"description": "d2"}),
        ({"filename": "f2"}, {"filename": "f2"}),
        ({"metadata": {"k": "2"}}, {"metadata": {"k": "2"}}),
        ({"headers": {"B": "2"}}, {"headers": {"B": ("2",)}}),
        (
            {"content_type": "a/b"},
            {"headers": {"content-type": ("a/b",), "A": ("1", "2")}},
        ),
        (
            {"headers": {"B": "2"}, "content_type": "a/b"},
            {"headers": {"B": ("2",), "Content-Type": ("a/b",)}},
        ),
    ],
)
def test_value_replaces(update: dict[str, Any], change: dict[str, Any]) -> None:
    """A value takes the place of the whole field, and of nothing else."""

    assert replace(EXISTING, **change) == merge_meta(EXISTING, ObjectMeta(**update))


@pytest.mark.parametrize(
    "update", [{"ttl": 5}, {"options": ObjectMetaOptions(chunk_size=5)}]
)
def test_update_does_not_touch_how_content_is_stored(update: dict[str, Any]) -> None:
    """Age and chunks belong to the content, which an update does not write."""

    assert EXISTING == merge_meta(EXISTING, ObjectMeta(**update))


def test_what_the_caller_gave_is_copied() -> None:
    """Changing a mapping afterwards does not change the document."""
    headers = {"A": "1"}
    metadata = {"m": "1"}
    merged = merge_meta(EXISTING, ObjectMeta(headers=headers, metadata=metadata))
    headers["A"] = metadata["m"] = "2"

    assert (merged.headers, merged.metadata) == ({"A": ("1",)}, {"m": "1"})


# --- links ------------------------------------------------------------------------


@pytest.mark.parametrize("link", [ObjectLink("other", "x"), ObjectLink("other")])
def test_link_has_a_document(link: ObjectLink) -> None:
    """A link has no content, and may be described."""
    document = resolve_link("b", "n", link, ObjectMeta(name="m", description="d"))

    assert document == Document("n", "b", description="d", link=link)


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("", ObjectLink("b", "x")),
        ("n", ObjectLink("", "x")),
        ("n", ObjectLink("a b")),
        ("n", ObjectLink("b", "")),
        ("n", ObjectLink("b", "\n")),
        ("n", "b/x"),
        ("n", None),
    ],
    ids=repr,
)
def test_bad_link_is_refused(name: str, link: Any) -> None:
    """Both ends of a link are names."""
    with pytest.raises(BadObjectMetaError):
        resolve_link("b", name, link)


def test_ttl_of_none_is_not_said() -> None:
    """Nothing said is not the same as for ever."""

    assert (check_ttl(None), check_ttl(0), check_ttl(1.5)) == (None, 0, 1_500_000_000)


@pytest.mark.parametrize("options", [{"chunk_size": 0}, {"max_chunk_size": 2**21}])
def test_options_of_an_update_have_the_limits_of_a_put(options: dict[str, Any]) -> None:
    """What an update does not use is not taken either when it is wrong."""
    update = ObjectMeta(options=ObjectMetaOptions(**options))
    with pytest.raises(BadObjectMetaError, match="chunk_size"):
        merge_meta(EXISTING, update)


def test_text_is_measured_after_the_merge() -> None:
    """Updates that are small one by one do not pass the limit together."""
    half = merge_meta(EXISTING, ObjectMeta(description="d" * 60_000))
    for update in (
        ObjectMeta(metadata={"m": "x" * 6_000}),
        ObjectMeta(headers={"A": "x" * 6_000}),
        ObjectMeta(content_type="x" * 6_000),
        ObjectMeta(filename="x" * 6_000),
    ):
        with pytest.raises(BadObjectMetaError, match=r"leaves 66,0\d\d bytes of text"):
            merge_meta(half, update)


def test_text_over_the_limit_may_shrink() -> None:
    """What another client wrote can be cleared in steps, and renamed."""
    large = replace(EXISTING, description="d" * 99_000, metadata={"m": "x" * 99_000})
    smaller = merge_meta(large, ObjectMeta(name="o", metadata={}))

    assert (smaller.name, smaller.metadata) == ("o", {})
    with pytest.raises(BadObjectMetaError):
        merge_meta(smaller, ObjectMeta(metadata={"m": "x"}))
