"""The segmented log: records, group commit, recovery, reclaiming.

A log is one directory of append-only segment files. It knows records and subjects and
nothing of objects. `Log.append` is its one primitive: records, and the sequences that
their subjects must be at. The format is written down in docs/format.md.
"""

from objstore_log._catalog import Catalog, CatalogDamagedError, Projection
from objstore_log._commit import Guard, GuardTotals, Ticket
from objstore_log._core import LogOptions, SegmentDamage
from objstore_log._file_storage import FileStorage
from objstore_log._head_slot import (
    STORE_BYTES,
    STORE_VERSION,
    StoreHeader,
    decode_store_header,
    encode_store_header,
)
from objstore_log._log import Log
from objstore_log._memory_storage import MemoryStorage
from objstore_log._overlay import Applied
from objstore_log._reader import FeedPage
from objstore_log._record import Appended, Kind, NewRecord, Record, subject_of
from objstore_log._segments import Environment
from objstore_log._storage import Buffer, Lock, Storage
from objstore_log._writers import Writers

__all__ = [
    "STORE_BYTES",
    "STORE_VERSION",
    "Appended",
    "Applied",
    "Buffer",
    "Catalog",
    "CatalogDamagedError",
    "Environment",
    "FeedPage",
    "FileStorage",
    "Guard",
    "GuardTotals",
    "Kind",
    "Lock",
    "Log",
    "LogOptions",
    "MemoryStorage",
    "NewRecord",
    "Projection",
    "Record",
    "SegmentDamage",
    "Storage",
    "StoreHeader",
    "Ticket",
    "Writers",
    "decode_store_header",
    "encode_store_header",
    "subject_of",
]
