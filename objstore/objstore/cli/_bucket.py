"""The commands about whole buckets."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

from cyclopts import Parameter, Token

from objstore.cli import _render
from objstore.cli._context import Shared, confirm, number
from objstore.cli._failures import UsageError
from objstore.cli._options import DryRun, Limit, Seconds, Size, Yes
from objstore.cli._values import pairs_of, prefix_at, size_text, sync_of


def _sync(_: Any, tokens: tuple[Token, ...]) -> str | float:
    return sync_of(tokens[0].value)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a bucket is to be like; what is not given stays, or has its default."""

    description: Annotated[str | None, Parameter(help="Free text.")] = None
    ttl: Annotated[
        Seconds | None, Parameter(help="How long objects live: 90s, 24h, 30d or none.")
    ] = None
    max_bytes: Annotated[
        Limit | None, Parameter(help="Limit of the content: 10GiB, or none.")
    ] = None
    chunk_size: Annotated[
        Size | None, Parameter(help="Size of a chunk, at most 1MiB.")
    ] = None
    segment_bytes: Annotated[
        Size | None, Parameter(help="Size at which a new segment begins.")
    ] = None
    changes_ttl: Annotated[
        Seconds | None, Parameter(help="How long watchers can read old changes.")
    ] = None
    changes_max_bytes: Annotated[
        Size | None, Parameter(help="How much of old changes watchers can read.")
    ] = None
    sync: Annotated[
        str | float | None,
        Parameter(
            converter=_sync,
            n_tokens=1,
            metavar="WHEN",
            help="When changes are synced: always, every so many seconds, or never.",
        ),
    ] = None
    metadata: Annotated[
        tuple[str, ...], Parameter(help="A pair as key=value; may be repeated.")
    ] = ()

    def params(self) -> dict[str, Any]:
        """Give the fields that were given, as the library takes them."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["metadata"] = pairs_of(list(self.metadata), "=")
        return {name: value for name, value in given.items() if value is not None}


def _bucket_at(text: str) -> str:
    place = prefix_at(text)
    if place.name:
        problem = f"{text!r} names an object; name its bucket alone"
        raise UsageError(problem)
    return place.bucket


def create(
    bucket: str, /, *, settings: Settings | None = None, context: Shared
) -> None:
    """Make a bucket, and the store when there is none.

    The same settings again are fine.
    """
    params = (settings or Settings()).params()
    with context.open(create=True) as store:
        made = store.create_object_store(bucket=_bucket_at(bucket), **params)
        status = made.status()
    context.emit(_render.document_of(status), [f"bucket {status.bucket}"])


def edit(bucket: str, /, *, settings: Settings | None = None, context: Shared) -> None:
    """Change settings of a bucket; those that are not given stay."""
    params = (settings or Settings()).params()
    if not params:
        problem = "nothing to change; give a setting, as --ttl 30d"
        raise UsageError(problem)
    with context.open() as store:
        edited = store.update_object_store(bucket=_bucket_at(bucket), **params)
        status = edited.status()
    context.emit(_render.document_of(status), _render.fact_lines(status))


def ls(
    *,
    long: Annotated[
        bool, Parameter(name=("--long", "-l"), help="Sizes and counts, too.")
    ] = False,
    context: Shared,
) -> None:
    """List the buckets."""
    with context.open() as store:
        found = [store.object_store(name) for name in store.object_store_names()]
        statuses = [bucket.status() for bucket in found]
    context.emit(
        {"buckets": _render.document_of(statuses)},
        (_render.bucket_line(status, is_long=long) for status in statuses),
    )


def info(bucket: str, /, *, context: Shared) -> None:
    """Describe a bucket."""
    with context.open() as store:
        status = store.object_store(_bucket_at(bucket)).status()
    context.emit(_render.document_of(status), _render.fact_lines(status))


def rm(
    bucket: str, /, *, yes: Yes = False, dry_run: DryRun = False, context: Shared
) -> None:
    """Remove a bucket and everything in it; asks when it is not empty."""
    with context.open() as store:
        status = store.object_store(_bucket_at(bucket)).status()
        content = f"{number(status.count, 'object')}, {size_text(status.size)}"
        if not dry_run:
            question = f"Remove bucket {status.bucket!r} with {content} for good?"
            confirm(question, yes=yes or status.count == 0)
            store.delete_object_store(status.bucket)
    verb = "would remove" if dry_run else "removed"
    context.emit(
        {
            "bucket": status.bucket,
            "objects": status.count,
            "bytes": status.size,
            "dry_run": dry_run,
        },
        [f"{verb} bucket {status.bucket}: {content}"],
    )


def seal(bucket: str, /, *, yes: Yes = False, context: Shared) -> None:
    """Refuse changes of a bucket's objects from now on; asks first."""
    with context.open() as store:
        sealed = store.object_store(_bucket_at(bucket))
        question = f"Seal bucket {sealed.bucket!r}? It can never be changed again."
        confirm(question, yes=yes or sealed.status().sealed)
        sealed.seal()
        status = sealed.status()
    context.emit(_render.document_of(status), [f"sealed bucket {status.bucket}"])
