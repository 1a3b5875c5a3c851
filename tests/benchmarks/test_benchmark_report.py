"""The cost table and the report, from figures that were made up."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
from benchmarks.catalogue import QUESTIONS
from benchmarks.document import BEGIN, END, as_markdown, spliced
from benchmarks.figures import Series
from benchmarks.peers import ADAPTERS
from benchmarks.report import amount
from benchmarks.table import ROWS, Row, Verdict, figure_of

GROUP, OURS, PEER = "put 1 KiB, one at a time", "objstore sync", "SQLite FULL"


def _series(subject: str, value: float, *, is_limit: bool = False) -> Series:
    return Series(
        "small-put",
        GROUP,
        subject,
        durability="synced",
        is_limit=is_limit,
        values=[value],
    )


def _result(taken: Sequence[Series], *, is_valid: bool) -> dict[str, Any]:
    canary = {"p50_s": 1e-4, "p95_s": 3e-4, "pressure": 0.5, "busy": 0.5, "loop_s": 0.0}
    asked = {
        "text": "What?",
        "part": "Answer.",
        "took_s": 1.0,
        "before": canary,
        "after": canary,
        "is_valid": is_valid,
    }
    return {
        "began": "2030-01-01 00:00",
        "took_s": 60.0,
        "seed": 1,
        "rounds": 5,
        "is_quick": False,
        "machine": {
            "processor": "P",
            "processors": 2,
            "memory_bytes": 1e9,
            "system": "S",
            "file_system": "F",
            "versions": {"Python": "3"},
        },
        "missing": {},
        "failed": {},
        "questions": {"small-put": asked},
        "series": [asdict(series) for series in taken],
    }


@pytest.mark.parametrize(
    ("sense", "expected", "meets"),
    [("time", 2.0, True), ("speed", 0.5, False), ("value", 4.0, False)],
)
def test_row_relates_a_subject_to_its_base(
    sense: Any, expected: float, meets: bool
) -> None:
    """Times are at most so many times the base's, speeds at least; a value is bare."""
    base = None if sense == "value" else PEER
    row = Row("work", GROUP, OURS, base, sense, must=2.0, aim=2.0)
    figure = figure_of(row, [_series(OURS, 4.0), _series(PEER, 2.0)])

    assert expected == figure
    assert meets == Verdict(row, expected).meets_must


def test_row_without_its_base_has_no_figure() -> None:
    """A row is not judged when what it relates to was not taken."""
    row = Row("work", GROUP, OURS, PEER, "time", must=2.0)

    assert figure_of(row, [_series(OURS, 4.0)]) is None


def test_every_store_says_what_is_on_the_disk() -> None:
    """An adapter's durability begins with what the comparison goes by."""
    words = {
        each.durability.partition(" ")[0].rstrip(",") for each in ADAPTERS.values()
    }

    assert {"synced", "written"} == words


def test_every_question_says_its_hypothesis() -> None:
    """A question's file begins with the question and goes on with a hypothesis."""
    without = [
        name
        for name, question in QUESTIONS.items()
        if "?" not in question.text.splitlines()[0]
        or "Hypothesis: " not in question.text
    ]

    assert [] == without


def test_report_replaces_what_is_between_its_markers() -> None:
    """What people wrote before and behind the markers stays."""
    document = f"before\n{BEGIN}\nold\n{END}\nbehind\n"

    assert "before\nnew\nbehind\n" == spliced(document, "new")
    with pytest.raises(ValueError, match="bench: begin"):
        spliced("no markers", "new")


def test_report_names_who_is_faster() -> None:
    """Who is faster with the same durability stands in the list, by how much."""
    taken = [_series(OURS, 4e-3), _series(PEER, 2e-3), _series("LMDB", 5e-3)]
    report = as_markdown(_result(taken, is_valid=True), {})

    assert "ahead in 1 comparisons and behind in 1" in report
    assert f"| {GROUP} | {PEER} | 4.00 ms | 2.00 ms | 2.00 x |" in report


def test_invalid_run_is_called_so() -> None:
    """Figures of a machine that was not quiet are shown and marked."""
    limit = _series("raw append + fdatasync", 1.0, is_limit=True)
    taken = [limit, _series(OURS, 1.0)]
    valid = as_markdown(_result(taken, is_valid=True), {})
    invalid = as_markdown(_result(taken, is_valid=False), {})

    assert "invalid" not in valid
    assert "**The run is invalid: " in invalid
    assert "aim (invalid)" in invalid


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1.5e-6, "s", "1.50 us"),
        (0.25, "s", "250 ms"),
        (12.34, "s", "12.3 s"),
        (1.5e6, "B", "1.50 MB"),
        (0.0123, "x", "0.012 x"),
        (12345.6, "x", "12,346 x"),
    ],
)
def test_amount_has_three_digits_and_its_unit(
    value: float, unit: str, expected: str
) -> None:
    """A figure is written with the digits that count."""

    assert expected == amount(value, unit)


def test_rows_name_who_takes_part() -> None:
    """Who a row is about, and whom it is related to, is somebody who is measured."""
    stores = {row.subject for row in ROWS if row.subject.startswith("objstore ")}
    peers = {row.base for row in ROWS if row.base and row.sense == "speed"}
    limits = {"SHA-256 of one thread", "pread", "open + read + close of a file"}

    assert peers - limits <= set(ADAPTERS)
    assert {"objstore sync", "objstore async"} <= stores
