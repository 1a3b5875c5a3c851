"""Many processes on one directory, killed and stopped at random.

Three write (one of them in several tasks on asyncio, one on trio), two watch, one
reads, one runs retention. Their journals are compared with the log afterwards.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, TypeAlias

from tests.torture import crowd_worker
from tests.torture.crowd_worker import (
    BRIEF,
    END,
    KEPT,
    STOP,
    WHERE,
    changes_of,
    read,
    retain,
    watch,
    write,
)
from tests.torture.history import BUSY, DONE, Call, Event, Journal, read_journal
from tests.torture.history_check import Verdict, check

import objstore
from objstore import blocking

# Processes begin as forks of a small one that has everything imported, so that there
# are as many kills as possible in a second.
CONTEXT = multiprocessing.get_context("forkserver")
_IMPORTED = [
    *("tests.torture.crowd_worker", "anyio._backends._asyncio"),
    "anyio._backends._trio",
]
SEGMENT_BYTES = 100_000
SOON_S = 60.0
SAYING_S = 2.0
"""How long a process that hangs is given to say where."""
STOPPED_S = 1.2
"""The longest stop; a writer gives up sooner."""
DELAY_MAX_S = 5.0
"""How long the next commit of others may take behind a kill, on a busy machine."""
SEED_MAX = 2**32

Program: TypeAlias = tuple[Callable[..., None], *tuple[str, ...]]
"""What a process runs, and its last arguments."""

PROGRAMS: Mapping[str, Program] = {
    "writer on asyncio": (write, "asyncio:3"),
    "writer": (write, "sync:1"),
    "writer on trio": (write, "trio:2"),
    "reader": (read,),
    "retention": (retain,),
    "watcher": (watch, "sync"),
    "watcher on trio": (watch, "trio"),
}
WRITERS = [who for who, (program, *_) in PROGRAMS.items() if program is write]

_SWALLOWED: Final = re.compile(
    r"Exception ignored in: .*\n(?:Traceback.*\n(?:  .*\n)*)?KeyboardInterrupt.*\n"
)


class CrowdError(Exception):
    """A process of the crowd ended by itself, or did not end."""


@dataclass
class Crowd:
    """The processes of a round, by name, and what they have told."""

    folder: Path
    chance: random.Random
    programs: Mapping[str, Program] = field(default_factory=lambda: PROGRAMS)
    running: dict[str, BaseProcess] = field(default_factory=dict[str, BaseProcess])
    journals: dict[str, list[Path]] = field(
        default_factory=lambda: defaultdict(list[Path])
    )
    pids: set[int] = field(default_factory=set[int])
    killed: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    """Who was killed, and when."""
    stops: int = 0

    @property
    def watchers(self) -> list[str]:
        """Give those that end with the last change."""
        return [who for who, what in self.programs.items() if what[0] is watch]

    @property
    def place(self) -> Path:
        """Where the store is."""
        return self.folder / "store"

    def start(self, who: str) -> None:
        """Start a process, also in the place of one that was killed."""
        program, *arguments = self.programs[who]
        if program is watch:
            arguments.append(self.journal(who).cursor)
        else:
            arguments.insert(0, str(self.chance.randrange(SEED_MAX)))
        name = f"{who.replace(' ', '-')}-{len(self.journals[who])}"
        path = self.folder / f"{name}.journal"
        path.touch()
        self.journals[who].append(path)
        CONTEXT.set_forkserver_preload(_IMPORTED)
        process = CONTEXT.Process(
            target=crowd_worker.enter,
            args=(program, str(path), (str(self.place), str(path), who, *arguments)),
        )
        process.start()
        assert process.pid is not None
        self.running[who] = process
        self.pids.add(process.pid)

    def is_ready(self, who: str) -> bool:
        """Say whether a process has opened the store."""
        return self.journals[who][-1].stat().st_size > 0

    def wait_ready(self, who: str) -> None:
        """Wait until a process has opened the store."""
        end_s = time.monotonic() + SOON_S
        while not self.is_ready(who):
            if time.monotonic() > end_s or not self.running[who].is_alive():
                raise CrowdError(f"{who} does not begin: {self.errors()}")
            time.sleep(0.005)

    def send(self, who: str, number: signal.Signals) -> None:
        """Send a signal to a process that has not ended by itself."""
        process = self.running[who]
        if not process.is_alive() or process.pid is None:
            raise CrowdError(f"{who} ended: {process.exitcode}: {self.errors()}")
        os.kill(process.pid, number)

    def kill(self, who: str) -> None:
        """End a process in the middle of whatever it does."""
        self.killed.append((who, time.monotonic_ns()))
        self.send(who, signal.SIGKILL)
        self.running.pop(who).join()

    def end(self, who: str) -> None:
        """Wait for a process's own end."""
        process = self.running[who]
        process.join(SOON_S)
        if process.exitcode is None:
            raise CrowdError(f"{who} does not end: {self._where(process)}")
        del self.running[who]
        if process.exitcode:
            raise CrowdError(f"{who} ended: {process.exitcode}: {self.errors()}")

    def _where(self, process: BaseProcess) -> str:
        """Have a process that goes on say where it is, beside what all have said."""
        assert process.pid is not None
        os.kill(process.pid, WHERE)
        time.sleep(SAYING_S)
        return self.errors()

    def journal(self, who: str) -> Journal:
        """Give what the processes of one place have told."""
        told = Journal(who)
        for path in self.journals[who]:
            more = read_journal(who, path.read_text().splitlines(keepends=True))
            told.calls += more.calls
            told.sights += more.sights
            told.cursor = more.cursor or told.cursor
            told.counted |= more.counted
            told.children += more.children
        return told

    def children(self) -> list[int]:
        """Give the processes that those of the crowd have left."""
        return [child for who in self.programs for child in self.journal(who).children]

    def errors(self) -> str:
        """Give what all have said on their standard error.

        Not that Ctrl-C came in a finalizer, from which Python lets nothing out.
        """
        paths = sorted(self.folder.glob("*.errors"))
        return _SWALLOWED.sub("", "".join(path.read_text() for path in paths))

    def ask_to_stop(self) -> None:
        """Have all but the watchers end by themselves."""
        self.folder.joinpath(STOP).touch()
        for who in self.programs:
            if who in self.running and who not in self.watchers:
                self.end(who)


