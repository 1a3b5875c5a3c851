"""The command line as its tests run it: in this process, and as a process."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objstore.cli._app import run

from .harness import COMMAND, WAIT_S, Cli, Outcome


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, with the default store in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OBJSTORE", raising=False)
    return tmp_path


@pytest.fixture
def cli(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Cli:
    """Run a command in this process."""

    def call(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        status = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return call


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store once, of which each test gets a copy: that is faster."""
    directory = tmp_path_factory.mktemp("template")
    file, store = directory / "hello.txt", directory / "objstore-data"
    file.write_text("hello\n")
    commands = [
        ["bucket", "create", "b"],
        *(
            ["put", str(file), f"b/{name}"]
            for name in ("hello.txt", "docs/one", "docs/deep/two", "gone")
        ),
        ["ln", "b/docs/one", "b/link"],
        ["rm", "b/gone"],
    ]
    for command in commands:
        assert run(["--store", str(store), *command]) == 0
    return directory


@pytest.fixture
def bucket(template: Path, place: Path) -> str:
    """Give the bucket `b` with three objects, a link to one, and a deleted one."""
    shutil.copytree(template, place, dirs_exist_ok=True)
    return "b"


@pytest.fixture
def process(place: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run a command as a process of its own."""

    def call(
        *arguments: str,
        stdin: bytes | None = None,
        stdout: Any = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *arguments],
            check=False,
            input=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=WAIT_S,
        )

    return call
