"""How answers look: values as documents for programs and as lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from objstore import (
    Change,
    Damage,
    ObjectInfo,
    ObjectStoreStatus,
    Repair,
    VerifyReport,
)
from objstore.cli._values import KIB, size_text

SIZE_WIDTH = 12


def document_of(value: Any) -> Any:
    """Give a value as JSON can hold it: times as ISO 8601, durations as seconds."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: document_of(getattr(value, field.name))
            for field in fields(value)
        }
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, list | tuple):
        return [document_of(each) for each in cast("list[object]", value)]
    return value


def change_document(change: Change, cursor: str | None) -> dict[str, Any]:
    """Give a change with the cursor just behind it."""
    return {**document_of(change), "cursor": cursor}


def _time_text(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _target_text(info: ObjectInfo) -> str:
    return "" if info.link is None else f" -> {info.link}"


def object_line(info: ObjectInfo, *, is_long: bool) -> str:
    """Give an object in a listing."""
    if not is_long:
        return info.name
    size = "link" if info.link is not None else f"{info.size}"
    time = _time_text(info.mtime)
    return f"{size:>{SIZE_WIDTH}}  {time}  {info.name}{_target_text(info)}"


def directory_line(prefix: str, *, is_long: bool) -> str:
    """Give a directory in a listing."""
    return f"{'directory':>{SIZE_WIDTH}}  {'':19}  {prefix}" if is_long else prefix


def bucket_line(status: ObjectStoreStatus, *, is_long: bool) -> str:
    """Give a bucket in a listing."""
    if not is_long:
        return status.bucket
    mark = "  sealed" if status.sealed else ""
    objects = f"{status.count:>9,} objects"
    return f"{size_text(status.size):>{SIZE_WIDTH}}  {objects}  {status.bucket}{mark}"


def stored_line(info: ObjectInfo) -> str:
    """Give an object that was just stored or made."""
    if info.link is not None:
        return f"{info.bucket}/{info.name} -> {info.link}"
    return f"{info.bucket}/{info.name}  {size_text(info.size)}"


def change_line(change: Change) -> str:
    """Give a change of a bucket's feed."""
    time = _time_text(change.mtime)
    size = f"  {size_text(change.size)}" if change.size else ""
    name = change.name or f"{change.bucket}/"
    return (
        f"{change.seq:>8}  {time}  {change.kind:<6}  {name}{_target_text(change)}{size}"
    )


def _exact_size_text(size: int) -> str:
    if size < 0:
        return "none"
    return size_text(size) if size < KIB else f"{size} ({size_text(size)})"


def fact_lines(value: Any) -> Iterator[str]:
    """Give the facts of a value that are not empty, one a line."""
    for key, fact in asdict(value).items():
        if fact is None or fact in ("", {}):
            continue
        text = fact
        if isinstance(fact, datetime):
            text = _time_text(fact)
        elif isinstance(fact, dict):
            pairs = cast("dict[str, object]", fact).items()
            text = ", ".join(f"{name}={each}" for name, each in pairs)
        elif key in {"size", "stored_size", "max_bytes"}:
            text = _exact_size_text(fact)
        yield f"{key + ':':<16}{text}"


def object_lines(info: ObjectInfo) -> Iterator[str]:
    """Give everything about an object."""
    for line in fact_lines(info):
        if not line.startswith(("options:", "links:", "link:")):
            yield line
    if info.link is not None:
        yield f"{'link:':<16}{info.link}"
    elif info.options is not None:
        yield f"{'chunk_size:':<16}{info.options.max_chunk_size}"


def _place(what: Damage | Repair) -> str:
    """Give what was hit: an object, a bucket, or the registry of buckets."""
    name = "" if what.name is None else what.name
    version = "" if what.seq is None else f" at sequence {what.seq}"
    place = f"{what.bucket}/{name}" if what.bucket else "the registry"
    return f"{place}{version}"


def damage_lines(damaged: list[Damage]) -> Iterator[str]:
    """Give what is damaged, one a line."""
    for damage in damaged:
        yield (
            f"damaged: {_place(damage)} (segment {damage.segment:016x}, "
            f"position {damage.position}): {damage.reason}"
        )


def verify_lines(report: VerifyReport) -> Iterator[str]:
    """Give the result of a check."""
    would = "would be " if report.dry_run else ""
    for done in report.repaired:
        path = "" if done.path is None else f" ({done.path})"
        yield f"{would}{done.action}: {_place(done)}: {done.detail}{path}"
    yield from damage_lines(report.damaged)
    verdict = "nothing is damaged" if report.ok else f"{len(report.damaged)} damaged"
    yield (
        f"checked {report.objects:,} objects, read {size_text(report.bytes)}: {verdict}"
    )
