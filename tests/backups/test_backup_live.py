"""Backups of a store that other processes write, and that retention runs in."""

import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import objstore
from objstore import blocking

NAMES = ("one", "two")
KEPT = 30
BACKUPS = 2
WAIT_S = 30


@contextmanager
def _writer(path: Path, name: str) -> Generator[list[int]]:
    """Have another process write; gives what it has acknowledged so far."""
    worker = Path(__file__).parent / "live_writer.py"
    acknowledged: list[int] = []
    process = subprocess.Popen(
        [sys.executable, worker, path, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def hear() -> None:
        # takes each as it comes
        acknowledged.extend(int(line) for line in stdout)

    thread = threading.Thread(target=hear)
    thread.start()
    try:
        while not acknowledged and process.poll() is None:
            thread.join(0.01)
        yield acknowledged
    finally:
        stdin.close()
        status = process.wait(WAIT_S)
        thread.join()
        stdout.close()
    assert 0 == status


def _check(
    path: str, names: Sequence[str], before: list[int], after: list[int]
) -> None:
    """Check that a backup is what the log was at one moment while it was made."""
    with objstore.open(path, create=False, retention_interval=None) as store:
        assert store.verify().ok
        bucket = store.object_store("live")
        for name, least, most in zip(names, before, after, strict=True):
            found = [int(info.name[-6:]) for info in bucket.list(f"{name}/")]
            assert least <= found[-1] <= most + 1
            # a put, and the deletion behind it, or not yet that one
            assert found == list(range(found[0], found[-1] + 1))
            assert found[0] in {max(found[-1] - KEPT, 0), max(found[-1] - KEPT + 1, 0)}


@pytest.mark.parametrize(
    "names", [NAMES[:1], pytest.param(NAMES, marks=pytest.mark.slow)]
)
def test_backup_is_one_moment_of_a_log_that_others_write(
    store: blocking.Store, path: Path, target: Path, names: Sequence[str]
) -> None:
    """All that was acknowledged before is in it, in order, and nothing half."""
    store.create_object_store("live", segment_bytes=256 * 1024)
    made: list[tuple[str, list[int], list[int]]] = []
    with ExitStack() as writing:
        written = [writing.enter_context(_writer(path, name)) for name in names]
        for _ in range(BACKUPS):
            before = [numbers[-1] for numbers in written]
            report = store.backup(target)
            store.run_retention()
            made.append((report.path, before, [numbers[-1] for numbers in written]))
            assert [] == report.damaged

    for backup, before, after in made:
        _check(backup, names, before, after)
