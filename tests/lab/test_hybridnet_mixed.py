"""hybridnet with overlay and underlay pods on one cluster: an untagged VLAN subnet or a BGP network, and the tunnel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import wire
from tests.lab.frames import captured, ends, having, ping, unanswered
from tests.lab.pods import of

FAMILIES = pytest.mark.parametrize("version", [4, 6])
POOLS = {
    "vlan": """
  - {vlan: 0, cidr: 172.20.0.0/24, gateway: 172.20.0.1, start: 172.20.0.10, end: 172.20.0.50}
  - {vlan: 0, cidr: "fd00:172:20::/64", gateway: "fd00:172:20::1", start: "fd00:172:20::10"}""",
    "bgp": """
  - {cidr: 172.21.0.0/24, block: 28}
  - {cidr: "fd00:172:21::/64"}""",
}
LAB = """
name: mixed
address_check: 300 ms
pools:%s
  - {network: tunnel, overlay: true, cidr: 10.244.0.0/16}
  - {network: tunnel, overlay: true, cidr: "fd00:10:244::/64"}
switches: [{name: s1}]
nodes:
  - {name: node1, switch: s1, addresses: [192.168.1.1/24, "fd00:192:168:1::1/64"]}
  - {name: node2, switch: s1, addresses: [192.168.1.2/24, "fd00:192:168:1::2/64"]}
pods_per_node: 2
router:
  asn: 65001
  ports:
    - {switch: s1, addresses: [192.168.1.254/24, "fd00:192:168:1::fe/64", 172.20.0.1/24, "fd00:172:20::1/64"]}
client:
  addresses: [203.0.113.10/24, "2001:db8:113::10/64"]
  router: [203.0.113.1/24, "2001:db8:113::1/64"]
"""


@pytest.fixture(scope="module", params=["vlan", "bgp"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from cluster.lab import Lab, features, plan
    from topologies.source import parse

    spec = parse(LAB % POOLS[request.param], "mixed.yaml")
    folder = Path(tmp_path_factory.mktemp("lab"))
    with Lab(plan(spec, "hybridnet", request.param, features()), folder) as lab:
        lab.up()
        yield lab


def pod(lab: Any, node: str, network: str) -> Any:
    return next(one for one in lab.cluster.pods_of(node) if one.network == network)


@pytest.mark.case("H07")
@FAMILIES
def test_everybody_reaches_everybody(lab: Any, version: int) -> None:
    hosts = [*lab.cluster.pods, *lab.cluster.nodes]
    pairs = [(a.name, of(b.addresses, version)) for a in hosts for b in hosts if a != b]
    pairs += [(one.name, of(lab.spec.client.addresses, version)) for one in hosts]
    assert unanswered(lab, pairs) == []


@pytest.mark.case("H07", "H08")
@FAMILIES
@pytest.mark.parametrize(("source", "target"), [("tunnel", "default"), ("default", "tunnel")])
def test_between_overlay_and_underlay_packets_take_the_tunnel_as_they_are(
    lab: Any, source: str, target: str, version: int
) -> None:
    a, b = pod(lab, "node1", source), pod(lab, "node2", target)
    there = ends(of(a.addresses, version), of(b.addresses, version))
    with captured(lab, "s1", b.name) as frames:
        assert ping(lab, a.name, of(b.addresses, version))
    on_the_wire = having((frame for frame in frames if frame.netns == "s1"), there)
    assert on_the_wire and all("VXLAN 4" in one for one in on_the_wire)
    assert having((frame for frame in frames if frame.netns == b.name), there), "not its own address"


@pytest.mark.case("H04")
@FAMILIES
def test_between_underlay_pods_there_is_no_tunnel(lab: Any, version: int) -> None:
    a, b = pod(lab, "node1", "default"), pod(lab, "node2", "default")
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, of(b.addresses, version), timeout_s=4.0)
    seen = having(frames, ends(of(a.addresses, version), of(b.addresses, version)))
    assert seen and wire.faults(frames, wire.plain) == []


@pytest.mark.case("H08")
@FAMILIES
def test_only_overlay_pods_leave_with_their_nodes_address(lab: Any, version: int) -> None:
    client = of(lab.spec.client.addresses, version)
    for network, source in (("default", pod(lab, "node1", "default")), ("tunnel", lab.cluster.node("node1"))):
        with captured(lab, "client") as frames:
            assert ping(lab, pod(lab, "node1", network).name, client)
        assert having(frames, ends(of(source.addresses, version), client)), f"from {network}: another source address"


@pytest.mark.case("H03")
@FAMILIES
def test_the_tunnel_is_not_for_what_no_pod_has(lab: Any, version: int) -> None:
    """`throw`: an overlay pod reaches the underlay's gateway by main, with its node's address."""
    gateway = of(lab.cluster.routers[0].addresses, version)
    if lab.mode == "vlan":
        gateway = next(p.gateway for p in lab.cluster.pools if p.gateway and (":" in p.gateway) == (version == 6))
    with captured(lab, "s1") as frames:
        assert ping(lab, pod(lab, "node1", "tunnel").name, gateway)
    assert having(frames, ends(of(lab.cluster.node("node1").addresses, version), gateway))
    assert [one for one in (having([frame], "VXLAN 4") for frame in frames) if one] == []
