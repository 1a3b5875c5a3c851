"""The commands that give objects more names, or others."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from objstore import ObjectInfo, ObjectLink
from objstore.blocking import Store
from objstore.cli import _render
from objstore.cli._context import Context, Shared
from objstore.cli._values import Place, object_at, target_at


def cp(
    source: Annotated[str, Parameter(name="BUCKET/NAME")],
    target: Annotated[str, Parameter(name="BUCKET/[NAME]")],
    /,
    *,
    no_overwrite: Annotated[
        bool, Parameter(name=("--no-overwrite", "-n"), help="Refuse a name in use.")
    ] = False,
    context: Shared,
) -> None:
    """Copy an object; inside a bucket no content is copied."""
    at = object_at(source)
    to = target_at(target).below(at.name)
    with context.open() as store:
        info = store.object_store(at.bucket).copy(
            at.name, to.name, bucket=to.bucket, overwrite=not no_overwrite
        )
    _emit(context, info)


def mv(
    source: Annotated[str, Parameter(name="BUCKET/NAME")],
    target: Annotated[str, Parameter(name="BUCKET/[NAME]")],
    /,
    *,
    overwrite: Annotated[bool, Parameter(help="Replace what has that name.")] = False,
    context: Shared,
) -> None:
    """Give an object another name, or another bucket.

    Inside a bucket readers see one of the names, never both. Into another bucket
    the object is copied, then deleted here unless it has changed meanwhile.
    """
    at = object_at(source)
    to = target_at(target).below(at.name)
    with context.open() as store:
        if at.bucket == to.bucket:
            bucket = store.object_store(at.bucket)
            info = bucket.rename(at.name, to.name, overwrite=overwrite)
        else:
            info = _move(store, at, to, overwrite=overwrite)
    _emit(context, info)


def _move(store: Store, at: Place, to: Place, *, overwrite: bool) -> ObjectInfo:
    source, target = store.object_store(at.bucket), store.object_store(to.bucket)
    before = source.get_info(at.name)
    if before.link is None:
        info = source.copy(at.name, to.name, bucket=to.bucket, overwrite=overwrite)
    else:
        info = target.add_link(to.name, before.link)
    source.delete(at.name, if_match=before.seq)
    return info


def ln(
    target: Annotated[str, Parameter(name="BUCKET/[NAME]")],
    link: Annotated[str, Parameter(name="BUCKET/NAME")],
    /,
    *,
    context: Shared,
) -> None:
    """Make a link to an object, or to a whole bucket; an existing link is repointed."""
    to = target_at(target)
    at = object_at(link)
    with context.open() as store:
        bucket = store.object_store(at.bucket)
        if to.name:
            at = at.below(to.name)
            info = bucket.add_link(at.name, ObjectLink(to.bucket, to.name))
        else:
            info = bucket.add_bucket_link(at.name, to.bucket)
    _emit(context, info)


def _emit(context: Context, info: ObjectInfo) -> None:
    context.emit(_render.document_of(info), [_render.stored_line(info)])
