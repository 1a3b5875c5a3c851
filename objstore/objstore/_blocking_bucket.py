"""The synchronous `ObjectStore`, its reader and its writer.

They are the asynchronous classes' methods, stepped on a session without event loop.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Self, Unpack

from objstore import _bucket, _reader, _writer
from objstore import _operations_list as lists
from objstore._bucket_writes import BucketBase
from objstore._handles import twin
from objstore._operations_write import PutOptions
from objstore._reader import ReaderBase, open_place
from objstore._types import ObjectInfo
from objstore._watch import BlockingWatch
from objstore._watch_steps import OnGap, WatchStart, watch_options
from objstore._writer import WriterBase, open_writing


class ObjectReader(ReaderBase):
    """Reads one version of an object; as `objstore.ObjectReader`, for any thread."""

    read = twin(_reader.ObjectReader.read)
    """Read bytes from the current place on."""
    readinto = twin(_reader.ObjectReader.readinto)
    """Read into a writable buffer; give the number of bytes."""
    read_chunk = twin(_reader.ObjectReader.read_chunk)
    """Read what the current place leaves of its chunk; empty at the end."""
    close = twin(_reader.ObjectReader.aclose)
    """Let go of the version; idempotent."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read_chunk, b"")

    def __enter__(self) -> Self:
        self._place.check()
        return self

    def __exit__(self, *exit_info: object) -> None:
        self.close()


class ObjectWriter(WriterBase):
    """Writes one object; as `objstore.ObjectWriter`, for any thread."""

    write = twin(_writer.ObjectWriter.write)
    """Append bytes to the content; give their number."""
    flush = twin(_writer.ObjectWriter.flush)
    """Do nothing: before the commit nothing can be seen, whatever is flushed."""
    abort = twin(_writer.ObjectWriter.abort)
    """End without making an object; idempotent."""
    close = twin(_writer.ObjectWriter.aclose)
    """Commit what was written, as closing a file does; idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exit_info: object) -> None:
        """Commit; after an exception abort."""
        if kind is None:
            self.close()
        else:
            self.abort()


class ObjectStore(BucketBase):
    """A bucket of objects, for any thread.

    Every call does, takes, gives and raises what its twin on `objstore.ObjectStore`
    does, and blocks its thread meanwhile. There is no event loop under it.
    """

    put = twin(_bucket.ObjectStore.put)
    """Store content under a name."""
    upload = twin(_bucket.ObjectStore.upload)
    """Store a file; its name and its type come from the path unless given."""
    delete = twin(_bucket.ObjectStore.delete)
    """Delete an object; of a link, the link itself."""
    update_meta = twin(_bucket.ObjectStore.update_meta)
    """Change what is said about an object, rename it, or make a link."""
    rename = twin(_bucket.ObjectStore.rename)
    """Give an object, or a link, another name; no content is copied."""
    copy = twin(_bucket.ObjectStore.copy)
    """Copy the object behind a name; links are followed."""
    add_link = twin(_bucket.ObjectStore.add_link)
    """Make a link to an object, or point an existing link to it."""
    add_bucket_link = twin(_bucket.ObjectStore.add_bucket_link)
    """Make a link to a whole bucket."""
    get = twin(_bucket.ObjectStore.get)
    """Give the whole content behind a name; links are followed."""
    get_range = twin(_bucket.ObjectStore.get_range)
    """Give some bytes of the content behind a name."""
    get_into = twin(_bucket.ObjectStore.get_into)
    """Write the whole content behind a name into a buffer; give its size."""
    download = twin(_bucket.ObjectStore.download)
    """Write the content behind a name to a file, which appears whole or not at all."""
    get_info = twin(_bucket.ObjectStore.get_info)
    """Describe an object; of a link, the link itself."""
    exists = twin(_bucket.ObjectStore.exists)
    """Say whether there is an object, or a link, also one that dangles."""
    list = twin(_bucket.ObjectStore.list)
    """Give objects and links in the order of their names (bytes of UTF-8)."""
    list_directory = twin(_bucket.ObjectStore.list_directory)
    """Give the objects and the directories right in a directory."""
    status = twin(_bucket.ObjectStore.status)
    """Describe this bucket."""
    seal = twin(_bucket.ObjectStore.seal)
    """Refuse changes of objects from now on; cannot be undone."""
    export_tree = twin(_bucket.ObjectStore.export_tree)
    """Write each object to a file of its own, and what is said of it to a manifest."""
    import_tree = twin(_bucket.ObjectStore.import_tree)
    """Store each file of a directory tree, as its manifest says if it has one."""
    verify = twin(_bucket.ObjectStore.verify)
    """Check every stored record, and every live object against its digest."""

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
    ) -> BlockingWatch:
        """Follow the changes of this bucket, in the order of their commits."""
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
        return BlockingWatch(self._session.engine, self.bucket, options)

    def open_writer(self, name: str, **options: Unpack[PutOptions]) -> ObjectWriter:
        """Store content that is written piece by piece, at the end of the block."""
        writing = self._session.run(open_writing(self._scope, name, options))
        return ObjectWriter(self._session, writing, threading.Lock())

    def open_reader(self, name: str) -> ObjectReader:
        """Read the content behind a name piece by piece, from one version."""
        place = self._session.run(open_place(self._scope, name))
        return ObjectReader(self._session, place, threading.Lock())

    open = open_reader

    def iterate(
        self,
        prefix: str = "",
        *,
        start_after: str | None = None,
        show_deleted: bool = False,
    ) -> Iterator[ObjectInfo]:
        """Go through objects and links as `list` does, holding one page of them."""
        query, place = lists.Query(prefix, show_deleted), start_after
        while True:
            steps = lists.next_infos(self._scope, query, place)
            infos, place = self._session.run(steps)
            yield from infos
            if place is None:
                return
