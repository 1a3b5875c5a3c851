"""The segmented log: records, group commit, recovery, reclaiming.

A log is one directory of append-only segment files. It knows records and subjects and
nothing of objects. `Log.append` is its one primitive: records, and the sequences that
their subjects must be at. The format is written down in docs/format.md.
"""

from objstore_log._catalog import Catalog, CatalogDamagedError, Projection
from objstore_log._catalog_reader import Beside
from objstore_log._catalog_schema import is_subject_sound
from objstore_log._compare import Comparison
from objstore_log._core import LogOptions, SegmentDamage
from objstore_log._file_storage import FileStorage
from objstore_log._frozen import FrozenLog, FrozenSegment, frozen_files
from objstore_log._head_slot import (
    STORE_BYTES,
    STORE_VERSION,
    StoreHeader,
    decode_store_header,
    encode_store_header,
)
from objstore_log._interrupts import uninterrupted
from objstore_log._log import Log
from objstore_log._memory_storage import MemoryStorage
from objstore_log._overlay import Applied
from objstore_log._patience import patience
from objstore_log._places import Place, RecordPlace
from objstore_log._reader import FeedPage
from objstore_log._record import (
    Appended,
    Kind,
    NewRecord,
    Record,
    decode_runs,
    encode_runs,
    subject_of,
)
from objstore_log._scrub import STRETCH_BYTES, FoundDamage, ScrubPage, ScrubToken
from objstore_log._segment_copy import SegmentCopy, is_same_segment, write_head
from objstore_log._segments import Environment, log_id_in
from objstore_log._snapshot import LogSnapshot
from objstore_log._space import Needs, ReclaimResult, SegmentPin
from objstore_log._storage import Buffer, Lock, Storage
from objstore_log._threads import start_thread
from objstore_log._tickets import Guard, GuardTotals, Ticket
from objstore_log._value_class import value_class
from objstore_log._wakeup import Stopper
from objstore_log._writers import Writers

__all__ = [
    "STORE_BYTES",
    "STORE_VERSION",
    "STRETCH_BYTES",
    "Appended",
    "Applied",
    "Beside",
    "Buffer",
    "Catalog",
    "CatalogDamagedError",
    "Comparison",
    "Environment",
    "FeedPage",
    "FileStorage",
    "FoundDamage",
    "FrozenLog",
    "FrozenSegment",
    "Guard",
    "GuardTotals",
    "Kind",
    "Lock",
    "Log",
    "LogOptions",
    "LogSnapshot",
    "MemoryStorage",
    "Needs",
    "NewRecord",
    "Place",
    "Projection",
    "ReclaimResult",
    "Record",
    "RecordPlace",
    "ScrubPage",
    "ScrubToken",
    "SegmentCopy",
    "SegmentDamage",
    "SegmentPin",
    "Stopper",
    "Storage",
    "StoreHeader",
    "Ticket",
    "Writers",
    "decode_runs",
    "decode_store_header",
    "encode_runs",
    "encode_store_header",
    "frozen_files",
    "is_same_segment",
    "is_subject_sound",
    "log_id_in",
    "patience",
    "start_thread",
    "subject_of",
    "uninterrupted",
    "value_class",
    "write_head",
]
