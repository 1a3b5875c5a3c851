"""Ctrl-C at any moment: nothing is lost, nothing stays locked, the next call works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import objstore

ROOT = Path(__file__).parents[2]
WAIT_S = 100
WORKS = {"put", "large put", "write", "read", "names", "retention", "reopen"}


def _storm(place: Path, sync: str, seconds: int, seed: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            *("-W", "ignore::RuntimeWarning"),
            *("-m", "tests.proofs.interrupt_worker"),
            *(str(place), sync, str(seconds), str(seed)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_S + seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["interrupts"]) == WORKS, "everything was interrupted"
    assert not any(told["wrong"].values()), told["wrong"]


@pytest.mark.parametrize(
    "sync",
    [
        "always",
        pytest.param("0.2", marks=pytest.mark.slow),
        pytest.param("never", marks=pytest.mark.slow),
    ],
)
def test_a_store_survives_a_storm_of_interrupts(tmp_path: Path, sync: str) -> None:
    """After hundreds of them every call works, here and in another process."""
    place = tmp_path / "store"

    _storm(place, sync, 3, seed=1)

    with objstore.open(place, lock_timeout=5, retention_interval=None) as store:
        bucket = store.object_store("b")
        assert bucket.put("after", b"after").seq
        assert store.verify().ok
        store.run_retention()
        used = sum(item.stat().st_blocks for item in place.rglob("*")) * 512
        assert used < 80 * 1024 * 1024


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_a_store_survives_many_storms(tmp_path: Path, seed: int) -> None:
    """The same for longer."""
    _storm(tmp_path / "store", "always", 60, seed)
