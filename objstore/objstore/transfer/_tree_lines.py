"""The manifest of an exported tree: one JSON object a line, the last of a name counts.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, cast

import orjson

from objstore._types import ObjectInfo, ObjectLink

FORMAT: Final = 1
MTIME_KEY: Final = "mtime"
"""Metadata key under which an import keeps the time that a file had."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a manifest says about an object or a link."""

    name: str
    """Without the prefix that was exported."""
    path: str
    """Below the directory; empty for a link."""
    size: int = 0
    digest: str = ""
    mtime: str = ""
    """ISO 8601."""
    seq: int = 0
    description: str | None = None
    headers: dict[str, str] | None = field(default=None, hash=False)
    metadata: dict[str, str] | None = field(default=None, hash=False)
    filename: str | None = None
    expires: str | None = None
    link: ObjectLink | None = None


def line_of(info: ObjectInfo, name: str, path: str) -> Line:
    """Give the line of an object."""
    return Line(
        name,
        path,
        info.size,
        info.digest,
        info.mtime.isoformat(),
        info.seq,
        info.description,
        info.headers,
        info.metadata,
        info.filename,
        None if info.expires is None else info.expires.isoformat(),
        info.link,
    )


def time_of(metadata: dict[str, str] | None, otherwise: datetime) -> datetime:
    """Give the time of a file: the one that an import kept, else another one."""
    text = (metadata or {}).get(MTIME_KEY, "")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return otherwise
    return otherwise if found.utcoffset() is None else found


def encode_head(bucket: str, prefix: str) -> bytes:
    """Give the first line: what was exported."""
    return orjson.dumps({"format": FORMAT, "bucket": bucket, "prefix": prefix}) + b"\n"


def encode_line(line: Line) -> bytes:
    """Write a line, without empty fields."""
    fields: dict[str, Any] = {
        "name": line.name,
        "path": line.path,
        "size": line.size,
        "digest": line.digest,
        "mtime": line.mtime,
        "seq": line.seq,
        "description": line.description,
        "headers": line.headers,
        "metadata": line.metadata,
        "filename": line.filename,
        "expires": line.expires,
    }
    if line.link is not None:
        fields["link"] = {"bucket": line.link.bucket, "name": line.link.name}
    kept = {key: value for key, value in fields.items() if value not in (None, "")}
    return orjson.dumps({"name": line.name, **kept}) + b"\n"


def decode_lines(data: Iterable[bytes]) -> tuple[str | None, str, dict[str, Line]]:
    """Read a manifest; a line that is torn or damaged says nothing.

    Returns:
        The bucket, the prefix and the lines by name; no bucket when it is no manifest.
    """
    bucket: str | None = None
    prefix = ""
    lines: dict[str, Line] = {}
    for text in data:
        try:
            found: Any = orjson.loads(text)
            if bucket is None:
                if found["format"] != FORMAT:
                    break
                bucket, prefix = str(found["bucket"]), str(found["prefix"])
                continue
            line = _line(found)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            continue
        lines[line.name] = line
    return bucket, prefix, lines


def _line(found: Any) -> Line:
    """Check a line's fields. Raises `TypeError` or `KeyError`."""
    line = Line(_text(found["name"]), _text(found.get("path", "")))
    link = found.get("link")
    return replace(
        line,
        size=int(found.get("size", 0)),
        digest=_text(found.get("digest", "")),
        mtime=_text(found.get("mtime", "")),
        seq=int(found.get("seq", 0)),
        description=_text(found.get("description", "")) or None,
        headers=_pairs(found.get("headers")),
        metadata=_pairs(found.get("metadata")),
        filename=_text(found.get("filename", "")) or None,
        expires=_text(found.get("expires", "")) or None,
        link=None if link is None else ObjectLink(link["bucket"], link.get("name")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _pairs(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    pairs = cast("dict[str, object]", value)
    return {_text(key): _text(one) for key, one in pairs.items()} or None
