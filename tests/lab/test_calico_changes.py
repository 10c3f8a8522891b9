"""calico without encapsulation while a lab changes: addresses that move, blocks and nodes that go, other modes.

BGP is the same on every kernel, and daemons are slow to start on the embedded one: this runs on the machine's own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.calico import altered, main_table, running, sessions
from tests.lab.frames import ping
from tests.lab.pods import of, pod

pytestmark = pytest.mark.only("machine")


@pytest.mark.case("A10")
def test_a10_a_borrowed_address_is_announced_by_itself(tmp_path: Path) -> None:
    """A pod on node2 with an address of node1's block; the longest prefix wins, at the block's owner too."""
    guest = {"name": "guest", "node": "node2", "addresses": ["10.244.0.20", "fd00:10:244::20"]}
    with running("bgp", altered("one-switch", pods=[guest]), tmp_path) as lab:
        assert "10.244.0.20 via 192.168.1.2 dev eth0 proto bgp metric 20" in main_table(lab, "node1")
        for version in (4, 6):
            assert ping(lab, pod(lab, "node1").name, of(lab.cluster.pods[0].addresses, version))
            assert lab.cluster.pods[0].name == "guest"


@pytest.mark.case("A12", "A15", "F02")
def test_a12_and_a15_what_goes_is_forgotten_everywhere(tmp_path: Path) -> None:
    """Small blocks, so that fewer pods need fewer of them; then a node less. Other routers' processes stay."""
    small = [{"cidr": "10.244.0.0/24", "block": 30}, {"cidr": "fd00:10:244::/112", "block": 126}]
    many, few = (altered("two-rack", pools=small, pods_per_node=count) for count in (3, 2))
    with running("bgp", many, tmp_path) as lab:
        assert "blackhole 10.244.0.28/30 proto 80" in main_table(lab, "node4")
        assert "10.244.0.28/30 via 192.168.1.254 dev eth0 proto bgp metric 20" in main_table(lab, "node1")
        before = lab.routers.pids
        lab.change(few.model_dump_json(), "calico", "bgp")
        assert lab.routers.pids == before
        assert not any("10.244.0.28/30" in line for name in ("node1", "node4", "gw") for line in main_table(lab, name))
        for node in lab.cluster.nodes:
            assert sum(" proto bgp " in line for line in main_table(lab, node.name)) == len(lab.cluster.nodes) - 1
        data = few.model_dump(mode="json")
        fewer = altered("two-rack", pools=small, pods_per_node=2, nodes=data["nodes"][:-1])
        lab.change(fewer.model_dump_json(), "calico", "bgp")
        assert lab.routers.pids == {name: pids for name, pids in before.items() if name != "node4"}
        assert not any("10.244.0.12/30" in line for name in ("node1", "node3", "gw") for line in main_table(lab, name))
        assert set(sessions(lab, "node1")) == {"192.168.1.2", "192.168.2.3", "192.168.1.254"}


def test_another_mode_takes_bgps_routes_along(tmp_path: Path) -> None:
    with running("bgp", "one-switch", tmp_path) as lab:
        assert any(" proto bgp " in line for line in main_table(lab, "node1"))
        lab.change(lab.spec.model_dump_json(), "hybridnet", "vxlan")
        assert lab.routers.pids == {}
        assert main_table(lab, "node1") == ["default via 192.168.1.254 dev eth0"]
        assert ping(lab, pod(lab, "node1").name, pod(lab, "node2").addresses[0])


@pytest.mark.case("A13")
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
