"""Modes whose pods live in the physical network: what a topology must have for them, said before anything is built."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.lab import Plan, plan
from kernel.errors import BadInput, MissingFeature
from kernel.features import FEATURES
from kernel.state import Ipvlan, Macvlan, Stacked, Vlan
from topologies.source import parse
from topologies.spec import preset

SUBNET_MODES = ("bifrost-macvlan", "macvlan-bridge", "ipvlan-l2", "terway-ipvlan")
LAB = """
name: t
switches: [{{name: s1}}]
nodes:
  - {{name: n1, switch: s1, addresses: [192.168.1.1/24], trunk: [10], vlan: 1}}
  - {{name: n2, switch: s1, addresses: [192.168.1.2/24], {port}}}
router:
  ports:
    - {{switch: s1, vlan: 1, addresses: [192.168.1.254/24]}}
    - {{switch: s1, vlan: 10, addresses: [10.0.0.1/24]}}
    - {{switch: s1, vlan: 1, addresses: [172.16.0.1/24]}}
pools: [{pools}]
"""
POOL = "{vlan: 10, cidr: 10.0.0.0/24, gateway: 10.0.0.1}"


def planned(key: str, pools: str = POOL, port: str = "trunk: [10], vlan: 1", **more: Any) -> Plan:
    """The mode on a small lab; `port` is what n2's switch port says."""
    plugin, _, mode = key.partition("-")
    spec = parse(LAB.format(pools=pools, port=port), "t.yaml").model_copy(update=more)
    return plan(spec, plugin, mode, frozenset(FEATURES))


@pytest.mark.parametrize("key", SUBNET_MODES)
@pytest.mark.parametrize(
    ("lab", "said"),
    [
        ({"pools": "{cidr: 10.244.0.0/16}"}, "and the pool 10.244.0.0/16 is none"),
        ({"pools": "{vlan: 10, cidr: 10.0.0.0/24}"}, "the subnet 10.0.0.0/24 has no gateway"),
        ({"port": "vlan: 10"}, "the switch port of n2 carries no VLAN 10"),
        ({"port": "trunk: [20], vlan: 1"}, "the switch port of n2 carries no VLAN 10"),
        ({"pools": POOL.replace("{", "{overlay: true, ")}, "is to stay in a tunnel"),
        (
            {"pools": "{vlan: 0, cidr: 172.16.0.0/24, gateway: 172.16.0.1}"},
            "n1 is not in the untagged subnet 172.16.0.0/24",
        ),
        (
            {"pools": POOL + ', {vlan: 0, cidr: "fd00::/64", gateway: "fd00::1"}', "families": None},
            "no port of the router has the gateway fd00::1",
        ),
    ],
)
def test_a_topology_without_a_way_into_the_subnet_is_one_message(key: str, lab: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said) as problem:
        planned(key, **lab)
    assert problem.value.where and problem.value.remedy


def test_a_node_without_pods_needs_no_trunk() -> None:
    assert planned("bifrost-macvlan", port="vlan: 1, pods: 0").wanted.state["n2"].links == ()


@pytest.mark.parametrize("key", SUBNET_MODES)
@pytest.mark.parametrize(("name", "vids"), [("trunks", [10, 20]), ("flat", [])])
def test_pods_stand_on_their_vlans_device(key: str, name: str, vids: list[int]) -> None:
    plugin, _, mode = key.partition("-")
    made = plan(preset(name), plugin, mode, frozenset(FEATURES))
    for node in made.cluster.nodes:
        devices = {link.name: link.vid for link in made.wanted.state[node.name].links if isinstance(link, Vlan)}
        assert sorted(devices.values()) == vids
        for pod in made.cluster.pods_of(node.name):
            nic = next(link for link in made.wanted.state[pod.name].links if isinstance(link, Stacked))
            pool = made.cluster.pool_of(pod.addresses[0])
            assert (nic.name, nic.dev_netns) == ("eth0", node.name)
            assert devices.get(nic.dev, 0) == pool.vlan
            assert pool.vlan or nic.dev == "eth0"


@pytest.mark.parametrize("key", SUBNET_MODES)
def test_macvlans_have_the_pods_mac_and_ipvlans_none_of_their_own(key: str) -> None:
    made = planned(key)
    for pod in made.cluster.pods:
        nic = next(link for link in made.wanted.state[pod.name].links if isinstance(link, Macvlan | Ipvlan))
        assert nic.mac == (pod.mac if isinstance(nic, Macvlan) else None)


def test_tagged_pools_need_8021q_and_untagged_ones_do_not() -> None:
    lacking = frozenset(FEATURES) - {"vlan", "vlan-filtering"}
    with pytest.raises(MissingFeature, match="needs vlan, vlan-filtering"):
        plan(preset("trunks"), "macvlan", "bridge", lacking)
    assert plan(preset("flat"), "macvlan", "bridge", lacking).wanted.pod_mtu == 1500


@pytest.mark.parametrize(
    ("lab", "said"),
    [
        ({}, "the pool 10.0.0.0/24 is one subnet of the physical network"),
        (
            {"pools": "{cidr: 10.244.0.0/16}", "port": "vlan: 10, gateway: []"},
            "",
        ),
    ],
)
def test_ipvlan_l3_wants_prefixes(lab: dict[str, str], said: str) -> None:
    if said:
        with pytest.raises(BadInput, match=said):
            planned("ipvlan-l3", **lab)
    else:
        assert planned("ipvlan-l3", **lab).wanted.state["n1"].routes[0].via == "192.168.1.2"


def test_ipvlan_l3_wants_one_subnet_of_nodes() -> None:
    with pytest.raises(BadInput, match=r"the nodes are in 192\.168\.1\.0/24, 192\.168\.2\.0/24"):
        plan(preset("two-rack"), "ipvlan", "l3", frozenset(FEATURES))
