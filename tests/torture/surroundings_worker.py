"""Programs in odd surroundings: forks, clocks that jump, little memory, few files."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio
from tests.torture import crowd_worker
from tests.torture.crowd_worker import (
    BRIEF,
    KEPT,
    LIFETIME_S,
    MORTAL,
    Client,
    Told,
    digest_of,
    entered,
    must_stop,
    settle,
)

import objstore
from objstore.blocking import ObjectStore, Store
from objstore.errors import ForkedError, PoisonedError, StorageError

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
JUMPS_S: Final = (0, 1, -1, 2 * HOUR_S, -2 * HOUR_S, DAY_S, -DAY_S, 400 * DAY_S)
BALLAST_BYTES: Final = 65_536
Limit: TypeAlias = Callable[[], AbstractContextManager[None]]
CHILD_S: Final = 20
"""A forked child that hangs is ended by its alarm."""
LINGER_S: Final = 3
FORKED, WRONG = 0, 9
SPAWN = multiprocessing.get_context("spawn")
FORK = multiprocessing.get_context("fork")


def complain(text: str) -> None:
    """Tell the campaign, which takes every complaint for a violation."""
    os.write(2, f"{text}\n".encode())


# --- forks ----------------------------------------------------------------------------


def _is_forked(what: str, use: Callable[[], object]) -> bool:
    try:
        use()
    except ForkedError:
        return True
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        complain(f"in a forked child {what}: {type(error).__name__}: {error}")
    else:
        complain(f"in a forked child {what} went well")
    return False


def _child(work: Callable[[], bool]) -> int:
    """Do something in a forked child, which ends with it; give its pid."""
    pid = os.fork()
    if not pid:
        signal.alarm(CHILD_S)
        status = WRONG
        try:
            status = FORKED if work() else WRONG
        finally:
            os._exit(status)
    return pid


def _wait(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != FORKED:
        complain(f"a forked child ended with status {status}")


class Parent:
    """A store with every kind of handle open, to be forked."""

    def __init__(self, place: str, ends: ExitStack) -> None:
        """Open them all."""
        self._place = place
        self.store: Store = ends.enter_context(
            objstore.open(place, retention_interval=None)
        )
        self.bucket = self.store.object_store(BRIEF)
        self.bucket.put("forked", bytes(100_000))
        self._reader = ends.enter_context(self.bucket.open_reader("forked"))
        self._watch = ends.enter_context(self.bucket.watch(start="all"))
        self._writer = self.bucket.open_writer("unfinished")
        self._writer.write(bytes(100_000))
        ends.callback(self._writer.abort)

    def _uses(self) -> Mapping[str, Callable[[], object]]:
        bucket, store = self.bucket, self.store
        return {
            "put": lambda: bucket.put("child's", b"1"),
            "get": lambda: bucket.get("forked"),
            "get_info": lambda: bucket.get_info("forked"),
            "list": bucket.list,
            "delete": lambda: bucket.delete("forked"),
            "status": bucket.status,
            "open_reader": lambda: bucket.open_reader("forked"),
            "read": self._reader.read,
            "write": lambda: self._writer.write(b"1"),
            "commit": self._writer.close,
            "watch": lambda: next(self._watch),
            "create_object_store": lambda: store.create_object_store("child's"),
            "run_retention": store.run_retention,
            "verify": store.verify,
        }

    def misused(self) -> bool:
        """Use everything in a child; then close it, and open the store anew."""
        refused = [_is_forked(what, use) for what, use in self._uses().items()]
        with suppress(ForkedError):
            self.store.close()
        try:
            with objstore.open(self._place, retention_interval=None) as store:
                store.object_store(BRIEF).put(f"child/{os.getpid() % 7}", b"1")
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
            complain(f"a child's own store: {type(error).__name__}: {error}")
            return False
        return all(refused)


def _linger() -> bool:
    """Live on for a while, as a child that nobody looks after."""
    time.sleep(LINGER_S)
    return True


def _put_here(place: str, name: str) -> None:
    """Be a spawned process: open the store, put."""
    with objstore.open(place, retention_interval=None) as store:
        store.object_store(BRIEF).put(name, b"spawned")


def _put_there(bucket: ObjectStore) -> None:
    """Be a process that `multiprocessing` forked: the inherited bucket is of no use."""
    ok = _is_forked("put below multiprocessing", lambda: bucket.put("c", b"1"))
    os._exit(FORKED if ok else WRONG)


async def _await_forked(bucket: objstore.ObjectStore) -> int:
    """Await with what a child has inherited."""
    uses: list[Callable[[], Any]] = [
        lambda: bucket.put("child's", b"1"),
        lambda: bucket.get("forked"),
        bucket.list,
        bucket.status,
    ]
    for number, use in enumerate(uses):
        try:
            await use()
        except ForkedError:
            continue
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
            complain(f"awaited in a forked child: {type(error).__name__}: {error}")
        complain(f"awaited use {number} in a forked child")
        return WRONG
    return FORKED


async def _fork_awaiting(place: str) -> None:
    """Fork on a running event loop; the child awaits with what it inherited."""
    async with objstore.connect(place, retention_interval=None) as store:
        bucket = await store.object_store(BRIEF)
        pid = os.fork()
        if not pid:
            status = WRONG
            try:
                signal.alarm(CHILD_S)
                status = await _await_forked(bucket)
            finally:
                os._exit(status)
        _wait(pid)
        await bucket.get_info("forked")


def fork(place: str, path: str, who: str, seed: str) -> None:
    """Change in two threads, and fork beside them, again and again."""
    chance = random.Random(seed)
    told = Told(path, who)
    counts = Counter[str]()
    lingering: list[int] = []
    with ExitStack() as ends, entered(place, "sync") as opened:
        parent = Parent(place, ends)
        for number in range(2):
            client = Client(opened, told, f"{seed}/{number}")
            steps = partial(_while_going, place, client.change)
            thread = threading.Thread(target=steps, daemon=True)
            thread.start()
            ends.callback(thread.join)
        for context in (FORK, SPAWN):
            work: Any = partial(_put_there, parent.bucket)
            if context is SPAWN:
                work = partial(_put_here, place, "spawned")
            child = context.Process(target=work)
            child.start()
            child.join(CHILD_S)
            if child.exitcode != FORKED:
                complain(f"{context} gave {child.exitcode}")
            counts["processes of multiprocessing"] += 1
        for backend in ("asyncio", "trio"):
            anyio.run(_fork_awaiting, place, backend=backend)
        told.ready()
        while not must_stop(place):
            _wait(_child(parent.misused))
            counts["forks"] += 1
            if chance.random() < 0.2:
                lingering.append(_child(_linger))
                told.tell("child", lingering[-1])
            told.tell("counted", counts)
        for pid in lingering:
            _wait(pid)


def _while_going(place: str, step: Callable[[], None]) -> None:
    while not must_stop(place):
        step()


# --- clocks ---------------------------------------------------------------------------


class JumpingClock:
    """A wall clock that somebody sets every now and then; right when it begins."""

    def __init__(self, seed: str) -> None:
        """Take the seed of its jumps."""
        self._chance = random.Random(seed)
        self._true_ns = time.time_ns
        self._next_s = time.monotonic() + 0.5
        self._off_s = 0
        self.jumps = 0

    def __call__(self) -> int:
        """Give the time that it shows."""
        now_s = time.monotonic()
        if now_s > self._next_s:
            self._next_s = now_s + self._chance.uniform(0, 0.3)
            self._off_s = self._chance.choice(JUMPS_S)
            self.jumps += 1
        return self._true_ns() + self._off_s * 1_000_000_000


def jump(place: str, path: str, who: str, seed: str, what: str) -> None:
    """Be another program with a clock that jumps; put what is to live for a day."""
    program, *arguments = what.split()
    clock = JumpingClock(seed)
    time.time_ns = clock
    run: Callable[..., None] = getattr(crowd_worker, program)
    if program == "write":
        putting = partial(_put_mortals, place, path, f"{who} of mortals", seed, clock)
        threading.Thread(target=putting, daemon=True).start()
    run(place, path, who, seed, *arguments)


def _put_mortals(
    place: str, path: str, who: str, seed: str, clock: JumpingClock
) -> None:
    told = Told(path, who)
    with objstore.open(place, retention_interval=None) as store:
        bucket = store.object_store(KEPT)
        for number in count():
            if must_stop(place):
                return
            name = f"{MORTAL}{who}/{os.getpid()}/{number}"
            text = f"{seed}/{os.getpid()}/mortal/{number}"
            content = text.encode()
            facts = {"digest": digest_of(content), "text": text}
            settle(
                told,
                told.call("put", KEPT, name, facts),
                partial(_put_mortal, bucket, name, content, text),
            )
            told.tell("counted", {"jumps of clocks": clock.jumps})
            time.sleep(0.02)


def _put_mortal(
    bucket: ObjectStore, name: str, content: bytes, text: str
) -> Mapping[str, Any]:
    info = bucket.put(name, content, description=text, ttl=LIFETIME_S)
    return {"seq": info.seq, "digest": info.digest}


# --- limits ---------------------------------------------------------------------------


@contextmanager
def limited(what: int, limit: int) -> Generator[None]:
    """Lower a limit of this process, and put it back."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (min(limit, hard) if hard > 0 else limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


