"""Change streams over a log.

Knows sequences and subjects, nothing of objects; does no I/O.
"""

from objstore_watch._cursor import (
    Cursor,
    Origin,
    Witness,
    check_origin,
    decode_cursor,
    encode_cursor,
)
from objstore_watch._filter import ChangeFilter
from objstore_watch._stream import (
    ChangeStream,
    Marker,
    NeedChanges,
    NeedFloor,
    NeedPage,
    NeedSequenceAt,
    NeedVisible,
    NeedWait,
    Place,
    Request,
    Start,
    StartAfter,
    StartAll,
    StartAtSequence,
    StartAtTime,
    StartCurrent,
    StartNew,
)

__all__ = [
    "ChangeFilter",
    "ChangeStream",
    "Cursor",
    "Marker",
    "NeedChanges",
    "NeedFloor",
    "NeedPage",
    "NeedSequenceAt",
    "NeedVisible",
    "NeedWait",
    "Origin",
    "Place",
    "Request",
    "Start",
    "StartAfter",
    "StartAll",
    "StartAtSequence",
    "StartAtTime",
    "StartCurrent",
    "StartNew",
    "Witness",
    "check_origin",
    "decode_cursor",
    "encode_cursor",
]
