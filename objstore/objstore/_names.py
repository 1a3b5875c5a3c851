"""Names: which ones are allowed, the subjects made of them, and content ids.

Source: ADR-20 and ADR-6 of the NATS architecture.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode

from objstore.errors import BadBucketError, BadObjectMetaError

DEFAULT_CHUNK_SIZE = 128 * 1024
"""Bytes a chunk unless the put or the bucket says otherwise."""
MAX_CHUNK_SIZE = 1024 * 1024
"""No chunk is larger."""
VALID_BUCKET_RE = r"^[a-zA-Z0-9_-]+$"
"""What a bucket's name is made of; matched whole."""
BUCKET_NAME_CHARACTERS_MAX = 255
OBJECT_NAME_BYTES_MAX = 1_024
OBJ_ALL_CHUNKS_PRE_TEMPLATE = "$O.{bucket}.C.>"
"""Subjects of all chunks of a bucket."""
OBJ_ALL_META_PRE_TEMPLATE = "$O.{bucket}.M.>"
"""Subjects of all metas of a bucket."""
OBJ_STREAM_TEMPLATE = "OBJ_{bucket}"
"""The stream that a bucket is on JetStream."""

_NUID_BYTES = 16
_NUID_CHARACTERS = 22
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE62_PAIRS = [high + low for high in _BASE62 for low in _BASE62]
"""Two digits at a time: every put writes an id."""
_BASE62_VALUES = {character: value for value, character in enumerate(_BASE62)}
_VALID_BUCKET = re.compile(VALID_BUCKET_RE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET_HINT = (
    f"use 1 to {BUCKET_NAME_CHARACTERS_MAX} letters, digits, underscores and dashes"
)
_OBJECT_HINT = (
    f"use 1 to {OBJECT_NAME_BYTES_MAX:,} bytes of UTF-8 without control characters "
    "and surrogates"
)


def check_bucket_name(name: object, *, field: str = "bucket name") -> str:
    """Give the name of a bucket back.

    Args:
        name: What the caller gave.
        field: What the error calls it.

    Raises:
        BadBucketError: it is not allowed.
    """
    if not isinstance(name, str):
        problem = f"is not a string but {type(name).__name__}"
    elif not name:
        problem = "is empty"
    elif len(name) > BUCKET_NAME_CHARACTERS_MAX:
        problem = f"has {len(name)} characters, over {BUCKET_NAME_CHARACTERS_MAX}"
    elif _VALID_BUCKET.fullmatch(name) is None:
        problem = f"does not match {VALID_BUCKET_RE} as a whole"
    else:
        return str.__str__(name)
    raise BadBucketError(field=field, value=name, problem=problem, hint=_BUCKET_HINT)


def check_object_name(name: object, *, field: str = "object name") -> str:
    """Give the name of an object back; `..`, `/` and spaces are just characters.

    Args:
        name: What the caller gave.
        field: What the error calls it.

    Raises:
        BadObjectMetaError: it is not allowed.
    """
    if not isinstance(name, str):
        problem = f"is not a string but {type(name).__name__}"
    elif not name:
        problem = "is empty"
    else:
        fault = text_fault(name)
        size = 0 if fault else len(name.encode())
        if not fault and size <= OBJECT_NAME_BYTES_MAX:
            return str.__str__(name)
        problem = fault or f"has {size:,} bytes, over {OBJECT_NAME_BYTES_MAX:,}"
    raise BadObjectMetaError(
        field=field, value=name, problem=problem, hint=_OBJECT_HINT
    )


def text_fault(text: str, *, control_characters: bool = False) -> str | None:
    """Say what is wrong with a text, or `None`.

    Args:
        text: Any string.
        control_characters: Whether it may have some.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        return f"has the surrogate U+{code:04X} at index {error.start}"
    found = None if control_characters else _CONTROL.search(text)
    if found is None:
        return None
    return f"has the control character U+{ord(found[0]):04X} at index {found.start()}"


def chunk_subject(bucket: str, nuid: str) -> str:
    """Give the subject of all chunks of one content."""
    return f"$O.{bucket}.C.{nuid}"


def meta_subject(bucket: str, name: str) -> str:
    """Give the subject of an object's metas."""
    return f"$O.{bucket}.M.{urlsafe_b64encode(name.encode()).decode()}"


def nuid_text(nuid: bytes) -> str:
    """Write a content id as 22 characters of base 62."""
    assert len(nuid) == _NUID_BYTES
    number = int.from_bytes(nuid)
    pairs = _BASE62_PAIRS
    count = len(pairs)
    written: list[str] = []
    for _ in range(_NUID_CHARACTERS // 2):
        number, digits = divmod(number, count)
        written.append(pairs[digits])
    written.reverse()
    return "".join(written)


def nuid_bytes(text: str) -> bytes:
    """Read a content id that `nuid_text` wrote.

    Raises:
        BadObjectMetaError: it is another client's, which may be any text.
    """
    try:
        number = 0
        for character in text:
            number = number * len(_BASE62) + _BASE62_VALUES[character]
        if len(text) == _NUID_CHARACTERS:
            return number.to_bytes(_NUID_BYTES)
    except (KeyError, OverflowError):
        pass
    raise BadObjectMetaError(
        field="nuid",
        value=text,
        problem="is not one of this library's",
        hint=f"give {_NUID_CHARACTERS} base 62 characters that stand for 16 bytes",
    )
