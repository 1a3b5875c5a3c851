"""A backup of a store whose segments were rewritten, between two of them, too."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

import objstore
from objstore.blocking import ObjectStore, restore_backup
from objstore_log import _rewrite_policy as policy

REWRITTEN = 2
FLAGS_AT = 11


def overwrite(
    bucket: ObjectStore, chance: random.Random, living: dict[str, bytes]
) -> None:
    """Put small objects, most of them again and again."""
    for number in range(300):
        kept = number % 25 == 0
        name = f"kept {len(living)}" if kept else f"n{chance.randrange(30)}"
        living[name] = chance.randbytes(chance.randrange(2_000))
        bucket.put(name, living[name])


def test_restored_copies_hold_all_that_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was rewritten behind the first backup is copied again by the second."""
    monkeypatch.setattr(policy, "GAIN_BYTES_MIN", 1)
    living: dict[str, bytes] = {}
    with objstore.open(tmp_path / "store", retention_interval=None) as store:
        bucket = store.create_object_store(
            "b", segment_bytes=60_000, changes_ttl=0.001, sync="never"
        )
        for seed in range(2):
            overwrite(bucket, random.Random(seed), living)
            time.sleep(0.01)
            store.run_retention()
            report = store.backup(tmp_path / "backups")
            assert report.damaged == []
        assert store.verify().ok
    restore_backup(tmp_path / "backups", tmp_path / "restored")
    files = (tmp_path / "restored").rglob("*.seg")

    assert [file for file in files if file.read_bytes()[FLAGS_AT] & REWRITTEN]
    with objstore.open(tmp_path / "restored", retention_interval=None) as store:
        bucket = store.object_store("b")
        assert living == {info.name: bucket.get(info.name) for info in bucket.list()}
        assert store.verify().ok
        store.run_retention()
        assert store.verify().ok
