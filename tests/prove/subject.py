"""One store under test as the campaign sees it: its processes, its account, its end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.prove.judge import Act, Found
from tests.prove.peers import Peer

ROOT = Path(__file__).parents[2]
SOON_S = 60.0


class WorkerFailedError(Exception):
    """A worker ended or hung instead of answering."""


@dataclass
class Worker:
    """A running worker, with whatever it started in a group of its own."""

    process: subprocess.Popen[bytes]
    errors: Path
    _buffer: bytearray = field(default_factory=bytearray)

    def hear(self, what: str) -> Any:
        """Give what it says behind a word.

        Raises:
            WorkerFailedError: it says something else, or nothing for long.
        """
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        end_s = time.monotonic() + SOON_S
        while b"\n" not in self._buffer:
            left_s = max(end_s - time.monotonic(), 0)
            ready, _, _ = select.select([descriptor], [], [], left_s)
            data = os.read(descriptor, 1 << 16) if ready else b""
            if not data:
                raise WorkerFailedError(self._why(is_silent=not ready))
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        facts: list[Any] = json.loads(line)
        if facts[0] != what:
            raise WorkerFailedError(" ".join(map(str, facts)))
        return facts[1] if len(facts) > 1 else None

    def _why(self, *, is_silent: bool) -> str:
        if is_silent:
            return f"was silent for {SOON_S:.0f} s"
        status = self.process.wait(SOON_S)
        if status < 0:
            return f"died of {signal.Signals(-status).name}"
        return f"ended with {status}: {self.errors.read_text()[-500:].strip()}"

    def tell(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        # it may have died meanwhile, which the next hearing tells
        with suppress(BrokenPipeError):
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        """Kill it and what it started, at once."""
        # the group is there for as long as one of them is
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


@dataclass
class Subject:
    """A peer's store in one place, and what it acknowledged."""

    peer: Peer
    seed: int
    scratch: Path
    """For accounts and logs; never on the disk that fails."""
    is_small: bool = False
    """Whether every object is."""
    started: int = 0

    @property
    def account(self) -> Path:
        """Where the workers write what they tried and were told."""
        return self.scratch / "account"

    @contextmanager
    def run(self, program: str, place: Path, *arguments: str) -> Generator[Worker]:
        """Have a worker for a while; in the end it and its children are killed."""
        self.started += 1
        errors = self.scratch / f"{program}-{self.started}.txt"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.prove.worker", program),
                    *(self.peer.name, str(place), str(self.scratch), *arguments),
                ],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
            )
        worker = Worker(process, errors)
        try:
            yield worker
        finally:
            worker.kill()

    def start(
        self, program: str, place: Path, skipped: int
    ) -> AbstractContextManager[Worker]:
        """Run a program that does steps; `skipped` of them come before it."""
        sizes = "small" if self.is_small else "mixed"
        return self.run(
            program, place, str(self.account), str(self.seed), str(skipped), sizes
        )

    def prepare(self, place: Path, count: int) -> None:
        """Do some steps and close in order."""
        with self.start("prepare", place, count) as worker:
            worker.hear("closed")

    def acts(self, until_s: float | None = None) -> list[Act]:
        """Read what was tried; what was told after a moment counts as unknown."""
        acts: list[Act] = []
        for line in self.account.read_bytes().splitlines():
            word, *facts = json.loads(line)
            if word == "try":
                acts.append(Act(facts[0], facts[1], "unknown"))
                continue
            is_late = word == "done" and until_s is not None and facts[0] > until_s
            if not is_late:
                acts[-1] = Act(acts[-1].name, acts[-1].digest, word)
        return acts

    def inspect(self, place: Path) -> Found:
        """Open the store in a new process and read everything."""
        names = self.scratch / "names"
        names.write_text(json.dumps(sorted({act.name for act in self.acts()})))
        with self.run("inspect", place, str(names)) as worker:
            try:
                found = worker.hear("found")
            except WorkerFailedError as error:
                return Found(open_error=str(error))
        listed = found.pop("listed")
        return Found(listed=None if listed is None else frozenset(listed), **found)
