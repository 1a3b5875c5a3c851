"""Programs that the campaign `processes` runs on one store, and kills and stops.

Each takes the store's place, its journal, a name and a seed, and goes on until there is
a file `stop` beside the store.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from tests.torture.history import (
    BUSY,
    CUT,
    DIFFERS,
    DONE,
    EXISTS,
    FAILED,
    MISSING,
)

import objstore
from objstore import ObjectMeta, _operations_write
from objstore.blocking import ObjectStore
from objstore.errors import (
    BusyError,
    ObjectAlreadyExists,
    ObjectNotFoundError,
    PreconditionFailedError,
)

KEPT = "kept"
"""The bucket whose changes all stay: its log is the witness."""
BRIEF = "brief"
"""The bucket that lets superseded changes go at once."""
STOP = "stop"
WHERE = signal.SIGUSR1
"""Has a process say on its standard error where all of its threads are."""
END = "the end"
"""The last change of all, made when the writers have ended."""
NAMES = [f"name/{number}" for number in range(6)]
MORTAL = "mortal/"
"""Names that are put once, with a lifetime."""
LIFETIME_S = 86_400
SLAB_BYTES = 20_000
SLOW_EVERY, SLOW_S = 6, 0.1
PIECE_BYTES = 5_000
PIECE_S = 0.02
LOCK_TIMEOUT_S = 0.4
BEFORE_S = 0.02
"""How late a call may be cancelled."""


class Cut(Exception):  # noqa: N818 - it is no error
    """A call was cancelled."""


class Told:
    """A journal in the making; a line that is written survives the process."""

    def __init__(self, path: str, who: str) -> None:
        """Go on with a file; numbers of calls begin with the process's own."""
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._who = who
        self._numbers = count()

    def ready(self) -> None:
        """Tell that the store is open."""
        self.tell("ready")

    def tell(self, *facts: object) -> None:
        """Write a line, at once."""
        os.write(self._file, json.dumps(facts).encode() + b"\n")

    def call(self, how: str, bucket: str, name: str, facts: Mapping[str, Any]) -> str:
        """Tell of a call that begins; give its number."""
        # threads share it, and the counter itself is never torn
        number = f"{self._who}.{os.getpid()}.{next(self._numbers)}"
        self.tell("call", number, how, bucket, name, facts, time.monotonic_ns())
        return number

    def back(self, number: str, outcome: str, answer: Mapping[str, Any]) -> None:
        """Tell what came of a call."""
        self.tell("back", number, outcome, answer, time.monotonic_ns())


def settle(
    told: Told, number: str, work: Callable[[], Mapping[str, Any]]
) -> tuple[str, Mapping[str, Any]]:
    """Do the work of a call, and tell what came of it."""
    answer: Mapping[str, Any] = {}
    try:
        outcome, answer = DONE, work()
    except ObjectAlreadyExists as error:
        outcome, answer = EXISTS, {"name": error.name, "actual": error.actual}
    except PreconditionFailedError as error:
        outcome, answer = DIFFERS, {"actual": error.actual}
    except ObjectNotFoundError as error:
        outcome, answer = MISSING, {"name": error.name}
    except BusyError as error:
        outcome, answer = BUSY, {"pid": error.holder_pid, "waited_s": error.waited_s}
    except (Cut, KeyboardInterrupt):
        outcome = CUT
    except Exception as error:  # noqa: BLE001 - whatever it is, the checker is told
        outcome, answer = FAILED, {"error": f"{type(error).__name__}: {error}"}
    told.back(number, outcome, answer)
    return outcome, answer


def digest_of(data: bytes) -> str:
    """Give the digest as the store writes it."""
    return f"SHA-256={hashlib.sha256(data).hexdigest()}"


def must_stop(place: str) -> bool:
    """Say whether the campaign has asked for the end."""
    return Path(place).with_name(STOP).exists()


# --- the two faces --------------------------------------------------------------------


