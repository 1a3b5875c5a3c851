"""Places and moments that must fail, for the table of `test_messages`."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
from tests.messages_rows import OLD, Given, Row

import objstore
from objstore_log import STORE_VERSION, StoreHeader, _posix, encode_store_header

NOBODY = 65_534
FILE_BYTES_MAX = 2_000_000
LARGE_BYTES = 6_000_000


def on_loop(call: Callable[[objstore.Store], Any], given: Given) -> None:
    """Make a call on the given store, opened on an event loop."""

    async def calling() -> None:
        async with objstore.connect(given.folder / "store", create=False) as store:
            await call(store)

    anyio.run(calling)


# --- places -----------------------------------------------------------------------


def refused(place: Path, **options: Any) -> None:
    """Open a place that is refused; it stays as it is."""
    before = {path: path.stat().st_mtime_ns for path in [place, *place.rglob("*")]}
    try:
        objstore.open(place, **options).close()
    finally:
        assert before == {path: path.stat().st_mtime_ns for path in before}
        assert set(before) == {place, *place.rglob("*")}


def open_file(given: Given) -> None:
    """Open a place that is a file."""
    place = given.folder / "report.pdf"
    place.write_bytes(b"content")
    refused(place)


def open_foreign(given: Given, *, create: bool) -> None:
    """Open a directory that holds something else."""
    place = given.folder / "photos"
    place.mkdir()
    (place / "holiday.jpg").write_bytes(b"content")
    refused(place, create=create)


def open_damaged(given: Given) -> None:
    """Open a directory whose STORE file is of something else."""
    place = given.folder / "photos"
    place.mkdir()
    (place / "STORE").write_bytes(b"content")
    refused(place)


def open_empty(given: Given) -> None:
    """Open an empty directory as an existing store."""
    place = given.folder / "empty"
    place.mkdir()
    refused(place, create=False)


def open_missing(given: Given) -> None:
    """Open a missing directory as an existing store."""
    try:
        objstore.open(given.folder / "missing", create=False)
    finally:
        assert not (given.folder / "missing").exists()


def open_newer(given: Given) -> None:
    """Open a store of a later format."""
    place = given.folder / "newer"
    place.mkdir()
    header = StoreHeader(STORE_VERSION + 6, bytes(16), 0)
    (place / "STORE").write_bytes(encode_store_header(header))
    refused(place)


def open_network(given: Given) -> None:
    """Open a directory on a network file system."""
    place = given.folder / "far"
    place.mkdir()

    def network(_: str) -> str:
        return "nfs4"

    with mock.patch.object(_posix, "_network_type", network):
        objstore.open(place, force_network=True).close()
        refused(place)


@contextmanager
def unprivileged() -> Generator[None]:
    """Be bound by the permissions of files, as root is not."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def open_read_only(_: Given, *, has_store: bool) -> None:
    """Open a directory in which nothing may be made."""
    # Not in the test's own folder, into which only its owner may look.
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if has_store:
            objstore.open(place).close()
        names = [place, *place.rglob("*")]
        for path in names:
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            with unprivileged():
                refused(place)
        finally:
            for path in names:
                path.chmod(0o755)


# --- full disks -------------------------------------------------------------------


