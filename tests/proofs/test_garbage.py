"""Content is given back at once, not when the collector comes around to it."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Final

import pytest

import objstore

CONTENT: Final = bytes(3 * 1024 * 1024)
"""Several slabs."""


async def _exercise(bucket: objstore.ObjectStore, folder: Path) -> None:
    """Call what handles content."""
    (folder / "source").write_bytes(CONTENT)
    await bucket.put("put", CONTENT)
    await bucket.upload("up", folder / "source")
    async with bucket.open_writer("written") as writer:
        await writer.write(CONTENT)
    assert await bucket.get("put") == CONTENT
    await bucket.download("up", folder / "target")
    async with bucket.open_reader("written") as reader:
        assert await reader.read() == CONTENT
    for name in ("put", "up", "written"):
        await bucket.delete(name)


@pytest.mark.anyio
async def test_awaited_operations_leave_nothing_to_the_collector(
    tmp_path: Path,
) -> None:
    """No cycle holds a slab of a content: none waits for the collector.

    Such a cycle once made an awaited put of a large file hold twenty slabs and more.
    """
    async with objstore.connect(tmp_path / "store") as store:
        bucket = await store.object_store("b", create=True)
        await _exercise(bucket, tmp_path)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await _exercise(bucket, tmp_path)
            gc.collect()
            left = {type(thing).__name__ for thing in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not left & {"bytes", "memoryview", "Chunk", "Ticket", "NewRecord"}
