"""The text of cursors."""

import pickle
import struct
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from objstore_watch import (
    Cursor,
    Origin,
    Place,
    Witness,
    check_origin,
    decode_cursor,
    encode_cursor,
)
from objstore_watch.errors import BadCursorError, BadWatchError, CursorForeignError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PLACES = st.builds(
    Place,
    sequence=st.integers(min_value=0, max_value=2**64 - 1),
    subject=st.none() | TEXTS,
)
NUMBERS = st.integers(min_value=0, max_value=2**64 - 1)
CURSORS = st.builds(
    Cursor,
    st.builds(Origin, TEXTS, TEXTS, TEXTS),
    PLACES,
    st.none() | st.builds(Witness, NUMBERS, NUMBERS),
)
CURSOR = Cursor(Origin("store", "media", "7"), Place(1234, "a/b"))


@given(CURSORS)
def test_cursor_survives_its_text(cursor: Cursor) -> None:
    """What was encoded is decoded again."""

    assert cursor == decode_cursor(encode_cursor(cursor))


@given(CURSORS)
def test_cursor_text_is_safe_in_addresses_and_headers(cursor: Cursor) -> None:
    """The text needs no quoting anywhere."""
    text = encode_cursor(cursor)

    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


def test_cursor_text_is_stable() -> None:
    """Cursors of version 1 keep their text, for they are kept by users."""

    assert CURSOR == decode_cursor(
        "AQAAAAAAAATSAQAFc3RvcmUABW1lZGlhAAE3AANhL2LPCNqG0d3Nfw"
    )


@given(CURSORS, st.data())
def test_changed_cursor_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    """One other letter anywhere makes it no cursor."""
    text = encode_cursor(cursor)
    index = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("Aa09-_=+ é\n\ud800").filter(text[index].__ne__))
    changed = text[:index] + letter + text[index + 1 :]

    with pytest.raises(BadCursorError):
        decode_cursor(changed)


@given(CURSORS, st.data())
def test_shortened_cursor_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    """A part of a cursor is no cursor."""
    text = encode_cursor(cursor)
    length = data.draw(st.integers(0, len(text) - 1))

    with pytest.raises(BadCursorError):
        decode_cursor(text[:length])


@given(st.text())
def test_other_text_is_refused(text: str) -> None:
    """Any text is decoded or refused with the one error."""

    with pytest.raises(BadCursorError):
        decode_cursor(text)


def test_refused_cursor_is_named() -> None:
    """The error is a `ValueError`, shows the text and says what to do."""
    with pytest.raises(ValueError, match=r"'12345'.*start from current values"):
        decode_cursor("12345")


def test_newer_cursor_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cursor of a later version is refused by its version."""
    monkeypatch.setattr("objstore_watch._cursor.CURSOR_VERSION", 2)
    text = encode_cursor(CURSOR)
    monkeypatch.undo()

    with pytest.raises(BadCursorError, match=r"is of version 2\.1, .* reads 1\.3"):
        decode_cursor(text)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (b"", "wrong number of fields"),
        (b"\x00\x01a" * 4, "wrong number of fields"),
        (b"\x00\x01a\x00\x01a\x00\x02a", "field cut short"),
        (b"\x00\x01a\x00\x01a\x00", "damaged field"),
        (b"\x00\x01a\x00\x01a\x00\x01\xff", "damaged field"),
    ],
)
def test_cursor_of_another_maker_is_refused(fields: bytes, reason: str) -> None:
    """Fields that do not fit are an error, though the checksum is right."""
    body = struct.pack(">BQB", 1, 1, 0) + fields
    text = urlsafe_b64encode(body + xxh3_64_digest(body)).rstrip(b"=").decode()

    with pytest.raises(BadCursorError, match=reason):
        decode_cursor(text)


@pytest.mark.parametrize("field", [b"1", b"1:", b":1", b"1:2:3", b"-1:2", b"9" * 42])
def test_witness_that_is_none_is_refused(field: bytes) -> None:
    """Two numbers with a colon between them, and nothing else."""
    fields = b"\x00\x01a" * 3 + struct.pack(">H", len(field)) + field
    body = struct.pack(">BQB", 1, 1, 2) + fields
    text = urlsafe_b64encode(body + xxh3_64_digest(body)).rstrip(b"=").decode()

    with pytest.raises(BadCursorError, match="damaged field"):
        decode_cursor(text)


@pytest.mark.parametrize(
    "other",
    [
        Origin("other", "media", "7"),
        Origin("store", "other", "7"),
        Origin("store", "media", "8"),
    ],
    ids=["store", "bucket", "incarnation"],
)
def test_foreign_origin_is_refused(other: Origin) -> None:
    """Another store, bucket or recreated bucket is an error that names both."""
    with pytest.raises(CursorForeignError) as caught:
        check_origin(CURSOR.origin, other)

    assert str(CURSOR.origin) in str(caught.value)
    assert str(other) in str(caught.value)


def test_own_origin_is_accepted() -> None:
    """The same store, bucket and incarnation pass."""
    check_origin(CURSOR.origin, Origin("store", "media", "7"))


@pytest.mark.parametrize(
    "error",
    [
        BadCursorError(cursor="x" * 500, reason="is long"),
        CursorForeignError(found="a", expected="b"),
        BadWatchError(option="start", value=object(), allowed="a sequence"),
    ],
)
def test_watch_error_survives_pickling(error: Exception) -> None:
    """The errors cross a process boundary, and stay short."""
    again = pickle.loads(pickle.dumps(error))

    assert (type(error), str(error)) == (type(again), str(again))
    assert len(str(error)) < 400
