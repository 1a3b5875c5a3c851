"""Rules about what is shipped."""

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest


@pytest.mark.slow
def test_wheel_holds_the_three_packages(root: Path, tmp_path: Path) -> None:
    """The wheel holds three typed packages, the command, the licence, nothing else."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet"]
    options = ["--disable-pip-version-check", "--wheel-dir", str(tmp_path), str(root)]
    subprocess.run([*command, *options], check=True, timeout=100)
    (wheel,) = tmp_path.glob("objstore_embedded-*.whl")
    names = {PurePosixPath(name) for name in zipfile.ZipFile(wheel).namelist()}

    packages = {"objstore", "objstore_log", "objstore_watch"}
    assert packages | {"objstore_command.py"} == {
        name.parts[0] for name in names if not name.parts[0].endswith(".dist-info")
    }
    assert {PurePosixPath(name, "py.typed") for name in packages} <= names
    assert any(name.name == "LICENSE" for name in names)
