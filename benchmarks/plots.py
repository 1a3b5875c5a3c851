"""The plots of the report, drawn from what was taken.

matplotlib and not code of our own: axes with logarithms, ticks and legends are what
it is for. It is an extra of the benchmark; without it the report has no plots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.figures import Series
from benchmarks.machine import installed
from benchmarks.questions import (
    growth,
    large,
    mixed,
    sizes,
    small_get,
    small_put,
    watchers,
)

OURS, OURS_RELAXED, LIMIT = "#1b6ca8", "#8ec1e8", "#8a8a8a"
SYNCED, RELAXED = "#d1495b", "#edae49"
COLOURS = {
    "objstore": OURS,
    "objstore, synced every second": OURS_RELAXED,
    "limit of the machine": LIMIT,
    "peer, synced before the acknowledgement": SYNCED,
    "peer, unsynced": RELAXED,
}
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "objstore",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDTH, BAR_HEIGHT, CURVE_HEIGHT = 7.5, 0.24, 3.6
Draw = Callable[[Any, Sequence[Series]], None]


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture."""

    file: str
    title: str
    groups: Sequence[str]
    draw: Draw
    is_bars: bool = False

    def members(self, taken: Sequence[Series]) -> list[Series]:
        """Select what it shows."""
        return [series for series in taken if series.group in self.groups]


def colour(series: Series) -> str:
    """Say by a colour who it is and what its acknowledgement means."""
    if series.is_limit:
        return LIMIT
    if series.subject.startswith("objstore"):
        return OURS_RELAXED if "relaxed" in series.subject else OURS
    is_synced = series.durability.startswith("synced")
    return SYNCED if is_synced else RELAXED


def rate(series: Series) -> float:
    """Give what goes through in a second: operations, or megabytes of large ones."""
    if series.payload_bytes >= 1 << 16:
        return series.payload_bytes / series.median / 1e6
    return 1 / series.median


def _bars(axes: Any, members: Sequence[Series]) -> None:
    ordered = sorted(members, key=rate)
    names = [series.subject for series in ordered]
    rates = [rate(series) for series in ordered]
    axes.barh(names, rates, color=[colour(series) for series in ordered])
    axes.set_xscale("log")
    is_large = ordered[0].payload_bytes >= 1 << 16
    axes.set_xlabel("MB/s" if is_large else "operations/s")
    axes.bar_label(axes.containers[0], [f" {value:,.0f}" for value in rates])
    axes.margins(x=0.12)
    patches: Any = import_module("matplotlib.patches")
    shown = {colour(series) for series in ordered}
    handles = [
        patches.Patch(color=value, label=name)
        for name, value in COLOURS.items()
        if value in shown
    ]
    axes.legend(handles=handles, loc="lower right", frameon=False, fontsize=8)


