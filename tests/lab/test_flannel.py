"""flannel: pods on a bridge, and between nodes VXLAN or plain routes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.lab import Lab, features, plan
from tests.lab import wire
from tests.lab.documented import check_documented
from tests.lab.frames import captured, ends, having, ping
from tests.lab.pods import node_ip, of, pod, unreached
from topologies.spec import preset

ECHO = {4: "ICMP 8", 6: "ICMP 128"}
FAMILIES = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module", params=["vxlan", "host-gw"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = plan(preset("node-subnets"), "flannel", request.param, features())
    with Lab(made, Path(tmp_path_factory.mktemp("lab"))) as lab:
        lab.up()
        yield lab


def test_documented_paths(lab: Any) -> None:
    check_documented(lab)


@FAMILIES
def test_everybody_reaches_everybody(lab: Any, version: int) -> None:
    assert unreached(lab, version) == []


@FAMILIES
def test_who_is_seen_as_the_sender(lab: Any, version: int) -> None:
    """A pod as itself; outside as its node; a node at a far pod by its tunnel's address."""
    a, far, outside = pod(lab, "node1"), pod(lab, "node3"), of(lab.spec.client.addresses, version)
    tunnel = "10.244.0.0" if version == 4 else "fd00:10:244::"
    mine = node_ip(lab, "node1", version)
    for source, shown, target, place in (
        (a.name, of(a.addresses, version), of(far.addresses, version), far.name),
        (a.name, mine, outside, "client"),
        ("node1", tunnel if lab.mode == "vxlan" else mine, of(far.addresses, version), far.name),
    ):
        with captured(lab, place) as frames:
            assert ping(lab, source, target)
        assert having(frames, ends(shown, target), ECHO[version]), (source, target)


@pytest.mark.case("VX-01", "VX-02", "VX-06", "VX-07", "VX-13")
@FAMILIES
def test_what_the_switch_sees(lab: Any, version: int) -> None:
    a, far = pod(lab, "node1"), pod(lab, "node2")
    inner = ends(of(a.addresses, version), of(far.addresses, version))
    outer = ends(node_ip(lab, "node1", version), node_ip(lab, "node2", version))
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, of(far.addresses, version))
    if lab.mode == "vxlan":
        assert having(frames, outer, "UDP 8472", "VXLAN 1", inner)
        sent = wire.between(frames, node_ip(lab, "node1", version), node_ip(lab, "node2", version))
        tunnelled = [frame for frame in sent if having([frame], "UDP 8472")]
        assert wire.faults(tunnelled, partial(wire.vxlan, vni=1, port=8472)) == []
    seen = having(frames, inner)
    assert seen and all(("VXLAN 1" in one) == (lab.mode == "vxlan") for one in seen)
    if lab.mode == "host-gw":
        assert wire.faults(frames, wire.plain) == []


def test_pods_of_one_node_speak_over_the_bridge(lab: Any) -> None:
    """By each other's MAC; the node routes nothing."""
    a, b = pod(lab, "node1"), pod(lab, "node1", 1)
    with captured(lab, b.name) as frames:
        assert ping(lab, a.name, b.addresses[0])
    assert having(frames, f"Ethernet {a.mac} > {b.mac}", ends(a.addresses[0], b.addresses[0]), "ICMP 8")


@FAMILIES
def test_the_largest_packet_passes_and_no_larger(lab: Any, version: int) -> None:
    """In IPv6 flannel's pods have 20 bytes more than its tunnel carries: the node says so, and the pod believes it."""
    a, far = pod(lab, "node1"), of(pod(lab, "node3").addresses, version)
    mtu = {"vxlan": {4: 1450, 6: 1430}, "host-gw": {4: 1500, 6: 1500}}[lab.mode][version]
    payload = mtu - (28 if version == 4 else 48)
    assert ping(lab, a.name, far, size=payload, whole=True)
    if (lab.mode, version) == ("vxlan", 6):
        assert ping(lab, a.name, far, size=payload + 1, whole=True, timeout_s=0.3) is None
    with pytest.raises(OSError) as refused:
        ping(lab, a.name, far, size=payload + 1, whole=True)
    assert refused.value.errno == errno.EMSGSIZE
