"""The commands that tell what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from cyclopts import Parameter

from objstore import ObjectInfo
from objstore.blocking import ObjectStore
from objstore.cli import _bucket, _render
from objstore.cli._context import Shared
from objstore.cli._values import Place, object_at, prefix_at

PAGE: Final = 1_000


def ls(
    place: Annotated[str | None, Parameter(name="BUCKET/[PREFIX]")] = None,
    /,
    *,
    long: Annotated[
        bool, Parameter(name=("--long", "-l"), help="Sizes and times, too.")
    ] = False,
    recursive: Annotated[
        bool, Parameter(name=("--recursive", "-r"), help="What is in directories, too.")
    ] = False,
    context: Shared,
) -> None:
    """List the buckets, or what in a bucket begins with a prefix."""
    if place is None:
        _bucket.ls(long=long, context=context)
        return
    at = prefix_at(place)
    with context.open() as store:
        bucket = store.object_store(at.bucket)
        entries: Iterator[ObjectInfo | str]
        entries = bucket.iterate(at.name) if recursive else _entries(bucket, at)
        head = {"bucket": at.bucket, "prefix": at.name}
        shown = (_shown(entry, is_long=long) for entry in entries)
        context.emit_many(head, "entries", shown)


def _entries(bucket: ObjectStore, at: Place) -> Iterator[ObjectInfo | str]:
    """Go through a directory in the order of the names, a page at a time."""
    place: str | None = None
    while True:
        page = bucket.list_directory(at.name, start_after=place, limit=PAGE)
        both: list[ObjectInfo | str] = [*page.objects, *page.prefixes]
        yield from sorted(both, key=_sort_key)
        place = page.next_start_after
        if place is None:
            return


def _sort_key(entry: ObjectInfo | str) -> bytes:
    return (entry if isinstance(entry, str) else entry.name).encode()


def _shown(entry: ObjectInfo | str, *, is_long: bool) -> tuple[object, str]:
    if isinstance(entry, str):
        line = _render.directory_line(entry, is_long=is_long)
        return {"directory": entry}, line
    return _render.document_of(entry), _render.object_line(entry, is_long=is_long)


def info(
    object: Annotated[str, Parameter(name="BUCKET/NAME")],  # noqa: A002 - shown in the help
    /,
    *,
    deleted: Annotated[bool, Parameter(help="Also when it was deleted.")] = False,
    context: Shared,
) -> None:
    """Describe an object; of a link, the link itself."""
    place = object_at(object)
    with context.open() as store:
        found = store.object_store(place.bucket).get_info(
            place.name, show_deleted=deleted
        )
    context.emit(_render.document_of(found), _render.object_lines(found))
