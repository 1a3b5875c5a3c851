"""The asynchronous `Store`, and which engine a URL means."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

from objstore import _drivers
from objstore import _operations_bucket as buckets
from objstore import _operations_verify as checks
from objstore._bucket import ObjectStore
from objstore._config import (
    DURATION_MAX,
    ObjectStoreConfig,
    Sync,
    check_sync,
    seconds_of,
)
from objstore._engine import Capability, Engine, GetMetrics, Steps
from objstore._handles import AsyncSession, Handle, Session
from objstore._loop_wake import in_thread
from objstore._operations_retention import run_retention
from objstore._operations_write import Progress
from objstore._schedule import SCRUB_BYTES_PER_S, RetentionSchedule, ScrubSchedule
from objstore._types import (
    BackupReport,
    Damage,
    Duration,
    RetentionReport,
    VerifyReport,
)
from objstore.errors import BadStoreError, NotSupportedError
from objstore.transfer import backup_store

DEFAULT_URL = "./objstore-data"
RETENTION_INTERVAL_S = 60
URL_VARIABLE = "OBJSTORE"
Url = str | os.PathLike[str] | None


def _open_embedded(url: str, **options: Any) -> Engine:
    # Not before it is asked for: a JetStream user needs no log.
    from objstore._embedded import open_embedded  # noqa: PLC0415

    return open_embedded(url, **options)


def _open_jetstream(url: str, **options: Any) -> Engine:  # noqa: ARG001 - as the others
    raise NotSupportedError(
        what=f"the JetStream engine ({url})",
        hint="this version has the embedded one only; give a directory or memory:",
    )


ENGINES: dict[str, Callable[..., Engine]] = {
    "file": _open_embedded,
    "memory": _open_embedded,
    "nats": _open_jetstream,
    "tls": _open_jetstream,
}
"""Which engine opens a URL, by its scheme; a text without one is a directory."""
_PATH_SCHEMES = ("file:", "memory:")


def check_seconds(option: str, value: Duration | None) -> float | None:
    """Give a duration among the options of a store in seconds.

    Raises:
        BadStoreError: it is none.
    """
    try:
        return seconds_of(value)
    except ValueError as error:
        raise BadStoreError(
            field=option,
            value=value,
            problem=str(error),
            hint=f"give a timedelta or seconds from 0 to {DURATION_MAX.days} days",
        ) from None


def check_rate(value: float | None) -> None:
    """Raise `BadStoreError` unless it is a rate of the scrub, or `None`."""
    given = cast("object", value)
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if given is not None and not (is_number and 0 < float(str(given)) < math.inf):
        raise BadStoreError(
            field="scrub_rate",
            value=value,
            problem="is no number of bytes above 0",
            hint="give bytes a second, or None for no scrub",
        )


def _text_of(url: Url) -> str:
    """Give a URL that a caller gave as text. Raises `BadStoreError`."""
    if url is None:
        return os.environ.get(URL_VARIABLE) or DEFAULT_URL
    text = cast("object", os.fspath(url) if isinstance(url, os.PathLike) else url)
    if not isinstance(text, str):
        problem = f"has the type {type(url).__name__}"
    elif not text:
        problem = "is empty"
    elif "\0" in text:
        problem = f"has the control character U+0000 at index {text.index(chr(0))}"
    elif isinstance(url, os.PathLike) and text.lower().startswith(_PATH_SCHEMES):
        # the path of a directory whose name looks like a URL
        return f"file:{text}"
    else:
        return text
    hint = "give a directory, file: and a directory, or memory:"
    raise BadStoreError(field="url", value=url, problem=problem, hint=hint)


def open_engine(
    url: Url,
    *,
    create: bool,
    sync: Sync,
    lock_timeout: Duration | None,
    force_network: bool = False,
) -> Engine:
    """Open the engine that a URL means; blocks.

    Raises:
        NotSupportedError: this version has none.
        BadStoreError: `lock_timeout` is no duration, or the URL means no place.
        BadBucketError: `sync` is no way to sync.
    """
    check_sync(sync)
    timeout_s = check_seconds("lock_timeout", lock_timeout)
    text = _text_of(url)
    scheme, colon, rest = text.partition(":")
    kind = scheme.lower() if colon and isinstance(url, str | None) else "file"
    if kind not in ENGINES and rest.startswith("//"):
        problem = f"has the scheme {scheme!r}, which no engine has"
        hint = "give a directory, file: and a directory, or memory:"
        raise BadStoreError(field="url", value=text, problem=problem, hint=hint)
    opening = ENGINES[kind if kind in ENGINES else "file"]
    return opening(
        text,
        create=create,
        sync=sync,
        lock_timeout=timeout_s,
        force_network=force_network,
    )


class StoreBase:
    """What both stores share: all that does not block."""

    def __init__(
        self,
        session: Session,
        *,
        sync: Sync = "always",
        retention_interval: float | None = None,
        scrub_rate: float | None = None,
    ) -> None:
        self._session = session
        self._engine = session.engine
        self._sync: Sync = sync
        self._schedule = RetentionSchedule(session.engine, retention_interval)
        self._scrub = ScrubSchedule(session.engine, scrub_rate)
        self._run = session.arun

    @property
    def url(self) -> str:
        """Where it is."""
        return self._engine.url

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What its engine can do."""
        return self._engine.capabilities

    @property
    def damaged(self) -> list[Damage]:
        """What opening and the background scrub found damaged; `verify` looks further.

        What is repaired leaves this list; what is still damaged comes back with the
        next round of the scrub.
        """
        self._session.check()
        # An engine that has to be awaited has no files that could be damaged.
        if Capability.SYNCHRONOUS not in self._engine.capabilities:
            return []
        return _drivers.run(self._engine, checks.found_at_opening())

    def metrics(self) -> dict[str, int]:
        """Give counters and gauges of this process, by name.

        - `scrub_bytes_total`: bytes that the background scrub has read.
        - `scrub_rounds_total`: how often it has come through the whole store.
        - `scrub_damaged`: what it found damaged and knows of no repair.
        """
        self._session.check()
        if Capability.SYNCHRONOUS not in self._engine.capabilities:
            return {}
        return self._engine.run(GetMetrics())

    def jetstream(self) -> Self:
        """Give the store itself, for code that was written for a NATS connection."""
        return self

    def _end(self) -> bool:
        """End the session; say whether it had not ended before."""
        if self._session.is_closed:
            return False
        self._session.check()
        self._session.is_closed = True
        self._schedule.stop()
        self._scrub.stop()
        return True

    def _create(
        self, config: ObjectStoreConfig | str | None, params: Mapping[str, Any]
    ) -> Steps[str]:
        return buckets.create_bucket(self._engine, config, params, sync=self._sync)

    def _bind(self, bucket: str, *, create: bool) -> Steps[str]:
        return buckets.bind_bucket(self._engine, bucket, create=create, sync=self._sync)


