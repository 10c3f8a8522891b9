"""Bring-up results as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    return {"kernel": platform.release(), "cpus": os.cpu_count(), "python": platform.python_version()}


def write(path: Path, result: Mapping[str, Any]) -> None:
    """`result` as JSON in `path`, whose folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """`value` for a table cell; a dash when there is none."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def _table(title: str, columns: Sequence[str], *, compact: bool = False) -> Table:
    """`compact` has many columns side by side in 80 characters."""
    box, padding = (SIMPLE_HEAD, (0, 0)) if compact else (HEAVY_HEAD, (0, 1))
    table = Table(title=title, title_justify="left", box=box, padding=padding)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=compact)
    return table


def show_bringup(rows: Sequence[Row], console: Console | None = None) -> None:
    """The table of bench.bringup."""
    columns = ("tool", "hosts", "up s", "x ours", "forks", "KiB", "kernel KiB", "down s", "x ours", "gone s", "x ours")
    title = f"Bring-up and tear-down, medians, memory a host; {_where()}"
    table = _table(title, columns, compact=True)
    for row in rows:
        if row["up_s"] is None:
            continue
        table.add_row(
            row["tool"],
            str(row["size"]),
            number(row["up_s"], 3),
            number(row["against_podpath"], 1),
            number(row["forks"], 0),
            number(row["process_kib"], 0),
            number(row["kernel_kib"], 0),
            number(row["down_s"], 3),
            number(row["down_against_podpath"], 0),
            number(row["gone_s"], 3),
            number(row["gone_against_podpath"], 1),
        )
    out = console or Console()
    out.print(table)
    for row in rows:
        if row.get("error"):
            out.print(f"{row['tool']} {row['size']} failed: {row['error']}", markup=False, highlight=False)


def _where() -> str:
    here = machine()
    return f"kernel {here['kernel']}, {here['cpus']} CPUs"
