"""Route reflectors (RFC 4456): the same routes with fewer sessions, and one of two may die.

BGP is the same on every kernel, and daemons are slow to start on the embedded one: this runs on the machine's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.calico import running, sessions
from tests.lab.frames import Stream
from tests.lab.pods import node_ip, pod

FAMILIES = pytest.mark.parametrize("version", [4, 6])

pytestmark = pytest.mark.only("machine")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running("bgp", "route-reflectors", Path(tmp_path_factory.mktemp("reflectors"))) as lab:
        yield lab


@pytest.mark.case("RR-14", "F27")
@FAMILIES
def test_two_sessions_a_node_and_one_between_the_reflectors(lab: Any, version: int) -> None:
    nodes = [node.name for node in lab.cluster.nodes]
    reflectors = [one.netns for one in lab.cluster.reflectors]
    for name in nodes:
        assert set(sessions(lab, name, version).values()) == {"Established"}
    assert sum(len(sessions(lab, name, version)) for name in nodes) == 2 * len(nodes)
    assert [len(sessions(lab, name, version)) for name in reflectors] == [len(nodes) + 1] * 2


@pytest.mark.case("RR-02", "RR-03", "F30")
def test_who_said_it_first_and_which_cluster_passed_it_on(lab: Any) -> None:
    found = lab.routers.show("node1", "show bgp ipv4 unicast 10.244.0.64/26 json")
    by = {path["peer"]["routerId"]: path for path in found["paths"]}
    assert set(by) == {"192.168.1.101", "192.168.1.102"}
    for path in by.values():
        assert path["originatorId"] == node_ip(lab, "node2")
        assert path["clusterList"]["list"] == ["1.0.0.1"]
        assert path["nexthops"][0]["ip"] == node_ip(lab, "node2")


@pytest.mark.case("RR-08")
def test_a_reflector_does_not_reflect_within_its_cluster(lab: Any) -> None:
    """Both have cluster identifier 1.0.0.1: each drops what the other reflected, a loop (RFC 4456, section 8)."""
    found = lab.routers.show("rr1", "show bgp ipv4 unicast 10.244.0.64/26 json")
    assert [path["peer"]["peerId"] for path in found["paths"]] == [node_ip(lab, "node2")]


@pytest.mark.case("RR-11")
def test_one_reflector_dies_and_no_packet_is_lost(lab: Any) -> None:
    with Stream(lab, pod(lab, "node1").name, pod(lab, "node4").addresses[0], 0.005) as stream:
        lab.routers.kill("rr1", ("zebra", "bgpd"))
        while sessions(lab, "node1")["192.168.1.101"] == "Established":
            pass
        assert lab.routers.wait(2.0) < 2.0
        stream.until(100)
    assert stream.lost == []
    lab.routers.revive("rr1")
