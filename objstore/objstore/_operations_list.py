"""Listing names: in pages, and by directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from objstore._document import listed_of
from objstore._engine import Page, PinHandle, Snapshot, Steps, StoredMeta, call
from objstore._expiry import PAGE_ROWS, Scope, as_expired, is_due, is_sealed
from objstore._names import OBJECT_NAME_BYTES_MAX, text_fault
from objstore._ranges import whole
from objstore._types import Listing, ObjectInfo
from objstore.errors import BadObjectMetaError
from objstore_log.errors import SequenceGoneError

T = TypeVar("T")
_GREATEST = "\U0010ffff" * (OBJECT_NAME_BYTES_MAX // 4)
"""No name goes on with anything greater."""
FIRST_ROWS = 200
"""Rows that the first look of a list takes, be its limit ever so small."""
LIST_TRIES = 20
"""How often a long list begins again because its snapshot was damaged."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which names to list."""

    prefix: str = ""
    show_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """A page of names, and where the next one starts; `None` after the last."""

    metas: list[StoredMeta]
    next_start_after: str | None


@dataclass(frozen=True, slots=True)
class _Moment:
    """When all pages of a list are read."""

    snapshot: PinHandle
    now_ns: int


def check_query(
    prefix: object, start_after: object = None, limit: object = None
) -> None:
    """Check the arguments of a listing.

    Raises:
        BadObjectMetaError: a text is none that UTF-8 can hold, or the limit is
            negative or no number.
    """
    _check_text("prefix", prefix)
    if start_after is not None:
        _check_text("start_after", start_after)
    if limit is not None and whole("limit", limit) < 0:
        hint = "give 0 or more, or None for all"
        raise BadObjectMetaError(
            field="limit", value=limit, problem="is negative", hint=hint
        )


def _check_text(field: str, text: object) -> None:
    if isinstance(text, str):
        fault = text_fault(text, control_characters=True)
    else:
        fault = f"has the type {type(text).__name__}"
    if fault is not None:
        hint = "give text that UTF-8 can hold"
        raise BadObjectMetaError(field=field, value=text, problem=fault, hint=hint)


def next_rows(
    scope: Scope,
    query: Query,
    start_after: str | None,
    *,
    limit: int = PAGE_ROWS,
    moment: _Moment | None = None,
) -> Steps[Rows]:
    """Give the visible ones of the next `limit` names."""
    snapshot = None if moment is None else moment.snapshot
    op = Page(scope.bucket, query.prefix, start_after, limit, snapshot=snapshot)
    rows = yield from call(op)
    now_ns = scope.engine.now_ns() if moment is None else moment.now_ns
    metas = yield from _visible(scope, query, rows, now_ns)
    return Rows(metas, rows[-1].name if len(rows) == limit else None)


def _visible(
    scope: Scope, query: Query, rows: list[StoredMeta], now_ns: int
) -> Steps[list[StoredMeta]]:
    if any(is_due(row, now_ns) for row in rows) and not (yield from is_sealed(scope)):
        rows = [as_expired(row) if is_due(row, now_ns) else row for row in rows]
    return [row for row in rows if query.show_deleted or not row.is_marker]


def _at_one_moment(scope: Scope, read: Callable[[_Moment], Steps[T]]) -> Steps[T]:
    """Read what takes several pages, all of it as of one moment."""
    for _ in range(LIST_TRIES - 1):
        with suppress(SequenceGoneError):
            return (yield from _try_at_one_moment(scope, read))
    return (yield from _try_at_one_moment(scope, read))


def _try_at_one_moment(scope: Scope, read: Callable[[_Moment], Steps[T]]) -> Steps[T]:
    snapshot = yield from call(Snapshot(scope.bucket))
    try:
        return (yield from read(_Moment(snapshot, scope.engine.now_ns())))
    finally:
        snapshot.release()


def next_infos(
    scope: Scope, query: Query, start_after: str | None
) -> Steps[tuple[list[ObjectInfo], str | None]]:
    """Give a page of objects, and where the next one starts."""
    check_query(query.prefix, start_after)
    rows = yield from next_rows(scope, query, start_after)
    return [listed_of(scope.bucket, row) for row in rows.metas], rows.next_start_after


