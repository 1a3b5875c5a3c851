"""The asynchronous `ObjectStore`: one bucket."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from anyio import ResourceGuard

from objstore import _operations_bucket as buckets
from objstore import _operations_list as lists
from objstore import _operations_read as reads
from objstore import _operations_verify as checks
from objstore._bucket_writes import BucketWrites
from objstore._handles import Handle
from objstore._operations_write import Progress
from objstore._reader import ObjectReader, open_place
from objstore._types import (
    Listing,
    ObjectInfo,
    ObjectStoreStatus,
    TreeReport,
    VerifyReport,
)
from objstore._watch import AsyncWatch
from objstore._watch_steps import OnGap, WatchStart, watch_options
from objstore.transfer import export_tree, import_tree

if TYPE_CHECKING:
    import builtins


class ObjectStore(BucketWrites):
    """A bucket of objects, as `Store.create_object_store` and `object_store` give it.

    Guarantee: every change is all or nothing and durable when the call returns, as the
    bucket's `sync` says. A cancelled call has either happened or left nothing behind.
    Every call raises `ClosedError` after its store was closed, `BucketNotFoundError`
    after the bucket was deleted, and `StorageError` when the system refuses.
    """

    async def get(self, name: str, *, verify: bool = True) -> bytes:
        """Give the whole content behind a name; links are followed.

        Guarantee: it is what was put, proven by its digest.

        Args:
            name: The object.
            verify: Whether the digest is checked; the chunks' checksums always are.

        Raises:
            ObjectNotFoundError: there is no such object, or it has expired.
            ObjectDeletedError: it was deleted.
            LinkIsABucketError: the name is a link to a whole bucket.
            DigestMismatchError: the content is not what was put.
            CorruptionError: a chunk is damaged.

        Example:
            assert await bucket.get("report") == b"content"
        """
        if verify:
            self._session.check_use()
            found = reads.get_at_hand(
                self._scope, name, wait=not self._session.is_async
            )
            if found is not None:
                return found
        return await self._run(reads.get(self._scope, name, verify=verify))

    async def get_range(
        self,
        name: str,
        *,
        start: int = 0,
        end: int | None = None,
        length: int | None = None,
    ) -> bytes:
        """Give some bytes of the content behind a name.

        Guarantee: every byte has passed its chunk's checksum.

        Args:
            name: The object.
            start: First byte; negative counts from the end.
            end: The byte behind the last, clamped to the object's end.
            length: Number of bytes, instead of `end`.

        Raises:
            InvalidRangeError: it starts behind the end, or ends before it starts.
            BadObjectMetaError: a place or a length is no whole number.
            ObjStoreError: as `get`.
        """
        self._session.check_use()
        found = reads.range_at_hand(
            self._scope,
            name,
            start=start,
            end=end,
            length=length,
            wait=not self._session.is_async,
        )
        if found is not None:
            return found
        return await self._run(
            reads.get_range(self._scope, name, start=start, end=end, length=length)
        )

    async def get_into(self, name: str, buffer: bytearray | memoryview) -> int:
        """Write the whole content behind a name into a buffer; give its size.

        Guarantee: as `get`; after an error the buffer's content is not defined.

        Args:
            name: The object.
            buffer: A writable buffer of at least the object's size.

        Raises:
            ValueError: the buffer is too small, or read-only.
            ObjStoreError: as `get`.
        """
        return await self._run(reads.get_into(self._scope, name, buffer))

    def open_reader(self, name: str) -> Handle[ObjectReader]:
        """Read the content behind a name piece by piece.

        Guarantee: the reader keeps the version that it started on.

        Args:
            name: The object.

        Raises:
            ObjStoreError: as `get`.

        Example:
            async with bucket.open_reader("report") as reader:
                reader.seek(-4, io.SEEK_END)
                assert await reader.read() == b"tent"
        """

        async def opening() -> ObjectReader:
            place = await self._run(open_place(self._scope, name))
            return ObjectReader(self._session, place, ResourceGuard("reading from"))

        return Handle(opening)

    open = open_reader

    async def download(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
    ) -> ObjectInfo:
        """Write the content behind a name to a file.

        Guarantee: the file appears under its name whole, verified and synced, or not
        at all.

        Args:
            name: The object.
            path: The file, which is replaced; of a link, what it points to.
            progress: As in `put`.

        Returns:
            The object, at the end of all links.

        Raises:
            OSError: the file cannot be written, or there is something else, such as
                a device or a pipe.
            ObjStoreError: as `get`.
        """
        return await self._run(
            reads.download(self._scope, name, path, progress=progress)
        )

    async def get_info(self, name: str, show_deleted: bool = False) -> ObjectInfo:  # noqa: FBT001, FBT002 - as in NATS clients
        """Describe an object; of a link, the link itself.

        Args:
            name: The object.
            show_deleted: Describe a deleted object, too.

        Raises:
            ObjectNotFoundError: there is no such object, or it has expired.
            ObjectDeletedError: it was deleted.
        """
        return await self._run(
            reads.get_info(self._scope, name, show_deleted=show_deleted)
        )

    async def exists(self, name: str) -> bool:
        """Say whether there is an object, or a link, also one that dangles."""
        return await self._run(reads.exists(self._scope, name))

    # --- list ---------------------------------------------------------------------

    async def list(
        self,
        prefix: str = "",
        *,
        start_after: str | None = None,
        limit: int | None = None,
        show_deleted: bool = False,
    ) -> builtins.list[ObjectInfo]:
        """Give objects and links in the order of their names (bytes of UTF-8).

        Args:
            prefix: What the names begin with.
            start_after: Only names behind this one.
            limit: At most so many.
            show_deleted: Deleted ones, too.

        Example:
            page = await bucket.list("re", limit=100)
            assert [info.name for info in page] == ["report"]
        """
        query = lists.Query(prefix, show_deleted)
        return await self._run(
            lists.list_infos(self._scope, query, start_after=start_after, limit=limit)
        )

    async def iterate(
        self,
        prefix: str = "",
        *,
        start_after: str | None = None,
        show_deleted: bool = False,
    ) -> AsyncIterator[ObjectInfo]:
        """Go through objects and links as `list` does, holding one page of them.

        Guarantee: what is there from beginning to end comes once. Each page is of its
        own moment, so of changes made meanwhile some are seen; `list` gives one moment.

        Args:
            prefix: What the names begin with.
            start_after: Only names behind this one.
            show_deleted: Deleted ones, too.
        """
        query, place = lists.Query(prefix, show_deleted), start_after
        while True:
            steps = lists.next_infos(self._scope, query, place)
            infos, place = await self._run(steps)
            for info in infos:
                yield info
            if place is None:
                return

    async def list_directory(
        self,
        prefix: str = "",
        *,
        delimiter: str = "/",
        start_after: str | None = None,
        limit: int | None = None,
    ) -> Listing:
        """Give the objects and the directories right in a directory.

        Args:
            prefix: The directory, with its delimiter; empty for the top.
            delimiter: What ends a directory's name.
            start_after: Only entries behind this one: the `next_start_after` of the
                page before.
            limit: At most so many entries.
        """
        return await self._run(
            lists.list_directory(
                self._scope,
                prefix,
                delimiter=delimiter,
                start_after=start_after,
                limit=limit,
            )
        )

    def watch(
        self,
        prefix: str = "",
        *,
        start: WatchStart = "current",
        after: str | None = None,
        kinds: Iterable[str] | None = None,
        ignore_deletes: bool = False,
        updates_only: bool = False,
        include_history: bool = False,
        on_gap: OnGap = "raise",
    ) -> AsyncWatch:
        """Follow the changes of this bucket, in the order of their commits.

        Guarantee: no change is left out and none comes twice.

        Args:
            prefix: What the names begin with.
            start: `"current"` (current values, then live), `"new"`, `"all"`, a
                sequence or a `datetime`.
            after: A cursor to resume behind, instead of `start`.
            kinds: Which kinds of changes; all of objects unless given.
            ignore_deletes: Leave deletions and expiries out.
            updates_only: The same as `start="new"`.
            include_history: The same as `start="all"`.
            on_gap: `"raise"`, or `"snapshot"` to go on from current values when
                changes are no longer kept.

        Raises:
            CursorExpiredError: while iterating: the next changes are not kept.
            HistoryRewoundError: while iterating: the place is ahead of the log, or
                of a copy of the store that went another way.

        Example:
            async for change in bucket.watch():
                assert (change.kind, change.name) == ("put", "report")
                break
        """
        self._session.check()
        options = watch_options(
            prefix,
            start=start,
            after=after,
            kinds=kinds,
            ignore_deletes=ignore_deletes,
            updates_only=updates_only,
            include_history=include_history,
            on_gap=on_gap,
        )
        return AsyncWatch(self._session.engine, self.bucket, options)

    # --- the bucket itself --------------------------------------------------------

    async def status(self) -> ObjectStoreStatus:
        """Describe this bucket.

        Example:
            status = await bucket.status()
            assert (status.count, status.size) == (1, 7)
        """
        return await self._run(buckets.status(self._scope))

    async def seal(self) -> bool:
        """Refuse changes of objects from now on; cannot be undone.

        Guarantee: what has expired is gone, everything else stays for good; reads and
        watches go on. Sealing again is fine.

        Example:
            await bucket.seal()
            assert (await bucket.status()).sealed
        """
        return await self._run(buckets.seal(self._scope))

    async def verify(
        self,
        prefix: str = "",
        *,
        repair: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Check every stored record, and every live object against its digest.

        Args:
            prefix: Check only the contents of objects whose names begin with it.
            repair: Repair what can be. Changes that only the catalog still has whole
                are written again, then the catalog is rebuilt if it differs from the
                log. What is left of a damaged content is saved below `quarantine` in
                the store's directory, and the newest older version that is whole
                takes its place, unless the bucket is sealed. Without one the name
                stays as it is: `get` raises `CorruptionError`, and this names it,
                until it is put again or deleted. Nothing is deleted; a repair that
                was interrupted can be run again.
            dry_run: Only say what a repair would do, and change nothing.
            progress: As in `put`.

        Returns:
            What is damaged, behind the repair, with every name that shares it, and
            what the repair did.
        """
        return await self._run(
            checks.verify_bucket(
                self._scope,
                prefix,
                repair=repair or dry_run,
                dry_run=dry_run,
                progress=progress,
            )
        )

    # --- directory trees ----------------------------------------------------------

    async def export_tree(
        self,
        directory: str | os.PathLike[str],
        prefix: str = "",
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> TreeReport:
        """Write each object to a file of its own, and what is said of it to a manifest.

        Guarantee: a file appears whole, verified and synced, with the object's time.
        Nothing outside of the directory is written, nothing in it is removed. What is
        there with the right digest is left, so a second call goes on with a first.

        Args:
            directory: Where the files go; made when missing.
            prefix: What the names begin with; it is left out of the paths.
            dry_run: Only look.
            progress: As in `put`, over all objects.

        Raises:
            BusyError: another export writes there.
            StorageError: the system refuses.

        Example:
            report = await bucket.export_tree("./tree")
            assert not report.skipped
        """
        steps = export_tree(
            self._scope,
            os.fsdecode(directory),
            prefix,
            dry_run=dry_run,
            progress=progress,
        )
        return await self._run(steps)

    async def import_tree(
        self,
        directory: str | os.PathLike[str],
        prefix: str = "",
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> TreeReport:
        """Store each file of a directory tree, as its manifest says if it has one.

        Guarantee: a file that is not what was exported is not stored, but named. What
        the bucket has with the right digest is left. Symbolic links are not followed.

        Args:
            directory: An exported tree, or any other.
            prefix: What the names are to begin with.
            dry_run: Only look.
            progress: As in `put`, over all files.

        Returns:
            What was stored; the time of each file is in the metadata as `mtime`.

        Raises:
            ObjStoreError: as `put`.
            StorageError: the directory cannot be read.

        Example:
            await bucket.export_tree("./tree")
            report = await bucket.import_tree("./tree", "again/")
            assert not report.damaged
        """
        steps = import_tree(
            self._scope,
            os.fsdecode(directory),
            prefix,
            dry_run=dry_run,
            progress=progress,
        )
        return await self._run(steps)
