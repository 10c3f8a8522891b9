"""The article's tables judged from traits written by hand: what agrees, what does not, and what shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paths.comparison import COLUMNS, TABLES, Cell, as_json, cells
from paths.traits import Traits
from plugins.registry import MODES
from topologies.spec import PRESET_FOLDER

VETH, BOTH = "veth pair", (4, 6)
COMMON = {"preset": "default", "source": "pod1", "target": "pod3", "fixed": "10.244.0.125", "stated": "pods: []"}
TRAITS = {
    one.mode: one
    for one in (
        Traits("hybridnet-vxlan", **COMMON, families=BOTH, tunnel="VXLAN", device=VETH, exits=("SNAT",), blocks=("b",)),
        Traits(
            "hybridnet-vlan",
            **COMMON,
            families=BOTH,
            tagged=True,
            routed=True,
            switched=True,
            device=VETH,
            exits=("podIP",),
            ranges=("r",),
        ),
        Traits(
            "hybridnet-bgp",
            **COMMON,
            families=BOTH,
            speaks_bgp=True,
            routed=True,
            device=VETH,
            exits=("podIP",),
            blocks=("b",),
        ),
        Traits(
            "calico-ipip",
            **COMMON,
            families=(4,),
            tunnel="IPIP",
            speaks_bgp=True,
            routed=True,
            device=VETH,
            exits=("SNAT",),
            blocks=("b",),
        ),
        Traits(
            "calico-bgp",
            **COMMON,
            families=BOTH,
            speaks_bgp=True,
            routed=True,
            device=VETH,
            exits=("SNAT", "podIP"),
            blocks=("b",),
        ),
        Traits(
            "bifrost-macvlan",
            **COMMON,
            families=(4,),
            tagged=True,
            switched=True,
            device="macvlan subinterface",
            exits=("podIP",),
            ranges=("r",),
        ),
    )
}
ROWS = {row.title: row for table in TABLES for row in table.rows}


def cell(title: str, column: str, traits: dict[str, Traits] = TRAITS) -> Cell:
    return dict(zip(COLUMNS, cells(ROWS[title], traits), strict=True))[column]


@pytest.mark.parametrize("title", [title for title, row in ROWS.items() if row.shown])
def test_what_is_as_the_article_has_it_agrees_in_every_column(title: str) -> None:
    assert [one.agrees for one in cells(ROWS[title], TRAITS)] == [True] * len(COLUMNS)


@pytest.mark.parametrize(
    ("title", "mode", "change", "observed"),
    [
        ("Supported scenarios", "calico-ipip", {"tunnel": ""}, "underlay"),
        ("Network stack", "bifrost-macvlan", {"families": BOTH}, "IPv4, IPv6"),
        ("Communications technology", "bifrost-macvlan", {"device": "ipvlan subinterface"}, "vlan"),
        ("Communication mechanism", "bifrost-macvlan", {"routed": True}, "layer 2, layer 3"),
        ("Container communication", "calico-bgp", {"device": "bridge"}, "bridge"),
        ("Whether to support fixed IP/fixed IP pool", "calico-bgp", {"fixed": ""}, "no"),
        ("IPPool mode", "bifrost-macvlan", {"ranges": ()}, "nothing"),
        ("North-South traffic export", "calico-bgp", {"exits": ("SNAT",)}, "SNAT"),
        ("Whether to support IPv6/dual stack", "calico-bgp", {"families": (4,)}, "no"),
    ],
)
def test_what_is_otherwise_shows_both(title: str, mode: str, change: dict[str, object], observed: str) -> None:
    column = next(name for name, labs in COLUMNS.items() if mode in dict(labs))
    found = cell(title, column, TRAITS | {mode: replace(TRAITS[mode], **change)})  # type: ignore[arg-type]
    assert (found.agrees, found.observed) == (False, observed)
    assert found.article == ROWS[title].article[list(COLUMNS).index(column)]


def test_modes_of_a_column_that_differ_are_named() -> None:
    assert cell("Supported scenarios", "HybridNet").observed == "overlay (vxlan), underlay (vlan, bgp)"
    assert cell("Network stack", "HybridNet").observed == "IPv4, IPv6"


def test_every_observed_cell_has_its_commands() -> None:
    for row in ROWS.values():
        for one, labs in zip(cells(row, TRAITS), COLUMNS.values(), strict=True):
            assert len(one.commands) == (len(labs) if row.shown else 0)
    command = cell("Network stack", "calico bgp").commands[0]
    run = "python run_topology.py"
    assert command == f"{run} up -d --plugin calico --mode bgp --preset default && {run} trace pod1 pod3 -6"


def test_what_is_not_observed_says_so() -> None:
    found = cell("Whether network policy is supported", "bifrost")
    assert (found.agrees, found.commands) == (None, ())
    assert found.observed.startswith("not observed")


def test_columns_are_modes_and_presets_that_there_are() -> None:
    for mode, preset in (one for labs in COLUMNS.values() for one in labs):
        assert mode in MODES
        assert Path(PRESET_FOLDER, f"{preset}.yaml").exists()
    assert [len(table["rows"]) for table in as_json(TRAITS)] == [9, 1]
