"""Programs that `test_store_processes` runs on one store and kills at any moment.

Each takes the store's place, the file to write its account to, and a number of its own;
it goes on until there is a file `stop` beside the store. What it did is told line by
line, as JSON: a line that is written survives the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

import objstore
from objstore import (
    ObjectInfo,
    ObjectNotFoundError,
    PreconditionFailedError,
    _operations_write,
)

KEPT = "kept"
"""The bucket whose changes all stay, for the watcher."""
BRIEF = "brief"
"""The bucket that lets superseded changes go at once."""
STOP = "stop"
END = "the end"
"""The last change of all, made when the writers have ended."""
SHARED = [f"shared/{number}" for number in range(6)]
SLAB_BYTES = 20_000


class Account:
    """What a process tells; a whole line or nothing."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(self, *facts: object) -> None:
        """Tell a line, at once."""
        os.write(self._file, json.dumps(facts).encode() + b"\n")


def must_stop(place: str) -> bool:
    """Say whether the test has asked for the end."""
    return Path(place).with_name(STOP).exists()


def pieces(content: bytes) -> Iterator[bytes]:
    """Give content as a source of unknown length."""
    for start in range(0, len(content), 7_000):
        yield content[start : start + 7_000]


class Writer:
    """Changes two buckets in every way that tells its sequence, over and over."""

    def __init__(
        self, buckets: dict[str, Any], call: Callable[..., Any], account: Account
    ) -> None:
        self._buckets = buckets
        self._call = call
        self._account = account
        self._chance = random.Random(os.getpid())
        self._count = 0
        self._own = [f"own/{os.getpid() % 5}/{number}" for number in range(6)]
        self._ways = [
            self.put,
            self.put,
            self.put,
            self.put_large,
            self.put_new,
            self.put_after,
            self.put_after,
            self.copy,
            self.delete,
            self.read,
        ]

    def step(self) -> None:
        """Do one thing."""
        bucket = self._chance.choice(sorted(self._buckets))
        name = self._chance.choice(SHARED + self._own)
        self._chance.choice(self._ways)(bucket, name)

    def _do(self, bucket: str, method: str, *args: Any, **options: Any) -> Any:
        return self._call(getattr(self._buckets[bucket], method), *args, **options)

    def _change(
        self,
        facts: tuple[str, str, str, str | None, int | None],
        *args: Any,
        **options: Any,
    ) -> None:
        """Try a change: how, bucket, name, digest, the change it has to come behind."""
        how, bucket = facts[:2]
        self._account.tell("try", *facts)
        try:
            made = self._do(bucket, how, *args, **options)
        except (PreconditionFailedError, ObjectNotFoundError):
            self._account.tell("refused")
            return
        is_info = isinstance(made, ObjectInfo)
        self._account.tell("done", *((made.seq, made.digest) if is_info else (0, "")))

    def _content(self, size: int) -> tuple[bytes, str]:
        self._count += 1
        seed = f"{os.getpid()}/{self._count}"
        content = random.Random(seed).randbytes(size)
        return content, f"SHA-256={hashlib.sha256(content).hexdigest()}"

    def _info(self, bucket: str, name: str) -> ObjectInfo | None:
        try:
            info: ObjectInfo = self._do(bucket, "get_info", name)
        except ObjectNotFoundError:
            return None
        return info

    # --- ways to change -----------------------------------------------------------

    def put(self, bucket: str, name: str) -> None:
        """Put over anything."""
        content, digest = self._content(self._chance.randrange(2_000))
        self._change(("put", bucket, name, digest, None), name, content)

    def put_large(self, bucket: str, name: str) -> None:
        """Put several slabs, in small chunks or in large ones."""
        content, digest = self._content(self._chance.randrange(30_000, 90_000))
        chunk_size = self._chance.choice([700, 18_000])
        facts = ("put", bucket, name, digest, None)
        self._change(facts, name, pieces(content), chunk_size=chunk_size)

    def put_new(self, bucket: str, name: str) -> None:
        """Put only where nothing is."""
        content, digest = self._content(50)
        self._change(("put", bucket, name, digest, 0), name, content, create=True)

    def put_after(self, bucket: str, name: str) -> None:
        """Put only behind what was just seen."""
        info = self._info(bucket, name)
        content, digest = self._content(self._chance.choice([50, 30_000]))
        after = info.seq if info else 0
        facts = ("put", bucket, name, digest, after)
        self._change(facts, name, content, if_match=after)

    def copy(self, bucket: str, name: str) -> None:
        """Copy something over anything."""
        source = self._chance.choice(SHARED)
        if source != name:
            self._change(("copy", bucket, name, None, None), source, name)

    def delete(self, bucket: str, name: str) -> None:
        """Delete what was just seen."""
        info = self._info(bucket, name)
        if info is not None:
            facts = ("delete", bucket, name, None, info.seq)
            self._change(facts, name, if_match=info.seq)

    def read(self, bucket: str, name: str) -> None:
        """Read what is there; its digest is checked."""
        try:
            self._do(bucket, "get", name)
        except ObjectNotFoundError:
            return


def write(place: str, path: str, number: str) -> None:
    """Change objects; every third writer uses the asynchronous API."""
    _operations_write.SLAB_BYTES = _operations_write.LARGE_SLAB_BYTES = SLAB_BYTES
    with ExitStack() as ends:
        if int(number) % 3:
            store: Any = ends.enter_context(objstore.open(place))
            call: Callable[..., Any] = _call
        else:
            portal = ends.enter_context(start_blocking_portal("asyncio"))
            handle = portal.wrap_async_context_manager(objstore.connect(place))
            store = ends.enter_context(handle)
            call = partial(_call_on, portal)
        buckets = {name: call(store.object_store, name) for name in (KEPT, BRIEF)}
        writer = Writer(buckets, call, Account(path))
        while not must_stop(place):
            writer.step()


def _call(method: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return method(*args, **options)


def _call_on(
    portal: BlockingPortal, method: Callable[..., Any], *args: Any, **options: Any
) -> Any:
    return portal.call(partial(method, *args, **options))


def retain(place: str, path: str, _: str) -> None:
    """Run retention again and again."""
    account = Account(path)
    with objstore.open(place, retention_interval=None) as store:
        while not must_stop(place):
            account.tell("reclaimed", store.run_retention().bytes_reclaimed)
            time.sleep(0.05)


def watch(place: str, path: str, after: str) -> None:
    """Tell of every change, behind a cursor or from the beginning."""
    account = Account(path)
    with objstore.open(place) as store:
        bucket = store.object_store(KEPT)
        options: dict[str, Any] = {"after": after} if after else {"start": "all"}
        with bucket.watch(**options) as changes:
            for change in changes:
                fact = change.seq, change.kind, change.name, change.digest
                account.tell("saw", fact, changes.cursor)
                if change.name == END:
                    return


if __name__ == "__main__":
    {program.__name__: program for program in (write, retain, watch)}[sys.argv[1]](
        *sys.argv[2:]
    )
