"""A process that puts and is sent SIGINT by itself, at any moment or inside a commit.

Its journal tells what came of each call; the history has to explain all of it.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import threading
import time
import warnings
from asyncio import BaseEventLoop
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any, Final

import anyio
from tests.torture.crowd_worker import (
    KEPT,
    NAMES,
    Told,
    digest_of,
    entered,
    settle,
)
from tests.torture.history import CUT

import objstore
from objstore_log._commit import Committer

LATEST_S = 0.006
WAIT_S = 0.05
LOOK_S = 0.000_1
SOON_S = 30.0
PLACES: Final = ("_number", "_write", "_sync_file", "_publish_batch")
"""Steps of a commit; an interrupt comes at the beginning of one of them."""


class Interrupter:
    """A thread that interrupts the main thread once whenever it is armed.

    Its events are flags that are looked at again and again: `threading.Event` has a
    lock that an interrupted main thread might keep.
    """

    def __init__(self, chance: random.Random) -> None:
        """Start it; the steps of a commit are to be told by `reached`."""
        self._chance = chance
        self._is_armed = self._is_sent = self._is_in_commit = False
        self._waits_for_commit = False
        self.inside = 0
        """Interrupts that came inside a commit."""
        threading.Thread(target=self._run, daemon=True).start()

    def reached(self) -> None:
        """Note that a commit is under way; let the interrupt come."""
        if self._waits_for_commit:
            self._waits_for_commit = False
            self.inside += 1
            self._is_in_commit = True
            # so long this thread stays in the commit, at the latest
            _wait_for(lambda: self._is_sent, WAIT_S)

    def _run(self) -> None:
        while True:
            _wait_for(lambda: self._is_armed)
            self._is_armed = False
            if self._waits_for_commit:
                _wait_for(lambda: self._is_in_commit, WAIT_S)
            else:
                time.sleep(self._chance.uniform(0, LATEST_S))
            self._waits_for_commit = False
            os.kill(os.getpid(), signal.SIGINT)
            self._is_sent = True

    def arm(self) -> None:
        """Have an interrupt come."""
        self._is_in_commit = self._is_sent = False
        self._waits_for_commit = self._chance.random() < 0.5
        self._is_armed = True

    def settle(self) -> None:
        """Wait until it has come, here or before."""
        try:
            assert _wait_for(lambda: self._is_sent, SOON_S)
            # the handler runs between two steps of this thread
            for _ in range(100):
                time.sleep(0.000_1)
        except KeyboardInterrupt:
            _wait_for(lambda: self._is_sent, SOON_S)


def _wait_for(is_so: Callable[[], bool], seconds: float = math.inf) -> bool:
    end_s = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end_s:
        time.sleep(LOOK_S)
    return is_so()


def _tell_commits(interrupter: Interrupter, chance: random.Random) -> None:
    """Have each commit tell the interrupter at one of its steps."""
    for name in PLACES:
        step = getattr(Committer, name)
        setattr(Committer, name, _telling(step, interrupter, chance))


def _telling(
    step: Callable[..., Any], interrupter: Interrupter, chance: random.Random
) -> Callable[..., Any]:
    def tell(*args: Any, **options: Any) -> Any:
        if chance.random() < 0.4:
            interrupter.reached()
        answer = step(*args, **options)
        if chance.random() < 0.2:
            interrupter.reached()
        return answer

    return tell


class Storm:
    """Puts by both faces, each of them interrupted once."""

    def __init__(self, place: str, path: str, who: str, seed: str) -> None:
        """Open the journal."""
        self._place = place
        self._chance = random.Random(seed)
        self._told = Told(path, who)
        self._interrupter = Interrupter(random.Random(f"{seed}/interrupts"))
        self._texts = (f"{seed}/{os.getpid()}/{number}" for number in count())
        _tell_commits(self._interrupter, random.Random(f"{seed}/steps"))

    def _put(self, name: str, put: Callable[..., Any], size: int) -> None:
        text = next(self._texts)
        content = text.encode() + self._chance.randbytes(size)
        facts = {"digest": digest_of(content), "text": text}

        def work() -> Mapping[str, Any]:
            info = put(name, content, text)
            return {"seq": info.seq, "digest": info.digest}

        number = self._told.call("put", KEPT, name, facts)
        try:
            self._interrupter.arm()
            settle(self._told, number, work)
        except KeyboardInterrupt:
            # it came before the work or behind it, and the journal may lack a line
            self._told.back(number, CUT, {})
        self._interrupter.settle()

    def run(self, seconds: float) -> None:
        """Put again and again, and read what came of it with no interrupt."""
        end_s = time.monotonic() + seconds
        with entered(self._place, "sync", lock_timeout=SOON_S) as opened:
            bucket = opened.bucket(KEPT)
            ways: list[Callable[..., Any]] = [
                partial(_put, bucket),
                partial(self._awaited, "asyncio"),
                partial(self._awaited, "trio"),
            ]
            while time.monotonic() < end_s:
                name = self._chance.choice(NAMES)
                size = self._chance.choice([100, 100, 50_000])
                self._put(name, self._chance.choice(ways), size)
                number = self._told.call("info", KEPT, name, {})
                settle(self._told, number, partial(_seen, bucket, name))
        self._told.tell("counted", {"inside": self._interrupter.inside})

    def _awaited(self, backend: str, name: str, data: bytes, text: str) -> Any:
        async def put() -> Any:
            async with objstore.connect(
                self._place, retention_interval=None, lock_timeout=SOON_S
            ) as store:
                bucket = await store.object_store(KEPT)
                return await bucket.put(name, data, description=text)

        return anyio.run(put, backend=backend)


def _put(bucket: Any, name: str, data: bytes, text: str) -> Any:
    return bucket.put(name, data, description=text)


def _seen(bucket: Any, name: str) -> Mapping[str, Any]:
    info = bucket.get_info(name)
    return {"seq": info.seq, "digest": info.digest}


def _not_of_the_loop(unraisable: Any) -> None:
    """Complain, but not about an event loop that was interrupted in its making."""
    if unraisable.object is not BaseEventLoop.__del__:
        sys.__unraisablehook__(unraisable)


def storm(place: str, path: str, who: str, seed: str, seconds: str) -> None:
    """Be interrupted for so long."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _not_of_the_loop
    warnings.simplefilter("ignore", RuntimeWarning)
    Storm(place, path, who, seed).run(float(seconds))
