"""The planted faults: what each one is, what it would have cost, which tests see it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parent.parent
TABLE: Final = FOLDER / "faults.toml"
PAGE: Final = ROOT / "docs" / "durability.md"
HEADING: Final = "## Planted faults"
_HEAD: Final = "| fault | what it would have cost | caught by |\n|---|---|---|\n"


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault."""

    name: str
    """Of its patch, without the suffix."""
    fault: str
    """What the patched code does."""
    cost: str
    """What somebody would have lost by it."""
    tests: tuple[str, ...]
    """Test ids, each of which fails on the patched code."""

    @property
    def patch(self) -> Path:
        """Give the unified diff against the top of the tree."""
        return FOLDER / f"{self.name}.patch"

    def uncaught(self, failed: Sequence[str]) -> list[str]:
        """Give the named tests that are not among those that failed."""
        return [
            wanted
            for wanted in self.tests
            if not any(_is_of(found, wanted) for found in failed)
        ]


def _is_of(found: str, wanted: str) -> bool:
    return found == wanted or found.startswith((f"{wanted}[", f"{wanted}::"))


def load() -> dict[str, Fault]:
    """Read the table."""
    rows: Mapping[str, dict[str, str | list[str]]]
    rows = tomllib.loads(TABLE.read_text())
    faults: dict[str, Fault] = {}
    for name, row in rows.items():
        tests = row["tests"]
        assert not isinstance(tests, str), f"{name}: tests is a list"
        faults[name] = Fault(name, str(row["fault"]), str(row["cost"]), tuple(tests))
    return faults


def published(faults: Sequence[Fault]) -> str:
    """Give the table as `docs/durability.md` has it."""
    return _HEAD + "".join(
        f"| {fault.name}: {fault.fault} | {fault.cost} | {_short(fault.tests)} |\n"
        for fault in faults
    )


def _short(tests: Sequence[str]) -> str:
    """Name tests by file and function; the parameters say nothing to a reader."""
    functions = [test.rpartition("/")[2].partition("[")[0] for test in tests]
    return "<br>".join(f"`{name}`" for name in dict.fromkeys(functions))
