"""One run: where it works, who takes part, and what was taken."""

from __future__ import annotations

import gc
import random
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Series, Taken, rotated
from benchmarks.peers import ADAPTERS
from benchmarks.peers.base import Peer

PIECE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """One of those that are compared."""

    name: str
    work: Callable[[], Taken]
    """Does a round of work."""
    durability: str = ""
    is_limit: bool = False


@dataclass(slots=True)
class Bench:
    """What a question gets to work with."""

    directory: Path
    rounds: int
    is_quick: bool
    """Small sizes, to try the benchmark itself; its figures are no verdict."""
    seed: int
    with_peers: bool = True
    taken: list[Series] = field(default_factory=list[Series])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """What peers could not do, by the peer and the group."""
    question: str = ""
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Draw every choice from one seed."""
        self.random = random.Random(self.seed)

    def size(self, full: int, quick: int) -> int:
        """Choose a size or count."""
        return quick if self.is_quick else full

    def folder(self, name: str) -> Path:
        """Give an empty folder of the question, and room on the disk."""
        path = self.directory / self.question / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def random_bytes(self, size_bytes: int) -> bytes:
        """Give a payload that does not compress and is not there yet."""
        if size_bytes <= PIECE_BYTES:
            return self.random.randbytes(size_bytes)
        # as one piece it would pass what an integer may have
        whole, rest = divmod(size_bytes, PIECE_BYTES)
        pieces = [self.random.randbytes(PIECE_BYTES) for _ in range(whole)]
        return b"".join([*pieces, self.random.randbytes(rest)])

    @contextmanager
    def peers(self, *names: str) -> Generator[Mapping[str, Peer]]:
        """Open those of the named peers that are installed, each in its own folder."""
        with ExitStack() as stack:
            opened: dict[str, Peer] = {}
            for name in names:
                adapter = ADAPTERS[name]
                if adapter.missing() is None and (self.with_peers or adapter.is_ours):
                    peer = adapter.open(self.folder(name))
                    stack.callback(peer.close)
                    opened[name] = peer
            yield opened

    def compare(
        self,
        group: str,
        subjects: Sequence[Subject],
        *,
        rounds: int | None = None,
        payload_bytes: int = 0,
        unit: str = "s",
        x: float | None = None,
        warm_up: bool = False,
    ) -> None:
        """Have all subjects work in turn, several times."""
        kept = [
            Series(
                self.question,
                group,
                subject.name,
                unit,
                subject.durability,
                payload_bytes,
                x,
                subject.is_limit,
            )
            for subject in subjects
        ]
        if warm_up:
            for subject in subjects:
                self._take(group, subject)
        for number in range(rounds or self.rounds):
            for at in rotated(len(subjects), number):
                gc.collect()
                taken = self._take(group, subjects[at])
                if taken is not None:
                    kept[at].add(taken)
        self.taken += [series for series in kept if series.values]

    def _take(self, group: str, subject: Subject) -> Taken | None:
        """Have a subject work; a peer that fails is left out and told of."""
        place = f"{subject.name}: {group}"
        if place in self.failed:
            return None
        try:
            return subject.work()
        except Exception as error:
            adapter = ADAPTERS.get(subject.name)
            if adapter is None or adapter.is_ours:
                raise
            self.failed[place] = f"{type(error).__name__}: {error}"
            print(f"FAILED: {place}: {self.failed[place]}")
            return None

    def note(
        self,
        group: str,
        subject: str,
        values: Iterable[Taken],
        *,
        unit: str = "s",
        x: float | None = None,
        payload_bytes: int = 0,
    ) -> None:
        """Keep what was taken otherwise."""
        series = Series(
            self.question,
            group,
            subject,
            unit,
            payload_bytes=payload_bytes,
            x=x,
        )
        for value in values:
            series.add(value)
        self.taken.append(series)