def _curves(axes: Any, members: Sequence[Series]) -> None:
    lines: dict[str, list[Series]] = {}
    groups = {series.group for series in members}
    for series in members:
        what = series.group.partition(": ")[2]
        label = series.subject if len(groups) == 1 else f"{what}, {series.subject}"
        lines.setdefault(label, []).append(series)
    factor = {"s": 1e3, "B": 1e-6}.get(members[0].unit, 1)
    for label, points in lines.items():
        points.sort(key=lambda series: series.x or 0)
        xs = [point.x for point in points]
        ys = [point.median * factor for point in points]
        axes.plot(xs, ys, marker="o", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylabel({"s": "ms", "B": "MB"}.get(members[0].unit, ""))
    axes.legend(frameon=False, fontsize=8)
    axes.grid(visible=True, alpha=0.3)


def _bandwidths(axes: Any, members: Sequence[Series]) -> None:
    lines: dict[str, list[Series]] = {}
    for series in members:
        what = series.group.partition(": ")[2]
        is_ours = series.subject.startswith("objstore")
        label = what if is_ours else series.subject
        lines.setdefault(label, []).append(series)
    for label, points in lines.items():
        xs = sorted({point.x or 0 for point in points})
        best = {
            x: max((point.x or 0) / point.median for point in points if point.x == x)
            for x in xs
        }
        axes.plot(
            [x / 2**20 for x in xs],
            [best[x] / 1e6 for x in xs],
            marker="o",
            label=label,
        )
    axes.set_xscale("log", base=2)
    axes.set_xlabel("MiB an object")
    axes.set_ylabel("MB/s")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(visible=True, alpha=0.3)


def _distribution(axes: Any, members: Sequence[Series]) -> None:
    for series in members:
        parts = {name: series.median_of(name) for name in series.spreads}
        ys = [float(name.removeprefix("p")) for name in parts]
        xs = [max(value * 1e3, 1e-3) for value in parts.values()]
        axes.plot(xs, ys, marker=".", label=series.subject)
    axes.set_xscale("log")
    axes.set_xlabel("ms after the acknowledgement")
    axes.set_ylabel("% of the changes were seen")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(visible=True, alpha=0.3)


def _bar_plot(file: str, title: str, group: str) -> Plot:
    return Plot(file, title, [group], _bars, is_bars=True)


PLOTS = [
    _bar_plot("put-1", "Durable put of 1 KiB, one at a time", small_put.ONE),
    _bar_plot("put-32", "Durable put of 1 KiB, 32 at a time", small_put.MANY),
    _bar_plot("get-1", "Get of 1 KiB, warm", small_get.WARM),
    _bar_plot("get-1-cold", "Get of 1 KiB, cold", small_get.COLD),
    *(
        _bar_plot(f"{name}-{size}", f"{text} of {size} MiB", group.format(size))
        for size in (large.MIDDLE, large.LARGE)
        for name, text, group in (
            ("put", "Put", large.PUT),
            ("get", "Get as bytes", large.GET),
            ("stream", "Streamed get", large.STREAM),
        )
    ),
    *(
        _bar_plot(f"{name}-{size}".replace(" ", ""), f"{text} of {size}", group)
        for size in sizes.SIZES
        for name, text, group in (
            ("put", "Put", sizes.PUT.format(size)),
            ("get", "Get", sizes.GET.format(size)),
        )
    ),
    _bar_plot("mixed", "70 % gets and 30 % puts of 1 KiB, 32 tasks", mixed.MIXED),
    Plot(
        "growth-count",
        "Cost by the number of objects in the store",
        [growth.PUT, growth.GET, growth.PAGE, growth.OPEN],
        _curves,
    ),
    Plot(
        "growth-memory",
        "Memory of an open store by the number of objects",
        [growth.COUNT_MEMORY],
        _curves,
    ),
    Plot(
        "growth-size",
        "Bandwidth by the size of an object",
        [growth.LARGE_PUT, growth.LARGE_GET],
        _bandwidths,
    ),
    Plot(
        "growth-peak",
        "Peak memory of a put and a streamed get by the size of the object",
        [growth.LARGE_MEMORY],
        _curves,
    ),
    Plot(
        "growth-range",
        "A read of 128 KiB by the size of an object",
        [growth.LARGE_RANGE],
        _curves,
    ),
    Plot("watch", "When a watcher sees a change", [watchers.SEEN], _distribution),
    Plot("watchers", "A put that so many watchers see", [watchers.FAN_OUT], _curves),
]


def draw(taken: Sequence[Series], folder: Path) -> Mapping[str, Sequence[Plot]]:
    """Draw what was taken; give the pictures by the questions that they belong to."""
    drawn: dict[str, list[Plot]] = {}
    if installed("matplotlib") is None:
        print("plots: SKIPPED: matplotlib is not installed; pip install '.[bench]'")
        return drawn
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("svg")
    pyplot: Any = import_module("matplotlib.pyplot")
    folder.mkdir(parents=True, exist_ok=True)
    for plot in PLOTS:
        members = plot.members(taken)
        if members:
            with matplotlib.rc_context(SETTINGS):
                _draw_one(pyplot, plot, members, folder / f"{plot.file}.svg")
            drawn.setdefault(members[0].question, []).append(plot)
    return drawn


def _draw_one(pyplot: Any, plot: Plot, members: Sequence[Series], path: Path) -> None:
    height = 1.0 + BAR_HEIGHT * len(members) if plot.is_bars else CURVE_HEIGHT
    figure, axes = pyplot.subplots(figsize=(WIDTH, height), layout="constrained")
    plot.draw(axes, members)
    axes.set_title(plot.title, loc="left")
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)
