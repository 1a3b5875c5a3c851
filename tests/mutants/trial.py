"""One trial: a copy of the tree, a patch or none, some tests, what came of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from .faults import ROOT

PACKAGES: Final = ("log", "objstore", "watch")
MODULE: Final = ("-m", "tests.mutants.run_tests")
TRIAL_TIMEOUT_S: Final = 240
_LEFT_OUT: Final = shutil.ignore_patterns(".*", "__pycache__", "build", "dist")
_TARGET: Final = re.compile(r"^\+\+\+ b/(\S+)", re.MULTILINE)
_RAN: Final = {0, 1}
"""Exit statuses of a run in which every named test was found."""


class BadPatchError(Exception):
    """A patch does not fit the tree."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of the tests."""

    failed: list[str]
    passed: list[str]
    problem: str = ""
    """Why they could not be run."""


@asynccontextmanager
async def copied_tree() -> AsyncGenerator[Path]:
    """Give a copy of sources and tests in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="objstore-mutant-") as folder:
        copy = Path(folder).resolve() / "tree"
        work = partial(shutil.copytree, ROOT, copy, ignore=_LEFT_OUT)
        await anyio.to_thread.run_sync(work)
        yield copy


def apply_patch(patch: Path, copy: Path) -> None:
    """Apply a patch; its context must be in the tree as it is in the patch.

    Raises:
        BadPatchError: it does not fit, or changes nothing.
    """
    # inside a working copy of something else git would apply nothing, silently
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)}
    done = subprocess.run(
        ["git", "apply", str(patch)],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BadPatchError(done.stderr.strip())
    for name in _TARGET.findall(patch.read_text()):
        if (copy / name).read_bytes() == (ROOT / name).read_bytes():
            raise BadPatchError(f"{name} is as it was")


async def run_tests(copy: Path, tests: Sequence[str], seed: int) -> Result:
    """Run tests in a copy; whatever they started ends with them."""
    result = copy.parent / "result.json"
    paths = [str(copy / package) for package in PACKAGES]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with (copy.parent / "output.txt").open("w+b") as output:
        process = await anyio.open_process(
            [sys.executable, *MODULE, str(result), str(seed), *tests],
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with anyio.move_on_after(TRIAL_TIMEOUT_S):
                await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await process.aclose()
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if not result.exists():
        return Result([], [], f"the tests did not end well:\n{said[-2_000:]}")
    found = json.loads(result.read_text())
    ran = found["status"] in _RAN
    return Result(found["failed"], found["passed"], "" if ran else said[-2_000:])


async def try_patch(patch: Path | None, tests: Sequence[str], seed: int) -> Result:
    """Run tests on a copy of the tree, patched or as it is.

    Raises:
        BadPatchError: the patch does not apply.
    """
    async with copied_tree() as copy:
        if patch is not None:
            apply_patch(patch, copy)
        return await run_tests(copy, tests, seed)
