"""Awaited handles in a forked child."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORKING = """
import os, anyio, objstore

async def use(how):
    try:
        await how()
    except objstore.ForkedError:
        return
    os._exit(1)

async def main():
    async with objstore.connect("memory:") as store:
        bucket = await store.create_object_store("b")
        await bucket.put("a", b"1")
        reader = await bucket.open_reader("a")
        watch = bucket.watch(start="all")
        uses = [
            lambda: bucket.put("a", b"2"),
            lambda: bucket.get("a"),
            lambda: bucket.list(),
            lambda: reader.read(),
            lambda: anext(watch),
            lambda: store.run_retention(),
        ]
        if not os.fork():
            try:
                LOOP
                os._exit(7)
            finally:
                os._exit(9)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        assert await bucket.get("a") == b"1"

anyio.run(main, backend="BACKEND")
"""
OWN_LOOP = """
                import threading
                def run():
                    for how in uses:
                        anyio.run(use, how, backend="BACKEND")
                    os._exit(7)
                thread = threading.Thread(target=run)
                thread.start()
                thread.join()
                os._exit(8)
"""
NO_LOOP = "\n                for how in uses[:3]: await use(how)\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("loop", [OWN_LOOP, NO_LOOP], ids=["own loop", "no loop"])
def test_awaited_use_in_a_forked_child_is_a_forked_error(
    backend: str, loop: str
) -> None:
    """Whether the child has an event loop of its own, or none; the parent goes on."""
    program = FORKING.replace("LOOP", loop).replace("BACKEND", backend)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
