"""Retention in the background: one thread per open store, asleep in between."""

from __future__ import annotations

import logging
import threading
import weakref

from objstore import _drivers
from objstore._engine import Capability, Engine
from objstore._operations_retention import run_retention
from objstore.errors import ClosedError, ObjStoreError

_logger = logging.getLogger("objstore")


class RetentionSchedule:
    """Runs retention every so many seconds until it is stopped or forgotten."""

    def __init__(self, engine: Engine, interval_s: float | None) -> None:
        self._stopped = threading.Event()
        if interval_s and Capability.SYNCHRONOUS in engine.capabilities:
            # The thread holds no reference to this object, so that a store that was
            # forgotten without being closed ends its thread as well.
            weakref.finalize(self, self._stopped.set)
            threading.Thread(
                target=_repeat,
                args=(engine, interval_s, self._stopped),
                name="objstore-retention",
                daemon=True,
            ).start()

    def stop(self) -> None:
        """Start no further run; one that goes on is not waited for."""
        self._stopped.set()


def _repeat(engine: Engine, interval_s: float, stopped: threading.Event) -> None:
    while not stopped.wait(interval_s):
        try:
            _drivers.run(engine, run_retention(engine, dry_run=False))
        except ClosedError:
            return
        except (ObjStoreError, OSError) as error:
            _logger.warning("%s: retention failed: %s", engine.url, error)
