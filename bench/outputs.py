"""A report in all its forms: JSON, CSV, Markdown, HTML, and plots where matplotlib is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import document, markdown, page, plots

COLUMNS = ("setting", "scenario", "mode", "probe", "round", "metric", "value", "unit")


def write_all(folder: Path, report: Mapping[str, Any]) -> None:
    """Writes them into `folder`. Raises PodpathError when that cannot be done."""
    document.write(folder / "bench.json", document.dumped(report))
    document.write(folder / "samples.csv", as_csv(report))
    document.write(folder / "summary.md", markdown.text(report))
    document.write(folder / "report.html", page.text(report))
    if plots.available():
        plots.write_all(folder, report)


def as_csv(report: Mapping[str, Any]) -> str:
    """Tidy: a row for each figure of each sample."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in report["samples"]:
        for metric, value in one["values"].items():
            fields = [one[name] for name in COLUMNS[:5]]
            writer.writerow([*fields, metric, repr(value), report["metrics"][metric]["unit"]])
    return out.getvalue()
