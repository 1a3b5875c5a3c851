"""The mutation proof: every planted fault must be seen by the tests named for it.

Usage: python -m tests.mutants [--seed N] [NAME...]; `--table` prints the published
table. Each patch is applied to a copy of the tree, and the named tests run on it; they
also run on an unpatched copy, where they must pass.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

import anyio

from .faults import Fault, load, published
from .trial import BadPatchError, Result, try_patch

JOBS: Final = 2
UNPATCHED: Final = "(unpatched)"


def say(line: str) -> None:
    """Print at once: a run takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Report:
    """Prints each verdict as it comes; counts what went wrong."""

    def __init__(self, seed: int) -> None:
        self.wrong = 0
        self.caught = 0
        self._seed = seed

    def tell(
        self, name: str, elapsed_s: float, problems: Sequence[str], bad: str
    ) -> None:
        """Say what came of one trial; `bad` is the verdict when it has problems."""
        is_fault = name != UNPATCHED
        good = "caught" if is_fault else "passed"
        say(f"{bad if problems else good}  {elapsed_s:6.1f} s  {name}")
        for problem in problems:
            say(f"    {problem}")
        if problems:
            self.wrong += 1
            chosen = f" {name}" if is_fault else ""
            say(f"    again: python -m tests.mutants --seed {self._seed}{chosen}")
        elif is_fault:
            self.caught += 1


def _problems(fault: Fault, result: Result) -> list[str]:
    if result.problem:
        return [result.problem]
    return [f"does not fail: {test}" for test in fault.uncaught(result.failed)]


async def _try_fault(report: Report, fault: Fault, seed: int) -> None:
    started = time.monotonic()
    bad = "MISSED"
    try:
        problems = _problems(fault, await try_patch(fault.patch, fault.tests, seed))
    except BadPatchError as error:
        bad, problems = "PATCH DOES NOT APPLY", [str(error)]
    report.tell(fault.name, time.monotonic() - started, problems, bad)


async def _try_unpatched(report: Report, faults: Sequence[Fault], seed: int) -> None:
    """The named tests pass without a fault."""
    started = time.monotonic()
    tests = list(dict.fromkeys(test for fault in faults for test in fault.tests))
    result = await try_patch(None, tests, seed)
    problems = [result.problem] if result.problem else []
    problems += [f"fails: {test}" for test in result.failed]
    for fault in faults:
        unseen = fault.uncaught([*result.failed, *result.passed])
        problems += [f"no such test: {test}" for test in unseen]
    report.tell(UNPATCHED, time.monotonic() - started, problems, "FAILED")


async def _prove(faults: Sequence[Fault], seed: int) -> Report:
    report = Report(seed)
    limiter = anyio.CapacityLimiter(JOBS)

    async def alone(fault: Fault | None) -> None:
        async with limiter:
            if fault is None:
                await _try_unpatched(report, faults, seed)
            else:
                await _try_fault(report, fault, seed)

    async with anyio.create_task_group() as group:
        for fault in (None, *faults):
            group.start_soon(alone, fault)
    return report


def main() -> int:
    """Run the proof; give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="faults; all by default"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the generated examples")
    parser.add_argument("--table", action="store_true", help="print the table and stop")
    arguments = parser.parse_args()
    known = load()
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    faults = [known[name] for name in arguments.names or known]
    if arguments.table:
        sys.stdout.write(published(faults))
        return 0
    say(f"seed {arguments.seed}, {len(faults)} faults, {JOBS} at a time")
    started = time.monotonic()
    report = anyio.run(_prove, faults, arguments.seed)
    elapsed_s = time.monotonic() - started
    say(f"{report.caught} of {len(faults)} caught in {elapsed_s:.0f} s")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
