"""Reading JSON that the store wrote itself. Pure."""

from __future__ import annotations

from typing import Any, Final

import orjson

_NO_MEMORY: Final = "Not enough memory"


def loads(document: bytes) -> Any:
    """Read a document.

    Raises:
        JSONDecodeError: it is not JSON.
        MemoryError: there is no room for it, which its parser also calls not JSON.
    """
    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith(_NO_MEMORY):
            raise MemoryError(error.msg) from None
        raise
