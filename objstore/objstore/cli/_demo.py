"""The demo: a real tree through a store that is watched, killed, and checked."""

from __future__ import annotations

import shlex
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

import objstore
from objstore import ObjStoreError
from objstore.cli import _demo_steps as steps
from objstore.cli import _render
from objstore.cli._context import Context, Shared, print_line
from objstore.cli._demo_processes import Watcher, kill_writer
from objstore.cli._demo_tree import File, find_files, standard_library
from objstore.cli._failures import FAILED, CommandError, UsageError, say, text_of
from objstore.cli._values import size_text

BUCKET: Final = "demo"


def demo(
    path: Annotated[str | None, Parameter(name="PATH")] = None,
    /,
    *,
    keep: Annotated[
        str | None,
        Parameter(help="Directory for the store; a new temporary one unless given."),
    ] = None,
    context: Shared,
) -> int:
    """Put a real tree of files through a store, and check what comes out.

    Takes the standard library of this Python unless a path is given. Another
    process watches, a writer is killed in the middle of a put, and the store goes
    on.
    """
    root = standard_library() if path is None else Path(path)
    if not root.is_dir():
        problem = f"{root} is no directory; name one that has files"
        raise UsageError(problem)
    files = list(find_files(root))
    if not files:
        problem = f"{root} has no files that can be read"
        raise UsageError(problem)
    directory = _directory(keep)
    start_s = time.perf_counter()
    total = size_text(sum(file.size for file in files))
    _say(context, f"{root}: {len(files):,} files, {total}")
    result = steps.Result(lambda check: _say(context, _line(check)))
    try:
        _run(result, directory, files)
    except (CommandError, ObjStoreError) as error:
        result.check("go on", False, text_of(error))
    except KeyboardInterrupt:
        say(f"what there is of the store is in {directory}")
        raise
    seconds = round(time.perf_counter() - start_s, 1)
    ok = all(check.ok for check in result.checks)
    document: dict[str, Any] = {
        "ok": ok,
        "tree": str(root),
        "directory": str(directory),
        "seconds": seconds,
        **result.figures,
        "checks": _render.document_of(result.checks),
    }
    verdict = "every check held" if ok else "A CHECK FAILED"
    place = shlex.quote(str(directory))
    lines = [
        f"{verdict}, {seconds} s; the store is in {directory}",
        f"look at it: objstore --store {place} ls {BUCKET}; remove it: rm -r {place}",
    ]
    context.emit(document, lines)
    return 0 if ok else FAILED


def _directory(keep: str | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="objstore-demo-"))
    directory = Path(keep)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        problem = f"{directory} is not empty; name a new directory for the demo's store"
        raise UsageError(problem)
    return directory


def _say(context: Context, line: str) -> None:
    if not context.is_json:
        print_line(line, flush=True)


def _line(check: steps.Check) -> str:
    mark = "ok    " if check.ok else "FAILED"
    return f"{mark} {check.name:<10} {check.detail}"


def _run(result: steps.Result, directory: Path, files: list[File]) -> None:
    """Take all steps, the second half of them after a writer was killed."""
    with objstore.open(directory, retention_interval=None) as store:
        store.create_object_store(bucket=BUCKET)
    with Watcher(directory, BUCKET) as watcher:
        with objstore.open(directory, create=False, retention_interval=None) as store:
            bucket = store.object_store(BUCKET)
            steps.put_all(result, bucket, files)
            steps.list_all(result, bucket)
            steps.read_all(result, bucket, files)
            steps.change_some(result, bucket)
        killed = kill_writer(directory, BUCKET)
        with objstore.open(directory, create=False, retention_interval=None) as store:
            bucket = store.object_store(BUCKET)
            steps.check_killed(result, bucket, killed)
            steps.carry_on(result, bucket, killed)
            steps.list_all(result, bucket)
            steps.retain(result, store, directory)
            steps.read_all(result, bucket, ())
            steps.compare_watcher(result, bucket, watcher)
            steps.verify(result, store)