@contextmanager
def crowd_in(
    folder: Path, chance: random.Random, programs: Mapping[str, Program]
) -> Generator[Crowd]:
    """Give a crowd on a new store; whoever still runs afterwards is killed."""
    crowd = Crowd(folder, chance, programs=programs)
    with objstore.open(crowd.place, retention_interval=None) as store:
        store.create_object_store(KEPT, segment_bytes=SEGMENT_BYTES)
        store.create_object_store(BRIEF, segment_bytes=SEGMENT_BYTES, changes_ttl=0)
    try:
        yield crowd
    finally:
        for process in crowd.running.values():
            process.kill()
            process.join()


def disturb(crowd: Crowd, seconds: float) -> None:
    """Kill and stop them, one after the other, for so long behind their beginning."""
    chance = crowd.chance
    names = sorted(crowd.programs)
    for who in names:
        crowd.wait_ready(who)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        who = chance.choice([*names, *WRITERS])
        if chance.random() < 0.8:
            crowd.wait_ready(who)
        if chance.random() < 0.4:
            crowd.send(who, signal.SIGSTOP)
            crowd.stops += 1
            time.sleep(chance.choice([0.02, 0.1, 0.1, STOPPED_S]) * chance.random())
            if chance.random() < 0.7:
                crowd.send(who, signal.SIGCONT)
                continue
        crowd.kill(who)
        time.sleep(chance.choice([0.0, 0.0, 0.1]))
        crowd.start(who)
        time.sleep(chance.uniform(0.0, 0.3))


