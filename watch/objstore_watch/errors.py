"""The errors of change streams, and those of the log that a watcher meets."""

from __future__ import annotations

from objstore_log.errors import (
    CursorExpiredError,
    HistoryRewoundError,
    ObjStoreError,
)

__all__ = [
    "BadCursorError",
    "BadWatchError",
    "CursorExpiredError",
    "CursorForeignError",
    "HistoryRewoundError",
    "ObjStoreError",
]

_SHOWN_CHARACTERS_MAX = 120


class BadCursorError(ObjStoreError, ValueError):
    """The text is not a cursor, or not a whole one."""

    cursor: str
    reason: str

    def __init__(self, *, cursor: str, reason: str) -> None:
        super().__init__(
            f"cursor {_shortened(cursor)} {reason}; pass the exact text that "
            "`watch.cursor` gave, or start from current values",
            cursor=cursor,
            reason=reason,
        )


class CursorForeignError(ObjStoreError, ValueError):
    """The cursor is a place in another bucket than the one that is watched."""

    found: str
    """Where the cursor belongs, in words."""
    expected: str
    """What is watched, in words."""

    def __init__(self, *, found: str, expected: str) -> None:
        super().__init__(
            f"the place of this watch is in {found}, but what is watched is "
            f"{expected}; use the cursor where it came from, or start from current "
            "values",
            found=found,
            expected=expected,
        )


class BadWatchError(ObjStoreError, ValueError):
    """An option of a watch has no meaning."""

    option: str
    value: str
    """As text, because any object may have been passed."""
    allowed: str

    def __init__(self, *, option: str, value: object, allowed: str) -> None:
        super().__init__(
            f"watch({option}={_shortened(value)}) has no meaning; {option} is "
            f"{allowed}",
            option=option,
            value=_shortened(value),
            allowed=allowed,
        )


def _shortened(value: object) -> str:
    text = repr(value)
    if len(text) <= _SHOWN_CHARACTERS_MAX:
        return text
    return f"{text[: _SHOWN_CHARACTERS_MAX - 3]}..."
