"""The command compare: the article's tables filled from what running labs show."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from cluster.lab import Lab, features, plan
from cluster.plan import cluster_of
from console import inkernel
from console.screen import looks, print_json, say
from kernel import places
from paths.comparison import COLUMNS, TABLES, Cell, as_json, cells
from paths.traits import Traits, observe
from plugins.registry import mode as find
from plugins.registry import parted
from topologies.spec import LabSpec, from_json, preset

LABS = tuple(one for column in COLUMNS.values() for one in column)
LATE = 3
"""Which address of a block from its end: the preset's own pods have the first ones, and a block of /28 holds 14."""
FIXED = "fixed"
"""The pod whose address the lab file states."""


def compare(arguments: argparse.Namespace) -> int:
    """Status 1 where observation and article disagree."""
    if arguments.inside:
        return inkernel.leave(arguments.inside, [asdict(one) for one in _observed(Path(arguments.inside))])
    needs = frozenset[str]().union(*(_mode(name).needs | preset(lab).needs for name, lab in LABS))
    kernel, why = places.choose(arguments.kernel, needs, "the comparison")
    say(f"comparing on the {kernel} kernel: {why}")
    found = {one["mode"]: _traits(one) for one in inkernel.run(kernel, ["compare"])}
    every = [cell for table in TABLES for row in table.rows for cell in cells(row, found)]
    if arguments.json:
        print_json({"kernel": kernel, "tables": as_json(found), "observed": [asdict(one) for one in found.values()]})
    else:
        print(_markdown(found) if arguments.markdown else _screen(found))
    return 1 if any(cell.agrees is False for cell in every) else 0


def _traits(values: dict[str, Any]) -> Traits:
    """As JSON brought it."""
    plain: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in values.items()}
    return Traits(**plain)


def _mode(name: str) -> Any:
    return find(*parted(name))


# -- on the kernel ----------------------------------------------------------------------------------------


def _observed(folder: Path) -> Iterator[Traits]:
    for number, (name, lab_name) in enumerate(LABS, 1):
        say(f"{number} of {len(LABS)}: {name.replace('-', ' ', 1)} on {lab_name}")
        plugin, mode = parted(name)
        pod = fixed_pod(preset(lab_name))
        with Lab(plan(with_pod(preset(lab_name), pod), plugin, mode, features()), folder) as lab:
            lab.up()
            stated = f"pods: {json.dumps([pod])}"
            yield observe(lab, lab_name, tuple(_mode(name).lacks.values()), (FIXED, pod["addresses"][0]), stated)


def fixed_pod(spec: LabSpec) -> dict[str, Any]:
    """One more pod on the second node, in the first network, as a lab file states it with its addresses: late ones of
    the node's blocks, or the last of what a subnet gives out. The IPv4 one comes first."""
    node, network = spec.nodes[1].name, spec.pools[0].network
    blocks = [block.cidr for block in cluster_of(spec).blocks if block.node == node]
    found = []
    for pool in (pool for pool in spec.pools if pool.network == network):
        block = next((cidr for cidr in blocks if _within(cidr, pool.cidr)), pool.cidr)
        found.append(pool.end or str(ip_network(block)[-LATE]))
    return {"name": FIXED, "node": node, "network": network, "addresses": found}


def with_pod(spec: LabSpec, pod: dict[str, Any]) -> LabSpec:
    """The topology with that pod too."""
    data = spec.model_dump(mode="json")
    return from_json(json.dumps({**data, "pods": [*data["pods"], pod]}))


def _within(block: str, pool: str) -> bool:
    inner, outer = ip_network(block), ip_network(pool)
    return inner.version == outer.version and inner[0] in outer


# -- how it looks -----------------------------------------------------------------------------------------


def _screen(found: dict[str, Traits]) -> str:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=max(looks()["width"], 120), highlight=False, emoji=False, no_color=not looks()["color"])
    notes: list[str] = []
    with console.capture() as captured:
        for table in TABLES:
            shown = Table(title=table.title, title_justify="left", title_style="bold", show_lines=True)
            for column in ("", *COLUMNS):
                shown.add_column(column, header_style="bold", overflow="fold")
            for row in table.rows:
                shown.add_row(row.title, *(_shown(cell, notes) for cell in cells(row, found)))
            console.print(shown)
    return f"{captured.get()}\n{_listed(notes)}"


def _markdown(found: dict[str, Traits]) -> str:
    notes: list[str] = []
    lines: list[str] = []
    for table in TABLES:
        lines += [f"## {table.title}", "", f"| | {' | '.join(COLUMNS)} |", f"|---{'|---' * len(COLUMNS)}|"]
        for row in table.rows:
            texts = (_shown(cell, notes).replace("\n", "<br>") for cell in cells(row, found))
            lines.append(f"| {row.title} | {' | '.join(texts)} |")
        lines.append("")
    return "\n".join([*lines, _listed(notes)])


def _shown(cell: Cell, notes: list[str]) -> str:
    """What was observed and the numbers of its commands; where the article has it otherwise, that too."""
    mark = {True: "✔", False: "✘", None: "–"}[cell.agrees]
    numbers = ",".join(str(_number(command, notes)) for command in cell.commands)
    text = f"{mark} {cell.observed}" + (f" ({numbers})" if numbers else "")
    return text if cell.agrees else f"{text}\narticle: {cell.article}"


def _number(command: str, notes: list[str]) -> int:
    if command not in notes:
        notes.append(command)
    return notes.index(command) + 1


def _listed(notes: Sequence[str]) -> str:
    """The commands that show it, by number."""
    lines = ["✔ as the article has it, ✘ otherwise, – not observed; (n) what shows it:", ""]
    return "\n".join([*lines, *(f"{number:>3}. {command}" for number, command in enumerate(notes, 1))])
