"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import sqlite3
import ssl
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

OURS = ["objstore-embedded", "anyio", "cryptography", "orjson", "xxhash", "zstandard"]


def installed(package: str) -> str | None:
    """Give the version of a distribution, if it is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(directory: Path) -> str:
    """Name the file system that a directory is on, with its options."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return "unknown"
    found = ("", "unknown")
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, place, kind, options, *_ = line.split(" ")
        within = directory == Path(place) or Path(place) in directory.parents
        if within and len(place) >= len(found[0]):
            found = (place, f"{kind} ({options})")
    return found[1]


def facts(directory: Path, packages: Iterable[str]) -> dict[str, Any]:
    """Describe the machine and the versions of what takes part."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    names = [*OURS, *packages]
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_bytes": memory_bytes,
        "system": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(directory.resolve()),
        "versions": {
            "Python": sys.version.split()[0],
            "OpenSSL": ssl.OPENSSL_VERSION.split()[1],
            "SQLite": sqlite3.sqlite_version,
            **{name: found for name in names if (found := installed(name))},
        },
    }
