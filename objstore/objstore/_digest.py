"""The text forms of a SHA-256 digest.

Users see `"SHA-256="` and hex; the log and the wire have padded base64url (ADR-20).
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from binascii import a2b_base64

from objstore.errors import BadObjectMetaError

DIGEST_BYTES = 32
_PREFIX = "SHA-256="
_HEX_CHARACTERS = 2 * DIGEST_BYTES
_URL_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def digest_text(digest: bytes) -> str:
    """Write a digest as users see it: `"SHA-256="` and 64 hex characters."""
    assert len(digest) == DIGEST_BYTES
    return _PREFIX + digest.hex()


def digest_wire(digest: bytes) -> str:
    """Write a digest as ADR-20 has it: `"SHA-256="` and padded base64url."""
    assert len(digest) == DIGEST_BYTES
    return _PREFIX + urlsafe_b64encode(digest).decode()


def parse_digest(value: object, *, field: str = "expected_digest") -> bytes:
    """Read a digest in any of its forms.

    Args:
        value: 32 bytes; or hex or base64 (padded or not), with or without the
            prefix `SHA-256=`.
        field: What the error calls it.

    Returns:
        The 32 bytes.

    Raises:
        BadObjectMetaError: it is none of these.
    """
    if isinstance(value, bytes | bytearray):
        digest = bytes(value)
    elif isinstance(value, str):
        digest = _decode(value)
    else:
        digest = b""
    if len(digest) == DIGEST_BYTES:
        return digest
    raise BadObjectMetaError(
        field=field,
        value=value,
        problem="is not a SHA-256 digest",
        hint=f"give {_HEX_CHARACTERS} hex characters, with {_PREFIX} before them or "
        f"not, or {DIGEST_BYTES} bytes",
    )


def _decode(text: str) -> bytes:
    """Give the bytes behind a text, or an empty or short result."""
    if text[: len(_PREFIX)].upper() == _PREFIX:
        text = text[len(_PREFIX) :]
    try:
        if len(text) == _HEX_CHARACTERS:
            return bytes.fromhex(text)
        encoded = text.rstrip("=").encode().translate(_URL_TO_STANDARD)
        return a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
    except ValueError:
        return b""
