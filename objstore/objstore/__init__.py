"""An embedded, durable, chunked object store, shaped like NATS JetStream's.

`connect` opens a store for asyncio and trio, `open` for synchronous code; the classes
of the synchronous API are in `objstore.blocking`.
"""

import logging

from objstore import errors
from objstore._bucket import ObjectStore
from objstore._config import ObjectStoreConfig
from objstore._engine import Capability
from objstore._handles import Handle
from objstore._names import (
    DEFAULT_CHUNK_SIZE,
    MAX_CHUNK_SIZE,
    OBJ_ALL_CHUNKS_PRE_TEMPLATE,
    OBJ_ALL_META_PRE_TEMPLATE,
    OBJ_STREAM_TEMPLATE,
    VALID_BUCKET_RE,
)
from objstore._operations_write import PutOptions
from objstore._reader import ObjectReader
from objstore._store import Store, connect
from objstore._types import (
    BackupReport,
    Change,
    Damage,
    Listing,
    ObjectInfo,
    ObjectLink,
    ObjectMeta,
    ObjectMetaOptions,
    ObjectStoreStatus,
    Placement,
    Repair,
    RetentionReport,
    TreeReport,
    VerifyReport,
)
from objstore._watch import AsyncWatch as Watch
from objstore._watch import AwaitedWatch
from objstore._writer import ObjectWriter
from objstore.blocking import open as open
from objstore.errors import *  # noqa: F403 - that module lists its public names
from objstore.transfer import restore_backup

__all__ = [
    "DEFAULT_CHUNK_SIZE",
    "MAX_CHUNK_SIZE",
    "OBJ_ALL_CHUNKS_PRE_TEMPLATE",
    "OBJ_ALL_META_PRE_TEMPLATE",
    "OBJ_STREAM_TEMPLATE",
    "VALID_BUCKET_RE",
    "AwaitedWatch",
    "BackupReport",
    "Capability",
    "Change",
    "Damage",
    "Handle",
    "Listing",
    "ObjectInfo",
    "ObjectLink",
    "ObjectMeta",
    "ObjectMetaOptions",
    "ObjectReader",
    "ObjectStore",
    "ObjectStoreConfig",
    "ObjectStoreStatus",
    "ObjectWriter",
    "Placement",
    "PutOptions",
    "Repair",
    "RetentionReport",
    "Store",
    "TreeReport",
    "VerifyReport",
    "Watch",
    "connect",
    "restore_backup",
]
__all__ += errors.__all__

# Who does not ask for the library's warnings sees none: Python would print them.
logging.getLogger("objstore").addHandler(logging.NullHandler())
