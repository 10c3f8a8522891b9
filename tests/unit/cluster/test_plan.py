"""From a topology to pods with addresses: blocks, subnets of the physical network, networks, families."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.lab import _carried
from cluster.plan import cluster_of
from kernel.errors import BadInput
from topologies.source import parse
from topologies.spec import preset

HEAD = """
name: t
switches: [{name: s1}]
nodes:
  - {name: n1, switch: s1, addresses: [192.168.1.1/24]}
  - {name: n2, switch: s1, addresses: [192.168.1.2/24]}
"""


def lab(text: str) -> Any:
    return cluster_of(parse(HEAD + text, "t.yaml"))


def only_four() -> Any:
    return SimpleNamespace(plugin="p", name="m", families=(4,), lacks={6: "it tunnels IPv4 only"})


def test_each_node_takes_blocks_and_pods_take_addresses_of_them() -> None:
    found = lab("pools: [{cidr: 10.1.0.0/24, block: 30}]\npods_per_node: 3\n")
    assert [(b.cidr, b.node) for b in found.blocks] == [
        ("10.1.0.0/30", "n1"),
        ("10.1.0.4/30", "n1"),
        ("10.1.0.8/30", "n2"),
        ("10.1.0.12/30", "n2"),
    ]
    assert [p.addresses[0] for p in found.pods_of("n1")] == ["10.1.0.1", "10.1.0.2", "10.1.0.5"]


def test_a_subnet_gives_single_addresses_without_gateway_excluded_and_taken_ones() -> None:
    pool = "{cidr: 192.168.1.0/24, vlan: 0, gateway: 192.168.1.4, end: 192.168.1.9, exclude: [192.168.1.6]}"
    router = "router: {ports: [{switch: s1, addresses: [192.168.1.4/24]}]}"
    found = lab(f"pools: [{pool}]\npods_per_node: 2\n{router}\n")
    assert [p.addresses[0] for p in found.pods] == ["192.168.1.3", "192.168.1.5", "192.168.1.7", "192.168.1.8"]
    assert found.blocks == ()


def test_a_subnet_that_is_used_up_is_one_message() -> None:
    with pytest.raises(BadInput, match="no address left for pod 'pod3'"):
        lab("pools: [{cidr: 192.168.1.0/24, vlan: 0, start: 192.168.1.8, end: 192.168.1.9}]\npods_per_node: 2\n")


def test_unnamed_pods_go_round_the_networks_of_each_node() -> None:
    found = cluster_of(preset("trunks"))
    assert [p.network for p in found.pods_of("node2")] == ["vlan10", "vlan20", "vlan10"]
    pod = found.pods_of("node2")[1]
    assert {found.pool_of(address).vlan for address in pod.addresses} == {20}


def test_a_stated_pod_is_in_the_network_it_names() -> None:
    pools = "pools: [{cidr: 10.1.0.0/24, network: a}, {cidr: 10.2.0.0/24, network: b}]\npods_per_node: 0\n"
    found = lab(pools + "pods: [{name: web, node: n2, network: b}]\n")
    assert found.pods[0].addresses == ("10.2.0.65",)


def test_a_mode_sees_the_families_that_it_carries() -> None:
    cluster, notes = _carried(preset("default"), only_four())
    assert {pool.family for pool in cluster.pools} == {4}
    assert all(len(pod.addresses) == 1 for pod in cluster.pods)
    assert all(len(node.addresses) == 1 for node in cluster.nodes)
    assert notes == ("pods have no IPv6 here: it tunnels IPv4 only",)


def test_asking_for_a_family_that_a_mode_lacks_gives_its_reason() -> None:
    spec = preset("default").model_copy(update={"families": (4, 6)})
    with pytest.raises(BadInput, match="p m carries no IPv6: it tunnels IPv4 only"):
        _carried(spec, only_four())


def test_pods_with_nothing_left_are_refused() -> None:
    spec = parse(HEAD + 'pools: [{cidr: "fd00::/64"}]\npods_per_node: 1\n', "t.yaml")
    with pytest.raises(BadInput, match=r"no address \(IPv6: it tunnels IPv4 only\)"):
        _carried(spec, only_four())


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ("{cidr: 10.1.0.0/24, gateway: 10.1.0.1}", "'gateway' is for subnets of the physical network"),
        ("{cidr: 10.1.0.0/24, vlan: 5, gateway: 10.2.0.1}", "10.2.0.1 is not in 10.1.0.0/24"),
        ("{cidr: 10.1.0.0/24, vlan: 5, start: 10.1.0.9, end: 10.1.0.2}", "10.1.0.9 is after 10.1.0.2"),
        ("{cidr: 10.1.0.0/24, vlan: 4095}", "4095 is too large"),
    ],
)
def test_what_a_pool_may_not_say(pool: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        lab(f"pools: [{pool}]\n")