class Face:
    """The synchronous API."""

    can_cut = False

    def __init__(self, store: Any) -> None:
        self.store = store

    def bucket(self, name: str) -> Any:
        """Give a bucket."""
        return self.store.object_store(name)

    def call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a method of the store or of a bucket."""
        options.pop("cut_s", None)
        return method(*args, **options)

    def read(self, bucket: Any, name: str) -> tuple[int, str, bytes]:
        """Read with a reader: sequence, digest, content."""
        with bucket.open_reader(name) as reader:
            return reader.info.seq, reader.info.digest, reader.read()


class AsyncFace(Face):
    """The asynchronous API, on an event loop in another thread."""

    can_cut = True

    def __init__(self, store: Any, portal: BlockingPortal) -> None:
        super().__init__(store)
        self._portal = portal

    def bucket(self, name: str) -> Any:
        """Give a bucket."""
        return self._portal.call(self.store.object_store, name)

    def call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a method, which is cancelled after `cut_s`."""
        return self._portal.call(
            _within, options.pop("cut_s", None), method, args, options
        )

    def read(self, bucket: Any, name: str) -> tuple[int, str, bytes]:
        """Read with a reader: sequence, digest, content."""

        async def read() -> tuple[int, str, bytes]:
            async with bucket.open_reader(name) as reader:
                return reader.info.seq, reader.info.digest, await reader.read()

        return self._portal.call(read)


