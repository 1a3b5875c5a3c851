"""Backups, restorings, exports and imports on the command line."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .harness import WAIT_S, Cli

SCRIPT = Path(sys.executable).with_name("objstore")
SEED = 20261121


def test_backup_and_restore(cli: Cli, bucket: str, place: Path) -> None:
    """A backup is told, is a store for --store, and is restored to a new one."""
    made = cli("backup", "copies")
    path = made.out.splitlines()[-1]
    cli("rm", f"{bucket}/docs/one")
    again = cli("--json", "backup", "copies", "--keep", "2")
    restored = cli(
        "--store",
        "new",
        "backup",
        "copies",
        "--restore",
        "--generation",
        Path(path).name,
    )

    assert (made.status, again.status, restored.status) == (0, 0, 0)
    assert json.loads(again.out)["buckets"] == {"b": 11}
    assert cli("--store", path, "cat", f"{bucket}/docs/one").out == "hello\n"
    assert cli("--store", "new", "cat", f"{bucket}/docs/one").out == "hello\n"
    assert restored.out.splitlines()[-1] == str(place / "new")


def test_damage_is_told_by_the_status(cli: Cli, bucket: str, place: Path) -> None:
    """A backup of what is damaged is made, named, and ends with 5."""
    (segment,) = (place / "objstore-data" / "logs" / "00000001").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[data.index(b"hello\n")] ^= 1
    segment.write_bytes(data)

    made = cli("backup", "copies")
    restored = cli("--store", "new", "backup", "copies", "--restore")

    assert (made.status, restored.status) == (5, 5)
    assert f"damaged: {bucket}/hello.txt at sequence" in made.out
    assert f"damaged: {bucket}/hello.txt at sequence" in restored.out


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["backup", "objstore-data/in"], 2, "not apart"),
        (["backup", "copies", "--keep", "0"], 2, "below 1"),
        (["backup", "copies", "--generation", "1"], 2, "--restore"),
        (["backup", "copies", "--keep", "1", "--restore"], 2, "--keep"),
        (["backup", "copies", "--restore"], 3, "no backup"),
        (["--store", "none", "backup", "copies"], 3, "no store"),
        (["export", "none/", "tree"], 3, "no bucket"),
        (["import", "none", "b"], 1, "No such file"),
        (["export", "b"], 2, "DIR is missing"),
    ],
)
def test_failures_have_their_status(
    cli: Cli, bucket: str, arguments: list[str], status: int, told: str
) -> None:
    """What cannot be done is told in one line, with the status of its kind."""
    outcome = cli(*arguments)

    assert outcome.status == status
    assert told in outcome.err
    assert outcome.err.count("\n") == 1


def test_export_and_import(cli: Cli, bucket: str, place: Path) -> None:
    """A bucket goes out as files and comes in under another name."""
    assert cli("export", bucket, "tree", "--dry-run").status == 0
    assert not (place / "tree").exists()
    out = cli("export", f"{bucket}/docs/", "tree")
    assert cli("bucket", "create", "other").status == 0
    into = cli("--json", "import", "tree", "other/in/")
    again = cli("import", "tree", "other/in/")

    assert (out.status, into.status, again.status) == (0, 0, 0)
    assert (place / "tree" / "deep" / "two").read_text() == "hello\n"
    assert json.loads(into.out)["transferred"] == 2
    assert "2 were there already" in again.out
    assert cli("cat", "other/in/one").out == "hello\n"


def test_what_is_left_out_is_told(cli: Cli, bucket: str, place: Path) -> None:
    """A file that changed ends with 5, one that is none with 1."""
    cli("export", bucket, "tree")
    (place / "tree" / "more").symlink_to("hello.txt")
    assert cli("import", "tree", f"{bucket}/again/").status == 1
    (place / "tree" / "docs" / "one").write_text("other\n")
    outcome = cli("import", "tree", f"{bucket}/more/")

    assert outcome.status == 5
    assert "damaged: docs/one: " in outcome.out
    assert "left out: more: it is no plain file" in outcome.out


@pytest.mark.parametrize(
    "turn",
    [0, *(pytest.param(turn, marks=pytest.mark.slow) for turn in range(1, 12))],
)
def test_interrupt_leaves_nothing_half_made(
    cli: Cli, bucket: str, place: Path, turn: int
) -> None:
    """Ctrl-C at any moment: quiet, and what there is of backups and files is whole."""
    after_s = random.Random(SEED + turn).uniform(0, 0.05)
    (place / "large").write_bytes(bytes(range(256)) * 40_000)
    cli("put", "large", f"{bucket}/")
    words = [["backup", "copies"], ["export", bucket, "tree"]][turn % 2]
    begun = [place / "copies" / "unfinished", place / "tree"][turn % 2]
    with subprocess.Popen([SCRIPT, *words], stderr=subprocess.PIPE) as command:
        while not begun.exists() and command.poll() is None:
            time.sleep(0.001)
        time.sleep(after_s)
        command.send_signal(signal.SIGINT)
        status = command.wait(WAIT_S)
        assert command.stderr is not None
        told = command.stderr.read()

    assert status in {0, -signal.SIGINT, 130}, (SEED, turn)
    assert b"Traceback" not in told
    for path in (place / "copies").glob("0*"):
        assert cli("--store", path, "verify").status == 0
    if (place / "tree" / "large").exists():
        assert (place / "tree" / "large").stat().st_size == 256 * 40_000
    assert cli(*words).status == 0
