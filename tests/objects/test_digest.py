"""The text forms of a digest."""

import hashlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore._digest import digest_text, digest_wire, parse_digest
from objstore.errors import BadObjectMetaError

DIGESTS = st.binary(min_size=32, max_size=32)


def test_text_of_nothing_is_the_known_one() -> None:
    """The digest of no content, as users see it and as the wire has it."""
    digest = hashlib.sha256().digest()

    assert digest_text(digest) == "SHA-256=" + hashlib.sha256().hexdigest()
    assert digest_wire(digest) == "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="


@given(DIGESTS)
def test_every_form_gives_the_digest(digest: bytes) -> None:
    """Bytes, hex, prefixed hex, the wire form, padded or not, all mean the same."""
    forms: list[object] = [
        digest,
        bytearray(digest),
        digest.hex(),
        digest.hex().upper(),
        digest_text(digest),
        digest_text(digest).replace("SHA", "sha"),
        digest_wire(digest),
        digest_wire(digest).rstrip("="),
        digest_wire(digest).removeprefix("SHA-256="),
        b64encode(digest).decode(),
    ]

    assert [digest] * len(forms) == [parse_digest(form) for form in forms]


@pytest.mark.parametrize(
    "value",
    [
        "",
        b"",
        bytes(31),
        bytes(33),
        "SHA-256=",
        "0" * 63,
        "0" * 65,
        "g" * 64,
        "SHA-512=" + "0" * 64,
        "MD5=" + "0" * 32,
        "A" * 42 + "!",
        "A" * 20 + "\n" + "A" * 23,
        " " * 64,
        "ä" * 43,
        "\ud800" * 43,
        None,
        256,
    ],
    ids=repr,
)
def test_other_values_are_refused(value: object) -> None:
    """What is not exactly a SHA-256 digest is no digest."""
    with pytest.raises(BadObjectMetaError, match="expected_digest"):
        parse_digest(value)
