"""The demo on a small tree: what it does, what it says, and that it can fail."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

import objstore
from objstore.cli import _demo_steps
from objstore.cli._demo_tree import find_files, standard_library

from .harness import Cli


@pytest.fixture
def tree(place: Path) -> Path:
    """Make a directory with files of many sizes."""
    root = place / "tree"
    for index in range(30):
        path = root / f"folder{index % 3}" / f"file{index}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{index}".encode() * 7 ** (index % 7))
    return root


def test_demo_reports(cli: Cli, tree: Path, place: Path) -> None:
    """Every check holds, the figures are there, the store is left to be looked at."""
    outcome = cli("demo", tree, "--keep", place / "kept", "--json")
    report = json.loads(outcome.out)

    assert (outcome.status, report["ok"]) == (0, True)
    assert report["objects"] == 30
    assert report["changes_seen"] == report["changes_committed"] > 230
    assert (report["acknowledged_before_kill"], report["missing"]) == (200, 0)
    assert report["mb_per_s_in"] > 0 < report["mb_per_s_out"]
    assert report["disk_after"] <= report["disk_before"]
    names = [check["name"] for check in report["checks"]]
    assert ["put", "list", "read back", "change", "kill -9"] == names[:5]
    assert cli("--store", report["directory"], "verify").status == 0


def test_demo_fails_when_a_check_fails(
    cli: Cli, tree: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that does not hold is told, and the demo ends with 1."""

    def lose(result: _demo_steps.Result, *rest: object) -> None:
        result.ledger.contents["folder0/lost"] = ""
        result.check("carry on", True, "as if nothing had happened")

    monkeypatch.setattr(_demo_steps, "carry_on", lose)
    monkeypatch.setattr(_demo_steps, "read_all", Mock())
    outcome = cli("demo", tree, "--keep", place / "kept")

    assert outcome.status == 1
    assert "FAILED list" in outcome.out
    assert "A CHECK FAILED" in outcome.out


def test_demo_tells_an_error(
    cli: Cli, tree: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the store ends the demo with 1 and its report, as a failed check."""
    error = objstore.ObjectNotFoundError(bucket="demo", name="lost")
    monkeypatch.setattr(_demo_steps, "list_all", Mock(side_effect=error))
    outcome = cli("demo", tree, "--keep", place / "kept")

    assert outcome.status == 1
    assert "FAILED go on      there is no object demo/lost" in outcome.out
    assert f"the store is in {place / 'kept'}" in outcome.out


def test_demo_spares_what_is_there(cli: Cli, tree: Path) -> None:
    """A directory with something in it is not taken for the store."""
    outcome = cli("demo", tree, "--keep", tree)

    assert outcome.status == 2
    assert "is not empty" in outcome.err


def test_demo_needs_files(cli: Cli, place: Path) -> None:
    """A tree without files shows nothing."""
    (place / "empty").mkdir()

    assert cli("demo", "empty").status == 2


def test_standard_library_is_itself() -> None:
    """The default tree leaves out what was installed, and caches."""
    names = {file.name for file in find_files(standard_library())}

    assert "json/__init__.py" in names
    assert not any("__pycache__" in name or "site-packages/" in name for name in names)
