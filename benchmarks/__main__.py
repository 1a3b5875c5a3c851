"""`python -m benchmarks [NAME ...]`: run the questions, print and keep the ratios."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks import large_objects, small_objects
from benchmarks.measure import Row

QUESTIONS = {"small": small_objects.run, "large": large_objects.run}
RESULT = Path("benchmarks/result.json")


def main(names: list[str]) -> int:
    """Run the named questions, all when none is named."""
    unknown = set(names) - set(QUESTIONS)
    if unknown:
        print(f"no question {min(unknown)!r}; there are {', '.join(QUESTIONS)}")
        return 2
    rows: list[Row] = []
    for name in names or QUESTIONS:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
            rows += QUESTIONS[name](Path(directory))
    for row in rows:
        micros = row.seconds * 1e6
        print(
            f"{row.question:24} {row.subject:28} {micros:12.1f} us {row.ratio:8.2f} x"
        )
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    result = {**machine, "rows": [asdict(row) for row in rows]}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
