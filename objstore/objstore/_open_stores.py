"""The stores that this process has open: one for each directory."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from pathlib import Path

from objstore._embedded_store import EmbeddedStore
from objstore._reserve import Reserve
from objstore._store_directory import (
    StoreDirectory,
    open_directory,
    open_storage,
    system_environment,
)
from objstore_log import Environment, Storage

_open_stores: dict[tuple[int, int], EmbeddedStore] = {}
_open_lock = threading.Lock()
_stores: weakref.WeakSet[EmbeddedStore] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    global _open_lock  # noqa: PLW0603 - the parent's lock may be held for ever here
    _open_lock = threading.Lock()
    _open_stores.clear()
    for store in list(_stores):
        store.abandon_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _directory_key(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        # missing, or opening says what is wrong with it
        return None
    return found.st_dev, found.st_ino


def acquire_store(
    path: str | None,
    *,
    url: str,
    create: bool,
    force_network: bool = False,
) -> EmbeddedStore:
    """Give the store of a directory, the same one for every handle in this process."""
    with _open_lock:
        key = None if path is None else _directory_key(path)
        store = None if key is None else _open_stores.get(key)
        if store is None:
            opening = partial(_open_place, path, url, create, force_network)
            store = Reserve(path).clearing(opening)
            store.reserve.keep()
            if path is not None:
                key = _directory_key(path)
                assert key is not None
                _open_stores[key] = store
        store.handles += 1
        return store


def _open_place(
    path: str | None,
    url: str,
    create: bool,  # noqa: FBT001 - internal; the caller's own arguments
    force_network: bool,  # noqa: FBT001 - as above
) -> EmbeddedStore:
    directory = open_directory(
        path,
        create=create,
        environment=system_environment(),
        force_network=force_network,
    )
    return _open(directory, url, in_memory=path is None)


def open_on_storage(storage: Storage, environment: Environment) -> EmbeddedStore:
    """Open a store on any storage port, with any clock (for simulations)."""
    directory = open_storage(storage, create=True, environment=environment)
    store = _open(directory, storage.path, in_memory=False)
    store.handles = 1
    return store


def _open(directory: StoreDirectory, url: str, *, in_memory: bool) -> EmbeddedStore:
    try:
        store = EmbeddedStore(directory, url=url, in_memory=in_memory)
    except BaseException:
        directory.close()
        raise
    _stores.add(store)
    return store


def release_store(store: EmbeddedStore) -> None:
    """Give a handle back; the last one closes the store."""
    with _open_lock:
        store.handles -= 1
        if store.handles or store.is_forked:
            return
        for key, other in list(_open_stores.items()):
            if other is store:
                del _open_stores[key]
        store.close()
