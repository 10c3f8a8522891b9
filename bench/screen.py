"""Progress while a run lasts, and its report as tables that fit a terminal of 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench import words
from bench.compare import EQUAL
from bench.metrics import PROBES
from bench.plan import AGAIN, Plan
from bench.summary import ALONE, BASELINE, CONTROL, NO_DIFFERENCE, TOO_FEW

Lines = Sequence[Mapping[str, Any]]
Report = Mapping[str, Any]
PLUS = {"tcp_1": ("tcp_cpu_per_gb",), "udp_rr": ("udp_rr_p99",), "tcp_rr": ("tcp_rr_p99",)}
MARKS = {NO_DIFFERENCE: "~", TOO_FEW: "?", BASELINE: "", CONTROL: "", ALONE: ""}
LEGEND = "~ no difference seen from raw; ? too few rounds; rank 1 + how many are surely better"
SHOWN = [name for probe in PROBES.values() for name in (probe.metrics[0].name, *PLUS.get(probe.name, ()))]
"""A terminal gets the first metric of each probe and these; the other reports have all."""
COLOURS = {"pass": "green", "fail": "red", "warning": "yellow", "unknown": "yellow"}


@contextmanager
def progress(plan: Plan) -> Iterator[Callable[[Lines], None]]:
    """A bar with the time left, on standard error; what it gives is called with a run's lines so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("labs come up", total=plan.total())

        def followed(lines: Lines) -> None:
            samples = [line for line in lines if line["kind"] == "sample"]
            if samples:
                last = samples[-1]
                said = f"{last['setting']} round {last['round']}: {last['probe']}"
                bar.update(task, completed=len(samples), description=said)

        yield followed


def show(report: Report, console: Console | None = None) -> None:
    """Tables of figures by setting and metric, then checks, failures and what it was measured on."""
    out = console or Console()
    for setting, what in report["run"]["settings"].items():
        for metric in SHOWN:
            about = report["metrics"][metric]
            mine = [row for row in report["rows"] if (row["setting"], row["metric"]) == (setting, metric)]
            if mine:
                out.print(_table(f"{setting}: {about['what']}", mine))
        out.print(f"{setting}: {what}", style="dim", markup=False, highlight=False)
    for one in report["checks"]:
        mark = f"[{COLOURS[one['result']]}]{one['result']:7}[/]"
        out.print(f"{mark} {one['name']}: {one['text']}", highlight=False)
    for one in report["published"]:
        if not one["inside"]:
            band = f"published {one['low']} to {one['high']} ({one['source']}); {one['why']}"
            out.print(f"[yellow]warning[/] {one['mode']} {one['metric']} {one['ratio']:.2f}, {band}", highlight=False)
    for one in report["failures"]:
        place = " ".join(str(one[name]) for name in ("mode", "setting", "scenario", "probe", "round") if name in one)
        out.print(f"not measured: {place}: {one['why']}", style="red", markup=False, highlight=False)
    _foot(report, out)


def _foot(report: Report, out: Console) -> None:
    run = report["run"]
    out.print(LEGEND, style="dim", highlight=False)
    if not run["complete"]:
        text = f"cut short: {len(report['samples'])} of {run['samples_planned']} samples; go on with --resume"
        out.print(text, style="yellow")
    out.print(words.machine(report["machine"]), markup=False, highlight=False)
    out.print(report["machine"].get("caveat", ""), style="dim", markup=False, highlight=False)


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name, justify in (("mode", "left"), ("where", "left"), ("median", "right"), ("x raw [95 %]", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    table.add_column("rank", justify="right")
    table.add_column("", no_wrap=True)
    digits = 3 if rows[0]["setting"].startswith("shaped") else 2
    for row in rows:
        rank = "" if row["rank"] is None else str(row["rank"])
        middle, ratio = words.amount(row["median"], row["unit"]), words.ratio(row["against_raw"], digits)
        table.add_row(row["mode"], row["scenario"], middle, ratio, rank, MARKS.get(row["verdict"], row["verdict"]))
    floor = next((row["noise"] for row in rows if row["mode"] == AGAIN and row["noise"] is not None), None)
    if floor is not None:
        table.caption, table.caption_justify = f"noise floor (raw against raw): {floor:.1%}", "left"
    return table


def show_comparison(found: Mapping[str, Any], fail_over: float, console: Console | None = None) -> None:
    """What became worse or better, and how much could not be told; the rest as a count."""
    out = console or Console()
    table = Table(title="HEAD against BASE", title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("mode", "metric", "change [95 %]", "p", ""):
        table.add_column(name, justify="right" if name in ("change [95 %]", "p") else "left")
    for one in found["rows"]:
        if one["verdict"] != EQUAL:
            where = f"{one['mode']} {one['scenario']}"
            metric = f"{one['metric']} {one['setting']}"
            change = f"{one['change']:+.1%} {words.interval(one['low'], one['high'])}"
            table.add_row(where, metric, change, f"{one['p']:.3f}", one["verdict"])
    if table.row_count:
        out.print(table)
    counts = Counter(one["verdict"] for one in found["rows"])
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) or "nothing in common"
    out.print(f"{said}; worse by more than {fail_over:.0%} fails", highlight=False)
    for note in found["notes"]:
        out.print(f"note: {note}", style="yellow", markup=False, highlight=False)
