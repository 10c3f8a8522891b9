"""hybridnet VLAN: its wanted state beside an overlay, and topologies that do not fit it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cluster.lab import Plan, plan
from kernel.errors import BadInput
from kernel.features import FEATURES
from kernel.state import Address, Claim, Neighbour, Netns, Route
from topologies.source import parse

LAB = """\
name: mixed
pools:
  - {vlan: 20, cidr: 10.20.0.0/24, gateway: 10.20.0.1, start: 10.20.0.16, end: 10.20.0.127}
  - {network: tunnel, cidr: 10.244.0.0/16}
switches: [{name: s1}]
nodes:
  - {name: node1, switch: s1, vlan: 1, trunk: [20], addresses: [192.168.1.1/24]}
  - {name: node2, switch: s1, vlan: 1, trunk: [20], addresses: [192.168.1.2/24]}
pods_per_node: 2
router:
  ports:
    - {switch: s1, vlan: 1, addresses: [192.168.1.254/24]}
    - {switch: s1, vlan: 20, addresses: [10.20.0.1/24]}
"""
POOL = "vlan: 20, cidr: 10.20.0.0/24, gateway: 10.20.0.1, start: 10.20.0.16, end: 10.20.0.127"
NODE2 = "node2, switch: s1, vlan: 1, trunk: [20]"
GONE = {"addresses: [192.168.1.2/24]}": "addresses: [192.168.1.2/24], pods: 0}"}
MISFITS = {
    "no-vlan": {POOL: "cidr: 10.9.0.0/16"},
    "no-gateway": {"gateway: 10.20.0.1, ": ""},
    "no-trunk": {NODE2: "node2, switch: s1, vlan: 1"},
    "half-overlay": {"network: tunnel, cidr: 10.244.0.0/16": 'cidr: "fd00:10:244::/64"'},
    "node-in-the-vlan": {"192.168.1.2/24": "10.20.0.2/24"},
}


def planned(edits: dict[str, str]) -> Plan:
    text = LAB
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    return plan(parse(text, "lab.yaml"), "hybridnet", "vlan", frozenset(FEATURES))


@pytest.fixture(scope="module")
def node() -> Netns:
    return planned({}).wanted.state["node1"]


def table(node: Netns, number: int) -> list[Route]:
    return [route for route in node.routes if route.table == number]


def test_the_overlays_table_leads_to_the_vlans_pods_through_the_tunnel(node: Netns) -> None:
    """But not to what no pod there has: outside start..end, so the gateway too."""
    direct, *thrown = table(node, 10000)
    assert direct == Route("10.20.0.0/24", dev="eth0.vxlan4", table=10000)
    assert {(route.kind, route.dst) for route in thrown} == {("throw", "10.20.0.0/28"), ("throw", "10.20.0.128/25")}


def test_the_vlans_table_is_the_articles_10001_beside_an_overlay(node: Netns) -> None:
    assert [(rule.src, rule.table) for rule in node.rules if rule.src] == [
        ("10.244.0.0/16", 10000),
        ("10.20.0.0/24", 10001),
    ]
    assert table(node, 10001) == [
        Route("10.20.0.0/24", dev="eth0.20", table=10001, scope="link"),
        Route("0.0.0.0/0", dev="eth0.20", via="10.20.0.1", table=10001),
    ]


def test_the_node_stands_for_its_pods_in_the_vlan_and_in_the_tunnel(node: Netns) -> None:
    proxies = {(one.dev, one.address) for one in node.neighbours if one.proxy}
    assert proxies == {("eth0.20", "10.20.0.16"), ("eth0.vxlan4", "10.20.0.16"), ("eth0.vxlan4", "10.244.0.1")}
    assert node.claims == (Claim("eth0.20", "10.20.0.16", "pod1", "10.20.0.1", 3.0),)
    assert Address("eth0.20", "10.20.0.16/24", "link", noprefixroute=True, own=False) in node.addresses
    assert Neighbour("eth0.20", "10.244.0.1", proxy=True) not in node.neighbours


def test_only_overlay_pods_are_masqueraded_and_only_vlan_devices_guarded(node: Netns) -> None:
    sets = {one.name: one.members for one in node.ipsets}
    assert sets["HYBR-OVERLAY-NET"] == ("10.244.0.0/16",)
    assert sets["HYBR-LOCAL-UNDERLAY-NET"] == ("10.20.0.0/24",)
    assert {"10.20.0.0/24", "10.244.0.0/16", "192.168.1.2"} <= set(sets["HYBR-ALL"])
    guards = [rule.args[1] for rule in node.filters if rule.family == 4 and rule.args[-1] == "DROP"]
    assert guards == ["eth0.20"]


def test_pods_have_the_mtu_of_their_network() -> None:
    state = planned({}).wanted.state
    mtus = {link.name: link.mtu for link in state["node1"].links}
    assert mtus["eth0.20"] == 1500 and mtus["eth0.vxlan4"] == 1450
    assert sorted(mtu for name, mtu in mtus.items() if name.startswith("hybr")) == [1450, 1500]


def test_a_node_outside_the_vlan_has_no_table_for_it() -> None:
    made = planned({NODE2: "node2, switch: s1, vlan: 1", "pods_per_node: 2": "pods_per_node: 1"} | GONE)
    far = made.wanted.state["node2"]
    assert [rule.src for rule in far.rules if rule.src] == ["10.244.0.0/16"]
    assert not any(link.name == "eth0.20" for link in far.links)
    assert Route("10.20.0.0/24", dev="eth0.vxlan4", table=10000) in far.routes


@pytest.mark.parametrize("name", MISFITS)
def test_a_topology_that_does_not_fit_is_refused(name: str, golden: Callable[[str, str], None]) -> None:
    with pytest.raises(BadInput) as caught:
        planned(MISFITS[name])
    golden(f"errors/hybridnet-vlan-{name}.txt", f"{caught.value}\n")


def test_an_untagged_subnet_of_the_node_needs_the_nodes_gateway(golden: Callable[[str, str], None]) -> None:
    text = """\
name: flat
pools: [{vlan: 0, cidr: 192.168.1.0/24, gateway: 192.168.1.254, start: 192.168.1.100}]
switches: [{name: s1}]
nodes: [{name: node1, switch: s1, addresses: [192.168.1.1/24], gateway: [192.168.1.253]}]
router: {ports: [{switch: s1, addresses: [192.168.1.254/24, 10.9.9.9/24]}]}
"""
    with pytest.raises(BadInput) as caught:
        plan(parse(text, "lab.yaml"), "hybridnet", "vlan", frozenset(FEATURES))
    golden("errors/hybridnet-vlan-two-gateways.txt", f"{caught.value}\n")
    made = plan(parse(text.replace("253", "254"), "lab.yaml"), "hybridnet", "vlan", frozenset(FEATURES))
    node = made.wanted.state["node1"]
    assert Route("192.168.1.0/24", dev="eth0", table=10000, scope="link", src="192.168.1.1") in node.routes
    assert not node.addresses, "its own address is in the subnet: no enhanced one"
