"""The rule for names in a flat directory, the same on every storage."""

from __future__ import annotations

import errno


def check_plain_name(name: str) -> None:
    """Refuse a name that could leave its directory.

    Raises:
        OSError: `EINVAL`; it is empty, `.` or `..`, or contains `/` or NUL.
    """
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise OSError(errno.EINVAL, "not a plain file name", name)
