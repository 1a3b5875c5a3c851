"""The object store of JetStream: a server of our own, and the client of the vendor.

Every operation has a time limit, because a get waits for ever for chunks that are gone;
what ran out of time counts as an error.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from tests.prove.stores import BUCKET, MissingError

SOON_S = 20.0
ANSWER_S = 1.5
"""For a change; one that came later may have been made all the same."""
GET_S = 2.0
AT_ONCE = 16
"""Gets that run beside each other."""
CONFIG = """\
listen: "127.0.0.1:{port}"
max_payload: 2MB
jetstream {{
  store_dir: {folder}
  max_file_store: 1GB
  {more}
}}
"""
Value = TypeVar("Value")


def server_program() -> str | None:
    """Find the server, beside this Python before anywhere else."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("nats-server", path=beside) or shutil.which("nats-server")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


class NatsStore:
    """A bucket on a server that lives as long as this object."""

    def __init__(self, folder: Path, scratch: Path, more: str = "") -> None:
        self._nats: Any = import_module("nats")
        self._errors: Any = import_module("nats.js.errors")
        program = server_program()
        if program is None:
            raise FileNotFoundError("nats-server")
        folder.mkdir(exist_ok=True)
        port = _free_port()
        config = scratch / f"nats-{port}.conf"
        quoted = json.dumps(str(folder))
        config.write_text(CONFIG.format(port=port, folder=quoted, more=more))
        self._server = subprocess.Popen(
            [program, "-c", str(config)],
            stdout=(scratch / f"nats-{port}.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        self._loop = asyncio.new_event_loop()
        try:
            self._run(self._connect(port), SOON_S)
        except BaseException:
            self._end_server()
            raise

    def _run(self, work: Coroutine[Any, Any, Value], limit_s: float) -> Value:
        return self._loop.run_until_complete(asyncio.wait_for(work, limit_s))

    async def _connect(self, port: int) -> None:
        end_s = time.monotonic() + SOON_S
        # the client itself would wait two seconds after it found nobody
        while not _listens(port):
            if self._server.poll() is not None or time.monotonic() > end_s:
                raise ConnectionRefusedError(f"nats-server: {self._server.poll()}")
            await asyncio.sleep(0.02)
        self._client = await self._nats.connect(
            f"nats://127.0.0.1:{port}", allow_reconnect=False, error_cb=_ignore
        )
        self._jetstream = self._client.jetstream(timeout=ANSWER_S)
        # it answers before it has recovered its streams
        while not await self._has_bucket():
            if time.monotonic() > end_s:
                raise TimeoutError("JetStream is not available")
            await asyncio.sleep(0.02)

    async def _has_bucket(self) -> bool:
        try:
            self._bucket = await self._jetstream.create_object_store(BUCKET)
        except (
            self._errors.ServiceUnavailableError,
            self._nats.errors.NoRespondersError,
            self._nats.errors.TimeoutError,
        ):
            return False
        return True

    def put(self, name: str, content: bytes) -> None:
        """Put, in chunks of 128 KiB, each acknowledged by the server."""
        self._run(self._bucket.put(name, content), ANSWER_S)

    def delete(self, name: str) -> None:
        """Delete; gone already is fine."""
        try:
            self._run(self._bucket.delete(name), ANSWER_S)
        except self._errors.NotFoundError as error:
            raise MissingError from error

    def get_all(self, names: list[str]) -> dict[str, bytes | Exception]:
        """Read many at once: those that wait for lost chunks take their full time."""
        return self._loop.run_until_complete(self._get_all(names))

    async def _get_all(self, names: list[str]) -> dict[str, bytes | Exception]:
        found: dict[str, bytes | Exception] = {}
        gate = asyncio.Semaphore(AT_ONCE)

        async def get(name: str) -> None:
            async with gate:
                try:
                    result = await asyncio.wait_for(self._bucket.get(name), GET_S)
                    found[name] = result.data or b""
                except self._errors.NotFoundError:
                    found[name] = MissingError()
                except Exception as error:  # noqa: BLE001 - any error tells of the loss
                    found[name] = error

        await asyncio.gather(*map(get, names))
        return found

    def names(self) -> list[str]:
        """List what is not deleted."""
        try:
            entries = self._run(self._bucket.list(ignore_deletes=True), GET_S)
        except self._errors.NotFoundError:
            return []
        return [entry.name for entry in entries]

    def told(self) -> list[str]:
        """Say nothing: neither the server nor the client does."""
        return []

    def check(self) -> list[str] | None:
        """Ask for the state of the stream, where the server counts what it lost."""
        subject = f"$JS.API.STREAM.INFO.OBJ_{BUCKET}"
        answer = self._run(self._client.request(subject, b"", timeout=ANSWER_S), SOON_S)
        lost = json.loads(answer.data).get("state", {}).get("lost")
        return [f"lost: {lost}"] if lost else []

    def close(self) -> None:
        """Close the client, and let the server end in order."""
        try:
            self._run(self._client.close(), ANSWER_S)
        finally:
            self._end_server()

    def _end_server(self) -> None:
        self._server.terminate()
        try:
            self._server.wait(SOON_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()


async def _ignore(_: Exception) -> None:
    """Leave what the client notices to the operation that it fails."""
