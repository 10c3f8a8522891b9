"""Plots as PNG and SVG files, by matplotlib where it is installed: ratios to raw, and latency distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.plan import AGAIN, RAW

KINDS = ("png", "svg")
OVER, UNDER = "#d55e00", "#0072b2"
"""Colours that the colour-blind tell apart (Okabe and Ito)."""
Report = Mapping[str, Any]


def available() -> bool:
    """matplotlib can be imported."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def write_all(folder: Path, report: Report) -> list[Path]:
    """ratios.* and latency.* in `folder`, as far as there is something to show; returns what was written."""
    import matplotlib

    matplotlib.use("Agg")
    written = []
    for name, draw in (("ratios", _ratios), ("latency", _latency)):
        if figure := draw(report):
            for kind in KINDS:
                path = folder / f"{name}.{kind}"
                figure.savefig(path, dpi=120)
                written.append(path)
    return written


def _ratios(report: Report) -> Any:
    """A forest plot for each setting: TCP throughput and UDP round trip against raw."""
    from matplotlib.figure import Figure

    inside = {one["mode"]: one["inside"] for one in report["facts"]}
    panels = _panels(report["rows"])
    if not panels:
        return None
    longest = max(len(rows) for rows in panels.values())
    figure = Figure(figsize=(5.2 * len(panels), 1.6 + 0.35 * longest), layout="constrained")
    for axes, ((setting, metric), rows) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for place, row in enumerate(rows):
            against = row["against_raw"]
            colour = OVER if inside.get(row["mode"], 0) else UNDER
            axes.hlines(place, against["low"], against["high"], color=colour)
            axes.plot(against["median"], place, "o", color=colour)
        if (floor := rows[0]["noise"]) is not None:
            axes.axvspan(1 - floor, 1 + floor, alpha=0.15, label="not told apart")
        axes.axvline(1, linestyle="--", color="#555555", linewidth=1)
        axes.set_yticks(range(len(rows)), [row["mode"] for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_title(f"{metric}, {setting}", fontsize=10)
        axes.set_xlabel("ratio to raw, 95 % interval")
    return figure


def _panels(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        wanted = row["metric"] in ("tcp_1", "udp_rr_p50") and row["scenario"] == "pod-cross"
        if wanted and row["against_raw"] and row["mode"] not in (RAW, AGAIN):
            found.setdefault((row["setting"], row["metric"]), []).append(row)
    return found


def _latency(report: Report) -> Any:
    """The distribution of UDP round trips on links as they are."""
    from matplotlib.figure import Figure

    wanted = [
        one
        for one in report["spreads"]
        if (one["setting"], one["probe"]) == ("unlimited", "udp_rr") and one["scenario"] in (RAW, "pod-cross")
    ]
    if not wanted:
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for one in wanted:
        total, seen, shares = sum(count for _, count in one["slots"]), 0, []
        for _, count in one["slots"]:
            seen += count
            shares.append(seen / total)
        style = "--" if one["mode"] in (RAW, AGAIN) else "-"
        axes.step([bound for bound, _ in one["slots"]], shares, style, where="post", label=one["mode"])
    axes.set_xscale("log")
    axes.set_xlabel("UDP request and response, microseconds")
    axes.set_ylabel("share of round trips")
    axes.legend(fontsize=8)
    return figure
