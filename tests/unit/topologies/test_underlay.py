"""The underlay's wanted state, preset by preset, as the `ip`, `bridge` and `tc` words that make the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel.export import as_ip
from kernel.state import PortVlan
from topologies.source import parse
from topologies.spec import PRESETS, preset
from topologies.underlay import underlay


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"underlay/{name}.txt", as_ip(underlay(preset(name))))


def test_a_shaped_link_is_shaped_at_both_ends(golden: Callable[[str, str], None]) -> None:
    spec = preset("one-switch").with_link("node1", "s1", bandwidth="100Mbit", delay="5ms", loss="1%", mtu=1400)
    golden("underlay/shaped.txt", as_ip(underlay(spec)))


PORTS = """
name: t
pools: [{cidr: 10.1.0.0/24, block: 30}]
switches: [{name: s1}, {name: s2}]
links: [{ends: [s1, s2]}]
nodes:
  - {name: access, switch: s1, vlan: 10, addresses: [192.168.1.1/24]}
  - {name: trunk, switch: s1, trunk: [10, 20], addresses: [192.168.1.2/24]}
  - {name: native, switch: s1, trunk: [10, 20], vlan: 30, addresses: [192.168.1.3/24]}
  - {name: plain, switch: s2, addresses: [192.168.1.4/24]}
"""


def test_access_trunk_and_native_vlans_of_ports() -> None:
    vlans: dict[str, set[PortVlan]] = {}
    for ns in underlay(parse(PORTS, "t.yaml")).namespaces:
        for one in ns.port_vlans:
            vlans.setdefault(f"{ns.name}:{one.dev}", set()).add(one)
    assert vlans["s1:access"] == {PortVlan("access", 10, pvid=True, untagged=True)}
    assert vlans["s1:trunk"] == {PortVlan("trunk", 10), PortVlan("trunk", 20)}, "no native VLAN: untagged frames stop"
    assert vlans["s1:native"] == {
        PortVlan("native", 30, pvid=True, untagged=True),
        PortVlan("native", 10),
        PortVlan("native", 20),
    }
    assert vlans["s2:plain"] == {PortVlan("plain", 1, pvid=True, untagged=True)}
    between = {PortVlan("s2", 1, pvid=True, untagged=True), *(PortVlan("s2", vid) for vid in (10, 20, 30))}
    assert vlans["s1:s2"] == between


def test_without_vlans_switches_filter_nothing() -> None:
    assert not any(ns.port_vlans for ns in underlay(preset("default")).namespaces)
