"""Importing a directory tree into a bucket, with or without a manifest."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import BinaryIO, Final

from objstore import _engine as ops
from objstore._effects import Blocking
from objstore._engine import Steps, call
from objstore._expiry import Scope
from objstore._names import check_object_name
from objstore._operations_list import check_query
from objstore._operations_names import put_link, update_meta
from objstore._operations_read import get_info
from objstore._operations_write import Progress, PutOptions, put
from objstore._sources import source_of
from objstore._types import EPOCH, ObjectInfo, ObjectLink, ObjectMeta, TreeReport
from objstore.errors import (
    BadObjectMetaError,
    DigestMismatchError,
    ObjectAlreadyExists,
    ObjectNotFoundError,
)
from objstore.transfer._export import (
    Tally,
    has_digest,
    nanoseconds_since_1970,
)
from objstore.transfer._tree_files import Tree, refusals
from objstore.transfer._tree_lines import MTIME_KEY, Line

PAGE: Final = 200
_ASIDE: Final = "%"


@dataclass(frozen=True, slots=True)
class _Found:
    """A file in the tree."""

    parts: Sequence[str]
    size: int
    time_ns: int

    @property
    def path(self) -> str:
        """Give it as the manifest has it."""
        return "/".join(self.parts)

    @property
    def time(self) -> str:
        """Give when it was changed."""
        time = EPOCH + timedelta(microseconds=self.time_ns // 1_000)
        return time.isoformat()


def import_tree(
    scope: Scope,
    directory: str,
    prefix: str,
    *,
    dry_run: bool,
    progress: Progress | None,
) -> Steps[TreeReport]:
    """Store each file of a tree under its name, behind a prefix."""
    check_query(prefix)
    tree = Tree(directory)
    tally = Tally(str(tree.path), progress, dry_run=dry_run)
    state = yield from call(ops.GetBucket(scope.bucket))
    scope = replace(scope, incarnation=state.incarnation)
    with refusals(tree.path, "import from"):
        try:
            yield from call(Blocking(partial(tree.open, shared=True)))
            yield from _Import(scope, tree, prefix, tally, dry_run=dry_run).all()
        finally:
            tree.close()
    return tally.report()


class _Import:
    """One import under way."""

    def __init__(
        self, scope: Scope, tree: Tree, prefix: str, tally: Tally, *, dry_run: bool
    ) -> None:
        self._scope = scope
        self._tree = tree
        self._prefix = prefix
        self._tally = tally
        self._is_dry = dry_run
        self._files = {
            line.path: line for line in tree.lines.values() if line.link is None
        }
        """What the manifest says of files that were not met yet, by path."""

    def all(self) -> Steps[None]:
        """Files first, then the links to them."""
        found = yield from self._walk()
        self._tally.total = sum(file.size for file in found)
        for file in found:
            yield from self._one(file)
        for line in self._files.values():
            self._tally.skipped[line.name] = f"its file {line.path} is missing"
        for line in self._tree.lines.values():
            if line.link is not None:
                yield from self._link(line, line.link)

    def _walk(self) -> Steps[list[_Found]]:
        found: list[_Found] = []
        walk = self._look()
        while page := (yield from call(Blocking(lambda: list(islice(walk, PAGE))))):
            found += page
        return found

    def _look(self) -> Iterator[_Found]:
        for parts, status in self._tree.walk():
            if status is None:
                self._tally.skipped["/".join(parts)] = "it is no plain file"
            else:
                yield _Found(parts, status.st_size, status.st_mtime_ns)

    def _one(self, file: _Found) -> Steps[None]:
        path, tally = file.path, self._tally
        line = self._files.pop(path, None)
        if line is None and path.endswith(_ASIDE):
            # it was moved aside, and the export was killed before it said so
            line = self._files.pop(path.removesuffix(_ASIDE), None)
        try:
            name = check_object_name(
                self._prefix + (path if line is None else line.name)
            )
            if line is None:
                yield from self._plain(file, name)
            else:
                yield from self._known(file, name, line)
        except BadObjectMetaError as error:
            tally.skipped[path] = str(error)
        except DigestMismatchError as error:
            tally.damaged[path] = f"its digest is {error.actual}, not {error.expected}"
        except (FileNotFoundError, NotADirectoryError):
            tally.skipped[path] = "it went away meanwhile"
        tally.passed(file.size)

    def _existing(self, name: str) -> Steps[ObjectInfo | None]:
        try:
            return (yield from get_info(self._scope, name, show_deleted=False))
        except ObjectNotFoundError:
            return None

    # --- files ----------------------------------------------------------------

    def _known(self, file: _Found, name: str, line: Line) -> Steps[None]:
        """Import a file that the manifest names."""
        options = _options_of(line)
        if line.expires is not None:
            expires = datetime.fromisoformat(line.expires)
            left_ns = nanoseconds_since_1970(expires) - self._scope.engine.now_ns()
            if left_ns <= 0:
                self._tally.skipped[file.path] = f"it expired at {line.expires}"
                return
            options["ttl"] = left_ns / 1e9
        existing = yield from self._existing(name)
        if existing is not None and line.digest and existing.digest == line.digest:
            yield from self._tell_meta(existing, options)
            return
        if line.digest:
            options["expected_digest"] = line.digest
        yield from self._put(file, name, options)

    def _tell_meta(self, existing: ObjectInfo, options: PutOptions) -> Steps[None]:
        """Leave content that is there; say about it what the manifest says."""
        self._tally.unchanged += 1
        wanted = ObjectMeta(
            description=_text(options.get("description")),
            headers=options.get("headers") or {},
            metadata=options.get("metadata") or {},
            filename=options.get("filename") or "",
        )
        is_same = (
            (existing.description or "") == wanted.description
            and (existing.headers or {}) == wanted.headers
            and (existing.metadata or {}) == wanted.metadata
            and (existing.filename or "") == wanted.filename
        )
        if not is_same and not self._is_dry:
            yield from update_meta(self._scope, existing.name, wanted)

    def _plain(self, file: _Found, name: str) -> Steps[None]:
        """Import a file that no manifest names."""
        existing = yield from self._existing(name)
        if existing is not None and existing.size == file.size:
            opening = partial(self._tree.opened_as, file.parts, file.size)
            opened = yield from call(Blocking(opening))
            if (yield from has_digest(opened, existing.digest)):
                self._tally.unchanged += 1
                return
        last = file.parts[-1]
        guess = yield from call(Blocking(partial(mimetypes.guess_type, last)))
        options = PutOptions(metadata={MTIME_KEY: file.time})
        if last.isprintable():
            options["filename"] = last
        if guess[0] is not None:
            options["content_type"] = guess[0]
        yield from self._put(file, name, options)

    def _put(self, file: _Found, name: str, options: PutOptions) -> Steps[None]:
        tally = self._tally
        opening = partial(self._tree.open_file, file.parts)
        opened: BinaryIO = yield from call(Blocking(opening))
        try:
            size = os.fstat(opened.fileno()).st_size
            if self._is_dry:
                yield from self._check(opened, name, options)
            else:
                options["progress"] = lambda done, _: tally.tell(done)
                source = source_of(opened, is_async=False)
                size = (yield from put(self._scope, name, source, options)).size
        finally:
            opened.close()
        tally.transferred += 1
        tally.bytes += size

    def _check(self, opened: BinaryIO, name: str, options: PutOptions) -> Steps[None]:
        """Raise what a put would raise of a file that is not what it was."""
        expected = options.get("expected_digest")
        if not isinstance(expected, str):
            return
        if not (yield from has_digest(opened, expected)):
            raise DigestMismatchError(
                bucket=self._scope.bucket,
                name=name,
                expected=expected,
                actual="another one",
                stored=False,
            )

    # --- links ----------------------------------------------------------------

    def _link(self, line: Line, link: ObjectLink) -> Steps[None]:
        name, target = self._prefix + line.name, self._target_of(link)
        meta = ObjectMeta(
            description=line.description,
            headers=line.headers,
            metadata=line.metadata,
            filename=line.filename,
        )
        try:
            check_object_name(name)
            existing = yield from self._existing(name)
            if existing is not None and existing.link == target:
                self._tally.unchanged += 1
                return
            if not self._is_dry:
                yield from put_link(self._scope, name, target, meta)
            self._tally.transferred += 1
        except (BadObjectMetaError, ObjectAlreadyExists) as error:
            self._tally.skipped[line.name] = str(error)

    def _target_of(self, link: ObjectLink) -> ObjectLink:
        """Give where a link points now: what was exported with it has moved, too."""
        if link.bucket != self._tree.bucket:
            return link
        name = link.name
        if name is not None and name.startswith(self._tree.prefix):
            name = self._prefix + name[len(self._tree.prefix) :]
        return ObjectLink(self._scope.bucket, name)


def _options_of(line: Line) -> PutOptions:
    """Give what is said about an object, and the time that it had."""
    metadata = dict(line.metadata or {})
    if line.mtime:
        metadata.setdefault(MTIME_KEY, line.mtime)
    return PutOptions(
        description=line.description,
        headers=line.headers,
        metadata=metadata,
        filename=line.filename,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
