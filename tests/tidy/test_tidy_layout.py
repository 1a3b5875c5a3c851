"""Rules about where files are."""

from pathlib import Path

import pytest


@pytest.mark.parametrize("folder", ["log", "watch", "objstore"])
def test_source_root_is_no_package(root: Path, folder: str) -> None:
    """A source root has no __init__.py, which would hide the package inside it."""

    assert (root / folder).is_dir()
    assert not (root / folder / "__init__.py").exists()


@pytest.mark.parametrize(
    "package", ["log/objstore_log", "watch/objstore_watch", "objstore/objstore"]
)
def test_package_is_typed(root: Path, package: str) -> None:
    """A package tells type checkers that it has types of its own."""

    assert (root / package / "py.typed").is_file()


def test_tests_are_no_packages(root: Path) -> None:
    """Tests are imported by path, so no folder of theirs has an __init__.py."""

    assert [] == list((root / "tests").rglob("__init__.py"))


def test_names_of_test_files_are_unique(root: Path) -> None:
    """No two test files have one name, so that a name finds its file."""
    names = [path.name for path in (root / "tests").rglob("test_*.py")]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_names_command(root: Path, command: str) -> None:
    """The README tells the two commands that show the project."""

    assert command in (root / "README.md").read_text(encoding="utf-8")
