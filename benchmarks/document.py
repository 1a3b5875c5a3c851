"""The report in docs/performance.md, between its markers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from benchmarks.figures import Series, series_from
from benchmarks.peers import ADAPTERS
from benchmarks.reasons import REASONS
from benchmarks.report import amount, border, groups, speed, times, unit_of
from benchmarks.table import Verdict, judge

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
PLOT_FOLDER = "performance"
UNKNOWN = "not looked into yet"


class Picture(Protocol):
    """What the report has to know of a plot."""

    @property
    def file(self) -> str:
        """Give its name without the ending."""
        ...

    @property
    def title(self) -> str:
        """Say what it shows."""
        ...


def as_markdown(
    result: Mapping[str, Any], pictures: Mapping[str, Sequence[Picture]]
) -> str:
    """Write everything that a run found."""
    taken = [series_from(saved) for saved in result["series"]]
    parts = [
        _run(result),
        _costs(judge(taken), taken, result["questions"]),
        _peers(result),
        _lost(taken),
        *(
            _question(name, asked, taken, pictures.get(name, ()))
            for name, asked in result["questions"].items()
        ),
    ]
    return "\n\n".join([BEGIN, *parts, END])


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


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1
) -> str:
    """Write a table; columns behind those of text are aligned to the right."""
    marks = ["---" if at < texts else "---:" for at in range(len(header))]
    lines = [header, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _run(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {text}" for name, text in machine["versions"].items())
    invalid = [name for name, each in result["questions"].items() if _noisy(each)]
    lines = [
        "## The run",
        "",
        (
            f"{result['began']} UTC, {result['took_s'] / 60:.0f} minutes,"
            f" {result['rounds']} rounds, seed {result['seed']}."
        ),
        (
            f"{machine['processor']}, {machine['processors']} processors,"
            f" {amount(machine['memory_bytes'], 'B')} of memory, {machine['system']},"
            f" {machine['file_system']}."
        ),
        f"{versions}.",
    ]
    if result["is_quick"]:
        lines += ["", "**Quick sizes: these figures are no verdict.**"]
    if invalid:
        lines += [
            "",
            (
                "**The run is invalid: the machine was not quiet before or after"
                f" {', '.join(invalid)}.**"
            ),
        ]
    else:
        lines += ["", "The run is valid: the machine was quiet all along."]
    return "\n".join(lines)


def _noisy(asked: Mapping[str, Any]) -> bool:
    return not asked["is_valid"]


def _costs(
    verdicts: Sequence[Verdict],
    taken: Sequence[Series],
    asked: Mapping[str, Mapping[str, Any]],
) -> str:
    """Write the cost table, and why aims are missed."""
    if not verdicts:
        return "## The cost table\n\nNone of its rows was taken."
    of_group = {series.group: series.question for series in taken}
    rows: list[list[str]] = []
    reasons: dict[str, str] = {}
    for verdict in verdicts:
        row = verdict.row
        state = "**must missed**"
        if verdict.meets_must:
            state = "aim" if verdict.meets_aim else "must"
        if _noisy(asked[of_group[row.group]]):
            state += " (invalid)"
        if not verdict.meets_aim:
            reasons[row.work] = REASONS.get(row.work, UNKNOWN)
        rows.append(
            [
                row.work,
                row.base or "",
                amount(verdict.figure, unit_of(row)),
                border(row, row.must),
                border(row, row.aim),
                state,
            ]
        )
    met = sum(verdict.meets_must for verdict in verdicts)
    aimed = sum(verdict.meets_aim for verdict in verdicts)
    header = ["work", "related to", "figure", "must", "aim", "meets"]
    lines = [
        "## The cost table",
        "",
        f"{met} of {len(verdicts)} rows meet what they must, {aimed} their aim, too.",
        "A limit's row with `<=` is a ratio of times, one with `>=` of speeds.",
        "",
        table(header, rows, texts=2),
    ]
    if reasons:
        lines += ["", "Why aims are missed:", ""]
        lines += [f"- {work}: {reason}." for work, reason in reasons.items()]
    return "\n".join(lines)


def _peers(result: Mapping[str, Any]) -> str:
    rows = [
        [name, adapter.durability, result["missing"].get(name, "took part")]
        for name, adapter in ADAPTERS.items()
    ]
    header = ["store", "on the disk at the acknowledgement", "in this run"]
    lines = ["## Who was compared", "", table(header, rows, texts=3)]
    if result["failed"]:
        lines += ["", "What could not be done:", ""]
        lines += [f"- {place}: {reason}." for place, reason in result["failed"].items()]
    return "\n".join(lines)


def _is_synced(series: Series) -> bool:
    return series.durability.startswith("synced")


def _ours_like(series: Series, members: Sequence[Series]) -> Series | None:
    """Give our best figure with no weaker an acknowledgement than a peer's."""
    ours = [
        own
        for own in members
        if own.subject.startswith("objstore")
        and (not series.durability or _is_synced(own) == _is_synced(series))
    ]
    return min(ours, key=lambda own: own.median, default=None)


