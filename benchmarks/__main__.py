"""`python -m benchmarks [NAME ...]`: ask questions, print and keep the answers."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.bench import Bench
from benchmarks.canary import quiet_canary
from benchmarks.catalogue import QUESTIONS, TABLE, Question
from benchmarks.machine import facts
from benchmarks.peers import ADAPTERS
from benchmarks.report import as_text, verdict_lines

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "result.json"
ROUNDS, QUICK_ROUNDS = 5, 2
WAIT_S = 20.0
SEED = 1
SETTLE_S = 1.0
"""After a question, for what the system still does for it."""


def selected(names: Sequence[str]) -> list[Question]:
    """Give the questions that the words mean; nothing means all.

    Raises:
        ValueError: there is no such question.
    """
    if not names:
        return list(QUESTIONS.values())
    chosen: list[Question] = []
    for name in names:
        if name == "table":
            chosen += TABLE
        elif name in QUESTIONS:
            chosen.append(QUESTIONS[name])
        else:
            known = ", ".join(["table", *QUESTIONS])
            raise ValueError(f"no question {name!r}; there are {known}")
    return chosen


def ask(bench: Bench, question: Question, wait_s: float) -> dict[str, Any]:
    """Ask one question between two canaries; say whether its answer counts."""
    before = quiet_canary(bench.directory, wait_s)
    bench.question = question.name
    print(f"\n{question.name}: {question.text.splitlines()[0]}", flush=True)
    started, first = time.monotonic(), len(bench.taken)
    question.run(bench)
    took_s = time.monotonic() - started
    shutil.rmtree(bench.directory / question.name, ignore_errors=True)
    time.sleep(SETTLE_S)
    after = quiet_canary(bench.directory, 0)
    print(as_text(bench.taken[first:]))
    is_valid = before.is_quiet and after.is_quiet
    print(f"{'valid' if is_valid else 'INVALID'} ({took_s:.0f} s)")
    if not is_valid:
        print(f"  before {before}\n  after  {after}")
    return {
        "text": question.text,
        "took_s": took_s,
        "before": asdict(before),
        "after": asdict(after),
        "is_valid": is_valid,
    }


def run(bench: Bench, questions: Sequence[Question], wait_s: float) -> dict[str, Any]:
    """Ask all questions; give what is kept as JSON."""
    packages = {package for each in ADAPTERS.values() for package in each.packages}
    asked: dict[str, Any] = {}
    started = time.time()
    for question in questions:
        asked[question.name] = ask(bench, question, wait_s)
    return {
        "began": time.strftime("%Y-%m-%d %H:%M", time.gmtime(started)),
        "took_s": time.time() - started,
        "seed": bench.seed,
        "rounds": bench.rounds,
        "is_quick": bench.is_quick,
        "is_valid": all(answer["is_valid"] for answer in asked.values()),
        "machine": facts(bench.directory, sorted(packages)),
        "missing": {
            name: reason
            for name, adapter in ADAPTERS.items()
            if (reason := adapter.missing()) is not None
        },
        "failed": bench.failed,
        "questions": asked,
        "series": [
            {**asdict(series), "median": series.median} for series in bench.taken
        ],
    }


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="questions, or `table`; else all"
    )
    parser.add_argument("--list", action="store_true", help="name the questions")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes; to try the benchmark itself"
    )
    parser.add_argument("--no-peers", action="store_true", help="limits and ours only")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--wait", type=float, default=WAIT_S, help="seconds for a quiet machine"
    )
    parser.add_argument("--json", type=Path, default=RESULT, metavar="FILE")
    parser.add_argument("--directory", type=Path, default=ROOT, help="of which disk")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; give the exit status."""
    chosen = _arguments(arguments)
    if chosen.list:
        for question in QUESTIONS.values():
            mark = "table" if question.is_in_table else ""
            print(f"{question.name:16} {mark:6} {question.text.splitlines()[0]}")
        return 0
    try:
        questions = selected(chosen.names)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS)
    for name, adapter in ADAPTERS.items():
        if (reason := adapter.missing()) is not None:
            print(f"{name}: SKIPPED: {reason}")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=chosen.directory) as path:
        bench = Bench(
            Path(path),
            rounds,
            is_quick=chosen.quick,
            seed=chosen.seed,
            with_peers=not chosen.no_peers,
        )
        result = run(bench, questions, chosen.wait)
    text = json.dumps(result, indent=1)
    chosen.json.write_text(f"{text}\n", encoding="utf-8")
    print("\n".join(["", *verdict_lines(result)]))
    return 0


def _terminate(number: int, _: FrameType | None) -> None:
    """End as by Ctrl-C, so that servers end and files go."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.argv[1:]))
