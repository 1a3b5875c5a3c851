"""A few power cuts, failed syncs and full disks on real file systems.

They need root and loop devices; the campaigns of `make torture` are their long form.
"""

from __future__ import annotations

import errno
import math
import os
from collections import Counter
from pathlib import Path

import pytest
from tests.torture import failed_sync, full_disk, power_cuts
from tests.torture.disks import memory_disk, why_not

import objstore

SEED = 20_260
CUTS = 4


def _needs(*file_systems: str) -> pytest.MarkDecorator:
    reason = why_not(*file_systems)
    return pytest.mark.skipif(reason is not None, reason=str(reason))


@pytest.mark.slow
@pytest.mark.parametrize(
    "file_system",
    [pytest.param(name, marks=_needs(name)) for name in ("ext4", "xfs")],
)
def test_power_cuts_lose_nothing_acknowledged(file_system: str) -> None:
    """What was acknowledged is there after each cut; everything else is whole."""
    counts = Counter[str]()
    wrong = power_cuts.cut_disk(file_system, SEED, math.inf, counts, CUTS)

    assert wrong == [], f"python -m tests.torture --seed {SEED}"
    assert counts["power cuts"] == CUTS
    assert counts["acknowledged changes"] > 0


# A file system that has seen an error may be mounted anew read-only meanwhile.
@pytest.mark.torture
@_needs("ext4", "xfs")
def test_successor_of_a_failed_sync_believes_no_page_cache() -> None:
    """Whoever takes over writes the tail anew; after a remount it is all there."""
    counts = Counter[str]()
    assert failed_sync.fail_sync(SEED, counts) == []
    assert counts["acknowledged changes"] > 0


@pytest.mark.torture
@_needs("ext4")
def test_full_disk_reads_and_goes_on_when_it_has_room() -> None:
    """Nothing refused leaves a trace, and the same handles put again."""
    counts = Counter[str]()
    assert full_disk.fill_disk(SEED, counts).wrong == []
    assert counts["times full"] > 0


@pytest.mark.slow
@_needs("ext4")
def test_disk_without_room_for_another_file_is_called_full(tmp_path: Path) -> None:
    """What the catalog cannot say, because SQLite does not, is found out."""
    with memory_disk(tmp_path / "small", 1 << 26, inodes=100) as place:
        with objstore.open(place / "store", retention_interval=None) as store:
            store.create_object_store("b").put("a", b"1")
        with objstore.open(place / "store", retention_interval=None) as store:
            for number in range(os.statvfs(place).f_favail):
                (place / str(number)).touch()
            with pytest.raises(objstore.StorageError) as raised:
                store.object_store("b")
            assert errno.ENOSPC == raised.value.errno
            for number in range(4):
                (place / str(number)).unlink()
            assert b"1" == store.object_store("b").get("a")
