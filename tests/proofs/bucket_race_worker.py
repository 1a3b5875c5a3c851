"""What races in `test_bucket_races`: anything that a caller may do with one bucket.

`python -m tests.proofs.bucket_race_worker PLACE SEED SECONDS` is one of the processes;
it tells what each of its calls came to, as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

import objstore
from objstore import blocking
from objstore.errors import (
    BucketExistsError,
    BucketNotFoundError,
    ObjectNotFoundError,
    ObjStoreError,
)

NAME = "b"
SLAB_BYTES = 5 << 20
"""A put of more takes several appends."""
GONE = BucketNotFoundError
MISSING = (BucketNotFoundError, ObjectNotFoundError)
Expected = type[ObjStoreError] | tuple[type[ObjStoreError], ...]


class Caller:
    """Does something at random with the one bucket, again and again."""

    def __init__(
        self, store: Any, call: Callable[..., Any], chance: random.Random
    ) -> None:
        self._store = store
        self._call = call
        self._chance = chance
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._ways: list[tuple[Callable[[], Any], Expected]] = [
            (self.create, ()),
            (self.create, ()),
            (self.create_other, BucketExistsError),
            (self.bind_or_create, ()),
            (self.bind, GONE),
            (self.delete, GONE),
            (self.delete, GONE),
            (self.put, GONE),
            (self.put, GONE),
            (self.put_large, GONE),
            (self.get, MISSING),
            (self.get, MISSING),
            (self.delete_object, MISSING),
            (self.read, MISSING),
            (self.list_objects, GONE),
            (self.status, GONE),
            (self.update, GONE),
            (self.names, ()),
            (self.retain, ()),
        ]

    def step(self) -> None:
        """Do one thing; what is not expected of it is told."""
        way, expected = self._chance.choice(self._ways)
        name = getattr(way, "__name__", "")
        try:
            way()
        except (ObjStoreError, OSError) as error:
            self.outcomes[f"{name}: {type(error).__name__}"] += 1
            if not isinstance(error, expected):
                self.wrong.append(f"{name}:\n{traceback.format_exc()}")
        else:
            self.outcomes[name] += 1

    def run(self, seconds: float) -> None:
        """Go on for some time."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.step()

    def _bucket(self) -> Any:
        return self._call(self._store.object_store, NAME)

    def _do(self, method: str, *args: Any, **options: Any) -> Any:
        return self._call(getattr(self._bucket(), method), *args, **options)

    # --- ways ---------------------------------------------------------------------

    def create(self) -> None:
        """Make it, or find it as it is."""
        try:
            self._call(self._store.create_object_store, NAME)
        except BucketExistsError as error:
            # another has made it otherwise
            if error.differing != ("description",):
                raise

    def create_other(self) -> None:
        """Make it with another configuration."""
        self._call(self._store.create_object_store, bucket=NAME, description="other")

    def bind_or_create(self) -> None:
        """Find it, or make it."""
        self._call(self._store.object_store, NAME, create=True)

    def bind(self) -> None:
        """Find it."""
        self._bucket()

    def delete(self) -> None:
        """Delete it with everything in it."""
        self._call(self._store.delete_object_store, NAME)

    def put(self) -> None:
        """Put something small."""
        self._do("put", "x", bytes(self._chance.randrange(3_000)))

    def put_large(self) -> None:
        """Put something in several appends."""
        self._do("put", "x", bytes(SLAB_BYTES))

    def get(self) -> None:
        """Get what is there, whoever put it."""
        assert not any(self._do("get", "x"))

    def read(self) -> None:
        """Read what is there piece by piece, though the bucket goes meanwhile."""
        bucket = self._bucket()
        if not isinstance(bucket, blocking.ObjectStore):
            self._call(bucket.get_info, "x")
            return
        with bucket.open_reader("x") as reader:
            while reader.read(1 << 20):
                pass

    def delete_object(self) -> None:
        """Delete what is there."""
        self._do("delete", "x")

    def list_objects(self) -> None:
        """List what is there."""
        assert {"x"} >= {info.name for info in self._do("list")}

    def status(self) -> None:
        """Ask for its figures."""
        self._do("status")

    def update(self) -> None:
        """Change its configuration."""
        self._call(self._store.update_object_store, NAME, description="other")

    def names(self) -> None:
        """List the buckets."""
        assert {NAME} >= set(self._call(self._store.object_store_names))

    def retain(self) -> None:
        """Give back what is dead, the directories of deleted buckets, too."""
        self._call(self._store.run_retention)


def call_plainly(method: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a method of the synchronous API."""
    return method(*args, **options)


def call_on(
    portal: BlockingPortal, method: Callable[..., Any], *args: Any, **options: Any
) -> Any:
    """Call a method of the asynchronous API."""
    return portal.call(partial(method, *args, **options))


def _main(place: str, seed: str, seconds: str) -> None:
    """Be one of the processes; every third uses the asynchronous API."""
    with ExitStack() as ends:
        call: Callable[..., Any] = call_plainly
        if int(seed) % 3:
            store: Any = ends.enter_context(
                objstore.open(place, retention_interval=None)
            )
        else:
            portal = ends.enter_context(start_blocking_portal("asyncio"))
            handle = objstore.connect(place, retention_interval=None)
            store = ends.enter_context(portal.wrap_async_context_manager(handle))
            call = partial(call_on, portal)
        caller = Caller(store, call, random.Random(int(seed)))
        caller.run(float(seconds))
    print(json.dumps([caller.outcomes, caller.wrong]))  # noqa: T201 - for the test


if __name__ == "__main__":
    _main(*sys.argv[1:])
