"""What was found, for the terminal and for docs/performance.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.figures import Series, series_from
from benchmarks.table import Row, judge


def amount(value: float, unit: str) -> str:
    """Write a figure so that a person can read it."""
    if unit == "s":
        for border, factor, name in ((1e-3, 1e6, "us"), (1, 1e3, "ms")):
            if value < border:
                return f"{_three(value * factor)} {name}"
        return f"{_three(value)} s"
    if unit == "B":
        for border, factor, name in (
            (1e3, 1, "B"),
            (1e6, 1e-3, "kB"),
            (1e9, 1e-6, "MB"),
        ):
            if abs(value) < border:
                return f"{_three(value * factor)} {name}"
        return f"{_three(value * 1e-9)} GB"
    return f"{_three(value)} {unit}"


def _three(value: float) -> str:
    """Write three digits that count."""
    for border, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= border:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def times(ratio: float) -> str:
    """Write how many times as much something is."""
    return f"{_three(ratio)} x"


def speed(series: Series) -> str:
    """Write how much goes through."""
    if series.unit != "s" or series.median <= 0:
        return ""
    if series.payload_bytes >= 1 << 16:
        return f"{_three(series.payload_bytes / series.median / 1e6)} MB/s"
    return f"{_three(1 / series.median)} /s"


def groups(taken: Iterable[Series]) -> dict[str, list[Series]]:
    """Put together what may be compared, in the order in which it was taken."""
    found: dict[str, list[Series]] = {}
    for series in taken:
        found.setdefault(series.group, []).append(series)
    return found


def _cells(series: Series, base: Series | None) -> list[str]:
    cpu_s = series.median_cpu_s
    related = ""
    if base is not None and base.median > 0:
        related = times(series.median / base.median)
    spread = ""
    if series.spreads:
        spread = f"p99 {amount(series.median_of('p99'), series.unit)}"
    return [
        series.subject if series.x is None else f"{series.subject} @ {series.x:,.0f}",
        amount(series.median, series.unit),
        speed(series),
        related,
        "" if cpu_s is None else f"{amount(cpu_s, 's')} CPU",
        spread,
        " to ".join(amount(pick(series.values), series.unit) for pick in (min, max)),
    ]


def laid_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay cells out in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def as_text(taken: Sequence[Series]) -> str:
    """Lay out what was taken for the terminal."""
    lines: list[str] = []
    for title, members in groups(taken).items():
        base = next((series for series in members if series.is_limit), None)
        lines += ["", title]
        rows = [_cells(series, base) for series in members]
        lines += [f"  {line}" for line in laid_out(rows)]
    return "\n".join(lines)


def border(row: Row, value: float | None) -> str:
    """Write a promise of a row."""
    if value is None:
        return ""
    if row.sense == "value":
        return f"<= {amount(value, unit_of(row))}"
    sign = "<=" if row.sense == "time" else ">="
    return f"{sign} {value:g} x"


def unit_of(row: Row) -> str:
    """Give the unit of a row's figure."""
    if row.sense != "value":
        return "x"
    if "memory" in row.group:
        return "B"
    return "x" if row.group.startswith("disk") else "s"


def verdict_rows(taken: Sequence[Series]) -> list[list[str]]:
    """Give a row of cells for each row of the cost table that was taken."""
    rows: list[list[str]] = []
    for verdict in judge(taken):
        row = verdict.row
        state = "must MISSED"
        if verdict.meets_must:
            state = "aim" if verdict.meets_aim else "must"
        rows.append(
            [
                row.work,
                "" if row.base is None else f"to {row.base}",
                amount(verdict.figure, unit_of(row)),
                border(row, row.must),
                border(row, row.aim),
                state,
            ]
        )
    return rows


def verdict_lines(result: Mapping[str, Any]) -> list[str]:
    """Say for the terminal what became of the rows of the cost table."""
    rows = verdict_rows([series_from(saved) for saved in result["series"]])
    lines: list[str] = []
    if rows:
        header = ["work", "related", "figure", "must", "aim", "meets"]
        lines = laid_out([header, *rows])
    invalid = [
        name for name, each in result["questions"].items() if not each["is_valid"]
    ]
    if result["is_quick"]:
        lines.append("quick sizes: no verdict")
    if invalid:
        lines.append(f"INVALID, the machine was not quiet: {', '.join(invalid)}")
    return lines
