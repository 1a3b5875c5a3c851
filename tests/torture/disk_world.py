"""A store on a real disk: its processes, their accounts, and the oracle over them."""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.disk_oracle import Oracle, acts_of

ROOT = Path(__file__).parents[2]
SOON_S = 60.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ProgramFailedError(Exception):
    """A program of `disk_worker` ended or hung instead of answering."""


@dataclass
class Program:
    """A running program of `disk_worker`."""

    process: subprocess.Popen[bytes]
    errors: Path
    _buffer: bytearray = field(default_factory=bytearray)

    def hear(self) -> list[Any]:
        """Give the next line that it says.

        Raises:
            ProgramFailedError: it says no more, or nothing for long.
        """
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([descriptor], [], [], SOON_S)
            data = os.read(descriptor, 1 << 16) if ready else b""
            if not data:
                how = "ended" if ready else f"was silent for {SOON_S:.0f} s"
                errors = self.errors.read_text().strip()
                raise ProgramFailedError(f"{self.errors.stem} {how}: {errors}")
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        facts: list[Any] = json.loads(line)
        return facts

    def hear_until(self, what: str) -> list[Any]:
        """Give the facts of the next line that begins so."""
        while (line := self.hear())[0] != what:
            pass
        return line[1:]

    def tell(self, text: str) -> None:
        """Let it hear a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """End it, if it has not ended."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@dataclass
class StoreWorld:
    """A store, everybody who runs on it, and what must be there."""

    folder: Path
    """Of accounts; it is not on the disk that fails."""
    store: Path
    oracle: Oracle = field(default_factory=Oracle)
    programs: list[Program] = field(default_factory=list[Program])
    _accounts: list[tuple[str, int, Path]] = field(
        default_factory=list[tuple[str, int, Path]]
    )
    _started: int = 0

    @property
    def generation(self) -> int:
        """Count the cuts."""
        return len(self.oracle.cuts_s)

    def start(self, program: str, *arguments: str) -> Program:
        """Start a program on the store."""
        self._started += 1
        errors = self.folder / f"{program}-{self._started}.errors"
        command = sys.executable, "-m", "tests.torture.disk_worker"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [*command, program, str(self.store), *arguments],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        made = Program(process, errors)
        self.programs.append(made)
        return made

    def account(self, who: str) -> str:
        """Give the path of a new account; whoever tells into it is `who`."""
        path = self.folder / f"account-of-{who}"
        path.touch()
        self._accounts.append((who, self.generation, path))
        return str(path)

    def start_writer(
        self, seed: int, who: str, face: str, *, program: str = "write"
    ) -> Program:
        """Start a program that does the steps of a seed."""
        return self.start(program, self.account(who), str(seed), who, face)

    def create(self) -> None:
        """Make the store and its buckets."""
        maker = self.start("create")
        maker.hear_until("made")
        assert maker.process.wait(SOON_S) == 0

    def kill_all(self) -> None:
        """End every program that still runs."""
        while self.programs:
            self.programs.pop().kill()

    def settle(self) -> None:
        """Take in what was told so far. Nobody tells any more."""
        for who, generation, path in self._accounts:
            lines = path.read_bytes().split(b"\n")[:-1]
            cut_s = dict(enumerate(self.oracle.cuts_s)).get(generation, math.inf)
            told = map(json.loads, lines)
            self.oracle.acts += acts_of(who, generation, told, cut_s)
        self._accounts.clear()

    def start_inspector(self, end: str) -> Program:
        """Start an inspector, who leaves the store closed or open."""
        who = f"i{self._started}"
        return self.start("inspect", self.account(who), who, end)

    def inspect(self, inspector: Program, *, is_firm: bool = True) -> list[str]:
        """Hear an inspector out; say what is wrong."""
        try:
            (found,) = inspector.hear_until("found")
        except ProgramFailedError as error:
            return [str(error)]
        own = self._accounts.pop()
        self.settle()
        wrong = self.oracle.judge(found, is_firm=is_firm)
        # its own changes came behind all that it saw
        self._accounts.append(own)
        return wrong

    def done(self) -> int:
        """Count the changes that were acknowledged and are there."""
        return sum(act.state == "done" for act in self.oracle.acts)

    def lost(self) -> int:
        """Count the changes that were acknowledged and are gone, as they may be."""
        return sum(act.state == "lost" and act.told_s > 0 for act in self.oracle.acts)

    @staticmethod
    def boot_id() -> str:
        """Give the id of the machine's life."""
        return BOOT_ID.read_text().strip()


@contextmanager
def store_world(folder: Path, store: Path) -> Generator[StoreWorld]:
    """Give a world whose programs all end with it."""
    folder.mkdir(exist_ok=True)
    world = StoreWorld(folder, store)
    try:
        yield world
    finally:
        world.kill_all()