@contextmanager
def bounded_files() -> Generator[None]:
    """Refuse every write behind a place in a file, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def put_into_bounded_file(given: Given) -> None:
    """Put more than the system lets a file hold; there is room again later."""
    try:
        with bounded_files():
            given.bucket.put("a", bytes(LARGE_BYTES))
    finally:
        assert given.bucket.get("a") == OLD


def _mounts(folder: Path) -> bool:
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0:
        return False
    return subprocess.run(mounting, check=False, capture_output=True).returncode == 0


def can_mount() -> bool:
    """Say whether a small disk can be made here."""
    with tempfile.TemporaryDirectory() as folder:
        is_mounted = _mounts(Path(folder))
        if is_mounted:
            subprocess.run(["umount", folder], check=True)
        return is_mounted


def put_on_full_disk(given: Given, *, is_small: bool) -> None:
    """Fill a disk of 4 MiB; reads go on, and writes again once there is room."""
    disk = given.folder / "disk"
    disk.mkdir()
    assert _mounts(disk)
    other = disk / "other"
    other.write_bytes(bytes(500_000))
    try:
        with objstore.open(disk / "store", retention_interval=None) as store:
            bucket = store.create_object_store("b", segment_bytes=1_000_000)
            bucket.put("a", OLD)
            bucket.put("large", bytes(1_500_000))
            try:
                _fill(bucket, is_small=is_small)
            finally:
                assert bucket.get("a") == OLD
                assert bucket.get("large") == bytes(1_500_000)
                other.unlink()
                assert bucket.put("b", OLD).size == len(OLD)
                assert store.verify().ok
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _fill(bucket: Any, *, is_small: bool) -> None:
    if not is_small:
        bucket.put("a", bytes(LARGE_BYTES))
    for number in range(1_000):
        bucket.put(f"small-{number}", bytes(20_000))


# --- ends, forks, loops, interrupts -------------------------------------------------


def use_closed(call: Callable[[Given], object], given: Given) -> None:
    """Make a call after the store was closed."""
    given.store.close()
    given.store.close()
    call(given)


def read_closed(given: Given) -> None:
    """Read on from a reader that was closed."""
    reader = given.bucket.open_reader("a")
    reader.close()
    reader.read()


def write_closed(given: Given) -> None:
    """Write on to a writer that was aborted."""
    writer = given.bucket.open_writer("n")
    writer.abort()
    writer.write(b"x")


def write_behind_end(given: Given) -> None:
    """Write on to a writer whose store was closed."""
    writer = given.bucket.open_writer("n")
    writer.write(bytes(3_000_000))
    given.store.close()
    writer.close()


def use_awaited_closed(given: Given) -> None:
    """Await a call after the store was closed."""

    async def calling() -> None:
        async with objstore.connect(given.folder / "store") as store:
            bucket = await store.object_store("b")
        await bucket.get("a")

    anyio.run(calling)


def use_elsewhere(given: Given) -> None:
    """Use an asynchronous handle on a second event loop."""
    stores: list[objstore.Store] = []

    async def opening() -> None:
        stores.append(await objstore.connect(given.folder / "store"))

    async def using() -> None:
        await stores[0].object_store_names()

    anyio.run(opening)
    anyio.run(using)


_FORKING = """
import os, pickle, sys
import objstore

store = objstore.open(sys.argv[1])
bucket = store.object_store("b")
reader = bucket.open_reader("a")
watch = bucket.watch()
if os.fork():
    os.wait()
    assert bucket.get("a") == b"12345"
    store.close()
else:
    try:
        exec(sys.argv[2])
    except objstore.ObjStoreError as error:
        os.write(1, pickle.dumps(error))
    os._exit(0)
