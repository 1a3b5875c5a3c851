"""How an error shows a value from outside, and the base of errors about one."""

from __future__ import annotations

from datetime import datetime, timedelta

from objstore_log.errors import ObjStoreError

SHOWN_CHARACTERS_MAX = 120


def shown(value: object) -> str:
    """Write a value for a message: without control characters, never long."""
    text = repr(value)
    if len(text) <= SHOWN_CHARACTERS_MAX:
        return text
    return f"{text[:80]}...{text[-20:]} ({len(text)} characters)"


def _kept(value: object) -> object:
    """Give a value that surely can be pickled: the value itself or its text."""
    simple = (str, bytes, int, float, datetime, timedelta, type(None))
    return value if isinstance(value, simple) else shown(value)


class BadValueError(ObjStoreError, ValueError):
    """A value is outside its limits."""

    field: str
    value: object
    problem: str
    hint: str

    def __init__(self, *, field: str, value: object, problem: str, hint: str) -> None:
        super().__init__(
            f"{field} {shown(value)} {problem}; {hint}",
            field=field,
            value=_kept(value),
            problem=problem,
            hint=hint,
        )
