"""The half of a bucket's asynchronous API that changes objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Unpack

from anyio import ResourceGuard

from objstore import _operations_names as names
from objstore import _operations_write as writes
from objstore._expiry import Scope
from objstore._handles import Handle, Session
from objstore._operations_write import Progress, PutOptions
from objstore._sources import AsyncData, source_of
from objstore._types import Duration, ObjectInfo, ObjectLink, ObjectMeta
from objstore._writer import ObjectWriter, open_writing


class BucketBase:
    """A bucket as a session reaches it."""

    def __init__(self, session: Session, bucket: str) -> None:
        self._session = session
        self._scope = Scope(session.engine, bucket)
        self._run = session.arun

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._scope.bucket


class BucketWrites(BucketBase):
    """Everything that changes objects."""

    async def put(
        self,
        name: str,
        data: AsyncData,
        description: str | ObjectMeta | None = None,
        filename: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        meta: ObjectMeta | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        chunk_size: int | None = None,
        ttl: Duration | None = None,
        create: bool = False,
        if_match: int | None = None,
        expected_digest: str | bytes | None = None,
        progress: Progress | None = None,
    ) -> ObjectInfo:
        """Store content under a name, in place of what is there.

        Guarantee: until the commit, and after a failure, the name keeps what it had.
        However large the content, only a few slabs of it are in memory.

        Args:
            name: 1 to 1,024 bytes of UTF-8 without control characters.
            data: Bytes, text (stored as UTF-8, never a path), a `pathlib.Path`, a
                binary file, an iterable or asynchronous iterable of bytes, or an
                anyio byte stream.
            description: Free text; an `ObjectMeta` here is taken as `meta`.
            filename: The file name to offer when the content is saved.
            headers: Headers as in HTTP.
            meta: The same fields, where they are not given singly.
            metadata: Free pairs of text.
            content_type: The `Content-Type` header.
            chunk_size: Bytes of every chunk but the last, at most 1 MiB.
            ttl: How long the content lives; 0 is for ever, `None` as the bucket says.
            create: Refuse when the name is taken.
            if_match: Refuse when the object is not at this sequence (0: none exists).
            expected_digest: What the SHA-256 of the content has to be: hex, with
                `SHA-256=` before it or not, or 32 bytes.
            progress: Called per slab with the bytes that are done and their total, or
                `None` when that is not known.

        Returns:
            The object as it was stored.

        Raises:
            BadObjectMetaError: an argument is not allowed, or the content is not bytes.
            ObjectAlreadyExists: `create`, and the name is taken.
            PreconditionFailedError: `if_match`, and it is at another sequence.
            DigestMismatchError: the content is not the expected one.
            SealedError: the bucket is sealed.
            LimitExceededError: the content would pass the bucket's `max_bytes`.

        Example:
            info = await bucket.put("notes/today", "some text", ttl=3600)
            assert (info.size, info.name) == (9, "notes/today")
        """
        options = PutOptions(
            description=description,
            filename=filename,
            headers=headers,
            meta=meta,
            metadata=metadata,
            content_type=content_type,
            chunk_size=chunk_size,
            ttl=ttl,
            create=create,
            if_match=if_match,
            expected_digest=expected_digest,
            progress=progress,
        )
        source = source_of(data, is_async=self._session.is_async)
        return await self._run(writes.put(self._scope, name, source, options))

    async def upload(
        self, name: str, path: str | os.PathLike[str], **options: Unpack[PutOptions]
    ) -> ObjectInfo:
        """Store a file; its name and its type come from the path unless given.

        Args:
            name: As in `put`.
            path: The file.
            **options: As in `put`.

        Raises:
            FileNotFoundError: there is no such file.
            ObjStoreError: as `put`.
        """
        return await self._run(writes.upload(self._scope, name, path, options))

    def open_writer(
        self, name: str, **options: Unpack[PutOptions]
    ) -> Handle[ObjectWriter]:
        """Store content that is written piece by piece.

        Guarantee: the object appears at the end of the block, or when the writer is
        closed; after an exception nothing is left behind.

        Args:
            name: As in `put`.
            **options: As in `put`.

        Raises:
            ObjStoreError: as `put`, at the latest at the end of the block.

        Example:
            async with bucket.open_writer("large") as writer:
                await writer.write(b"one, ")
                await writer.write(b"two")
            assert writer.info.size == 8
        """

        async def opening() -> ObjectWriter:
            writing = await self._run(open_writing(self._scope, name, options))
            return ObjectWriter(self._session, writing, ResourceGuard("writing to"))

        return Handle(opening)

    async def delete(
        self, name: str, *, if_match: int | None = None, missing_ok: bool = False
    ) -> bool:
        """Delete an object; of a link, the link itself.

        Args:
            name: The object.
            if_match: Refuse when the object is not at this sequence.
            missing_ok: Give `False` when there is nothing to delete.

        Raises:
            ObjectNotFoundError: there is no such object, or it was deleted already.
            PreconditionFailedError: it is at another sequence.
            SealedError: the bucket is sealed.
        """
        return await self._run(
            names.delete(self._scope, name, if_match=if_match, missing_ok=missing_ok)
        )

    async def update_meta(self, name: str, meta: ObjectMeta) -> ObjectInfo:
        """Change what is said about an object, rename it, or make a link.

        Guarantee: content, age and expiry stay, unless `meta.ttl` sets a new expiry.

        Args:
            name: The object.
            meta: Fields of `None` stay, empty ones are cleared. Another `name` renames.
                `options.link` makes a link on a free name, or points a link elsewhere.

        Raises:
            ObjectNotFoundError: there is no such object.
            ObjectAlreadyExists: the new name is taken, or a link would hide an object.
            BadObjectMetaError: a field is not allowed.

        Example:
            await bucket.update_meta("report", ObjectMeta(description="final"))
            await bucket.update_meta("report", ObjectMeta(name="archive/report"))
            assert (await bucket.get_info("archive/report")).description == "final"
        """
        return await self._run(names.update_meta(self._scope, name, meta))

    async def rename(
        self, name: str, new_name: str, *, overwrite: bool = False
    ) -> ObjectInfo:
        """Give an object, or a link, another name; no content is copied.

        Guarantee: readers see one of the two names, never both and never none.

        Args:
            name: The object.
            new_name: Its new name.
            overwrite: Whether it may replace what is there.

        Raises:
            ObjectNotFoundError: there is no such object.
            ObjectAlreadyExists: the new name is taken.
        """
        return await self._run(
            names.rename(self._scope, name, new_name, overwrite=overwrite)
        )

    async def copy(
        self,
        name: str,
        new_name: str,
        *,
        bucket: str | None = None,
        overwrite: bool = True,
    ) -> ObjectInfo:
        """Copy the object behind a name; links are followed.

        Inside a bucket no content is copied, and the copy lives as long as its source
        does, counted from now. In another bucket that holds for a time to live that
        differs from what the source's bucket gives; else its own bucket's counts.

        Args:
            name: The object.
            new_name: The copy.
            bucket: The copy's bucket, unless it is this one.
            overwrite: Whether it may replace what is there.

        Raises:
            ObjectNotFoundError: there is no such object.
            ObjectAlreadyExists: the new name is taken, and not `overwrite`.
        """
        return await self._run(
            names.copy(self._scope, name, new_name, bucket=bucket, overwrite=overwrite)
        )

    async def add_link(
        self, name: str, target: ObjectInfo | ObjectLink | str
    ) -> ObjectInfo:
        """Make a link to an object, or point an existing link to it.

        Args:
            name: The link's own name.
            target: An object, a place in any bucket, or a name in this bucket.

        Raises:
            ObjectNotFoundError: the target does not exist.
            ObjectAlreadyExists: the name is that of an object.
            BadObjectMetaError: a name is not allowed, or the link points to itself.

        Example:
            await bucket.add_link("latest", "report")
            assert await bucket.get("latest") == await bucket.get("report")
        """
        return await self._run(names.add_link(self._scope, name, target))

    async def add_bucket_link(self, name: str, bucket: str) -> ObjectInfo:
        """Make a link to a whole bucket.

        Args:
            name: The link's own name.
            bucket: The bucket.

        Raises:
            BucketNotFoundError: there is no such bucket.
            ObjStoreError: as `add_link`.
        """
        return await self._run(names.add_link(self._scope, name, ObjectLink(bucket)))