async def _within(
    cut_s: float | None,
    method: Callable[..., Any],
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    with anyio.move_on_after(cut_s):
        return await method(*args, **options)
    raise Cut


@contextmanager
def entered(place: str, face: str, **options: Any) -> Generator[Face]:
    """Open the store by one of its faces."""
    _operations_write.SLAB_BYTES = _operations_write.LARGE_SLAB_BYTES = SLAB_BYTES
    options.setdefault("retention_interval", None)
    with ExitStack() as ends:
        if face == "sync":
            yield Face(ends.enter_context(objstore.open(place, **options)))
            return
        portal = ends.enter_context(start_blocking_portal(face))
        handle = objstore.connect(place, **options)
        store = ends.enter_context(portal.wrap_async_context_manager(handle))
        yield AsyncFace(store, portal)


# --- writers and readers --------------------------------------------------------------


class Client:
    """Calls two buckets in every way, over and over, and tells of all."""

    def __init__(self, face: Face, told: Told, seed: str) -> None:
        """Take what it works with; the seed decides what it does."""
        self._face = face
        self._told = told
        self._chance = random.Random(seed)
        self._buckets = {name: face.bucket(name) for name in (KEPT, BRIEF)}
        self._texts = (f"{seed}/{os.getpid()}/{number}" for number in count())

    def _try(
        self,
        how: str,
        bucket: str,
        name: str,
        facts: Mapping[str, Any],
        work: Callable[[Any], Mapping[str, Any]],
    ) -> tuple[str, Mapping[str, Any]]:
        number = self._told.call(how, bucket, name, facts)
        return settle(self._told, number, partial(work, self._buckets[bucket]))

    def _made(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Change something that tells its sequence; some are cancelled."""
        if self._face.can_cut and self._chance.random() < 0.1:
            options["cut_s"] = self._chance.uniform(0, BEFORE_S)
        info = self._face.call(method, *args, **options)
        return {"seq": info.seq, "digest": info.digest}

    def change(self) -> None:
        """Change something."""
        ways: list[Callable[[str], None]] = [
            *(self.put, self.put, self.put_new, self.put_behind, self.delete)
        ]
        if self._chance.random() < 0.2:
            self._chance.choice(ways)(BRIEF)
            return
        ways += [self.describe, self.rename, self.copy, self.put_large]
        self._chance.choice(ways)(KEPT)

    def look(self) -> None:
        """Read something."""
        bucket = self._chance.choice([KEPT, KEPT, KEPT, BRIEF])
        ways: list[Callable[[str], object]] = [
            *(self.info, self.get, self.read, self.list)
        ]
        self._chance.choice(ways)(bucket)

    def _name(self) -> str:
        return self._chance.choice(NAMES)

    # --- changes ------------------------------------------------------------------

    def _put(self, bucket: str, size: int, **options: Any) -> None:
        name, text = self._name(), next(self._texts)
        content = text.encode() + self._chance.randbytes(size)
        facts = {"digest": digest_of(content), "text": text}
        facts |= {key: options[key] for key in ("create", "if_match") if key in options}
        source: Any = content
        if options.pop("in_pieces", False):
            source = pieces(content)
        options["description"] = text
        self._try(
            "put",
            bucket,
            name,
            facts,
            lambda to: self._made(to.put, name, source, **options),
        )

    def put(self, bucket: str) -> None:
        """Put over anything."""
        self._put(bucket, self._chance.randrange(2_000))

    def put_large(self, bucket: str) -> None:
        """Put several slabs, in small chunks or in large ones."""
        size = self._chance.randrange(30_000, 90_000)
        chunk_size = self._chance.choice([700, 18_000])
        self._put(bucket, size, in_pieces=True, chunk_size=chunk_size)

    def put_new(self, bucket: str) -> None:
        """Put only where nothing is."""
        self._put(bucket, self._chance.choice([50, 30_000]), create=True)

    def put_behind(self, bucket: str) -> None:
        """Put only behind what some name was just seen at."""
        state = self._chance.getstate()
        name = self._name()
        seq = self.info(bucket, name)
        self._chance.setstate(state)
        self._put(bucket, self._chance.choice([50, 30_000]), if_match=seq)

    def delete(self, bucket: str) -> None:
        """Delete, mostly what was just seen."""
        name, facts = self._name(), dict[str, Any]()
        if self._chance.random() < 0.7:
            facts["if_match"] = self.info(bucket, name)
            if not facts["if_match"]:
                return

        def work(to: Any) -> Mapping[str, Any]:
            self._face.call(to.delete, name, **facts)
            return {}

        self._try("delete", bucket, name, facts, work)

    def describe(self, bucket: str) -> None:
        """Say something else about an object."""
        name, text = self._name(), next(self._texts)
        meta = ObjectMeta(description=text)
        self._try(
            "meta",
            bucket,
            name,
            {"text": text},
            lambda to: self._made(to.update_meta, name, meta),
        )

    def rename(self, bucket: str) -> None:
        """Give an object another name, which may be taken."""
        name, other = self._chance.sample(NAMES, 2)
        overwrite = self._chance.random() < 0.5
        self._try(
            "rename",
            bucket,
            name,
            {"other": other} | ({} if overwrite else {"create": True}),
            lambda to: self._made(to.rename, name, other, overwrite=overwrite),
        )

    def copy(self, bucket: str) -> None:
        """Copy something over anything."""
        name, other = self._chance.sample(NAMES, 2)
        self._try(
            "copy",
            bucket,
            name,
            {"other": other},
            lambda to: self._made(to.copy, name, other),
        )

    # --- reads --------------------------------------------------------------------

    def info(self, bucket: str, name: str = "") -> int:
        """Look at what is there; give its sequence, 0 when there is nothing."""
        name = name or self._name()

        def work(of: Any) -> Mapping[str, Any]:
            info = self._face.call(of.get_info, name)
            return {"seq": info.seq, "digest": info.digest}

        _, answer = self._try("info", bucket, name, {}, work)
        return int(answer.get("seq", 0))

    def get(self, bucket: str) -> None:
        """Get what is there."""
        name = self._name()

        def work(of: Any) -> Mapping[str, Any]:
            return {"digest": digest_of(self._face.call(of.get, name))}

        self._try("get", bucket, name, {}, work)

    def read(self, bucket: str) -> None:
        """Read what is there, with a reader."""
        name = self._name()

        def work(of: Any) -> Mapping[str, Any]:
            seq, digest, content = self._face.read(of, name)
            if digest_of(content) != digest:
                message = f"{len(content)} bytes are not those of {digest}"
                raise ValueError(message)
            return {"seq": seq, "digest": digest}

        self._try("read", bucket, name, {}, work)

    def list(self, bucket: str) -> None:
        """List all of it."""

        def work(of: Any) -> Mapping[str, Any]:
            infos = self._face.call(of.list, "name/")
            return {"found": {info.name: (info.seq, info.digest) for info in infos}}

        self._try("list", bucket, "", {"names": NAMES}, work)


def pieces(content: bytes) -> Iterator[bytes]:
    """Give content as a source of unknown length."""
    for start in range(0, len(content), 7_000):
        yield content[start : start + 7_000]


# --- the programs ---------------------------------------------------------------------


def _go_on(place: str, step: Callable[[], None]) -> None:
    while not must_stop(place):
        step()


def write(place: str, path: str, who: str, seed: str, how: str) -> None:
    """Change and read by a face, in so many threads at once."""
    face, _, tasks = how.partition(":")
    timeout = None if face == "sync" else LOCK_TIMEOUT_S
    told = Told(path, who)
    with entered(place, face, lock_timeout=timeout) as opened:
        told.ready()
        threads: list[Thread] = []
        for number in range(int(tasks)):
            client = Client(opened, told, f"{seed}/{number}")

            def step(client: Client = client) -> None:
                client.change()
                client.look()

            threads.append(Thread(target=_go_on, args=(place, step), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()


def read(place: str, path: str, who: str, seed: str) -> None:
    """Read, again and again."""
    told = Told(path, who)
    with entered(place, "sync") as opened:
        told.ready()
        _go_on(place, Client(opened, told, seed).look)


def retain(place: str, path: str, who: str, _seed: str) -> None:
    """Run retention again and again."""
    with objstore.open(place, retention_interval=None) as store:
        Told(path, who).ready()
        while not must_stop(place):
            store.run_retention()
            time.sleep(0.03)


def stream(place: str, path: str, who: str, seed: str, seconds: str) -> None:
    """Put one large object, piece by piece, for so long; then read it."""
    chance = random.Random(seed)
    told = Told(path, who)
    name, text = f"long/{who}/{os.getpid()}", f"{seed}/{os.getpid()}"
    count = max(int(float(seconds) / PIECE_S), 1)
    content = text.encode() + chance.randbytes(count * PIECE_BYTES)

    def slowly() -> Iterator[bytes]:
        end_s = time.monotonic() + float(seconds)
        for start in range(0, len(content), PIECE_BYTES):
            if start == 4 * SLAB_BYTES // PIECE_BYTES * PIECE_BYTES:
                # enough of it is in the log to look for
                told.ready()
            yield content[start : start + PIECE_BYTES]
            left = (len(content) - start) // PIECE_BYTES
            time.sleep(max(end_s - time.monotonic(), 0) / max(left, 1))

    with entered(place, "sync") as opened:
        bucket = opened.bucket(BRIEF)
        facts = {"digest": digest_of(content), "text": text}

        def put() -> Mapping[str, Any]:
            source = slowly()
            info = bucket.put(name, source, description=text, chunk_size=18_000)
            return {"seq": info.seq, "digest": info.digest}

        def get() -> Mapping[str, Any]:
            return {"digest": digest_of(bucket.get(name))}

        settle(told, told.call("put", BRIEF, name, facts), put)
        settle(told, told.call("get", BRIEF, name, {}), get)


def _fact_of(change: objstore.Change) -> tuple[Any, ...]:
    nuid, description = change.nuid, change.description
    return change.seq, change.kind, change.name, change.digest, nuid, description or ""


def changes_of(bucket: ObjectStore) -> list[tuple[Any, ...]]:
    """Give the whole history of a bucket up to its end."""
    facts: list[tuple[Any, ...]] = []
    with bucket.watch(start="all") as watch:
        for change in watch:
            facts.append(_fact_of(change))
            if change.name == END:
                break
    return facts


def watch(place: str, path: str, who: str, face: str, after: str) -> None:
    """Tell of every change, behind a cursor or from the beginning."""
    told = Told(path, who)
    options: dict[str, Any] = {"after": after} if after else {"start": "all"}

    def tell(change: objstore.Change, cursor: str | None) -> bool:
        told.tell("saw", _fact_of(change), cursor, time.monotonic_ns())
        if change.seq % SLOW_EVERY == 0 and not must_stop(place):
            # so that it has many changes before it when it is killed
            time.sleep(SLOW_S)
        return change.name == END

    if face == "sync":
        with objstore.open(place, retention_interval=None) as store:
            bucket = store.object_store(KEPT)
            with bucket.watch(**options) as changes:
                told.ready()
                for change in changes:
                    if tell(change, changes.cursor):
                        return

    async def follow() -> None:
        async with objstore.connect(place, retention_interval=None) as store:
            bucket = await store.object_store(KEPT)
            async with bucket.watch(**options) as changes:
                told.ready()
                async for change in changes:
                    if tell(change, changes.cursor):
                        return

    anyio.run(follow, backend=face)


def enter(program: Callable[..., None], path: str, arguments: tuple[str, ...]) -> None:
    """Be a process of the crowd; what it complains about goes beside its journal."""
    errors = os.open(Path(path).with_suffix(".errors"), os.O_WRONLY | os.O_CREAT)
    os.dup2(errors, 2)
    faulthandler.register(WHERE, all_threads=True)
    program(*arguments)
