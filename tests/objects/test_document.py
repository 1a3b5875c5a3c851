"""The JSON of an object's meta: written strictly, read liberally."""

import hashlib
import pickle
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import FrozenInstanceError, asdict, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore._document import (
    Document,
    change_of,
    decode_document,
    encode_document,
    info_of,
    listed_of,
)
from objstore._engine import BucketChange, StoredMeta
from objstore._types import Change, ObjectInfo, ObjectLink, ObjectMetaOptions
from objstore.errors import BadObjectMetaError

DIGEST = hashlib.sha256(b"content").digest()
EMPTY_DIGEST = "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SOME_TEXT = TEXT.filter(bool)
COUNT = st.integers(0, 2**63 - 1)
DOCUMENTS = st.builds(
    Document,
    name=SOME_TEXT,
    bucket=TEXT,
    nuid=TEXT,
    description=st.none() | SOME_TEXT,
    headers=st.dictionaries(
        TEXT, st.lists(TEXT, min_size=1, max_size=3).map(tuple), max_size=3
    ),
    metadata=st.dictionaries(
        TEXT.filter(lambda key: key != "_objstore.filename"), TEXT, max_size=3
    ),
    filename=st.none() | SOME_TEXT,
    link=st.none() | st.builds(ObjectLink, SOME_TEXT, st.none() | SOME_TEXT),
    chunk_bytes=st.none() | st.integers(1, 2**20),
    size=COUNT,
    chunks=COUNT,
    digest=st.just(b"") | st.binary(min_size=32, max_size=32),
    deleted=st.booleans(),
)
REPORT = Document(
    name="a/report.pdf",
    bucket="media",
    nuid="n1",
    description="Quarterly",
    headers={"content-TYPE": ("application/pdf",), "Author": ("Ann", "Bo")},
    metadata={"team": "sales"},
    filename="report.pdf",
    chunk_bytes=4_096,
    size=7,
    chunks=1,
    digest=DIGEST,
)


def _stored(document: Document, **changes: Any) -> StoredMeta:
    stored = StoredMeta(
        sequence=9,
        time_ns=1_700_000_000_123_456_789,
        name=document.name,
        document=encode_document(document),
        change="put",
        nuid=bytes(16),
        size=document.size,
        chunk_bytes=4_096,
        extents=(),
        content_time_ns=1_600_000_000_000_000_000,
        expires_ns=None,
        stored_size=11,
    )
    return stored._replace(**changes)


def _read(**fields: object) -> Document:
    return decode_document(orjson.dumps({"name": "n", "bucket": "b", **fields}))


# --- written ----------------------------------------------------------------------


@given(DOCUMENTS)
def test_document_survives_its_json(document: Document) -> None:
    """A document that is written and read is the same."""

    assert document == decode_document(encode_document(document))


@given(DOCUMENTS)
def test_document_is_written_in_one_way(document: Document) -> None:
    """Reading and writing again gives the same bytes."""
    written = encode_document(document)

    assert written == encode_document(decode_document(written))


def test_document_is_written_as_the_wire_has_it() -> None:
    """Header values are arrays, the digest is padded base64url, there is no mtime."""

    assert orjson.loads(encode_document(REPORT)) == {
        "name": "a/report.pdf",
        "description": "Quarterly",
        "headers": {"content-TYPE": ["application/pdf"], "Author": ["Ann", "Bo"]},
        "metadata": {"team": "sales", "_objstore.filename": "report.pdf"},
        "options": {"max_chunk_size": 4_096},
        "bucket": "media",
        "nuid": "n1",
        "size": 7,
        "chunks": 1,
        "digest": "SHA-256=7XACtDnprIRfIjV9giusFERzD722AW0-yUMil7nsn3M=",
    }


def test_delete_marker_has_no_digest() -> None:
    """A marker keeps what describes the object, and nothing of its content."""

    assert orjson.loads(
        encode_document(Document("n", "b", "u", size=3).as_deleted())
    ) == {
        "name": "n",
        "bucket": "b",
        "nuid": "u",
        "size": 0,
        "chunks": 0,
        "deleted": True,
    }


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (ObjectLink("other", "x"), {"bucket": "other", "name": "x"}),
        (ObjectLink("other"), {"bucket": "other"}),
    ],
)
def test_link_is_written_among_the_options(
    link: ObjectLink, expected: dict[str, str]
) -> None:
    """A link to a whole bucket has no name."""
    written = orjson.loads(encode_document(Document("n", "b", link=link)))

    assert written["options"] == {"link": expected}


