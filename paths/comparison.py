"""The article's two tables of plugins (its chapters 2.4 and 4.1) beside what running labs showed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paths.traits import Traits

COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "HybridNet": (("hybridnet-vxlan", "default"), ("hybridnet-vlan", "trunks"), ("hybridnet-bgp", "tor")),
    "calico ipip": (("calico-ipip", "default"),),
    "calico bgp": (("calico-bgp", "two-rack"),),
    "bifrost": (("bifrost-macvlan", "trunks"),),
}
"""The article's columns, and the modes and presets that are observed for them."""
RUN = "python run_topology.py"
Shown = Callable[[Traits], Sequence[str]]


@dataclass(frozen=True)
class Row:
    """One property. `article` has a text for each of COLUMNS, and `means` says the same in the words that `shown` uses
    of what was observed (None: nothing is); `command` shows it on a lab that is up, a `stated` one from a file that
    states a pod's address."""

    title: str
    article: tuple[str, str, str, str]
    means: tuple[str, str, str, str]
    shown: Shown | None = None
    command: str = "trace {source} {target}"
    stated: bool = False


@dataclass(frozen=True)
class Table:
    """One of the article's tables."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Cell:
    """One property of one column. `agrees` is None where nothing was observed."""

    article: str
    observed: str
    agrees: bool | None
    commands: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "article": self.article,
            "observed": self.observed,
            "agrees": self.agrees,
            "commands": list(self.commands),
        }


def _technology(one: Traits) -> list[str]:
    if one.tunnel:
        return [one.tunnel.lower()]
    if one.speaks_bgp:
        return ["bgp"]
    if one.device.startswith("macvlan"):
        return ["macvlan"]
    return ["vlan"] if one.tagged else []


def _mechanism(one: Traits) -> list[str]:
    if one.tunnel:
        return ["tunnel"]
    return [*(["layer 2"] if one.switched else []), *(["layer 3"] if one.routed else [])]


def _families(one: Traits) -> list[str]:
    return [f"IPv{version}" for version in one.families]


def _pools(one: Traits) -> list[str]:
    return [*(["block"] if one.blocks else []), *(["detail"] if one.ranges else [])]


TABLES = (
    Table(
        "Network plug-in comparison (article, chapter 2.4)",
        (
            Row(
                "Supported scenarios",
                ("overlay/underlay", "overlay", "underlay", "underlay"),
                ("overlay underlay", "overlay", "underlay", "underlay"),
                lambda one: ["overlay" if one.tunnel else "underlay"],
            ),
            Row(
                "Network stack",
                ("IPv4/IPv6", "IPv4", "IPv4/IPv6", "IPv4"),
                ("IPv4 IPv6", "IPv4", "IPv4 IPv6", "IPv4"),
                _families,
                "trace {source} {target} -6",
            ),
            Row(
                "Communications technology",
                ("vxlan/vlan/bgp", "ipip", "bgp", "macvlan"),
                ("vxlan vlan bgp", "ipip", "bgp", "macvlan"),
                _technology,
            ),
            Row(
                "Communication mechanism",
                (
                    "Tunnel communication/Layer 2+Layer 3 communication/Layer 3 communication",
                    "Tunnel communication",
                    "Layer 3 communication",
                    "Layer 2 communication",
                ),
                ("tunnel|layer 2|layer 3", "tunnel", "layer 3|", "layer 2|"),
                _mechanism,
            ),
            Row(
                "Container communication",
                ("veth pair", "veth pair", "veth pair", "macvlan subinterface"),
                ("veth pair|", "veth pair|", "veth pair|", "macvlan subinterface|"),
                lambda one: [one.device],
                "inspect {source}",
            ),
            Row(
                "Whether to support fixed IP/fixed IP pool",
                ("yes", "yes", "yes", "yes"),
                ("yes", "yes", "yes", "yes"),
                lambda one: ["yes" if one.fixed else "no"],
                "trace {source} {fixed}",
                stated=True,
            ),
            Row(
                "IPPool mode",
                (
                    "block + detail",
                    "block (e.g. 1.1.1.0/24)",
                    "block (e.g. 1.1.1.0/24)",
                    "detail (such as 1.1.1.1~1.1.1.9)",
                ),
                ("block detail", "block", "block", "detail"),
                _pools,
                "inspect",
            ),
            Row(
                "North-South traffic export",
                ("SNAT/podIP", "SNAT", "SNAT/podIP", "podIP"),
                ("SNAT podIP", "SNAT", "SNAT podIP", "podIP"),
                lambda one: one.exits,
                "trace {source} client; {run} trace client {source}",
            ),
            Row(
                "Whether network policy is supported",
                ("yes", "yes", "yes", "Commercial version support"),
                ("", "", "", ""),
            ),
        ),
    ),
    Table(
        "IPv4/IPv6 dual stack (article, chapter 4.1)",
        (
            Row(
                "Whether to support IPv6/dual stack",
                ("yes", "no", "yes", "no"),
                ("yes", "no", "yes", "no"),
                lambda one: ["yes" if set(one.families) == {4, 6} else "no"],
                "trace {source} {target} -6",
            ),
        ),
    ),
)


def cells(row: Row, traits: Mapping[str, Traits]) -> list[Cell]:
    """One for each of COLUMNS; `traits` by mode."""
    found = []
    for number, column in enumerate(COLUMNS):
        mine = [traits[mode] for mode, _ in COLUMNS[column]]
        found.append(_cell(row, row.article[number], row.means[number], mine))
    return found


def _cell(row: Row, article: str, means: str, mine: Sequence[Traits]) -> Cell:
    if row.shown is None:
        return Cell(article, "not observed: no policies are programmed here", None, ())
    shown = {one.mode: list(row.shown(one)) for one in mine}
    words = list(dict.fromkeys(word for found in shown.values() for word in found))
    expected = {word for word in (means.split("|") if "|" in means else means.split(" ")) if word}
    return Cell(article, _told(words, shown), set(words) == expected, tuple(_command(row, one) for one in mine))


def _told(words: Sequence[str], shown: Mapping[str, Sequence[str]]) -> str:
    """Each word, and where the modes of the column differ in it those that have it."""
    told = []
    for word in words or ["nothing"]:
        having = [mode.partition("-")[2] for mode, found in shown.items() if word in found]
        told.append(word if len(having) in (0, len(shown)) else f"{word} ({', '.join(having)})")
    return ", ".join(told)


def _command(row: Row, one: Traits) -> str:
    plugin, _, mode = one.mode.partition("-")
    topology, before = f"--preset {one.preset}", ""
    if row.stated:
        export = f"{RUN} export --format yaml --preset {one.preset}"
        topology, before = "-f fixed.yaml", f"({export}; echo '{one.stated}') > fixed.yaml && "
    up = f"{before}{RUN} up -d --plugin {plugin} --mode {mode} {topology}"
    seen = row.command.format(source=one.source, target=one.target, fixed=one.fixed, run=RUN)
    return f"{up} && {RUN} {seen}"


def as_json(traits: Mapping[str, Traits]) -> list[dict[str, Any]]:
    """Both tables."""
    return [
        {
            "title": table.title,
            "rows": [
                {
                    "property": row.title,
                    "cells": {c: cell.to_json() for c, cell in zip(COLUMNS, cells(row, traits), strict=True)},
                }
                for row in table.rows
            ],
        }
        for table in TABLES
    ]
