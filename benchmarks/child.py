"""Parts of a question that need a process of their own: memory, other processes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIMIT_S = 1800.0


def start(place: str, **arguments: Any) -> subprocess.Popen[str]:
    """Start a function, `module:function` below `benchmarks`, in a new process."""
    command = [sys.executable, "-m", "benchmarks.child", place, json.dumps(arguments)]
    # whoever installs a package has it compiled, and a build machine may forbid that
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a function's end, and give what it returned.

    Raises:
        CalledProcessError: it failed.
    """
    try:
        out, _ = process.communicate(timeout=LIMIT_S)
    except BaseException:
        # whoever is interrupted here leaves nobody behind
        process.kill()
        process.wait()
        raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def call(place: str, **arguments: Any) -> dict[str, Any]:
    """Run a function in a new process, and give what it returned."""
    return result_of(start(place, **arguments))


def resident_bytes() -> dict[str, int]:
    """Give this process's memory: its own, and with the files that it maps."""
    found: dict[str, int] = {}
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name in {"VmRSS", "RssAnon", "VmHWM"}:
            found[name] = int(value.split()[0]) * 1024
    return found


def usage() -> dict[str, float]:
    """Give what this process used at most, and how long it was busy."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "peak_bytes": used.ru_maxrss * 1024,
        "cpu_s": used.ru_utime + used.ru_stime,
    }


def main(place: str, arguments: Mapping[str, Any]) -> None:
    """Run a function; print what it returned, with the memory and time it took."""
    module, _, name = place.partition(":")
    found = getattr(import_module(f"benchmarks.{module}"), name)(**arguments)
    print(json.dumps({**usage(), **(found or {})}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
