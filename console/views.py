"""How the answers of `inspect` and `doctor` look on a screen of 80 columns or more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from kernel.doctor import Report
from kernel.features import FEATURES

Object = Mapping[str, Any]
COLUMNS: dict[str, tuple[str, ...]] = {
    "links": ("name", "kind", "mtu", "mac"),
    "port_vlans": ("dev", "vid"),
    "addresses": ("dev", "address"),
    "routes": ("table", "dst"),
    "rules": ("family", "priority", "src", "fwmark", "table"),
    "neighbours": ("dev", "address", "mac"),
    "fdb": ("dev", "mac", "dst"),
    "sysctls": ("key", "value"),
    "ipsets": ("name", "kind"),
    "filters": ("family", "table", "chain"),
}
"""What has a column of its own in `inspect NODE`; everything else that an object has stands in the last one."""
USUAL: Object = {"own": True, "state": "permanent", "scope": "global", "kind": "unicast", "proto": 3, "metric": 0}
"""Values that go without saying."""
MASKS = ("fwmark", "fwmask")
NAMED: dict[tuple[str, object], str] = {("table", 254): "main", ("table", 255): "local", ("table", 253): "default"}
NAMED |= {("proto", 4): "static", ("proto", 80): "felix", ("proto", 186): "bgp"}
"""Numbers that go by a name (/etc/iproute2/rt_tables, rt_protos; 80 is felix's own)."""


def lab(found: Object) -> None:
    """The lab as a whole."""
    mode = f"{found['plugin']} {found['mode']} on the {found['kernel']} kernel"
    _print(f"[bold]{found['lab']}[/]  {mode}, pod MTU {found['pod_mtu']}")
    _tables(
        _table("Pools", ("pool", "blocks"), ((pool["cidr"], _taken(pool)) for pool in found["pools"])),
        _table("Nodes", ("name", "addresses", "gateway", "MAC", "MTU"), map(_node, found["nodes"])),
        _table("Blocks", ("node", "blocks"), ((n["name"], ", ".join(n["blocks"])) for n in found["nodes"])),
        _table("Pods", ("name", "node", "MAC", "addresses"), map(_pod, found["pods"])),
        _table("Links", ("one end", "other end", "MTU"), map(_link, found["links"])),
        _table("BGP sessions", ("router", "peer", "AS", "state", "prefixes received"), map(_session, found["bgp"])),
    )
    for note in found["notes"]:
        _print(f"\n[yellow]note[/] {note}")


def _taken(pool: Object) -> str:
    return f"/{pool['block']} for each node" if pool.get("vlan") is None else f"none: subnet of VLAN {pool['vlan']}"


def _node(node: Object) -> Sequence[object]:
    addresses, gateways = ("\n".join(node.get(key, ())) for key in ("addresses", "gateways"))
    return node["name"], addresses, gateways, node["mac"], node["mtu"]


def _pod(pod: Object) -> Sequence[object]:
    return pod["name"], pod["node"], pod["mac"], ", ".join(pod.get("addresses", ()))


def _link(link: Object) -> Sequence[object]:
    return f"{link['from']}:{link['dev']}", f"{link['to']}:{link['peer']}", link["mtu"]


def _session(session: Object) -> Sequence[object]:
    received = ", ".join(f"{family} {count}" for family, count in session["received"].items())
    return session["router"], session["peer"], session["as"], session["state"], received


def namespace(found: Object) -> None:
    """One namespace: a table for each kind of object that it has."""
    _print(f"[bold]{found['name']}[/]")
    _tables(*(_objects(part, found[part]) for part in found if part != "name"))


def _objects(part: str, objects: Sequence[Object]) -> Table:
    columns = [column for column in COLUMNS.get(part, ()) if any(column in one for one in objects)]
    rows = [[*(_cell(column, one.get(column)) for column in columns), _more(one, columns)] for one in objects]
    if not any(row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
        return _table(part.replace("_", " "), columns, rows)
    return _table(part.replace("_", " "), [*columns, ""], rows)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if name := NAMED.get((column, value)):
        return name
    return f"{value:#x}" if column in MASKS else escape(str(value))


def _more(one: Object, shown: Sequence[str]) -> str:
    """What an object has beside its columns, in words."""
    keys = [*(key for key in ("kind", "via") if key in one), *one]
    return " ".join(word for key in dict.fromkeys(keys) if key not in shown for word in _words(key, one[key]))


def _words(key: str, value: Any) -> Iterator[str]:
    name = key.replace("_", "-")
    if isinstance(value, bool):
        yield from [name if value else f"not {name}"] if value != USUAL.get(key, False) else []
    elif isinstance(value, dict):
        yield from [f"{name} {value['name']}"] if value.get("name") else []
    elif isinstance(value, list):
        yield escape(" ".join(" ".join(part) if isinstance(part, list) else str(part) for part in value))
    elif value != USUAL.get(key) and value != "":
        yield f"{name} {_cell(key, value)}"


def doctor(report: Report) -> None:
    """The kernels, their features, and where each mode runs."""
    names = [kernel.name for kernel in report.kernels]
    _print(f"machine's kernel {report.machine}")
    rows: list[list[str]] = [[k.name, k.how, k.why_not or "[green]usable[/]"] for k in report.kernels]
    _tables(_table("Kernels", ("kernel", "features", "state"), rows))
    usable = [kernel for kernel in report.kernels if not kernel.why_not]
    rows = [[name, *(_mark(k.lacks[name]) for k in usable), one.purpose] for name, one in FEATURES.items()]
    _tables(_table("Features", ("feature", *(k.name for k in usable), "for"), rows))
    for name in FEATURES:
        lacks = {kernel.name: kernel.lacks[name] for kernel in usable if kernel.lacks[name]}
        for reason in dict.fromkeys(lacks.values()):
            where = ", ".join(kernel for kernel, lack in lacks.items() if lack == reason)
            _print(f"[yellow]{name}[/] ({where}): {reason}; {report.remedy(name)}")
    rows = [[m.name, *(_mark(m.kernels[k]) for k in names), m.auto or "[red]nowhere[/]"] for m in report.modes]
    _tables(_table("Modes", ("mode", *names, "--kernel auto takes"), rows))
    for mode in report.modes:
        for kernel, why in mode.kernels.items() if not mode.auto else ():
            _print(f"[red]{mode.name}[/] on {kernel}: {why}")


def _mark(lack: str) -> str:
    return "[red]no[/]" if lack else "[green]yes[/]"


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Only the last column may be folded, between words: addresses stay whole."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns, 1):
        table.add_column(column, header_style="dim", no_wrap=number < len(columns), overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    return table


def _tables(*tables: Table) -> None:
    """Those that have rows."""
    for table in tables:
        if table.row_count:
            print()
            _print(table)


def _print(shown: Table | str) -> None:
    """Without blanks at the ends of lines. What is too wide for the terminal keeps its width: the terminal then
    breaks lines, and copying gives whole addresses."""
    console = Console(highlight=False, emoji=False)
    if isinstance(shown, Table):
        least = Measurement.get(console, console.options.update(max_width=1000), shown).minimum
        console = Console(highlight=False, emoji=False, width=max(console.width, least))
    with console.capture() as captured:
        console.print(shown)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
