"""Programs that run on a store on a real disk which is about to fail.

What a writer tried and was told goes to its account, line by line, on another disk. The
first line of standard output that says "opening" or "ready" tells the campaign when to
strike.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any

from anyio.from_thread import start_blocking_portal
from tests.torture.disk_steps import (
    BRIEF,
    BUCKETS,
    KEPT,
    SEGMENT_BYTES,
    SLAB_BYTES,
    STORE,
    Step,
    own_names,
    steps,
)

import objstore
from objstore import ObjectMeta, ObjectNotFoundError, _operations_write
from objstore.blocking import ObjectStore, Store
from objstore.errors import (
    DigestMismatchError,
    ObjStoreError,
    PoisonedError,
    PreconditionFailedError,
    StorageError,
)

LOCK_TIMEOUT_S = 20.0
SOME_STEPS = 30
FAILURES_MAX = 5
_ENDS = ExitStack()
"""What stays open to the very end."""


def say(*facts: object) -> None:
    """Tell the campaign."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def hear() -> str:
    """Wait for the campaign to say something; its end ends this process too."""
    line = sys.stdin.readline()
    if not line:
        sys.exit(3)
    return line.strip()


class Account:
    """What a process tells; a whole line or nothing."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(self, *facts: object) -> None:
        """Tell a line, at once."""
        os.write(self._file, json.dumps(facts).encode() + b"\n")


def _call(method: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return method(*args, **options)


class Writer:
    """Does steps, and knows what its own names hold."""

    def __init__(
        self, store: Any, call: Callable[..., Any], account: Account, who: str
    ) -> None:
        self._store = store
        self._call = call
        self._account = account
        self._who = who
        self._buckets = {name: call(store.object_store, name) for name in BUCKETS}
        self.own: dict[tuple[str, str], tuple[str, str]] = {}
        """Bucket and name to digest and description."""
        self._open = set[tuple[str, str]]()
        """The names whose last change ended nobody knows how."""

    def step(self, step: Step) -> None:
        """Do one thing and tell what came of it.

        Raises:
            StorageError: the disk failed; that too was told.
        """
        how, place = step.how, (step.bucket, step.name)
        if how == "retain":
            self._change(how, BRIEF, "", "", lambda: self._store.run_retention)
        elif how == "create":
            self._create(step)
        elif how == "drop":
            if place in self.own:
                method = partial(self._store.delete_object_store, step.name)
                self._change("delete", *place, "", lambda: method)
                del self.own[place]
        elif how == "delete shared" or (how == "delete" and place in self.own):
            self._delete(step)
        elif how in {"rename", "copy", "meta"} and place in self.own:
            self._name(step)
        else:
            self._put(step)

    def _change(
        self,
        how: str,
        bucket: str,
        name: str,
        other: str,
        method: Callable[[], Callable[..., Any]],
        **facts: Any,
    ) -> Any:
        """Try a change and tell of it; give what it gave, `None` when refused."""
        told = {"how": how, "bucket": bucket, "name": name, "other": other, **facts}
        self._account.tell("try", told)
        try:
            made = self._call(method())
        except (PreconditionFailedError, ObjectNotFoundError):
            self._account.tell("refused")
            return None
        except StorageError as error:
            self._account.tell("failed", type(error).__name__, error.errno)
            if isinstance(error, PoisonedError):
                # written or not: whoever takes over decides
                self._open |= {(bucket, name), (bucket, other)}
            raise
        self._account.tell("done", getattr(made, "seq", 0), time.monotonic())
        return made

    def _put(self, step: Step) -> None:
        content = step.content()
        digest = f"SHA-256={hashlib.sha256(content).hexdigest()}"
        method = self._buckets[step.bucket].put
        source: Any = content
        if step.chunk_size:
            source = [content[at : at + 7_000] for at in range(0, step.size, 7_000)]
        put = partial(method, step.name, source, chunk_size=step.chunk_size)
        facts = {"digest": digest, "description": ""}
        self._change("put", step.bucket, step.name, "", lambda: put, **facts)
        if step.name in own_names(self._who):
            self.own[step.bucket, step.name] = digest, ""

    def _delete(self, step: Step) -> None:
        bucket = self._buckets[step.bucket]
        try:
            after = self._call(bucket.get_info, step.name).seq
        except ObjectNotFoundError:
            return
        delete = partial(bucket.delete, step.name, if_match=after)
        self._change("delete", step.bucket, step.name, "", lambda: delete, after=after)
        self.own.pop((step.bucket, step.name), None)

    def _name(self, step: Step) -> None:
        """Rename, copy, or say something else about an object."""
        bucket, name, other = self._buckets[step.bucket], step.name, step.other
        digest, description = self.own[step.bucket, name]
        if step.how == "rename":
            method = partial(bucket.rename, name, other, overwrite=True)
        elif step.how == "copy":
            method = partial(bucket.copy, name, other)
        else:
            other, description = name, f"said in step {step.number}"
            meta = ObjectMeta(description=description)
            method = partial(bucket.update_meta, name, meta)
        facts = {"digest": digest, "description": description}
        self._change(step.how, step.bucket, name, other, lambda: method, **facts)
        if step.how == "rename":
            del self.own[step.bucket, name]
        self.own[step.bucket, other] = digest, description

    def _create(self, step: Step) -> None:
        """Make a bucket of its own; it holds nothing."""
        if (STORE, step.name) in self.own:
            return
        create = partial(self._store.create_object_store, step.name)
        facts = {"digest": "", "description": ""}
        self._change("put", STORE, step.name, "", lambda: create, **facts)
        self.own[STORE, step.name] = "", ""

    def reads_all(self) -> str | None:
        """Read all that is its own; say what is wrong."""
        for (bucket, name), (digest, _) in self.own.items():
            if bucket != STORE and (bucket, name) not in self._open:
                data = self._call(self._buckets[bucket].get, name)
                if f"SHA-256={hashlib.sha256(data).hexdigest()}" != digest:
                    return f"{bucket}/{name} has other content"
        return None


# --- the programs ---------------------------------------------------------------------


def _open(ends: ExitStack, place: str, *, is_async: bool) -> tuple[Any, Any]:
    """Open the store by one of its two faces; give it and what calls its methods."""
    options: dict[str, Any] = {
        "retention_interval": None,
        "lock_timeout": LOCK_TIMEOUT_S,
    }
    if not is_async:
        return ends.enter_context(objstore.open(place, **options)), _call
    portal = ends.enter_context(start_blocking_portal("asyncio"))
    handle = objstore.connect(place, **options)
    store = ends.enter_context(portal.wrap_async_context_manager(handle))

    def call(method: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return portal.call(partial(method, *args, **more))

    return store, call


def _begin(place: str, path: str, who: str, face: str) -> tuple[Any, Any, Writer]:
    """Open a store and its buckets, and leave it open to the very end."""
    _operations_write.SLAB_BYTES = _operations_write.LARGE_SLAB_BYTES = SLAB_BYTES
    say("opening")
    store, call = _open(_ENDS, place, is_async=face == "async")
    writer = Writer(store, call, Account(path), who)
    # from here on the disk may fail
    say("ready")
    return store, call, writer


def write(place: str, path: str, seed: str, who: str, face: str) -> None:
    """Do steps until the disk fails."""
    *_, writer = _begin(place, path, who, face)
    for step in steps(int(seed), who):
        try:
            writer.step(step)
        except StorageError:
            break
    # no tidy end: its power is gone
    os._exit(0)


def write_poisoned(place: str, path: str, seed: str, who: str, face: str) -> None:
    """Do steps until a sync fails; then read on and be refused, until told to end."""
    try:
        *_, writer = _begin(place, path, who, face)
    except StorageError as error:
        say("failed", [type(error).__name__], None)
        os._exit(0)
    failures: list[str] = []
    bucket = KEPT
    for step in steps(int(seed), who, is_syncing=True):
        try:
            writer.step(step)
        except StorageError as error:
            failures.append(type(error).__name__)
            bucket = step.bucket
            if isinstance(error, PoisonedError) or len(failures) == FAILURES_MAX:
                break
    say("failed", failures, writer.reads_all())
    while hear() == "go on":
        step = Step(0, "put", bucket, own_names(who)[0], "", 9, None, "late")
        answer = "accepted"
        try:
            writer.step(step)
        except StorageError as error:
            answer = type(error).__name__
        say("went on", answer, writer.reads_all())
    os._exit(0)


def write_some(place: str, path: str, seed: str, who: str, face: str) -> None:
    """Open; when told to, do some steps and tell which failed."""
    *_, writer = _begin(place, path, who, face)
    hear()
    problems: list[str] = []
    for step in islice(steps(int(seed), who, is_syncing=True), SOME_STEPS):
        try:
            writer.step(step)
        except StorageError as error:
            problems.append(str(error))
    say("wrote", problems)
    hear()


def fill(place: str, path: str, seed: str, who: str, face: str) -> None:
    """Do steps until the disk is full, tell what still works, go on when told to."""
    store, call, writer = _begin(place, path, who, face)
    row = steps(int(seed), who, is_syncing=True)
    while True:
        failed = _fill_up(writer, row)
        say("full", failed, _check(store, call, writer))
        if hear() == "tidy":
            say("tidied", _tidies(writer, store, call))
            hear()
        problems: list[str] = []
        for step in islice(row, SOME_STEPS):
            try:
                writer.step(step)
            except StorageError as error:
                problems.append(str(error))
        say("went on", problems, _check(store, call, writer))
        if hear() == "end":
            break
    os._exit(0)


def _fill_up(writer: Writer, row: Iterator[Step]) -> list[tuple[str, int | None]]:
    """Do steps until several of them found no room."""
    failed: list[tuple[str, int | None]] = []
    while len(failed) < FAILURES_MAX:
        try:
            writer.step(next(row))
        except StorageError as error:
            failed.append((type(error).__name__, error.errno))
    return failed


def _check(store: Any, call: Callable[..., Any], writer: Writer) -> str | None:
    """Say what does not read, list or verify."""
    try:
        found = {
            (bucket, info.name): (info.digest, info.description or "")
            for bucket in (KEPT, BRIEF)
            for info in call(call(store.object_store, bucket).list)
            if not info.name.startswith("shared/")
        }
        if found != writer.own:
            return f"listed {found}, made {writer.own}"
        report = call(store.verify)
        return writer.reads_all() or (None if report.ok else str(report.damaged))
    except ObjStoreError as error:
        return f"{type(error).__name__}: {error}"


def _tidies(writer: Writer, store: Any, call: Callable[..., Any]) -> dict[str, str]:
    """Say what of the ways to make room fails on a full disk."""
    failed: dict[str, str] = {}
    for number, (bucket, name) in enumerate(sorted(writer.own)[:2]):
        step = Step(-number, "delete", bucket, name, "", 0, None, "")
        try:
            writer.step(step)
        except StorageError as error:
            failed[f"delete {bucket}/{name}"] = str(error)
    try:
        call(store.run_retention)
    except StorageError as error:
        failed["retention"] = str(error)
    return failed


# --- looking --------------------------------------------------------------------------


def create(place: str) -> None:
    """Make the store and its buckets."""
    with objstore.open(place, retention_interval=None) as store:
        for name, options in BUCKETS.items():
            store.create_object_store(name, segment_bytes=SEGMENT_BYTES, **options)
    say("made")


def inspect(place: str, path: str, who: str, end: str) -> None:
    """Tell all that a store holds; put something into each bucket."""
    say("opening")
    store = objstore.open(place, retention_interval=None, lock_timeout=LOCK_TIMEOUT_S)
    account = Account(path)
    found: dict[str, Any] = {"buckets": store.object_store_names()}
    found["damaged"] = [str(damage) for damage in store.damaged]
    found["objects"] = {
        name: _look(store.object_store(name), name, account, who) for name in BUCKETS
    }
    found["damaged"] += [str(damage) for damage in _verify(store)]
    if end == "close":
        store.close()
    say("found", found)
    os._exit(0)


def look(place: str) -> None:
    """Read all that a store holds, and change nothing; tell what is wrong."""
    store = objstore.open(place, retention_interval=None, lock_timeout=LOCK_TIMEOUT_S)
    bad = [
        f"{bucket.bucket}/{info.name}"
        for bucket in map(store.object_store, BUCKETS)
        for info in bucket.list()
        if not _is_whole(bucket, info)
    ]
    say("looked", bad)
    os._exit(0)


def _verify(store: Store) -> list[Any]:
    report = store.verify()
    return list(report.damaged) + ([] if report.ok else ["not ok"])


def _look(bucket: ObjectStore, name: str, account: Account, who: str) -> dict[str, Any]:
    infos = bucket.list()
    bad = [info.name for info in infos if not _is_whole(bucket, info)]
    # its place on the feed shows where the feed ended before
    facts = {"how": "put", "bucket": name, "name": f"{who}/probe", "other": ""}
    content = f"{who}/{name}".encode()
    digest = f"SHA-256={hashlib.sha256(content).hexdigest()}"
    account.tell("try", {**facts, "digest": digest, "description": ""})
    probe = bucket.put(f"{who}/probe", content)
    account.tell("done", probe.seq, time.monotonic())
    feed: list[tuple[Any, ...]] = []
    if name != BRIEF:
        with bucket.watch(start="all") as watch:
            for change in watch:
                if change.seq >= probe.seq:
                    break
                description = change.description or ""
                facts_told = change.name, change.digest, description
                feed.append((change.seq, change.kind, *facts_told))
    listed = [
        (info.seq, info.name, info.digest, info.description or "") for info in infos
    ]
    return {"feed": feed, "listed": listed, "bad": bad}


def _is_whole(bucket: ObjectStore, info: objstore.ObjectInfo) -> bool:
    try:
        content = bucket.get(info.name)
    except (DigestMismatchError, ObjStoreError):
        return False
    return info.digest == f"SHA-256={hashlib.sha256(content).hexdigest()}"


PROGRAMS: dict[str, Callable[..., None]] = {
    program.__name__: program
    for program in (write, write_poisoned, write_some, fill, look, create, inspect)
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