def _lost(taken: Sequence[Series]) -> str:
    """List who is faster than we are, like with like."""
    rows: list[list[str]] = []
    won = 0
    for group, members in groups(taken).items():
        for series in members:
            if series.subject not in ADAPTERS or ADAPTERS[series.subject].is_ours:
                continue
            own = _ours_like(series, members)
            if own is None or series.unit != "s":
                continue
            if own.median <= series.median:
                won += 1
                continue
            ratio = times(own.median / series.median)
            figures = [amount(each.median, each.unit) for each in (own, series)]
            rows.append([group, series.subject, *figures, ratio])
    header = ["work", "faster than us", "ours", "theirs", "by"]
    return "\n".join(
        [
            "## Where we lose",
            "",
            (
                f"Like with like (synced with synced, unsynced with `sync=1`, gets with"
                f" gets) we are ahead in {won} comparisons and behind in {len(rows)}:"
            ),
            "",
            table(header, rows, texts=2) if rows else "None.",
        ]
    )


def _question(
    name: str,
    asked: Mapping[str, Any],
    taken: Sequence[Series],
    pictures: Sequence[Picture],
) -> str:
    """Write one question: hypothesis, tables, plots."""
    members = [series for series in taken if series.question == name]
    lines = [f"## {name}", "", asked["text"], "", asked["part"]]
    if _noisy(asked):
        lines += ["", f"**Invalid: {_noise(asked)}.**"]
    for group, series in groups(members).items():
        lines += ["", f"### {group}", "", _figures(series)]
    for picture in pictures:
        path = f"{PLOT_FOLDER}/{picture.file}.svg"
        lines += ["", f"![{picture.title}]({path})"]
    return "\n".join(lines)


def _noise(asked: Mapping[str, Any]) -> str:
    told: list[str] = []
    for when in ("before", "after"):
        seen = asked[when]
        sync = f"{amount(seen['p50_s'], 's')} (p95 {amount(seen['p95_s'], 's')})"
        others = f"CPU pressure {seen['pressure']:.0%}, others used {seen['busy']:.0%}"
        told.append(f"{when} it an append and fdatasync took {sync}, {others}")
    return "; ".join(told)


def _figures(members: Sequence[Series]) -> str:
    """Write the table of one group, without columns that hold nothing."""
    base = next((series for series in members if series.is_limit), None)
    header = ["", "at", "median", "rate", "to the limit", "CPU", "p99", "rounds"]
    rows = [_row(series, base) for series in members]
    kept = [at for at in range(len(header)) if at == 0 or any(row[at] for row in rows)]
    return table(
        [header[at] for at in kept], [[row[at] for at in kept] for row in rows]
    )


def _row(series: Series, base: Series | None) -> list[str]:
    cpu_s = series.median_cpu_s
    related = ""
    if base is not None and base.median > 0:
        related = times(series.median / base.median)
    low, high = min(series.values), max(series.values)
    rounds = f"{amount(low, series.unit)} to {amount(high, series.unit)}"
    return [
        series.subject,
        "" if series.x is None else f"{series.x:,.0f}",
        amount(series.median, series.unit),
        speed(series),
        related,
        "" if cpu_s is None else amount(cpu_s, "s"),
        amount(series.median_of("p99"), series.unit) if series.spreads else "",
        rounds if len(series.values) > 1 else "",
    ]
