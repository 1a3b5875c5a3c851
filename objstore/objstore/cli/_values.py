"""What words on the command line mean: places, sizes, durations, pairs. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from objstore.cli._failures import UsageError

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kKMGT]?)(i?)B?")
_POWERS: Final = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_NONE: Final = "none"
KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is: `bucket/name`; the name may be empty or end in a slash."""

    bucket: str
    name: str = ""

    def __str__(self) -> str:
        """Give it as it is written."""
        return f"{self.bucket}/{self.name}"

    def below(self, source_name: str) -> Place:
        """Give the place of a thing of that name: in here when this is a directory.

        Raises:
            UsageError: nothing is left of the thing's own name.
        """
        if self.name and not self.name.endswith("/"):
            return self
        return Place(self.bucket, self.name + last_part(source_name))


def last_part(name: str) -> str:
    """Give the part of a name behind its last slash.

    Raises:
        UsageError: it is no name that a file can have.
    """
    part = name.rpartition("/")[2]
    if part in {"", ".", ".."}:
        problem = f"{name!r} has no last part to be used as a name; write the whole one"
        raise UsageError(problem)
    return part


def object_at(text: str) -> Place:
    """Read `BUCKET/NAME`."""
    place = prefix_at(text)
    if not place.name:
        problem = f"{text!r} names no object; write BUCKET/NAME"
        raise UsageError(problem)
    return place


def target_at(text: str) -> Place:
    """Read `BUCKET/` or `BUCKET/NAME`."""
    bucket, slash, name = text.partition("/")
    if not slash:
        problem = f"{text!r} has no slash; write BUCKET/ or BUCKET/NAME"
        raise UsageError(problem)
    return Place(bucket, name)


def prefix_at(text: str) -> Place:
    """Read `BUCKET`, `BUCKET/` or `BUCKET/PREFIX`."""
    bucket, _, prefix = text.partition("/")
    return Place(bucket, prefix)


def size_of(text: str) -> int:
    """Read a number of bytes: `4096`, `64KiB`, `1.5GB`; K, M, G and T are binary.

    Raises:
        ValueError: it is none.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        problem = f"{text!r} is no size; write one as 4096, 64KiB, 10MB or 1GiB"
        raise ValueError(problem)
    number, unit, binary = found.groups()
    is_decimal = text.endswith("B") and not binary
    base = 1000 if is_decimal else KIB
    return int(float(number) * base ** _POWERS[unit]) if unit else int(float(number))


def limit_of(text: str) -> int:
    """Read a size, or `none` for no limit, which is -1.

    Raises:
        ValueError: it is neither.
    """
    if text == _NONE:
        return -1
    try:
        return size_of(text)
    except ValueError as error:
        problem = f"{error}, or none for no limit"
        raise ValueError(problem) from None


def seconds_of(text: str) -> float:
    """Read a duration: seconds, or such as `90s`, `15m`, `1h30m`, `7d`, `2w`.

    `none` is 0, which the library takes as for ever.

    Raises:
        ValueError: it is none.
    """
    if text == _NONE:
        return 0.0
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    if not _DURATION.fullmatch(text):
        problem = f"{text!r} is no duration; write one as 90s, 15m, 1h30m, 7d or none"
        raise ValueError(problem)
    parts: list[tuple[str, str]] = _DURATION_PART.findall(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def sync_of(text: str) -> str | float:
    """Read when a bucket syncs: `always`, `never` or a duration.

    Raises:
        ValueError: it is none of them.
    """
    if text in {"always", "never"}:
        return text
    try:
        seconds = seconds_of(text)
    except ValueError:
        seconds = 0.0
    if not seconds:
        problem = f"{text!r} is no way to sync; write always, never or a time as 5s"
        raise ValueError(problem)
    return seconds


def start_of(text: str) -> str | int | datetime:
    """Read where a watch starts: a word, a sequence or a time.

    A time without a zone is in the zone of the machine.

    Raises:
        ValueError: it is none of them.
    """
    if text in {"current", "new", "all"}:
        return text
    if text.isdecimal():
        return int(text)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        problem = (
            f"{text!r} is no start; write current, new, all, a sequence, or a time as "
            "2026-01-31T12:00:00Z"
        )
        raise ValueError(problem) from None


def pairs_of(texts: list[str], separator: str) -> dict[str, str] | None:
    """Read `key=value` pairs, or `Name: value` headers; `None` when there are none.

    Raises:
        UsageError: one has no separator.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, found, value = text.partition(separator)
        if not found or not key:
            problem = f"{text!r} is no pair; write it as key{separator}value"
            raise UsageError(problem)
        pairs[key.strip()] = value.strip()
    return pairs or None


def size_text(size: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < KIB:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= KIB
    return f"{size:.1f} TiB"
