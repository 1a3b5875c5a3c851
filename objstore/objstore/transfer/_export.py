"""Exporting a bucket to a directory tree: a file for each object, a line for each."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import BinaryIO, Final

from objstore import _engine as ops
from objstore._effects import Blocking
from objstore._engine import Steps, call
from objstore._expiry import Scope
from objstore._links import Version
from objstore._operations_list import Query, check_query, next_infos
from objstore._operations_read import consume, read_version
from objstore._operations_write import Progress
from objstore._types import EPOCH, ObjectInfo, TreeReport
from objstore.errors import (
    CorruptionError,
    DigestMismatchError,
    ObjectNotFoundError,
    ObjStoreError,
)
from objstore.transfer._tree_files import Hashing, Tree, refusals
from objstore.transfer._tree_lines import Line, line_of, time_of
from objstore.transfer._tree_names import beside_directory, name_of, parts_of

_IN_THE_WAY: Final = frozenset(
    {
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EXDEV,
    }
)
"""Errors that are about one path and stop no other one."""


class Tally:
    """What an export or an import has done so far."""

    def __init__(self, path: str, progress: Progress | None, *, dry_run: bool) -> None:
        self.transferred = 0
        self.unchanged = 0
        self.bytes = 0
        self.skipped: dict[str, str] = {}
        self.damaged: dict[str, str] = {}
        self.total: int | None = None
        """Content bytes in all, where they are known."""
        self._path = path
        self._progress = progress
        self._is_dry = dry_run
        self._passed = 0

    def report(self) -> TreeReport:
        """Give the result."""
        return TreeReport(
            self._path,
            self.transferred,
            self.unchanged,
            self.bytes,
            self.skipped,
            self.damaged,
            self._is_dry,
        )

    def passed(self, size: int) -> None:
        """Count the bytes of what is done, transferred or not."""
        self._passed += size
        self.tell(0)

    def tell(self, done: int) -> None:
        """Say how far the object at hand is."""
        if self._progress is not None:
            now = self._passed + done
            total = self.total
            self._progress(now, None if total is None else max(total, now))


def nanoseconds_since_1970(time: datetime) -> int:
    """Give a time as the file system takes it."""
    return (time - EPOCH) // timedelta(microseconds=1) * 1_000


def has_digest(file: BinaryIO | None, digest: str) -> Steps[bool]:
    """Say whether a file has a digest; closes it."""
    if file is None:
        return False
    try:
        if not digest:
            return False
        hashing = Hashing(file)
        while (yield from call(Blocking(hashing.step))):
            continue
        return hashing.digest() == digest
    finally:
        file.close()


def export_tree(
    scope: Scope,
    directory: str,
    prefix: str,
    *,
    dry_run: bool,
    progress: Progress | None,
) -> Steps[TreeReport]:
    """Write each object whose name begins with a prefix to a file of its own."""
    check_query(prefix)
    tree = Tree(directory)
    tally = Tally(str(tree.path), progress, dry_run=dry_run)
    if not prefix:
        tally.total = (yield from call(ops.GetUsage(scope.bucket))).size
    else:
        yield from call(ops.GetBucket(scope.bucket))
    with refusals(tree.path, "export to"):
        try:
            is_there = not dry_run or tree.path.is_dir()
            if is_there:
                opening = partial(tree.open, create=not dry_run, shared=dry_run)
                yield from call(Blocking(opening))
            if not dry_run:
                begin = partial(tree.begin, scope.bucket, prefix)
                yield from call(Blocking(begin))
            export = _Export(scope, tree, prefix, tally, dry_run=dry_run)
            export.is_there = is_there
            yield from export.all()
            yield from call(Blocking(tree.sync))
        finally:
            tree.close()
    return tally.report()


class _Export:
    """One export under way."""

    def __init__(
        self, scope: Scope, tree: Tree, prefix: str, tally: Tally, *, dry_run: bool
    ) -> None:
        self._scope = scope
        self._tree = tree
        self._prefix = prefix
        self._tally = tally
        self._is_dry = dry_run
        self.is_there = True
        """The directory exists."""

    def all(self) -> Steps[None]:
        """Go through the names, a page at a time."""
        query, place = Query(self._prefix), None
        while True:
            steps = next_infos(self._scope, query, place)
            infos, place = yield from steps
            for info in infos:
                yield from self._one(info)
            if place is None:
                return

    def _one(self, info: ObjectInfo) -> Steps[None]:
        tally = self._tally
        try:
            if info.link is not None:
                self._link(info)
            else:
                yield from self._object(info)
        except ObjectNotFoundError:
            # deleted since it was listed
            return
        except (CorruptionError, DigestMismatchError) as error:
            tally.damaged[info.name] = str(error)
        except OSError as error:
            if isinstance(error, ObjStoreError) or error.errno not in _IN_THE_WAY:
                raise
            tally.skipped[info.name] = error.strerror or str(error)
        tally.passed(info.size)

    def _link(self, info: ObjectInfo) -> None:
        """Links are in the manifest alone: no path means the same."""
        line = line_of(info, info.name[len(self._prefix) :], "")
        self._note(line)

    def _note(self, line: Line, *, size: int | None = None) -> None:
        """Count an object, and put it down unless the manifest says just that."""
        is_known = self._tree.lines.get(line.name) == line
        if is_known and size is None:
            self._tally.unchanged += 1
            return
        self._tally.transferred += size is not None or line.link is not None
        self._tally.unchanged += size is None and line.link is None
        self._tally.bytes += size or 0
        if not self._is_dry and not is_known:
            self._tree.note(line)

    def _object(self, info: ObjectInfo) -> Steps[None]:
        name = info.name[len(self._prefix) :]
        parts = parts_of(name)
        for path in (parts, beside_directory(parts)):
            opening = partial(self._tree.opened_as, path, info.size)
            file = (yield from call(Blocking(opening))) if self.is_there else None
            if (yield from has_digest(file, info.digest)):
                yield from self._keep(info, name, path)
                return
        if self._is_dry:
            self._note(line_of(info, name, "/".join(parts)), size=info.size)
            return
        read = partial(self._transfer, name, parts)
        yield from read_version(self._scope, info.name, read)

    def _keep(self, info: ObjectInfo, name: str, parts: Sequence[str]) -> Steps[None]:
        """Pass over a file that is there; its time may be another."""
        if not self._is_dry:
            setting = partial(self._tree.set_time, parts, _time_ns(info))
            yield from call(Blocking(setting))
        self._note(line_of(info, name, "/".join(parts)))

    def _transfer(
        self, name: str, parts: Sequence[str], version: Version
    ) -> Steps[None]:
        tree, tally = self._tree, self._tally
        file = yield from call(Blocking(tree.create))
        try:
            info = version.info
            yield from consume(
                version,
                file.writelines,
                blocks=True,
                progress=lambda done, _: tally.tell(done),
            )
            finish = partial(self._finish, file, parts, info)
            path = yield from call(Blocking(finish))
        except BaseException:
            file.close()
            tree.drop_unfinished()
            raise
        info = replace(info, name=self._prefix + name)
        self._note(line_of(info, name, "/".join(path)), size=info.size)

    def _finish(
        self, file: BinaryIO, parts: Sequence[str], info: ObjectInfo
    ) -> Sequence[str]:
        """Give the file its path; gives which it is."""
        tree, time_ns = self._tree, _time_ns(info)
        self._make_way(parts)
        if tree.is_directory(parts):
            parts = beside_directory(parts)
        tree.finish(file, parts, time_ns)
        return parts

    def _make_way(self, parts: Sequence[str]) -> None:
        """Move files of ours aside whose paths are to be directories."""
        for depth in range(1, len(parts)):
            above = parts[:depth]
            name = name_of(above)
            line = self._tree.lines.get(name)
            if line is None or line.path != "/".join(above):
                continue
            if not self._tree.is_directory(above):
                aside = beside_directory(above)
                self._tree.rename(above, aside[-1])
                self._tree.note(replace(line, path="/".join(aside)))


def _time_ns(info: ObjectInfo) -> int:
    return nanoseconds_since_1970(time_of(info.metadata, info.mtime))
