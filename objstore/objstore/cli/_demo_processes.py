"""The demo's other processes: one that watches, one that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from objstore.cli._failures import CommandError

WAIT_S: Final = 30.0
POLL_S: Final = 0.02


class Watcher:
    """A process that runs `objstore watch`, and the changes that it has told."""

    def __init__(self, directory: Path, bucket: str) -> None:
        self.seen: list[tuple[int, str, str]] = []
        """Sequence, kind and name of each change, in the order of their coming."""
        command = [sys.executable, "-m", "objstore.cli", "--store", str(directory)]
        options = ["--json", "watch", bucket, "--start", "all"]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, *options],
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the demo, which ends this process itself.
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            change = json.loads(line)
            self.seen.append((change["seq"], change["kind"], change["name"]))

    def wait_for(self, count: int) -> None:
        """Wait until it has told so many changes, or too long."""
        end_s = time.monotonic() + WAIT_S
        while len(self.seen) < count and time.monotonic() < end_s:
            if not self._thread.is_alive():
                return
            time.sleep(POLL_S)

    def interrupt(self) -> int:
        """End it as Ctrl-C does; give its exit status."""
        self._process.send_signal(signal.SIGINT)
        status = self._process.wait(WAIT_S)
        self._thread.join(WAIT_S)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, whatever happened."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._thread.join(WAIT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Killed:
    """What a killed writer had told."""

    acknowledged: list[tuple[str, int, str]]
    """Name, sequence and digest in hex of each put."""
    unfinished: str
    """The name that it was putting."""


def kill_writer(directory: Path, bucket: str) -> Killed:
    """Run a writer, and kill it with SIGKILL in the middle of a put.

    Raises:
        CommandError: it ended before it was killed.
    """
    acknowledged: list[tuple[str, int, str]] = []
    unfinished = ""
    command = [sys.executable, "-m", "objstore.cli._demo_writer"]
    with subprocess.Popen(  # noqa: S603 - our own program
        [*command, str(directory), bucket],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            # What was told before the kill is in the pipe, and is read to its end.
            for line in process.stdout:
                event, name, *facts = line.split()
                if event == "half":
                    unfinished = name
                    process.kill()
                else:
                    sequence, digest = facts
                    hex_digest = digest.removeprefix("SHA-256=")
                    acknowledged.append((name, int(sequence), hex_digest))
        finally:
            process.kill()
    if not unfinished or process.returncode != -signal.SIGKILL:
        problem = f"the demo's writer ended by itself, with {process.returncode}"
        raise CommandError(problem)
    return Killed(acknowledged, unfinished)