@contextmanager
def files_left(number: int) -> Generator[None]:
    """Let so many more files be open."""
    taken = {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - numbers
    free = (fd for fd in count() if fd not in taken)
    limit = next(free)
    for _ in range(number):
        limit = next(free)
    with limited(resource.RLIMIT_NOFILE, limit):
        yield


@contextmanager
def memory_left(kibibytes: int) -> Generator[None]:
    """Let so much more memory be taken; all else that is free is taken before."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    ballast: list[bytes] = []
    with limited(resource.RLIMIT_AS, pages * resource.getpagesize()):
        try:
            for size in (BALLAST_BYTES, 4_096, 512):
                with suppress(MemoryError):
                    while True:
                        ballast.append(bytes(size))
            del ballast[: kibibytes * 1024 // BALLAST_BYTES]
            yield
        finally:
            ballast.clear()


class Squeezed:
    """Works on a store whose process may have little more than it has."""

    def __init__(self, place: str, chance: random.Random) -> None:
        """Take the place of a store."""
        self._place = place
        self._chance = chance
        self._acked: dict[str, str] = {}
        self.counts = Counter[str]()
        self._bucket: ObjectStore | None = None

    def works(
        self, bucket: ObjectStore, big_bytes: int
    ) -> Iterator[Callable[[], object]]:
        """Give everything that may be refused."""
        names = sorted(self._acked)
        for size in (100, 60_000, big_bytes):
            yield partial(self._put, bucket, size)
        yield partial(self._get, bucket, self._chance.choice(names))
        yield bucket.list
        yield partial(_look, bucket)
        yield partial(_open_again, self._place)

    def _put(self, bucket: ObjectStore, size: int) -> None:
        name = f"squeezed/{len(self._acked)}"
        content = self._chance.randbytes(20) * (size // 20)
        digest = digest_of(content)
        if bucket.put(name, content).digest != digest:
            complain(f"{name} was put as something else")
        self._acked[name] = digest

    def _get(self, bucket: ObjectStore, name: str) -> None:
        if digest_of(bucket.get(name)) != self._acked[name]:
            complain(f"{name} is something else")

    def squeeze(self, bucket: ObjectStore, limit: Limit, big_bytes: int) -> None:
        """Do everything under a limit, then again without."""
        for work in self.works(bucket, big_bytes):
            try:
                with limit():
                    work()
                self.counts["done under a limit"] += 1
            except PoisonedError as error:
                complain(f"poisoned by a limit: {error}")
            except (StorageError, MemoryError) as error:
                self.counts[f"refused: {type(error).__name__}"] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                complain(f"under a limit: {type(error).__name__}: {error}")
            try:
                work()
            except Exception as error:  # noqa: BLE001 - as above
                complain(f"behind a limit: {type(error).__name__}: {error}")

    def run(self) -> None:
        """Squeeze the files, then the memory."""
        with objstore.open(self._place, retention_interval=None) as store:
            bucket = store.object_store(BRIEF)
            self._put(bucket, 100)
            for number in range(5):
                self.squeeze(bucket, partial(files_left, number), 4_000_000)
            for kibibytes in (300, 300, 1_000, 1_000, 2_000, 5_000):
                self.squeeze(bucket, partial(memory_left, kibibytes), 3_000_000)
            for name in self._acked:
                self._get(bucket, name)
            report = store.verify()
            if not report.ok:
                complain(f"verify: {report.damaged}")


def _look(bucket: ObjectStore) -> None:
    with bucket.watch(start="all") as watch:
        next(watch)


def _open_again(place: str) -> None:
    with objstore.open(place, retention_interval=None) as store:
        store.object_store(f"more-{len(store.object_store_names())}", create=True)


def _run(squeezed: Squeezed) -> None:
    try:
        squeezed.run()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        complain(f"squeezed: {type(error).__name__}: {error}")


def squeeze(place: str, path: str, who: str, seed: str) -> None:
    """Work under limits once."""
    told = Told(path, who)
    told.ready()
    # what Python and the store tell of a limit is no complaint of ours
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - to the end
    squeezed = Squeezed(place, random.Random(seed))
    # in a thread, whose stack is there from the beginning and need not grow
    thread = threading.Thread(target=_run, args=(squeezed,))
    thread.start()
    thread.join()
    told.tell("counted", squeezed.counts)
