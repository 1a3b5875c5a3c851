"""Names of buckets and objects, their subjects, and content ids."""

import re
from base64 import urlsafe_b64decode
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore import _names as names
from objstore.errors import BadBucketError, BadObjectMetaError

OBJECT_NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x7f").filter(
        lambda character: character >= " "
    ),
    min_size=1,
    max_size=256,
)


class Names(StrEnum):
    """A name as an enum member, which is a string too."""

    REPORT = "report"


@pytest.mark.parametrize("name", ["a", "A-1_z", "-", "_", "9" * 255, Names.REPORT])
def test_bucket_name_is_accepted(name: str) -> None:
    """Letters, digits, underscores and dashes make a bucket name."""

    assert name == names.check_bucket_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a.b", "a/b", "ä", "a\n", "\na", "a*", "9" * 256, "..", "\0"],
    ids=repr,
)
def test_bucket_name_is_refused(name: str) -> None:
    """Everything else does not, a trailing newline too."""
    with pytest.raises(BadBucketError):
        names.check_bucket_name(name)


@pytest.mark.parametrize("name", [None, 7, b"media", True])
def test_bucket_name_is_a_string(name: object) -> None:
    """What is no string is refused by its type."""
    with pytest.raises(BadBucketError, match=type(name).__name__):
        names.check_bucket_name(name)


@given(OBJECT_NAMES)
def test_object_name_is_accepted(name: str) -> None:
    """Any text without control characters and surrogates is a name."""

    assert name == names.check_object_name(name)


@pytest.mark.parametrize(
    "name",
    ["..", ".", "/", "//", " ", "/etc/passwd", "C:\\x", "*", ">", "a" * 1_024],
    ids=repr,
)
def test_object_name_that_looks_like_a_path_is_just_a_name(name: str) -> None:
    """No name has a meaning."""

    assert name == names.check_object_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "a\0", "\x1f", "a\x7fb", "\n", "\ud800", "a" * 1_025, "ä" * 513],
    ids=repr,
)
def test_object_name_is_refused(name: str) -> None:
    """Empty, too long in bytes, control characters, surrogates: all are refused."""
    with pytest.raises(BadObjectMetaError):
        names.check_object_name(name)


def test_enum_member_becomes_a_plain_string() -> None:
    """What is stored is a string and nothing more."""

    assert str is type(names.check_object_name(Names.REPORT))


@given(st.binary(min_size=16, max_size=16))
def test_nuid_survives_its_text(nuid: bytes) -> None:
    """An id read from its text is the id."""
    text = names.nuid_text(nuid)

    assert nuid == names.nuid_bytes(text)
    assert re.fullmatch("[0-9A-Za-z]{22}", text)


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=8))
def test_nuid_texts_sort_like_the_ids(nuids: list[bytes]) -> None:
    """The alphabet is in the order of its characters."""

    assert [names.nuid_text(nuid) for nuid in sorted(nuids)] == sorted(
        names.nuid_text(nuid) for nuid in nuids
    )


@pytest.mark.parametrize(
    "text", ["", "0" * 21, "0" * 23, "z" * 22, "-" * 22, "0" * 21 + "ä"], ids=repr
)
def test_foreign_nuid_is_told_apart(text: str) -> None:
    """An id that is not 16 bytes in 22 characters is another client's."""
    with pytest.raises(BadObjectMetaError):
        names.nuid_bytes(text)


@given(OBJECT_NAMES)
def test_meta_subject_is_padded_base64url(name: str) -> None:
    """A subject has one token for the name, from which the name can be read."""
    prefix, _, token = names.meta_subject("media", name).rpartition(".")

    assert prefix == "$O.media.M"
    assert re.fullmatch("[A-Za-z0-9_-]+={0,2}", token)
    assert len(token) % 4 == 0
    assert name == urlsafe_b64decode(token).decode()


def test_subjects_are_those_of_the_wire() -> None:
    """The subjects of ADR-20, literally."""

    assert names.meta_subject("b", "??>") == "$O.b.M.Pz8-"
    assert names.chunk_subject("b", "n1") == "$O.b.C.n1"


def test_templates_hold_the_subjects() -> None:
    """A template and a subject of its kind agree up to the last token."""
    chunks = names.OBJ_ALL_CHUNKS_PRE_TEMPLATE.format(bucket="b")
    metas = names.OBJ_ALL_META_PRE_TEMPLATE.format(bucket="b")

    assert names.chunk_subject("b", "n").startswith(chunks.rstrip(">"))
    assert names.meta_subject("b", "n").startswith(metas.rstrip(">"))
    assert names.OBJ_STREAM_TEMPLATE.format(bucket="b") == "OBJ_b"
