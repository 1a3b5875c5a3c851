"""Five processes on one store, one of them killed at random, again and again.

Three put, one runs retention, one watches. What each was told before it was killed must
hold: nothing acknowledged is missing, no sequence comes twice, the watcher's history is
the log's, and everything verifies.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import objstore
from objstore import ObjectInfo, ObjectNotFoundError, blocking

from .store_worker import BRIEF, END, KEPT, STOP

ROOT = Path(__file__).parents[2]
SOON_S = 60.0
SEGMENT_BYTES = 100_000
PROGRAMS = ["write", "write", "write", "retain", "watch"]


class Fact(NamedTuple):
    """A change on the feed."""

    seq: int
    kind: str
    name: str
    digest: str


@dataclass
class Try:
    """A change that a writer tried, and what it was told."""

    how: str
    bucket: str
    name: str
    digest: str | None
    after: int | None
    """The change it has to come directly behind; 0 when nothing may be there."""
    seq: int = 0
    state: str = "unknown"

    def explains(self, fact: Fact) -> bool:
        """Say whether it may have made a change, although nobody was told."""
        kind = "delete" if self.how == "delete" else "put"
        return (kind, self.name) == (fact.kind, fact.name) and (
            self.digest in {None, fact.digest}
        )


@dataclass
class Crowd:
    """The processes, by their place in `PROGRAMS`, and all their accounts."""

    folder: Path
    running: dict[int, subprocess.Popen[bytes]] = field(
        default_factory=dict[int, "subprocess.Popen[bytes]"]
    )
    accounts: dict[int, list[Path]] = field(
        default_factory=lambda: defaultdict(list[Path])
    )
    kills: int = 0

    def start(self, slot: int) -> None:
        """Start a process, also in the place of one that was killed."""
        paths = self.accounts[slot]
        argument = str(slot)
        if PROGRAMS[slot] == "watch":
            saw = list(self.lines(slot))
            argument = saw[-1][2] if saw else ""
        path = self.folder / f"account-{slot}-{len(paths)}"
        path.touch()
        paths.append(path)
        with path.with_suffix(".errors").open("wb") as errors:
            self.running[slot] = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.proofs.store_worker",
                    PROGRAMS[slot],
                    self.folder / "store",
                    path,
                    argument,
                ],
                cwd=ROOT,
                stderr=errors,
            )

    def kill(self, slot: int) -> None:
        """End a process in the middle of whatever it does."""
        process = self.running.pop(slot)
        assert process.poll() is None, self.errors()
        process.kill()
        process.wait()
        self.kills += 1

    def end(self, slot: int) -> None:
        """Wait for a process's own end."""
        status = self.running[slot].wait(SOON_S)
        del self.running[slot]
        assert status == 0, self.errors()

    def lines(self, slot: int) -> Iterator[list[Any]]:
        """Give what the processes of a place have told."""
        for path in self.accounts[slot]:
            yield from map(json.loads, path.read_text().splitlines())

    def errors(self) -> str:
        """Give what all have said on their standard error."""
        paths = sorted(self.folder.glob("*.errors"))
        return "".join(path.read_text() for path in paths)

    def tries(self, bucket: str) -> Iterator[Try]:
        """Give all that the writers tried, with what they were told."""
        writers = [slot for slot, name in enumerate(PROGRAMS) if name == "write"]
        for path in (path for slot in writers for path in self.accounts[slot]):
            tried: Try | None = None
            for line in map(json.loads, path.read_text().splitlines()):
                if line[0] == "try":
                    if tried is not None and tried.bucket == bucket:
                        yield tried
                    tried = Try(*line[1:])
                    continue
                assert tried is not None
                tried.state = line[0]
                if line[0] == "done":
                    tried.seq = line[1]
                    assert tried.how != "put" or tried.digest == line[2]
                    tried.digest = line[2]
            if tried is not None and tried.bucket == bucket:
                yield tried


@pytest.fixture(params=["always", "never"])
def crowd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crowd]:
    """Give processes on a new store; whoever still runs afterwards is killed."""
    crowd = Crowd(tmp_path)
    with objstore.open(tmp_path / "store", sync=request.param) as store:
        store.create_object_store(KEPT, segment_bytes=SEGMENT_BYTES)
        store.create_object_store(BRIEF, segment_bytes=SEGMENT_BYTES, changes_ttl=0)
    yield crowd
    for process in crowd.running.values():
        process.kill()
        process.wait()


# --- what is checked ------------------------------------------------------------------


def _check_feed(feed: list[Fact], tries: list[Try]) -> None:
    """Every acknowledged change is on the feed, all others are a killed one's last."""
    before: dict[int, Fact | None] = {}
    behind: dict[int, Fact] = {}
    last: dict[str, Fact] = {}
    for fact in feed:
        before[fact.seq] = last.get(fact.name)
        if fact.name in last:
            behind[last[fact.name].seq] = fact
        last[fact.name] = fact
    by_seq = {fact.seq: fact for fact in feed}
    for tried in tries:
        if tried.state != "done":
            continue
        if tried.how == "delete":
            assert tried.after is not None
            tried.seq = behind[tried.after].seq
        kind = "delete" if tried.how == "delete" else "put"
        fact = by_seq.pop(tried.seq)
        assert Fact(tried.seq, kind, tried.name, tried.digest or "") == fact
        found = before[tried.seq]
        seen = found.seq if found is not None and found.kind != "delete" else 0
        assert tried.after in {None, seen}
    unknown = [tried for tried in tries if tried.state == "unknown"]
    for fact in by_seq.values():
        unknown.remove(next(tried for tried in unknown if tried.explains(fact)))


