"""Power cuts and kills while segments are rewritten: the old file or the copy, whole.

The log is filled, then segments are rewritten twice; the power is cut after each change
of the disk from there on, and each process dies before each of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from objstore_log import _rewrite_policy as policy
from objstore_log._record import Kind
from objstore_log.testing import Crashed, CrashStorage

from .harness import current, everything, open_log, put
from .test_log_rewrite import SEGMENT_BYTES, Written, facts, rewritten, written

pytestmark = pytest.mark.usefixtures("single_threaded")

METAS = frozenset((Kind.META,))
COUNT = 26


@pytest.fixture(autouse=True)
def _small_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have segments of a few kilobytes be worth it."""
    monkeypatch.setattr(policy, "GAIN_BYTES_MIN", 1)


@dataclass
class Rewriting:
    """A log on a simulated disk before it is rewritten, and what must be left of it."""

    floor: int
    storage: CrashStorage = field(default_factory=CrashStorage)
    images: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    """Catalogs: at which point, and what stood in them."""

    def __post_init__(self) -> None:
        """Fill the log."""
        self.made: Written = written(self.storage, COUNT)
        self._keep_catalog()
        self.made.put("n0")
        self.bodies = self.made.bodies()
        feed = everything(self.made.log, kinds=METAS)
        self.told = facts([item for item in feed if item.sequence > self.floor])
        self.names = dict(current(self.made.log))
        self.start = self.storage.mutation_count

    def _keep_catalog(self) -> None:
        self.made.log.apply()
        image = self.made.log.catalog.serialize()
        self.images.append((self.storage.mutation_count, image))

    def run(self) -> None:
        """Rewrite, have one more name die, and rewrite again."""
        wanted = self.made.wanted(self.floor)
        self.made.log.reclaim(wanted)
        self._keep_catalog()
        # content alone: what is told of it stays
        kept = self.made.names["kept 0"] - 1
        self.bodies.pop(kept, None)
        wanted.runs.remove((kept, 1))
        self.made.log.reclaim(wanted)
        self._keep_catalog()

    def check(self, storage: CrashStorage, image: bytes | None) -> None:
        """Open what is left; all that is needed is there once, in order, undamaged."""
        one = open_log(storage, seed=9, segment_bytes=SEGMENT_BYTES, image=image)
        feed = everything(one.log)
        found = {item.sequence: bytes(item.body) for item in feed}
        assert len(found) == len(feed)
        assert list(found) == sorted(found)
        assert self.bodies.items() <= found.items()
        left = [item for item in feed if item.kind == Kind.META]
        assert self.told == facts([item for item in left if item.sequence > self.floor])
        assert one.log.damages == []
        assert dict(current(one.log)) == self.names
        assert one.log.compare_catalog().is_equal
        one.log.reclaim(self.made.wanted(self.floor))
        assert one.log.scrub(None).damages == []
        assert put(one.log, "fresh").first_sequence > max(found)
        left = everything(one.log)
        assert (
            self.bodies.items()
            <= {item.sequence: bytes(item.body) for item in left}.items()
        )
        one.abandon()

    def images_at(self, point: int) -> Iterator[bytes | None]:
        """Give no catalog, the oldest and the newest one."""
        there = [data for at, data in self.images if at <= point]
        yield None
        yield there[0]
        if len(there) > 1:
            yield there[-1]


def _cut_everywhere(work: Rewriting, limit: int) -> tuple[int, int]:
    disks: set[bytes] = set()
    opened = 0
    for point in range(work.start, work.storage.mutation_count + 1):
        for disk in work.storage.disks(point, limit=limit, seed=point):
            if disk.digest in disks:
                continue
            disks.add(disk.digest)
            for number, image in enumerate(work.images_at(point)):
                opened += 1
                try:
                    work.check(disk.mount(), image)
                except BaseException as error:
                    error.add_note(f"{disk!r}, catalog {number}")
                    raise
    return len(disks), opened


def _say(capsys: pytest.CaptureFixture[str], what: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f" {what}")


@pytest.mark.parametrize("floor", [0, 1 << 62], ids=["all told", "floor"])
@pytest.mark.parametrize(
    "limit", [2, pytest.param(12, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_power_cut_leaves_the_segment_or_its_copy(
    floor: int, limit: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never both, never a part, with whatever catalog was left."""
    work = Rewriting(floor)
    work.run()
    assert len(rewritten(work.made.log)) >= 2
    work.made.one.abandon()
    disks, opened = _cut_everywhere(work, limit)
    _say(capsys, f"{disks} disks, {opened} openings")


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_leaves_the_segment_or_its_copy(
    step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before whichever change of the disk the process dies; then a cut, too."""
    kills = 0
    while True:
        work = Rewriting(1 << 62)
        work.storage.kill_before(work.start + 1 + kills * step)
        try:
            work.run()
        except Crashed:
            pass
        else:
            break
        work.made.one.abandon()
        kills += 1
        after = work.storage.kill()
        for disk in after.disks(limit=3, seed=kills):
            work.check(disk.mount(), work.images[0][1])
        work.check(after, None)
    assert kills >= 5
    _say(capsys, f"{kills} kills")
