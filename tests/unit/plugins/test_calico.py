"""Who owns which address on a calico node, what the tunnels are called and addressed by, and what calico refuses."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from cluster.lab import plan
from cluster.model import Cluster
from cluster.plan import cluster_of
from kernel.errors import BadInput
from kernel.features import FEATURES
from kernel.state import Fdb, Neighbour, Route
from plugins.calico import felix
from topologies.spec import LabSpec, from_json, preset

EVERYTHING = frozenset(FEATURES)


def altered(name: str, **values: Any) -> LabSpec:
    return from_json(json.dumps(preset(name).model_dump(mode="json") | values))


def with_guest(*addresses: str) -> Cluster:
    """two nodes, and on node2 a pod with stated addresses."""
    guest = {"name": "guest", "node": "node2", "addresses": addresses}
    return cluster_of(altered("one-switch", pods=[guest]))


def test_a_pods_address_from_anothers_block_is_borrowed() -> None:
    owned = felix.owners(with_guest("10.244.0.20", "fd00:10:244::14"))
    assert owned["node1"] == ("10.244.0.0/26", "fd00:10:244::/122")
    assert owned["node2"] == ("10.244.0.64/26", "fd00:10:244::40/122", "10.244.0.20/32", "fd00:10:244::14/128")


def test_the_tunnel_has_the_first_address_that_no_pod_was_given() -> None:
    cluster = with_guest("10.244.0.64")
    node1, node2 = cluster.nodes
    assert felix.tunnel_address(cluster, node1, 4) == "10.244.0.0"
    assert felix.tunnel_address(cluster, node2, 4) == "10.244.0.67"
    assert felix.tunnel_address(cluster, node2, 6) == "fd00:10:244::40"


def test_vtep_macs_are_calicos() -> None:
    node = cluster_of(preset("one-switch")).node("node1")
    assert (felix.vtep_mac(node, 4), felix.vtep_mac(node, 6)) == ("66:f9:37:c3:7e:94", "66:0f:35:f2:60:df")


@pytest.mark.parametrize("mode", ["ipip", "ipip-crosssubnet", "vxlan", "vxlan-crosssubnet"])
def test_same_subnet_is_direct_only_in_the_crosssubnet_modes(mode: str) -> None:
    made = plan(preset("two-rack"), "calico", mode, EVERYTHING)
    routes = {route.dst: route for route in made.wanted.state["node1"].routes if route.via and ":" not in route.dst}
    near, far = routes["10.244.0.64/26"], routes["10.244.0.128/26"]
    direct = Route("10.244.0.64/26", dev="eth0", via="192.168.1.2", proto=80, onlink=True)
    assert (near == direct) == mode.endswith("crosssubnet")
    assert far.dev in ("tunl0", "vxlan.calico") and far.onlink


def test_a_vtep_for_each_other_node_and_family() -> None:
    made = plan(preset("two-rack"), "calico", "vxlan-crosssubnet", EVERYTHING)
    node = made.wanted.state["node1"]
    assert len(node.fdb) == 6 and {item.dev for item in node.fdb} == {"vxlan.calico", "vxlan-v6.calico"}
    mac = "66:" + felix.vtep_mac(made.cluster.node("node3"), 4)[3:]
    assert Fdb("vxlan.calico", mac, "192.168.2.3") in node.fdb
    assert Neighbour("vxlan.calico", "10.244.0.128", mac) in node.neighbours


def test_a_block_of_one_address_has_no_guard() -> None:
    spec = altered("one-switch", pools=[{"cidr": "10.244.0.0/24", "block": 32}], pods_per_node=2)
    node = plan(spec, "calico", "bgp", EVERYTHING).wanted.state["node1"]
    assert [route for route in node.routes if route.kind == "blackhole"] == []
    assert sum(ip_network(route.dst).prefixlen == 32 for route in node.routes) == 2


def test_subnets_of_the_physical_network_are_refused() -> None:
    with pytest.raises(BadInput, match="10.0.0.0/24 is a subnet of the physical network"):
        plan(preset("trunks"), "calico", "bgp", EVERYTHING)


def test_ipip_carries_no_ipv6_and_says_why() -> None:
    made = plan(preset("default"), "calico", "ipip", EVERYTHING)
    assert any(note.startswith("pods have no IPv6 here: an IPIP tunnel") for note in made.wanted.notes)
    with pytest.raises(BadInput, match="carries no IPv6: an IPIP tunnel puts the message into an IPv4 message"):
        plan(altered("default", families=[6]), "calico", "ipip", EVERYTHING)


@pytest.mark.parametrize("mode", ["bgp", "vxlan"])
def test_ipv6_pods_need_ipv6_nodes(mode: str) -> None:
    data = preset("one-switch").model_dump(mode="json")
    for node in (*data["nodes"], *data["router"]["ports"]):
        node["addresses"] = node["addresses"][:1]
    spec = altered("one-switch", nodes=data["nodes"], router=data["router"])
    with pytest.raises(BadInput, match="node 'node1' has no IPv6 address"):
        plan(spec, "calico", mode, EVERYTHING)
