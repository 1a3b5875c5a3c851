"""OxiDB in this process, where its wheel has what it needs."""

from __future__ import annotations

import base64
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Adapter, BlockingPeer

BUCKET = "bench"


def _problem() -> str | None:
    """Say whether its native library came with it."""
    module: Any = import_module("oxidb_embedded")
    try:
        module._find_library()
    except OSError as error:
        return f"oxidb-embedded: {str(error).partition('. ')[0]}"
    return None


class OxidbPeer(BlockingPeer):
    """A bucket of blobs."""

    def __init__(self, folder: Path) -> None:
        module: Any = import_module("oxidb_embedded")
        self._database = module.OxiDbEmbedded(str(folder))
        self._database.create_bucket(BUCKET)

    def put(self, name: str, data: bytes) -> object:
        return self._database.put_object(BUCKET, name, data)

    def get(self, name: str) -> object:
        content = self._database.get_object(BUCKET, name)[0]
        return base64.b64decode(content) if isinstance(content, str) else content

    def delete_one(self, name: str) -> object:
        return self._database.delete_object(BUCKET, name)

    def list_names(self, prefix: str = "") -> int:
        return len(self._database.list_objects(BUCKET, prefix=prefix))

    def close(self) -> None:
        self._database.close()


ADAPTERS = [
    Adapter(
        "OxiDB",
        "written (it never syncs)",
        OxidbPeer,
        ["oxidb-embedded"],
        problem=_problem,
    )
]
