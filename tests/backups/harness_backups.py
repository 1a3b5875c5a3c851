"""What tests of backups compare."""

import random
from pathlib import Path
from typing import Any

import objstore
from objstore import blocking

SEGMENT_BYTES = 64 * 1024
OBJECT_BYTES = 20_000


def content_of(number: int) -> bytes:
    """Give the content of an object, which is like no other one's."""
    return random.Random(number).randbytes(OBJECT_BYTES)


def generations(target: Path) -> list[Path]:
    """Give the finished generations, oldest first."""
    if not target.exists():
        return []
    return sorted(path for path in target.iterdir() if path.name[:1].isdigit())


def state_of(store: blocking.Store) -> dict[str, Any]:
    """Give all that a store shows: contents, metas, and changes from the start."""
    state: dict[str, Any] = {}
    for name in store.object_store_names():
        bucket = store.object_store(name)
        infos = bucket.list(show_deleted=True)
        last = max((info.seq for info in infos), default=0)
        changes: list[objstore.Change] = []
        with bucket.watch(start="all", kinds=None) as watch:
            while last and (not changes or changes[-1].seq < last):
                changes.append(next(watch))
        state[name] = (
            infos,
            {info.name: bucket.get(info.name) for info in infos if info.digest},
            changes,
        )
    return state


def state_at(path: Path) -> dict[str, Any]:
    """Give all that the store in a directory shows, undamaged."""
    with objstore.open(path, create=False, retention_interval=None) as store:
        assert store.verify().ok
        return state_of(store)