def list_infos(
    scope: Scope, query: Query, *, start_after: str | None, limit: int | None
) -> Steps[list[ObjectInfo]]:
    """Give objects in the order of their names."""
    check_query(query.prefix, start_after, limit)
    # few where few will do, but there may be any number of markers to pass over
    room = PAGE_ROWS if limit is None else min(max(limit, FIRST_ROWS), PAGE_ROWS)
    rows = yield from next_rows(scope, query, start_after, limit=room)
    is_enough = limit is not None and len(rows.metas) >= limit
    if rows.next_start_after is None or is_enough:
        return [listed_of(scope.bucket, meta) for meta in rows.metas[:limit]]

    def read(moment: _Moment) -> Steps[list[ObjectInfo]]:
        return _read_list(scope, query, start_after, limit, moment)

    return (yield from _at_one_moment(scope, read))[:limit]


def _read_list(
    scope: Scope,
    query: Query,
    start_after: str | None,
    limit: int | None,
    moment: _Moment,
) -> Steps[list[ObjectInfo]]:
    found: list[ObjectInfo] = []
    place = start_after
    while limit is None or len(found) < limit:
        rows = yield from next_rows(scope, query, place, moment=moment)
        # page by page: what was read to make them goes again
        found += [listed_of(scope.bucket, meta) for meta in rows.metas]
        place = rows.next_start_after
        if place is None:
            break
    return found


class _Directory:
    """Sorts names into the objects and the prefixes right in a directory. Pure."""

    def __init__(
        self, prefix: str, delimiter: str, start_after: str | None, limit: int | None
    ) -> None:
        self._prefix = prefix
        self._delimiter = delimiter
        self._after = None if start_after is None else start_after.encode()
        self._limit = limit
        self.metas: list[StoredMeta] = []
        self.prefixes: list[str] = []
        self.entry: str | None = None
        """The entry that was added last."""

    def add(self, metas: Iterable[StoredMeta]) -> bool:
        """Take names in their order; say whether one was left out for the limit."""
        for meta in metas:
            entry, is_prefix = self._entry_of(meta.name)
            known = self._after is not None and entry.encode() <= self._after
            if known or (self.prefixes and self.prefixes[-1] == entry):
                continue
            if self._limit == len(self.metas) + len(self.prefixes):
                return True
            self.entry = entry
            if is_prefix:
                self.prefixes.append(entry)
            else:
                self.metas.append(meta)
        return False

    def behind(self, name: str) -> str:
        """Give where to look on behind a name: behind a directory that is known."""
        entry, is_prefix = self._entry_of(name)
        known = self._after is not None and entry.encode() <= self._after
        if is_prefix and (known or entry in self.prefixes[-1:]):
            return entry + _GREATEST
        return name

    def listing(self, bucket: str, start_after: str | None, *, is_cut: bool) -> Listing:
        """Give what was found, and where to go on when more was left out."""
        infos = [listed_of(bucket, meta) for meta in self.metas]
        following = (self.entry or start_after) if is_cut else None
        return Listing(infos, self.prefixes, following)

    def _entry_of(self, name: str) -> tuple[str, bool]:
        """Give the directory right in this one that a name is in, else the name.

        An object that is called like this directory is an object in it.
        """
        end = name.find(self._delimiter, len(self._prefix))
        if end < 0:
            return name, False
        return name[: end + len(self._delimiter)], True


def list_directory(
    scope: Scope,
    prefix: str,
    *,
    delimiter: str,
    start_after: str | None,
    limit: int | None,
) -> Steps[Listing]:
    """Give what is right in a directory."""
    check_query(prefix, start_after, limit)
    _check_text("delimiter", delimiter)
    if not delimiter:
        raise BadObjectMetaError(
            field="delimiter",
            value=delimiter,
            problem="is empty",
            hint='give what separates directories, such as "/"',
        )
    first = _Directory(prefix, delimiter, start_after, limit)
    place = None if start_after is None else first.behind(start_after)
    rows = yield from next_rows(scope, Query(prefix), place)
    is_cut = first.add(rows.metas)
    if is_cut or rows.next_start_after is None:
        return first.listing(scope.bucket, start_after, is_cut=is_cut)

    def read(moment: _Moment) -> Steps[Listing]:
        directory = _Directory(prefix, delimiter, start_after, limit)
        return _read_directory(scope, directory, prefix, start_after, moment)

    return (yield from _at_one_moment(scope, read))


def _read_directory(
    scope: Scope,
    directory: _Directory,
    prefix: str,
    start_after: str | None,
    moment: _Moment,
) -> Steps[Listing]:
    is_cut, place = False, start_after
    while not is_cut:
        behind = None if place is None else directory.behind(place)
        rows = yield from next_rows(scope, Query(prefix), behind, moment=moment)
        is_cut = directory.add(rows.metas)
        place = rows.next_start_after
        if place is None:
            break
    return directory.listing(scope.bucket, start_after, is_cut=is_cut)