class Store(StoreBase):
    """All buckets of one place, as `objstore.connect` gives it.

    It belongs to the event loop on which it was opened.

    Example:
        bucket = await store.create_object_store("media", max_bytes=1 << 30)
        await bucket.put("a", b"content")
        assert await store.object_store_names() == ["b", "media"]
    """

    async def create_object_store(
        self, config: ObjectStoreConfig | str | None = None, **params: Any
    ) -> ObjectStore:
        """Create a bucket; the same configuration again is fine.

        Args:
            config: A configuration, which is taken as it is, or the bucket's name.
            **params: Single fields of `ObjectStoreConfig`; `sync` is the store's
                unless given.

        Raises:
            BadBucketError: a field is not allowed.
            BucketExistsError: the bucket exists with another configuration.
            NotSupportedError: the engine cannot do it, such as `replicas`.
        """
        name = await self._run(self._create(config, params))
        return ObjectStore(self._session, name)

    async def object_store(self, bucket: str, *, create: bool = False) -> ObjectStore:
        """Give an existing bucket.

        Args:
            bucket: Its name.
            create: Create it when there is none.

        Raises:
            BucketNotFoundError: there is no such bucket.
            BadBucketError: the name is not allowed.
        """
        name = await self._run(self._bind(bucket, create=create))
        return ObjectStore(self._session, name)

    async def update_object_store(
        self, config: ObjectStoreConfig | str | None = None, **params: Any
    ) -> ObjectStore:
        """Change a bucket's configuration; objects keep what they have.

        Args:
            config: The whole new configuration, or the bucket's name.
            **params: Single fields; the others stay.

        Raises:
            BadBucketError: a field is not allowed or cannot be changed.
            BucketNotFoundError: there is no such bucket.
        """
        steps = buckets.update_bucket(self._engine, config, params)
        return ObjectStore(self._session, await self._run(steps))

    async def delete_object_store(self, bucket: str) -> bool:
        """Delete a bucket and everything in it.

        Raises:
            BucketNotFoundError: there is no such bucket.
        """
        return await self._run(buckets.delete_bucket(bucket))

    async def object_store_names(self) -> list[str]:
        """Give the names of all buckets, sorted."""
        return await self._run(buckets.list_buckets())

    async def run_retention(self, *, dry_run: bool = False) -> RetentionReport:
        """Mark what has expired, and give dead bytes back to the file system.

        It runs every `retention_interval`, too.

        Guarantee: a bucket that fails costs no other one its turn.

        Args:
            dry_run: Only count.

        Raises:
            ObjStoreError: what the first bucket that failed raised, such as
                `CorruptionError`; the others are done by then.
        """
        steps = run_retention(self._engine, dry_run=dry_run)
        return await self._run(steps)

    async def verify(
        self,
        *,
        repair: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Check every record of every log, and every live object of every bucket.

        Args:
            repair: Repair what can be: see `ObjectStore.verify`.
            dry_run: Only say what a repair would do.
            progress: Called with the bytes that are done and their total as far as it
                is known by then: never less than what is done, the same at the end.

        Returns:
            What is damaged, with every name that shares it.
        """
        steps = checks.verify_store(
            self._engine, repair=repair or dry_run, dry_run=dry_run, progress=progress
        )
        return await self._run(steps)

    async def backup(
        self,
        target: str | os.PathLike[str],
        *,
        keep: int | None = None,
        progress: Progress | None = None,
    ) -> BackupReport:
        """Add a generation to a directory of backups; this store may be in use.

        Guarantee: a generation appears whole, synced and read back, or not at all, and
        is a store by itself. Each bucket in it is as it was, durable, at one moment;
        what was acknowledged before the call is in it. Meanwhile only retention waits.
        Buckets in memory of a store in files are left out.

        Args:
            target: The directory; made when missing.
            keep: How many generations stay there; all unless given.
            progress: Called with the bytes that are done and their total so far.

        Returns:
            What was copied, what an earlier generation had, and what was damaged
            before: damage is copied as it is, and named.

        Raises:
            BadStoreError: the directory is not apart from the store's, or holds other
                things or another store's backups.
            BusyError: another backup is being made there.
            StorageError: the system refuses, or the copy reads differently.

        Example:
            report = await store.backup("./backups", keep=7)
            assert not report.damaged
        """
        path = os.fsdecode(target)
        steps = backup_store(self._engine, path, keep=keep, progress=progress)
        return await self._run(steps)

    async def aclose(self) -> None:
        """Close the store and everything that was opened through it; idempotent."""
        if self._end():
            await self._engine.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exit_info: object) -> None:
        await self.aclose()


def connect(
    url: Url = None,
    *,
    create: bool = True,
    sync: Sync = "always",
    retention_interval: Duration | None = RETENTION_INTERVAL_S,
    lock_timeout: Duration | None = None,
    force_network: bool = False,
    scrub_rate: float | None = SCRUB_BYTES_PER_S,
) -> Handle[Store]:
    """Open a store for asyncio or trio: `await` it, or enter it with `async with`.

    Guarantee: opening the same directory again, here or in another process, is fine.

    Args:
        url: `file:./data`, a path, or `memory:`; `$OBJSTORE` unless given, and
            `./objstore-data` without that. A path behind `file:` is taken as it is; a
            URL such as `file:///my%20data` names this machine alone, and its escapes
            are decoded.
        create: Make the store when there is none.
        sync: The default of buckets that are created through it: `"always"`, seconds,
            or `"never"`.
        retention_interval: Seconds between two runs of retention; `None` for none.
        lock_timeout: How long a change waits for a writer in another process; `None`
            for as long as it takes.
        force_network: Take a directory on a network file system, where locks and
            syncs may not hold; for when one machine alone uses it.
        scrub_rate: Bytes a second at which stored records are checked in the
            background, once a day and in one process at a time; `None` for never.

    Raises:
        StoreNotFoundError: there is no store, and not `create`, or the place is a file
            or holds other things.
        StoreVersionError: a newer version wrote it.
        NotSupportedError: this version has no engine for the URL, or the directory is
            on a network file system.
        StorageError: the system refuses.
        BadStoreError: the URL or a duration is not allowed.
        BadBucketError: `sync` is not allowed.

    Example:
        async with objstore.connect("memory:") as store:
            bucket = await store.object_store("media", create=True)
    """

    async def opening() -> Store:
        interval_s = check_seconds("retention_interval", retention_interval)
        check_rate(scrub_rate)
        engines: list[Engine] = []

        def open_one() -> None:
            engines.append(
                open_engine(
                    url,
                    create=create,
                    sync=sync,
                    lock_timeout=lock_timeout,
                    force_network=force_network,
                )
            )

        try:
            await in_thread(open_one)
        except BaseException:
            for engine in engines:
                # it was cancelled behind the opening: nobody would ever close it
                engine.close()
            raise
        (engine,) = engines
        session = AsyncSession(engine)
        return Store(
            session, sync=sync, retention_interval=interval_s, scrub_rate=scrub_rate
        )

    return Handle(opening)
