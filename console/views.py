"""How the answers of `inspect` and `doctor` look on a screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from kernel.doctor import Report
from kernel.features import FEATURES


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    return table


def lab(found: dict[str, Any]) -> None:
    """The lab as a whole."""
    console = Console(highlight=False, emoji=False)
    console.print(
        f"[bold]{found['lab']}[/]  {found['plugin']} {found['mode']} on the {found['kernel']} kernel, "
        f"pod MTU {found['pod_mtu']}, pools {', '.join(pool['cidr'] for pool in found['pools'])}\n"
    )
    console.print(
        _table(
            "Nodes",
            ("name", "addresses", "gateway", "MAC", "MTU", "blocks"),
            (
                (
                    n["name"],
                    *(", ".join(n.get(key, ())) for key in ("addresses", "gateways")),
                    n["mac"],
                    n["mtu"],
                    ", ".join(n["blocks"]),
                )
                for n in found["nodes"]
            ),
        )
    )
    pods = ((p["name"], p["node"], ", ".join(p["addresses"]), p["mac"]) for p in found["pods"])
    console.print()
    console.print(_table("Pods", ("name", "node", "addresses", "MAC"), pods))
    links = ((f"{x['from']}:{x['dev']}", f"{x['to']}:{x['peer']}", x["mtu"]) for x in found["links"])
    console.print()
    console.print(_table("Links", ("one end", "other end", "MTU"), links))
    if found["bgp"]:
        rows = (
            (s["router"], s["peer"], s["as"], s["state"], ", ".join(f"{k} {v}" for k, v in s["received"].items()))
            for s in found["bgp"]
        )
        console.print()
        console.print(_table("BGP sessions", ("router", "peer", "AS", "state", "prefixes received"), rows))
    for note in found["notes"]:
        console.print(f"\n[yellow]note[/] {note}")


def namespace(found: dict[str, Any]) -> None:
    """One namespace: a table for each kind of object that it has."""
    console = Console(highlight=False, emoji=False)
    console.print(f"[bold]{found['name']}[/]")
    for part, objects in found.items():
        if part == "name" or not objects:
            continue
        columns = list(dict.fromkeys(key for one in objects for key in one))
        rows = ([_cell(one.get(column, "")) for column in columns] for one in objects)
        console.print()
        console.print(_table(part.replace("_", " "), columns, rows))


def doctor(report: Report) -> None:
    """The kernels, their features, and where each mode runs."""
    console = Console(highlight=False, emoji=False)
    names = [kernel.name for kernel in report.kernels]
    console.print(f"machine's kernel {report.machine}\n")
    rows: list[list[str]] = [[k.name, k.why_not or "[green]usable[/]", k.how] for k in report.kernels]
    console.print(_table("Kernels", ("kernel", "state", "features"), rows))
    usable = [kernel for kernel in report.kernels if not kernel.why_not]
    rows = [[name, one.purpose, *(_mark(k.lacks[name]) for k in usable)] for name, one in FEATURES.items()]
    console.print()
    console.print(_table("Features", ("feature", "for", *(k.name for k in usable)), rows))
    for name in FEATURES:
        lacks = {kernel.name: kernel.lacks[name] for kernel in usable if kernel.lacks[name]}
        for reason in dict.fromkeys(lacks.values()):
            where = ", ".join(kernel for kernel, lack in lacks.items() if lack == reason)
            console.print(f"[yellow]{name}[/] ({where}): {reason}; {report.remedy(name)}", soft_wrap=True)
    rows = [[m.name, *(_mark(m.kernels[k]) for k in names), m.auto or "[red]nowhere[/]"] for m in report.modes]
    console.print()
    console.print(_table("Modes", ("mode", *names, "--kernel auto takes"), rows))
    for mode in report.modes:
        for kernel, why in mode.kernels.items() if not mode.auto else ():
            console.print(f"[red]{mode.name}[/] on {kernel}: {why}")


def _mark(lack: str) -> str:
    return "[red]no[/]" if lack else "[green]yes[/]"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    return " ".join(str(part) for part in value) if isinstance(value, list) else str(value)