"""


def use_forked(code: str, given: Given) -> None:
    """Run a statement in a forked child of a process that opened the store."""
    place = given.folder / "store"
    command = [sys.executable, "-c", _FORKING, str(place), code]
    told = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    raise pickle.loads(told)


class CommandError(Exception):
    """A command ended with a status; the text is what it said."""


def command_without_extra(given: Given) -> None:
    """Run the command line as if its extra was not installed."""
    code = (
        "import sys; sys.modules.update(cyclopts=None, rich=None);"
        "from objstore.cli import main; sys.exit(main())"
    )
    store = str(given.folder / "store")
    command = [sys.executable, "-c", code, "--store", store, "rm", "b/a"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (1, "") == (ended.returncode, ended.stdout)
    raise CommandError(ended.stderr.rstrip("\n"))


def open_row(case: str, options: dict[str, Any], *fragments: str) -> Row:
    """Give a row for an option of `open`."""
    return Row(
        f"open: {case}",
        lambda given: objstore.open(given.folder / "store", **options),
        objstore.BadBucketError if "sync" in options else objstore.BadStoreError,
        fragments,
    )


NOT_ONE = "it is not a store: it holds 'holiday.jpg' and no STORE file"
PLACE_ROWS = [
    Row(
        "a place that is a file",
        open_file,
        objstore.StoreNotFoundError,
        ("report.pdf: it is not a store but a file; name a directory",),
    ),
    *[
        Row(
            f"a place that holds other things, create={create}",
            partial(open_foreign, create=create),
            objstore.StoreNotFoundError,
            ("photos: ", NOT_ONE, "name a store, or an empty or a new directory"),
        )
        for create in (True, False)
    ],
    Row(
        "a place in a file",
        lambda given: objstore.open(given.folder / "store" / "STORE" / "x"),
        objstore.StorageError,
        ("STORE/x: Not a directory",),
    ),
    Row(
        "a place with another STORE file",
        open_damaged,
        objstore.StorageError,
        ("photos/STORE", "damaged; restore this file from a backup"),
    ),
    Row(
        "an empty place, not to be made",
        open_empty,
        objstore.StoreNotFoundError,
        ("empty: there is no store; open it with create=True to make one",),
    ),
    Row(
        "a missing place, not to be made",
        open_missing,
        objstore.StoreNotFoundError,
        ("missing: there is no store; open it with create=True to make one",),
    ),
    Row(
        "a place of a newer version",
        open_newer,
        objstore.StoreVersionError,
        (f"newer: store format {STORE_VERSION + 6} is newer than", "upgrade objstore"),
    ),
    Row(
        "a place on a network file system",
        open_network,
        objstore.NotSupportedError,
        (
            "far: ",
            "network file system (nfs4)",
            "use a local disk",
            "force_network=True",
        ),
    ),
    *[
        Row(
            f"a place that is read-only, {case}",
            partial(open_read_only, has_store=has_store),
            objstore.StorageError,
            ("Permission denied", tempfile.gettempdir(), "mend the cause, then try"),
        )
        for case, has_store in (("empty", False), ("with a store", True))
    ],
    Row(
        "a place of another kind",
        lambda _: objstore.open("s3://bucket"),
        objstore.BadStoreError,
        (
            "url 's3://bucket' has the scheme 's3', which no engine has",
            "give a directory, file: and a directory, or memory:",
        ),
    ),
    Row(
        "a place on a server",
        lambda _: objstore.open("nats://localhost:4222"),
        objstore.NotSupportedError,
        ("nats://localhost:4222", "give a directory or memory:"),
    ),
    open_row("sync", {"sync": "often"}, "sync 'often' is not", 'use "always", "never"'),
    open_row("lock_timeout", {"lock_timeout": -1}, "lock_timeout -1 is", "from 0 to"),
    open_row(
        "interval", {"retention_interval": "1h"}, "retention_interval '1h' is not"
    ),
    Row(
        "a file that may not grow",
        put_into_bounded_file,
        objstore.StorageError,
        ("append to", "File too large", "mend the cause, then try again"),
    ),
]
DISK_ROWS = [
    Row(
        f"a full disk, {case}",
        partial(put_on_full_disk, is_small=is_small),
        objstore.StorageError,
        ("append to", "No space left on device", "mend the cause, then try again"),
    )
    for case, is_small in (("large put", False), ("small puts", True))
]

_CLOSED_CALLS: dict[str, Callable[[Given], object]] = {
    "names": lambda given: given.store.object_store_names(),
    "damaged": lambda given: given.store.damaged,
    "get": lambda given: given.bucket.get("a"),
    "put": lambda given: given.bucket.put("a", b"new"),
    "iterate": lambda given: list(given.bucket.iterate()),
    "open_reader": lambda given: given.bucket.open_reader("a"),
    "open_writer": lambda given: given.bucket.open_writer("a"),
    "watch": lambda given: given.bucket.watch(),
}
CLOSED_ROWS = [
    *[
        Row(
            f"after the end: {case}",
            partial(use_closed, call),
            objstore.ClosedError,
            ("store is closed; open it again",),
        )
        for case, call in _CLOSED_CALLS.items()
    ],
    Row(
        "after the end: await get",
        use_awaited_closed,
        objstore.ClosedError,
        ("store is closed; open it again",),
    ),
    Row(
        "after the end: commit",
        write_behind_end,
        objstore.ClosedError,
        ("is closed; open it again",),
    ),
    Row(
        "after its own end: read",
        read_closed,
        objstore.ClosedError,
        ("the reader of 'a' is closed; open it again",),
    ),
    Row(
        "after its own end: write",
        write_closed,
        objstore.ClosedError,
        ("the writer of 'n' is closed; open it again",),
    ),
    *[
        Row(
            f"after fork: {code}",
            partial(use_forked, code),
            objstore.ForkedError,
            ("store was opened before fork(); open it again in the child process",),
        )
        for code in (
            "store.object_store_names()",
            "bucket.get('a')",
            "bucket.put('a', b'new')",
            "reader.read()",
            "next(watch)",
            "store.run_retention()",
        )
    ],
    Row(
        "on another event loop",
        use_elsewhere,
        objstore.WrongEventLoopError,
        ("store was opened on another event loop; open it again on this one",),
    ),
    Row(
        "the command line without its extra",
        command_without_extra,
        CommandError,
        ("the command line needs cyclopts and rich", '"objstore-embedded[cli]"'),
    ),
]
