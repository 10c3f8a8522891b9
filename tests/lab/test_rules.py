"""The flat network's rules on a running lab, and that each is seen to be broken when it is."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.firewall import backend
from paths import flat
from paths.containers import two_containers
from paths.documented import ways
from paths.reach import Call, exchange
from paths.rules import Finding


def broken(lab: Any) -> dict[str, Finding]:
    return {one.rule: one for one in flat.check(lab) if not one.agrees and one.family == 4}


@pytest.mark.only("machine")
def test_nat_between_pods_breaks_the_rule_of_pods_and_that_of_their_own_address(lab: Any) -> None:
    assert broken(lab) == {}
    source, target = lab.cluster.pods[0], lab.cluster.pods_of("node2")[0]
    tool = f"iptables-{backend()}"
    rule = ["POSTROUTING", "-s", source.addresses[0], "-d", target.addresses[0], "-j", "MASQUERADE"]
    lab.namespaces.run("node1", [tool, "-t", "nat", "-I", rule[0], *rule[1:]]).check_returncode()
    try:
        found = broken(lab)
    finally:
        lab.namespaces.run("node1", [tool, "-t", "nat", "-D", *rule]).check_returncode()
    assert set(found) >= {"pods reach pods without NAT", "a container sees its own address as others do"}
    assert f"{source.name} -> {target.name}: seen as " in found["pods reach pods without NAT"].said[0]


@pytest.mark.only("machine")
def test_a_pod_that_a_node_cannot_reach_breaks_the_rule_of_nodes(lab: Any) -> None:
    pod = lab.cluster.pods[0]
    gone = ["ip", "route", "del", pod.addresses[0], "table", "39999"]
    lab.namespaces.run("node1", gone).check_returncode()
    heard = exchange(lab.namespaces, [Call("node1", pod.name, pod.addresses[0])], 0.3)
    assert (heard[0].seen, heard[0].answered) == ("", False)


def test_what_two_containers_see_is_the_pod_s(lab: Any) -> None:
    pod = lab.cluster.pods[0]
    one, other = two_containers(lab.namespaces, pod.name)
    assert one.mounts != other.mounts
    assert (one.network, one.interfaces, one.mac) == (other.network, other.interfaces, pod.mac)
    assert other.mac == pod.mac
    assert (one.heard, other.heard) == ("from the caller", "from the listener")


def test_observations_name_every_pair_once(lab: Any) -> None:
    seen = flat.observe(lab, 4, ways("hybridnet", "vxlan"), with_containers=False)
    pods, nodes = len(lab.cluster.pods), len(lab.cluster.nodes)
    assert len({pair.heard.call for pair in seen.pairs}) == len(seen.pairs) == pods * (pods - 1) + 2 * pods * nodes
    assert seen.inside == {pod.name: tuple(a for a in pod.addresses if ":" not in a) for pod in lab.cluster.pods}
