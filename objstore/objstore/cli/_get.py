"""The commands that read content."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Annotated, BinaryIO, Final

from cyclopts import Parameter

from objstore import ObjectInfo
from objstore.blocking import ObjectReader, ObjectStore
from objstore.cli import _render
from objstore.cli._context import STANDARD_OUTPUT, Shared
from objstore.cli._failures import UsageError, about
from objstore.cli._options import Size
from objstore.cli._progress import progress
from objstore.cli._values import last_part, object_at, size_text

STREAM: Final = "-"
SLAB_BYTES: Final = 1024 * 1024


def get(
    object: Annotated[str, Parameter(name="BUCKET/NAME")],  # noqa: A002 - shown in the help
    path: Annotated[str | None, Parameter(name="PATH")] = None,
    /,
    *,
    context: Shared,
) -> None:
    """Write an object to a file; `-` is standard output.

    Without a path, or when it is a directory, the file gets the last part of the
    object's name. The file appears whole and verified, or not at all.
    """
    place = object_at(object)
    target = last_part(place.name) if path is None else path
    if target == STREAM:
        context.refuse_json("standard output has the content")
    elif os.path.isdir(target):  # noqa: PTH112 - text all the way
        target = os.path.join(target, last_part(place.name))  # noqa: PTH118 - the same
    elif os.path.basename(target) in {"", ".", ".."}:  # noqa: PTH119 - the same
        # It can be a directory alone; the system says why it is none.
        os.stat(target)  # noqa: PTH116 - the same
    with context.open() as store:
        bucket = store.object_store(place.bucket)
        if target == STREAM:
            with about(STANDARD_OUTPUT), _standard_output() as output:
                _stream(bucket, place.name, output)
            return
        info = _save(bucket, place.name, target)
    document = {**_render.document_of(info), "path": target}
    context.emit(document, [f"{target}  {size_text(info.size)}"])


def _save(bucket: ObjectStore, name: str, target: str) -> ObjectInfo:
    """Replace a file; write into what is there and no file, such as a device."""
    if os.path.exists(target) and not os.path.isfile(target):  # noqa: PTH110, PTH113 - text all the way
        with about(target), open(target, "wb") as device:  # noqa: PTH123 - the same
            return _stream(bucket, name, device)
    # Of a link, what it points to is replaced.
    target = os.path.realpath(target)
    # The library's own error would name its temporary file.
    os.stat(os.path.dirname(target))  # noqa: PTH116, PTH120 - the same
    with about(target), progress("get") as tell:
        return bucket.download(name, target, progress=tell)


def cat(
    object: Annotated[str, Parameter(name="BUCKET/NAME")],  # noqa: A002 - shown in the help
    /,
    *,
    start: Annotated[
        int, Parameter(help="First byte; negative counts from the end.")
    ] = 0,
    length: Annotated[
        Size | None, Parameter(help="Number of bytes; all of the rest unless given.")
    ] = None,
    context: Shared,
) -> None:
    """Write an object, or some bytes of it, to standard output."""
    place = object_at(object)
    context.refuse_json("standard output has the content")
    with context.open() as store:
        bucket = store.object_store(place.bucket)
        with about(STANDARD_OUTPUT), _standard_output() as output:
            _stream(bucket, place.name, output, start=start, length=length)


def _standard_output() -> BinaryIO:
    """Give standard output, buffered: with `python -u` a write may be a part of one."""
    sys.stdout.flush()
    return open(sys.stdout.fileno(), "wb", closefd=False)


def _stream(
    bucket: ObjectStore,
    name: str,
    output: BinaryIO,
    *,
    start: int = 0,
    length: int | None = None,
) -> ObjectInfo:
    with bucket.open_reader(name) as reader:
        size = reader.info.size
        if start > size:
            problem = f"--start {start} is behind the object's {size} bytes"
            raise UsageError(problem)
        reader.seek(start if start >= 0 else max(size + start, 0))
        output.writelines(_slabs(reader, size if length is None else length))
        output.flush()
        return reader.info


def _slabs(reader: ObjectReader, missing: int) -> Iterator[bytes]:
    while missing and (slab := reader.read(min(missing, SLAB_BYTES))):
        missing -= len(slab)
        yield slab
