"""The repository as the tidy tests see it: its texts and its parsed modules."""

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("log", "watch", "objstore")
TEXT_FOLDERS = (*SOURCE_ROOTS, ".ci", "benchmarks", "docs", "tests")
TEXT_SUFFIXES = {".json", ".md", ".py", ".sh", ".sql", ".toml", ".txt", ".yml"}
TEXT_NAMES = {".gitignore", "LICENSE", "Makefile", "run"}


def _is_text(path: Path) -> bool:
    return path.is_file() and (path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES)


@pytest.fixture(scope="session")
def root() -> Path:
    """Give the folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def texts() -> Mapping[str, str]:
    """Read every text file that people write, by its path in the repository."""
    paths = [path for path in ROOT.iterdir() if _is_text(path)]
    for folder in TEXT_FOLDERS:
        paths.extend(path for path in (ROOT / folder).rglob("*") if _is_text(path))
    # Not read_text(): it would turn carriage returns into newlines unseen.
    return {
        path.relative_to(ROOT).as_posix(): path.read_bytes().decode("utf-8")
        for path in sorted(paths)
    }


@pytest.fixture(scope="session")
def sources(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Select the modules of the three packages from the texts."""
    folders = tuple(f"{folder}/" for folder in SOURCE_ROOTS)
    return {
        path: text
        for path, text in texts.items()
        if path.startswith(folders) and path.endswith(".py")
    }


@pytest.fixture(scope="session")
def trees(sources: Mapping[str, str]) -> Mapping[str, ast.Module]:
    """Parse the modules of the three packages."""
    return {path: ast.parse(text, path) for path, text in sources.items()}
