"""Processes that read, follow and check a store while another has it rewritten."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import objstore

WORKER = Path(__file__).with_name("rewrite_worker.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run_s", "changes_ttl"), [(8, 7 * 86_400), (8, 0.05)], ids=["told", "floor"]
)
def test_nobody_is_disturbed_by_rewriting(
    tmp_path: Path, run_s: float, changes_ttl: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Content is whole, changes come without a gap, nothing is called damaged."""
    place = tmp_path / "store"
    with objstore.open(place, retention_interval=None) as store:
        store.create_object_store("b", segment_bytes=60_000, changes_ttl=changes_ttl)
    programs = ["overwrite", "get", "verify"]
    # below the floor changes go, and a watch is told so
    programs += ["watch"] if changes_ttl > run_s else []
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(place), program], stdout=subprocess.PIPE
        )
        for program in programs
    ]
    time.sleep(run_s)
    (tmp_path / "stop").touch()
    told = [json.loads(worker.communicate(timeout=50)[0]) for worker in workers]
    with capsys.disabled():
        sys.stdout.write(f" {dict(zip(programs, told, strict=True))}")

    assert [[] for _ in programs] == [failures for _, _, failures in told]
    assert all(rounds for rounds, _, _ in told)
    assert told[0][1] >= 3, "nothing was rewritten"
    with objstore.open(place, retention_interval=None) as store:
        assert store.verify().ok
