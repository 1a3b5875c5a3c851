"""The command that stores files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from objstore import BadObjectMetaError, ObjectInfo
from objstore._names import check_object_name
from objstore.blocking import ObjectStore
from objstore.cli import _render
from objstore.cli._context import Shared, print_line
from objstore.cli._failures import FAILED, UsageError, about, say
from objstore.cli._options import Seconds, Size
from objstore.cli._progress import Tell, behind, progress
from objstore.cli._values import Place, pairs_of, target_at

STREAM: Final = "-"
"""Standard input, or output."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or standard input, and the name that it gets."""

    path: str
    name: str
    size: int | None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PutSettings:
    """What is said about the objects."""

    description: Annotated[str | None, Parameter(help="Free text.")] = None
    content_type: Annotated[
        str | None, Parameter(help="The type, unless the file's name tells it.")
    ] = None
    header: Annotated[
        tuple[str, ...], Parameter(help='A header as "Name: value"; may be repeated.')
    ] = ()
    metadata: Annotated[
        tuple[str, ...], Parameter(help="A pair as key=value; may be repeated.")
    ] = ()
    ttl: Annotated[
        Seconds | None,
        Parameter(help="How long the content lives: 90s, 24h, 30d or none."),
    ] = None
    chunk_size: Annotated[
        Size | None, Parameter(help="Size of a chunk, at most 1MiB.")
    ] = None
    create: Annotated[bool, Parameter(help="Refuse names that are taken.")] = False
    if_match: Annotated[
        int | None, Parameter(help="Refuse unless the object is at this sequence.")
    ] = None
    digest: Annotated[
        str | None, Parameter(help="Refuse unless the SHA-256 is this one, in hex.")
    ] = None

    def options(self) -> dict[str, Any]:
        """Give the options as the library takes them."""
        return {
            "description": self.description,
            "content_type": self.content_type,
            "headers": pairs_of(list(self.header), ":"),
            "metadata": pairs_of(list(self.metadata), "="),
            "ttl": self.ttl,
            "chunk_size": self.chunk_size,
            "create": self.create,
            "if_match": self.if_match,
            "expected_digest": self.digest,
        }


def put(
    *files: Annotated[str, Parameter(name="FILE... BUCKET/[NAME]", negative=())],
    recursive: Annotated[
        bool, Parameter(name=("--recursive", "-r"), help="Take whole directories.")
    ] = False,
    settings: PutSettings | None = None,
    context: Shared,
) -> int:
    """Store files as objects; `-` is standard input.

    A target that ends in a slash takes the files' own names, as `cp` does; one that
    does not is the name of the one file, or what a directory's names begin with.
    What a directory holds and cannot be stored is left out, told, and ends with 1.
    """
    if len(files) < 2:  # noqa: PLR2004 - a file and where it goes
        problem = "write what to store and where: objstore put FILE... BUCKET/[NAME]"
        raise UsageError(problem)
    *paths, last = files
    target = target_at(last)
    left_out: list[str] = []
    sources = [
        source
        for path in paths
        for source in _sources(path, target, left_out, is_recursive=recursive)
    ]
    settings = settings or PutSettings()
    _check(sources, paths, target, settings)
    for text in left_out:
        say(f"left out: {text}")
    with context.open() as store:
        bucket = store.object_store(target.bucket)
        stored: list[ObjectInfo] = []
        try:
            _put_all(bucket, sources, settings.options(), stored)
        finally:
            if not context.is_json:
                for info in stored:
                    print_line(_render.stored_line(info))
    if context.is_json:
        document = {"objects": _render.document_of(stored), "left_out": left_out}
        context.emit(document, [])
    return FAILED if left_out else 0


def _check(
    sources: list[Source], paths: list[str], target: Place, settings: PutSettings
) -> None:
    """Refuse what cannot be meant, before anything is stored."""
    is_directory = not target.name or target.name.endswith("/")
    if len(paths) > 1 and not is_directory:
        problem = f"{target} is one name for several files; end it in a slash"
        raise UsageError(problem)
    if STREAM in paths and (is_directory or len(paths) > 1):
        problem = "standard input has no name of its own; write BUCKET/NAME"
        raise UsageError(problem)
    if STREAM in paths and not sys.stdin.readable():
        problem = "standard input is closed; open it with < FILE or |, or name a file"
        raise UsageError(problem)
    for source in sources:
        check_object_name(source.name)
    is_single = settings.if_match is not None or settings.digest is not None
    if is_single and len(sources) != 1:
        problem = "--if-match and --digest are about one object; put one at a time"
        raise UsageError(problem)


def _sources(
    path: str, target: Place, left_out: list[str], *, is_recursive: bool
) -> Iterator[Source]:
    """Give what a word on the command line means.

    Raises:
        OSError: there is no such file.
        UsageError: it is a directory, and directories were not asked for.
    """
    if path == STREAM:
        yield Source(path, target.name, None)
        return
    # Asks for the type and for permission, too: a missing file stops everything.
    status = os.stat(path)  # noqa: PTH116 - text all the way
    if not os.path.isdir(path):  # noqa: PTH112 - the same
        name = target.below(os.path.abspath(path)).name  # noqa: PTH100 - the same
        yield Source(path, name, status.st_size)
        return
    if not is_recursive:
        problem = f"{path} is a directory; take it whole with -r"
        raise UsageError(problem)
    yield from _tree(path, _tree_prefix(path, target), left_out)


def _tree_prefix(path: str, target: Place) -> str:
    """Give what the names of a directory's files begin with, as `cp -r` has it."""
    if target.name and not target.name.endswith("/"):
        return f"{target.name}/"
    own = Path(path).name
    return f"{target.name}{own}/" if own not in {"", ".."} else target.name


def _raise(error: OSError) -> None:
    raise error


def _tree(root: str, prefix: str, left_out: list[str]) -> Iterator[Source]:
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders.sort()
        below = os.path.relpath(folder, root)
        start = prefix if below == "." else f"{prefix}{below}/".replace(os.sep, "/")
        for name in folders:
            path = os.path.join(folder, name)  # noqa: PTH118 - text all the way
            if os.path.islink(path):  # noqa: PTH114 - the same
                left_out.append(f"{_shown(path)} links to a directory")
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - the same
            if not os.path.isfile(path):  # noqa: PTH113 - the same
                left_out.append(f"{_shown(path)} is no file")
                continue
            try:
                check_object_name(start + name)
            except BadObjectMetaError as error:
                left_out.append(f"{_shown(path)}: {error}")
            else:
                yield Source(path, start + name, os.path.getsize(path))  # noqa: PTH202 - the same


def _shown(path: str) -> str:
    """Give a path in one line, and in one word where a terminal would not."""
    return path if path.isprintable() else repr(path)


def _put_all(
    bucket: ObjectStore,
    sources: list[Source],
    options: dict[str, Any],
    stored: list[ObjectInfo],
) -> None:
    sizes = [source.size for source in sources if source.size is not None]
    total = sum(sizes) if len(sizes) == len(sources) else None
    done = 0
    with progress("put") as tell:
        for source in sources:
            info = _put_one(bucket, source, options, behind(tell, done, total))
            done += info.size
            stored.append(info)


def _put_one(
    bucket: ObjectStore, source: Source, options: dict[str, Any], tell: Tell | None
) -> ObjectInfo:
    if source.path == STREAM:
        with about("standard input"):
            return bucket.put(source.name, sys.stdin.buffer, progress=tell, **options)
    return bucket.upload(source.name, source.path, progress=tell, **options)
