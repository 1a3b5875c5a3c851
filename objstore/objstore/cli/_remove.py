"""The command that deletes objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter

from objstore.blocking import ObjectStore
from objstore.cli._context import Shared, confirm, print_line
from objstore.cli._failures import UsageError
from objstore.cli._options import DryRun, Yes
from objstore.cli._values import Place, object_at, target_at


def rm(
    *objects: Annotated[str, Parameter(name="BUCKET/NAME...", negative=())],
    recursive: Annotated[
        bool,
        Parameter(
            name=("--recursive", "-r"),
            help="Delete everything in BUCKET/DIRECTORY/; of a whole bucket asks.",
        ),
    ] = False,
    if_match: Annotated[
        int | None, Parameter(help="Refuse unless the object is at this sequence.")
    ] = None,
    missing_ok: Annotated[
        bool, Parameter(help="Pass over what does not exist.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    context: Shared,
) -> None:
    """Delete objects; of a link, the link itself."""
    places = [_place(text, is_recursive=recursive) for text in objects]
    if not places:
        problem = "write what to delete: objstore rm BUCKET/NAME..."
        raise UsageError(problem)
    if if_match is not None and (len(places) > 1 or recursive):
        problem = "--if-match is about one object; delete one at a time"
        raise UsageError(problem)
    removed: list[str] = []
    verb = "would delete" if dry_run else "deleted"
    with context.open() as store:
        if recursive and not dry_run:
            _confirm(places, yes=yes)
        for place in places:
            bucket = store.object_store(place.bucket)
            gone = (
                _below(bucket, place.name, dry_run=dry_run)
                if recursive
                else _one(bucket, place.name, if_match, missing_ok, dry_run)
            )
            for name in gone:
                removed.append(f"{place.bucket}/{name}")
                if not context.is_json:
                    print_line(f"{verb} {removed[-1]}")
    if context.is_json:
        context.emit({"removed": removed, "dry_run": dry_run}, [])


def _place(text: str, *, is_recursive: bool) -> Place:
    if not is_recursive:
        return object_at(text)
    place = target_at(text)
    if place.name and not place.name.endswith("/"):
        problem = f"{text!r} is no directory; write BUCKET/DIRECTORY/ with -r"
        raise UsageError(problem)
    return place


def _confirm(places: list[Place], *, yes: bool) -> None:
    for place in places:
        if not place.name:
            confirm(f"Delete everything in bucket {place.bucket!r}?", yes=yes)


def _below(bucket: ObjectStore, prefix: str, *, dry_run: bool) -> Iterator[str]:
    """Delete a directory, or only look; give each name that goes."""
    for info in bucket.iterate(prefix):
        if dry_run or bucket.delete(info.name, missing_ok=True):
            yield info.name


def _one(
    bucket: ObjectStore,
    name: str,
    if_match: int | None,
    missing_ok: bool,
    dry_run: bool,
) -> Iterator[str]:
    """Delete an object, or only look; give its name unless there was none."""
    if not dry_run:
        if bucket.delete(name, if_match=if_match, missing_ok=missing_ok):
            yield name
    elif not missing_ok or bucket.exists(name):
        yield bucket.get_info(name).name