def _check_names(bucket: blocking.ObjectStore, tries: list[Try]) -> None:
    """Each name is what its last acknowledged change made of it, or an unknown one."""
    by_name: dict[str, list[Try]] = defaultdict(list)
    for tried in tries:
        by_name[tried.name].append(tried)
    infos = {info.name: info for info in bucket.list()}
    assert infos.keys() <= by_name.keys()
    for name, made in by_name.items():
        if name in infos:
            _check_present(bucket, infos[name], made)
        else:
            _check_absent(bucket, name, made)


def _check_present(
    bucket: blocking.ObjectStore, info: ObjectInfo, tries: list[Try]
) -> None:
    assert info.digest == f"SHA-256={hashlib.sha256(bucket.get(info.name)).hexdigest()}"
    done = {tried.seq: tried for tried in tries if tried.state == "done"}
    assert info.seq >= max(done, default=0)
    deletes = [
        tried for tried in tries if (tried.how, tried.state) == ("delete", "done")
    ]
    assert info.seq > max((tried.after or 0 for tried in deletes), default=0)
    if info.seq in done:
        assert info.digest == done[info.seq].digest
    else:
        fact = Fact(info.seq, "put", info.name, info.digest)
        assert any(tried.state == "unknown" and tried.explains(fact) for tried in tries)


def _check_absent(bucket: blocking.ObjectStore, name: str, tries: list[Try]) -> None:
    with pytest.raises(ObjectNotFoundError):
        bucket.get(name)
    puts = [tried.seq for tried in tries if tried.how != "delete"]
    deletes = [tried for tried in tries if tried.how == "delete"]
    assert not any(puts) or any(
        (tried.after or 0) >= max(puts)
        for tried in deletes
        if tried.state in {"done", "unknown"}
    )


def _check_unique(tries: list[Try]) -> None:
    sequences = [tried.seq for tried in tries if tried.seq]
    assert len(sequences) == len(set(sequences))


def _check_space(crowd: Crowd, store: Path) -> None:
    """Retention has unlinked segments, and not only in what it was told."""
    reclaimed = sum(line[1] for line in crowd.lines(PROGRAMS.index("retain")))
    assert reclaimed > SEGMENT_BYTES
    numbers = [
        int(path.name.split("-")[0], 16)
        for folder in (store / "logs").iterdir()
        for path in folder.glob("*.seg")
        if folder.name != "00000000"
    ]
    assert len(numbers) > 2
    assert max(numbers) > len(numbers) / 2


def _changes(bucket: blocking.ObjectStore) -> list[Fact]:
    """Give the whole feed."""
    feed: list[Fact] = []
    with bucket.watch(start="all") as watch:
        for change in watch:
            feed.append(Fact(change.seq, change.kind, change.name, change.digest))
            if change.name == END:
                break
    return feed


def _run(crowd: Crowd, seed: int, seconds: float) -> Mapping[str, int]:
    """Let them run and kill one after the other; give how much was done."""
    chance = random.Random(seed)
    for slot in range(len(PROGRAMS)):
        crowd.start(slot)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(chance.uniform(0.2, 1.2))
        slot = chance.randrange(len(PROGRAMS))
        crowd.kill(slot)
        crowd.start(slot)
    crowd.folder.joinpath(STOP).touch()
    watcher = PROGRAMS.index("watch")
    for slot in range(len(PROGRAMS)):
        if slot != watcher:
            crowd.end(slot)
    with objstore.open(crowd.folder / "store") as store:
        store.object_store(KEPT).put(END, b"")
        crowd.end(watcher)
        kept, brief = list(crowd.tries(KEPT)), list(crowd.tries(BRIEF))
        feed = _changes(store.object_store(KEPT))
        saw = [Fact(*line[1]) for line in crowd.lines(watcher)]
        assert feed == saw
        assert sorted(fact.seq for fact in feed) == [fact.seq for fact in feed]
        _check_feed(feed[:-1], kept)
        _check_unique(kept)
        _check_unique(brief)
        store.object_store(KEPT).delete(END)
        _check_names(store.object_store(KEPT), kept)
        _check_names(store.object_store(BRIEF), brief)
        report = store.verify()
        assert report.ok, report.damaged
        assert store.damaged == []
    _check_space(crowd, crowd.folder / "store")
    assert crowd.errors() == ""
    done = sum(tried.state == "done" for tried in kept + brief)
    return {"done": done, "kills": crowd.kills, "seen": len(saw)}


def test_killed_processes_lose_nothing_acknowledged(crowd: Crowd) -> None:
    """Whoever of the five is killed and replaced, all that was told holds."""
    figures = _run(crowd, 1, 5)

    assert figures["kills"] >= 4
    assert figures["done"] > 100


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [2])
def test_killed_processes_campaign(
    crowd: Crowd, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same for a minute."""
    figures = _run(crowd, seed, 45)
    with capsys.disabled():
        print(f"\nprocesses, seed {seed}: {figures}")  # noqa: T201 - for the reader

    assert figures["kills"] >= 30