# --- read -------------------------------------------------------------------------


def test_header_may_be_a_plain_string() -> None:
    """The Python client writes header values as strings."""

    assert _read(headers={"A": "x", "B": ["y", "z"]}).headers == {
        "A": ("x",),
        "B": ("y", "z"),
    }


@pytest.mark.parametrize(
    "mtime", ["", "0001-01-01T00:00:00Z", "2026-01-02T03:04:05.678Z", None, 7]
)
def test_mtime_is_not_looked_at(mtime: object) -> None:
    """The Python client writes "" on delete markers, the Go client a zero time."""

    assert _read() == _read(mtime=mtime)


def test_null_is_none() -> None:
    """The Rust client writes fields that it does not have as null."""
    names = ("description", "headers", "metadata", "options", "digest", "deleted")

    assert _read() == _read(**dict.fromkeys((*names, "nuid", "size", "chunks")))
    assert _read() == _read(options={"link": None, "max_chunk_size": None})


def test_empty_is_none() -> None:
    """Empty fields mean that there is nothing."""

    assert _read() == _read(
        description="", headers={"A": []}, metadata={}, options={}, digest="", size=0
    )


def test_link_may_lack_everything_but_its_target() -> None:
    """The JavaScript client writes a link without nuid, size and digest."""
    link = {"options": {"link": {"bucket": "other", "name": "x"}}}

    assert _read(**link) == Document("n", "b", link=ObjectLink("other", "x"))


def test_bucket_may_be_missing() -> None:
    """The bucket is known from where the document was found."""

    assert decode_document(b'{"name":"n"}') == Document("n", "")


def test_revision_and_unknown_fields_are_passed_over() -> None:
    """The JavaScript client adds a revision; later clients may add anything."""

    assert _read() == _read(revision=17, later={"x": [1]})


def test_digest_may_be_unpadded() -> None:
    """One client leaves the padding of base64 out."""

    assert _read(digest=EMPTY_DIGEST) == _read(digest=EMPTY_DIGEST.rstrip("="))


@pytest.mark.parametrize("nuid", ["x", "3f2a" * 8, "n-1"])
def test_nuid_may_be_any_text(nuid: str) -> None:
    """An id is a token, whatever made it."""

    assert nuid == _read(nuid=nuid).nuid


def test_whole_float_is_a_count() -> None:
    """A client may write a number as 3.0."""

    assert _read(size=3.0).size == 3


@pytest.mark.parametrize(
    ("document", "fragment"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "has no name"),
        (b'{"name":""}', "has no name"),
        (b'{"name":7}', "name 7 is not a JSON string"),
        (b'{"name":"n","size":-1}', "size -1"),
        (b'{"name":"n","size":1.5}', "size 1.5"),
        (b'{"name":"n","chunks":"3"}', "chunks '3'"),
        (b'{"name":"n","headers":["A"]}', "headers"),
        (b'{"name":"n","headers":{"A":[7]}}', "header 'A'"),
        (b'{"name":"n","metadata":{"k":7}}', "metadata 'k'"),
        (b'{"name":"n","options":{"link":{"name":"x"}}}', "has no bucket"),
        (b'{"name":"n","digest":"SHA-512=AAAA"}', "digest 'SHA-512=AAAA'"),
    ],
)
def test_unreadable_document_is_told(document: bytes, fragment: str) -> None:
    """What no client writes is an error that names the field."""
    with pytest.raises(BadObjectMetaError) as caught:
        decode_document(document)

    assert fragment in str(caught.value)


@given(st.binary(max_size=40) | st.from_regex(rb"[{}\[\]\",:0-9.eE+-]{0,20}"))
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    """No bytes raise anything but the one error."""
    try:
        decode_document(document)
    except BadObjectMetaError:
        return


# --- what users see ---------------------------------------------------------------


def test_info_shows_the_object() -> None:
    """Each field of an info, from the record and its document."""
    info = info_of("media", _stored(REPORT, expires_ns=1_800_000_000_000_000_000))

    assert info == ObjectInfo(
        name="a/report.pdf",
        bucket="media",
        description="Quarterly",
        headers={"content-TYPE": "application/pdf", "Author": "Ann, Bo"},
        metadata={"team": "sales"},
        size=7,
        chunks=1,
        digest="SHA-256=" + DIGEST.hex(),
        mtime=datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC),
        nuid="n1",
        options=ObjectMetaOptions(max_chunk_size=4_096),
        seq=9,
        expires=datetime(2027, 1, 15, 8, tzinfo=UTC),
        stored_size=11,
        content_type="application/pdf",
        filename="report.pdf",
    )


