"""What was found, as tables for the terminal and for the documentation. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.prove.judge import Verdict

BEGIN, END = "<!-- prove: begin -->", "<!-- prove: end -->"
COLUMNS = [
    "peer",
    "faults",
    "objects",
    "lost",
    "silently",
    "wrong bytes",
    "old or undeleted",
    "named",
    "told",
    "did not open",
    "own check saw",
    "serves after",
]
FULL_COLUMNS = ["deletes while full", "goes on unopened"]


@dataclass(frozen=True)
class Table:
    """One fault, and what each peer made of it."""

    title: str
    verdicts: Mapping[str, Verdict]
    """By the peer's name."""
    is_full_disk: bool = False
    skipped: str | None = None

    def header(self) -> list[str]:
        """Give the names of the columns."""
        return COLUMNS + (FULL_COLUMNS if self.is_full_disk else [])

    def rows(self) -> list[list[str]]:
        """Give a row for each peer."""
        rows: list[list[str]] = []
        for name, verdict in self.verdicts.items():
            row = [name, *_cells(verdict)]
            if self.is_full_disk:
                trials = verdict.trials
                row.append(f"{verdict.full_deletes} of {trials}")
                row.append(f"{verdict.full_went_on} of {trials}")
            rows.append(row)
        return rows


def _cells(verdict: Verdict) -> list[str]:
    seen = "-"
    if verdict.lossy_checked:
        seen = f"{verdict.lossy_seen} of {verdict.lossy_checked}"
    return [
        str(verdict.trials),
        str(verdict.objects),
        str(verdict.lost),
        str(verdict.silent),
        str(verdict.wrong),
        str(verdict.old + verdict.back),
        str(verdict.named),
        str(verdict.told),
        str(verdict.trials_unopened),
        seen,
        f"{verdict.trials_serving} of {verdict.trials}",
    ]


def as_text(table: Table) -> str:
    """Lay a table out for the terminal."""
    if table.skipped is not None:
        return f"{table.title}: SKIPPED: {table.skipped}\n"
    rows = [table.header(), *table.rows()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([table.title, *lines, ""])


def as_markdown(
    tables: Sequence[Table], settings: Mapping[str, str], told: Sequence[str]
) -> str:
    """Write what goes into the documentation, between its markers."""
    lines = [BEGIN, "", *told, "", "| peer | settings |", "| --- | --- |"]
    lines += [f"| {name} | {text} |" for name, text in settings.items()]
    for table in tables:
        lines += ["", f"**{table.title}**", ""]
        if table.skipped is not None:
            lines.append(f"Skipped: {table.skipped}.")
            continue
        header = table.header()
        lines.append(f"| {' | '.join(header)} |")
        lines.append(f"| --- |{' ---: |' * (len(header) - 1)}")
        lines += [f"| {' | '.join(row)} |" for row in table.rows()]
    return "\n".join([*lines, "", END])


def spliced(document: str, section: str) -> str:
    """Put a section in the place of the one between the markers.

    Raises:
        ValueError: the document has no markers.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} and {END}")
    return before + section + after
