"""Where a store's URL leads."""

from __future__ import annotations

import os
from urllib.parse import unquote_to_bytes

from objstore.errors import BadStoreError


def path_of(url: str) -> str | None:
    """Give the directory that a URL means, `None` for memory.

    `file:` takes a path as it is; only a `file://` URL, which `Path.as_uri` gives,
    has escapes.

    Raises:
        BadStoreError: it means neither.
    """
    scheme, colon, rest = url.partition(":")
    kind = (scheme + colon).lower()
    path, problem = url, "names no directory"
    if kind == "memory:":
        if rest in ("", "//"):
            return None
        path, problem = "", "gives memory a name"
    elif kind == "file:":
        path = rest
        if rest.startswith("//"):
            host, slash, below = rest[2:].partition("/")
            path = os.fsdecode(unquote_to_bytes(slash + below))
            if host.lower() not in ("", "localhost"):
                path, problem = "", f"names another host, {host!r}"
    if path and "\0" not in path:
        return path
    hint = "give a directory, file: and a directory, or memory: alone"
    raise BadStoreError(field="url", value=url, problem=problem, hint=hint)
