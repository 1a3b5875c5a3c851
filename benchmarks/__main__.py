"""`python -m benchmarks [NAME ...]`: ask questions, print and keep the answers."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.bench import Bench
from benchmarks.canary import quiet_canary
from benchmarks.catalogue import QUESTIONS, TABLE, Question
from benchmarks.document import PLOT_FOLDER, as_markdown, spliced
from benchmarks.figures import series_from
from benchmarks.machine import facts
from benchmarks.peers import ADAPTERS
from benchmarks.plots import draw
from benchmarks.report import as_text, verdict_lines

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "result.json"
DOCUMENT = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / PLOT_FOLDER
ROUNDS, QUICK_ROUNDS = 5, 2
BROKEN = 1
WAIT_S = 20.0
SEED = 1
WATCH_S, QUICK_WATCH_S = (1.5, 1.0), (0.1, 0.0)
"""How long a canary lasts; how long the system has to settle after a question."""


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
    lasts_s, settle_s = QUICK_WATCH_S if bench.is_quick else WATCH_S
    before = quiet_canary(bench.directory, wait_s, lasts_s)
    bench.question = question.name
    print(f"\n{question.name}: {question.title}", flush=True)
    started, first = time.monotonic(), len(bench.taken)
    try:
        question.run(bench)
    except Exception as error:
        # the other questions still have answers, and nobody watches the run
        traceback.print_exc()
        bench.failed[question.name] = f"{type(error).__name__}: {error}"
    took_s = time.monotonic() - started
    shutil.rmtree(bench.directory / question.name, ignore_errors=True)
    time.sleep(settle_s)
    after = quiet_canary(bench.directory, 0, lasts_s)
    print(as_text(bench.taken[first:]))
    is_valid = before.is_quiet and after.is_quiet and question.name not in bench.failed
    print(f"{'valid' if is_valid else 'INVALID'} ({took_s:.0f} s)")
    if not is_valid:
        print(f"  before {before}\n  after  {after}")
    return {
        "text": question.text,
        "part": question.part,
        "took_s": took_s,
        "before": asdict(before),
        "after": asdict(after),
        "is_valid": is_valid,
    }


def run(
    bench: Bench, questions: Sequence[Question], wait_s: float, path: Path
) -> dict[str, Any]:
    """Ask all questions; keep the answers as JSON after each."""
    packages = {package for each in ADAPTERS.values() for package in each.packages}
    missing = {name: adapter.missing() for name, adapter in ADAPTERS.items()}
    asked: dict[str, Any] = {}
    result: dict[str, Any] = {
        "began": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "seed": bench.seed,
        "rounds": bench.rounds,
        "is_quick": bench.is_quick,
        "machine": facts(bench.directory, sorted(packages)),
        "missing": {name: why for name, why in missing.items() if why is not None},
        "failed": bench.failed,
        "questions": asked,
    }
    started = time.monotonic()
    for question in questions:
        asked[question.name] = ask(bench, question, wait_s)
        result["took_s"] = time.monotonic() - started
        result["is_valid"] = all(answer["is_valid"] for answer in asked.values())
        result["series"] = [
            {**asdict(series), "median": series.median} for series in bench.taken
        ]
        text = json.dumps(result, indent=1)
        path.write_text(f"{text}\n", encoding="utf-8")
    return result


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
    parser.add_argument(
        "--publish", action="store_true", help="write docs/performance.md and its plots"
    )
    parser.add_argument(
        "--from",
        dest="saved",
        type=Path,
        metavar="FILE",
        help="publish what an earlier run kept, and measure nothing",
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
            print(f"{question.name:16} {mark:6} {question.title}")
        return 0
    if chosen.saved is not None:
        publish(json.loads(chosen.saved.read_text(encoding="utf-8")))
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
        result = run(bench, questions, chosen.wait, chosen.json)
    print("\n".join(["", *verdict_lines(result)]))
    if chosen.publish:
        publish(result)
    failed = set(result["failed"]) & set(QUESTIONS)
    return BROKEN if failed else 0


def publish(result: Mapping[str, Any]) -> None:
    """Draw the plots, and write the report between its markers."""
    taken = [series_from(saved) for saved in result["series"]]
    drawn = draw(taken, PLOTS)
    section = as_markdown(result, {name: list(drawn[name]) for name in drawn})
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(spliced(document, section), encoding="utf-8")
    print(f"written: {DOCUMENT.relative_to(ROOT)}")


def _terminate(number: int, _: FrameType | None) -> None:
    """End as by Ctrl-C, so that servers end and files go."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.argv[1:]))
