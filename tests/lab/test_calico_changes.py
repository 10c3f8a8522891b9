"""calico without encapsulation on labs of its own: borrowed addresses, reflectors against a mesh."""

from __future__ import annotations

import re
from pathlib import Path

from tests.lab.calico import altered, main_table, of, pod, running
from tests.lab.frames import ping


def test_a10_a_borrowed_address_is_announced_by_itself(tmp_path: Path) -> None:
    """A pod on node2 with an address of node1's block; the longest prefix wins, at the block's owner too."""
    guest = {"name": "guest", "node": "node2", "addresses": ["10.244.0.20", "fd00:10:244::20"]}
    with running("bgp", altered("one-switch", pods=[guest]), tmp_path) as lab:
        assert "10.244.0.20 via 192.168.1.2 dev eth0 proto bgp metric 20" in main_table(lab, "node1")
        for version in (4, 6):
            assert ping(lab, pod(lab, "node1").name, of(lab.cluster.pods[0].addresses, version))
            assert lab.cluster.pods[0].name == "guest"


def test_a13_reflectors_make_the_same_routes_as_a_mesh(tmp_path: Path) -> None:
    """In IPv6 the next hop of a direct neighbour is its link-local address, which a reflector does not pass on."""
    tables = []
    for number, spec in enumerate((altered("route-reflectors"), altered("route-reflectors", reflectors=[]))):
        with running("bgp", spec, tmp_path / str(number)) as lab:
            nodes = [node.name for node in lab.cluster.nodes]
            tables.append({name: main_table(lab, name) for name in nodes})
            six = {name: [re.sub(" via [0-9a-f:]+", "", line) for line in main_table(lab, name, 6)] for name in nodes}
            tables[-1] |= {f"{name}, IPv6": lines for name, lines in six.items()}
    assert tables[0] == tables[1]
