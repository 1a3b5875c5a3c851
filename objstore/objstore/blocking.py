"""The synchronous API: the same names without `await`, and no event loop under it.

Its handles may be used from any thread. Open a store with `objstore.open`.
"""

from __future__ import annotations

from typing import Any, Self

from objstore import _operations_bucket as buckets
from objstore import _store
from objstore._blocking_bucket import ObjectReader, ObjectStore, ObjectWriter
from objstore._config import ObjectStoreConfig, Sync
from objstore._handles import Session, twin
from objstore._schedule import SCRUB_BYTES_PER_S
from objstore._store import (
    RETENTION_INTERVAL_S,
    StoreBase,
    Url,
    check_rate,
    check_seconds,
    open_engine,
)
from objstore._types import Duration
from objstore._watch import BlockingWatch as Watch
from objstore.transfer import restore_backup_blocking as restore_backup

__all__ = [
    "ObjectReader",
    "ObjectStore",
    "ObjectWriter",
    "Store",
    "Watch",
    "open",
    "restore_backup",
]


class Store(StoreBase):
    """All buckets of one place, for any thread.

    Every call does, takes, gives and raises what its twin on `objstore.Store` does.
    """

    backup = twin(_store.Store.backup)
    """Add a generation to a directory of backups; this store may be in use."""
    delete_object_store = twin(_store.Store.delete_object_store)
    """Delete a bucket and everything in it."""
    object_store_names = twin(_store.Store.object_store_names)
    """Give the names of all buckets, sorted."""
    run_retention = twin(_store.Store.run_retention)
    """Mark what has expired, and give dead bytes back to the file system."""
    verify = twin(_store.Store.verify)
    """Check every record and every live object of every bucket."""

    def create_object_store(
        self, config: ObjectStoreConfig | str | None = None, **params: Any
    ) -> ObjectStore:
        """Create a bucket; the same configuration again is fine."""
        name = self._session.run(self._create(config, params))
        return ObjectStore(self._session, name)

    def object_store(self, bucket: str, *, create: bool = False) -> ObjectStore:
        """Give an existing bucket, or create it."""
        name = self._session.run(self._bind(bucket, create=create))
        return ObjectStore(self._session, name)

    def update_object_store(
        self, config: ObjectStoreConfig | str | None = None, **params: Any
    ) -> ObjectStore:
        """Change a bucket's configuration; objects keep what they have."""
        name = self._session.run(buckets.update_bucket(self._engine, config, params))
        return ObjectStore(self._session, name)

    def close(self) -> None:
        """Close the store and everything that was opened through it; idempotent."""
        self._end()
        # again, too: Ctrl-C may have come between the two
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exit_info: object) -> None:
        self.close()


def open(
    url: Url = None,
    *,
    create: bool = True,
    sync: Sync = "always",
    retention_interval: Duration | None = RETENTION_INTERVAL_S,
    lock_timeout: Duration | None = None,
    force_network: bool = False,
    scrub_rate: float | None = SCRUB_BYTES_PER_S,
) -> Store:
    """Open a store; see `objstore.connect` for arguments and errors.

    Returns:
        The store; close it, or use it as `with objstore.open(...) as store:`.

    Example:
        with objstore.open("memory:") as store:
            bucket = store.object_store("media", create=True)
            bucket.put("a", b"content")
            assert bucket.get("a") == b"content"
    """
    interval_s = check_seconds("retention_interval", retention_interval)
    check_rate(scrub_rate)
    engine = open_engine(
        url,
        create=create,
        sync=sync,
        lock_timeout=lock_timeout,
        force_network=force_network,
    )
    return Store(
        Session(engine),
        sync=sync,
        retention_interval=interval_s,
        scrub_rate=scrub_rate,
    )
