"""The benchmark itself runs: its stores, and every question in small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.peers import ADAPTERS
from benchmarks.peers.ours import BUCKET
from benchmarks.stores import fill, name_of

import objstore.blocking

COUNT = 130
ROOT = Path(__file__).parents[2]


def test_filled_store_is_as_if_it_was_put(tmp_path: Path) -> None:
    """A store that is filled many an append is whole, and gets what was put."""
    fill(tmp_path, COUNT, seed=1, size_bytes=10)
    with objstore.blocking.open(tmp_path / "store") as store:
        bucket = store.object_store(BUCKET)
        names = [info.name for info in bucket.list()]
        is_whole = store.verify().ok
        sizes = {len(bucket.get(name)) for name in names}

    assert sorted(map(name_of, range(COUNT))) == names
    assert is_whole
    assert {10} == sizes


@pytest.mark.parametrize("name", ["objstore sync", "objstore async", "SQLite FULL"])
@pytest.mark.parametrize("tasks", [1, 3])
def test_adapter_puts_gets_and_deletes(tmp_path: Path, name: str, tasks: int) -> None:
    """Every face of a store does what it is measured doing."""
    names = [f"a/{number}" for number in range(4)] + ["b/5"]
    peer = ADAPTERS[name].open(tmp_path)
    try:
        peer.run([(each, b"content") for each in names], tasks)
        peer.run([(each, None) for each in names], tasks)
        peer.stream("b/5")
        counts = [peer.list_names(), peer.list_names("a/")]
        peer.delete(names[:2])
        counts.append(peer.list_names())
    finally:
        peer.close()

    assert [5, 4, 3] == counts


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_question_is_answered(tmp_path: Path) -> None:
    """A quick run without peers answers every question and breaks at none."""
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--no-peers"]
    options = ["--rounds", "1", "--wait", "0", "--json", str(result)]
    places = ["--directory", str(tmp_path)]
    run = subprocess.run(
        [*command, *options, *places],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert 0 == run.returncode, run.stdout[-2000:] + run.stderr[-2000:]
    found = json.loads(result.read_text())
    answered = {series["question"] for series in found["series"]}
    assert set(found["questions"]) == answered