# --- what is checked ------------------------------------------------------------------


def end_history(store: blocking.Store) -> Call:
    """Make the last change of all."""
    begin_ns = time.monotonic_ns()
    info = store.object_store(KEPT).put(END, b"", description=END)
    answer = {"seq": info.seq, "digest": info.digest}
    facts = {"digest": info.digest, "text": END}
    end_ns = time.monotonic_ns()
    return Call(END, "end", "put", KEPT, END, begin_ns, facts, DONE, answer, end_ns)


def _check_delays(crowd: Crowd, calls: list[Call]) -> Iterator[str]:
    """A killed process delays nobody: the next commit of others comes soon."""
    commits = sorted(
        (call.end_ns, call.who) for call in calls if "seq" in call.answer and call.facts
    )
    for who, killed_ns in crowd.killed:
        if who not in WRITERS:
            continue
        following = [at for at, other in commits if at > killed_ns and other != who]
        if following and following[0] - killed_ns > DELAY_MAX_S * 1e9:
            late_s = (following[0] - killed_ns) / 1e9
            yield f"behind a kill of {who} the next commit took {late_s:.1f} s"


def _check_busy(crowd: Crowd, calls: list[Call]) -> Iterator[str]:
    """Who gives up names a process of the crowd that has the lock."""
    for call in calls:
        pid = call.answer.get("pid")
        if call.outcome == BUSY and pid is not None and pid not in crowd.pids:
            yield f"{call.id} was told to wait for {pid}, which is nobody"


def judge(crowd: Crowd, counts: Counter[str]) -> list[str]:
    """End the history, and check all of it."""
    crowd.ask_to_stop()
    with objstore.open(crowd.place, retention_interval=None) as store:
        last = end_history(store)
        for who in crowd.watchers:
            crowd.end(who)
        log = [Event(*fact) for fact in changes_of(store.object_store(KEPT))]
        report = store.verify()
        wrong = [f"verify found {damage}" for damage in report.damaged]
        wrong += [f"opening found {damage}" for damage in store.damaged]
        store.run_retention()
        wrong += [f"unreadable at the end: {name}" for name in _unreadable(store)]
    journals = {who: crowd.journal(who) for who in crowd.programs}
    calls = [call for journal in journals.values() for call in journal.calls]
    calls.append(last)
    sights = {who: journals[who].sights for who in crowd.watchers}
    kept = [call for call in calls if call.bucket == KEPT]
    brief = [call for call in calls if call.bucket == BRIEF]
    verdicts: list[Verdict] = [check(kept, log, sights), check(brief, None, {})]
    for verdict in verdicts:
        wrong += verdict.wrong
        counts.update(verdict.counts)
    wrong += [*_check_delays(crowd, calls), *_check_busy(crowd, calls)]
    if crowd.errors():
        wrong.append(f"somebody complained: {crowd.errors()}")
    counts["kills"] += len(crowd.killed)
    counts["stops"] += crowd.stops
    for outcome, number in Counter(call.outcome for call in calls).items():
        counts[f"answers: {outcome}"] += number
    return wrong


def _unreadable(store: blocking.Store) -> Iterator[str]:
    for bucket in (KEPT, BRIEF):
        opened = store.object_store(bucket)
        for info in opened.list():
            if len(opened.get(info.name)) != info.size:
                yield f"{bucket}/{info.name}"


def run_crowd(
    seed: int,
    seconds: float,
    counts: Counter[str],
    programs: Mapping[str, Program] = PROGRAMS,
) -> list[str]:
    """Let a crowd work for so long, then check its history; give what is wrong."""
    chance = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        crowd_in(Path(folder), chance, programs) as crowd,
    ):
        for who in crowd.programs:
            crowd.start(who)
        disturb(crowd, seconds)
        return judge(crowd, counts)
