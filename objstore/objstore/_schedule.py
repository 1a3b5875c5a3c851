"""Retention and the scrub in the background: a thread each, asleep in between."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Final

from objstore import _drivers
from objstore._engine import Capability, Engine, Scrub
from objstore._operations_retention import run_retention
from objstore.errors import ClosedError, ObjStoreError, StorageError
from objstore_log import Stopper, start_thread

SCRUB_BYTES_PER_S: Final = 1024 * 1024
"""A round of 100 GB takes a bit more than a day, and nobody notices it."""
SCRUB_STEP_BYTES_MIN: Final = 64 * 1024
"""What a step counts at least: a log without much in it costs its opening."""
SCRUB_START_S: Final = 60.0
"""A program that ends sooner scrubs nothing."""
SCRUB_IDLE_S: Final = 60.0
"""How often a process looks whether it is its turn."""
_logger = logging.getLogger("objstore")


def _start(
    work: Callable[[Engine, float, Stopper], None],
    engine: Engine,
    seconds_or_rate: float,
    stopped: Stopper,
) -> None:
    """Start a thread that ends with the process; a store without one serves, too."""
    try:
        start_thread(engine.url, work, engine, seconds_or_rate, stopped)
    except StorageError as error:
        _logger.warning("%s: nothing is done in the background: %s", engine.url, error)


class RetentionSchedule:
    """Runs retention every so many seconds until it is stopped or forgotten."""

    def __init__(self, engine: Engine, interval_s: float | None) -> None:
        self._stopped = Stopper()
        if interval_s and Capability.SYNCHRONOUS in engine.capabilities:
            # The thread holds no reference to this object, so that a store that was
            # forgotten without being closed ends its thread as well.
            weakref.finalize(self, self._stopped.set)
            _start(_repeat, engine, interval_s, self._stopped)

    def stop(self) -> None:
        """Start no further run; one that goes on is not waited for."""
        self._stopped.set()


def _repeat(engine: Engine, interval_s: float, stopped: Stopper) -> None:
    while not stopped.wait(interval_s):
        try:
            _drivers.run(engine, run_retention(engine, dry_run=False))
        except ClosedError:
            return
        except (ObjStoreError, OSError) as error:
            _logger.warning("%s: retention failed: %s", engine.url, error)


class ScrubSchedule:
    """Scrubs a store at a limited rate until it is stopped or forgotten."""

    def __init__(self, engine: Engine, bytes_per_s: float | None) -> None:
        self._stopped = Stopper()
        is_possible = Capability.SYNCHRONOUS in engine.capabilities
        if bytes_per_s and is_possible and engine.backing_store != "memory":
            # As above: the thread does not keep the store.
            weakref.finalize(self, self._stopped.set)
            _start(_scrub, engine, bytes_per_s, self._stopped)

    def stop(self) -> None:
        """End it; closing the engine waits for a stretch that is being read."""
        self._stopped.set()


def _scrub(engine: Engine, bytes_per_s: float, stopped: Stopper) -> None:
    pause_s = SCRUB_START_S
    reason = ""
    while not stopped.wait(pause_s):
        pause_s = SCRUB_IDLE_S
        try:
            step = engine.run(Scrub(stopped))
        except ClosedError:
            return
        except (ObjStoreError, OSError) as error:
            # each reason once: it is tried again and again
            if str(error) != reason:
                reason = str(error)
                _logger.warning("%s: the scrub failed: %s", engine.url, error)
        else:
            reason = ""
            if not step.is_idle:
                pause_s = max(step.bytes, SCRUB_STEP_BYTES_MIN) / bytes_per_s
