"""What tests of a log and of its storages need; nothing here runs in a store."""

from __future__ import annotations

from objstore_log.testing.conformance import STORAGE_CHECKS, check_storage
from objstore_log.testing.crash_storage import Crashed, CrashStorage, Disk

__all__ = [
    "STORAGE_CHECKS",
    "CrashStorage",
    "Crashed",
    "Disk",
    "check_storage",
]