@pytest.mark.parametrize(
    ("link", "expected"),
    [(ObjectLink("other", "x/y"), ["other/x/y"]), (ObjectLink("other"), ["other/"])],
)
def test_info_of_a_link_shows_its_target(link: ObjectLink, expected: list[str]) -> None:
    """A link has no size and no digest, whatever its writer stored."""
    document = Document("n", "b", link=link, digest=DIGEST, size=5, chunks=1)
    info = info_of("b", _stored(document, change="link"))

    assert (info.links, info.link, info.options) == (
        expected,
        link,
        ObjectMetaOptions(link=link, max_chunk_size=4_096),
    )
    assert (info.size, info.chunks, info.digest) == (0, 0, "")


@pytest.mark.parametrize("change", ["delete", "expire"])
def test_info_of_a_marker_is_deleted(change: str) -> None:
    """A marker shows no content, even where its document still has it."""
    info = info_of("media", _stored(REPORT, change=change))

    assert (info.deleted, info.size, info.digest) == (True, 0, "")
    assert info.description == "Quarterly"


def test_info_of_a_document_without_nuid_shows_the_record_s() -> None:
    """Every object has an id."""

    assert "0" * 22 == info_of("b", _stored(Document("n", "b"))).nuid


def test_bucket_of_an_info_is_where_it_was_found() -> None:
    """One client writes the bucket of a link's target in the place of its own."""

    assert info_of("media", _stored(Document("n", "other"))).bucket == "media"


def test_change_is_an_info_with_a_kind() -> None:
    """A change shows the same object, and what happened."""
    stored = _stored(REPORT, change="meta")
    change = change_of("media", stored)

    assert isinstance(change, ObjectInfo)
    assert (change.kind, change.seq, change.name) == ("meta", 9, "a/report.pdf")
    assert change.digest == info_of("media", stored).digest


def test_change_of_the_bucket_has_no_name() -> None:
    """Sealing a bucket is a change of no object."""
    change = change_of("media", BucketChange(12, 1_700_000_000 * 10**9, "seal"))

    assert change == Change(
        "",
        "media",
        mtime=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        seq=12,
        kind="seal",
    )


def _replaced(info: ObjectInfo) -> ObjectInfo:
    return replace(info, seq=12)


def _options(info: ObjectInfo) -> object:
    return info.options


USES: list[Callable[[ObjectInfo], object]] = [
    repr,
    hash,
    copy,
    deepcopy,
    asdict,
    _replaced,
    _options,
]


@pytest.mark.parametrize("use", USES)
def test_listed_info_is_one_that_was_read(
    use: Callable[[ObjectInfo], object],
) -> None:
    """Nothing tells when an info's document was read, whatever is asked first."""
    stored = _stored(REPORT, expires_ns=1_800_000_000_000_000_000)
    expected = info_of("media", stored)

    assert use(listed_of("media", stored)) == use(expected)
    assert listed_of("media", stored) == expected


def test_listed_info_with_an_unreadable_document_has_its_name() -> None:
    """A document that cannot be read hides no other name of a list."""
    info = listed_of("media", _stored(REPORT)._replace(document=b"{}"))

    assert ("a/report.pdf", "media", 9) == (info.name, info.bucket, info.seq)
    with pytest.raises(BadObjectMetaError):
        _ = info.size


def test_listed_info_has_no_other_attributes() -> None:
    """A name that is none is told as with every other value, and reads nothing."""
    info = listed_of("media", _stored(REPORT)._replace(document=b"{}"))

    assert not hasattr(info, "length")
    assert not hasattr(info_of("media", _stored(REPORT)), "length")


@pytest.mark.parametrize("kind", [info_of, change_of, listed_of])
def test_info_survives_pickling(
    kind: Callable[[str, StoredMeta], ObjectInfo],
) -> None:
    """An info crosses a process boundary, and can be a member of a set."""
    info = kind("media", _stored(REPORT))
    read = pickle.loads(pickle.dumps(info))

    assert (type(info), info) == (type(read), read)
    assert {info} == {info, read}


def test_info_cannot_be_changed() -> None:
    """An info stays what it was."""
    info = info_of("media", _stored(REPORT))

    with pytest.raises(FrozenInstanceError):
        info.name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
