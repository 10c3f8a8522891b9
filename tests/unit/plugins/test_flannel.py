"""Topologies that flannel cannot have, and addresses that it keeps to itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cluster.lab import plan
from kernel.errors import BadInput
from kernel.features import FEATURES
from topologies.spec import LabSpec, from_json, preset

EVERYTHING = frozenset(FEATURES)


def altered(name: str, **values: Any) -> LabSpec:
    return from_json(json.dumps(preset(name).model_dump(mode="json") | values))


@pytest.mark.parametrize("name", ["node-subnets", "default"])
def test_the_bridge_has_the_first_address_and_pods_begin_after_it(name: str) -> None:
    made = plan(preset(name), "flannel", "vxlan", EVERYTHING)
    bridge = [item.address for item in made.wanted.state["node1"].addresses if item.dev == "cni0"]
    assert bridge[0].startswith("10.244.0.1/")
    assert made.cluster.pods[0].addresses[0] == "10.244.0.2"
    assert plan(preset(name), "calico", "vxlan", EVERYTHING).cluster.pods[0].addresses[0] == "10.244.0.1"


def test_a_pod_may_not_have_the_bridges_address() -> None:
    pod = {"name": "web", "node": "node1", "addresses": ["10.244.0.1"]}
    with pytest.raises(BadInput, match="pod 'web' has 10.244.0.1, which is the address of node1's bridge"):
        plan(altered("node-subnets", pods=[pod]), "flannel", "vxlan", EVERYTHING)


def test_a_node_gets_one_subnet_of_each_family() -> None:
    small = [{"cidr": "10.244.0.0/16", "block": 29}]
    with pytest.raises(BadInput, match="several subnets of one family"):
        plan(altered("node-subnets", pools=small, pods_per_node=7), "flannel", "vxlan", EVERYTHING)


def test_host_gw_needs_nodes_to_be_neighbours() -> None:
    with pytest.raises(BadInput, match="192.168.1.0/24 and 192.168.2.0/24, and host-gw's next hops must be neighbours"):
        plan(preset("two-rack"), "flannel", "host-gw", EVERYTHING)
