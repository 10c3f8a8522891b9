"""The budget's arithmetic on paths written by hand, and every mode's pod MTU against the headers that it adds."""

from __future__ import annotations

import pytest

from cluster.lab import plan
from console.mtu import with_links
from kernel.features import FEATURES
from paths.model import Hop, Layer, Packet, Sighting
from paths.mtu import Budget, Tried, before, layers, rooms_of
from plugins.registry import MODES, mode
from topologies.spec import preset

ETHERNET, IPV4, IPV6 = Layer("Ethernet", size=14), Layer("IPv4", size=20), Layer("IPv6", size=40)
UDP, VXLAN = Layer("UDP", size=8), Layer("VXLAN", size=8)
ICMP = Layer("ICMP", size=8)
OUTER = (ETHERNET, IPV4, UDP, VXLAN, ETHERNET, IPV4, ICMP)
OVERHEAD = {
    "hybridnet-vxlan": 20 + 8 + 8 + 14,
    "flannel-vxlan": 20 + 8 + 8 + 14,
    "calico-vxlan": 40 + 8 + 8 + 14,
    "calico-vxlan-crosssubnet": 40 + 8 + 8 + 14,
    "calico-ipip": 20,
    "calico-ipip-crosssubnet": 20,
}
"""Outer IP, UDP and VXLAN headers and the inner Ethernet's (RFC 7348), for calico with IPv6 outside; RFC 2003."""


def hop(netns: str, device: str, *headers: Layer) -> Hop:
    return Hop(Sighting(netns, device, "out", 0, 0, Packet(headers)), "")


def made(rooms: list[tuple[str, str, int, tuple[Layer, ...]]], fits: Tried, longer: Tried) -> Budget:
    hops = [hop(netns, device, *headers) for netns, device, _, headers in rooms]
    mtus: dict[str, dict[str, int]] = {}
    for netns, device, size, _ in rooms:
        mtus.setdefault(netns, {})[device] = size
    return Budget("a", "b", 4, 1450, tuple(rooms_of(hops, mtus)), fits, longer)


def test_headers_before_the_pod_s_packet() -> None:
    assert before((ETHERNET, IPV4, ICMP)) == []
    assert before((ETHERNET, Layer("802.1Q", size=4), IPV4, ICMP)) == []
    assert before(OUTER) == [("IPv4", 20), ("UDP", 8), ("VXLAN", 8), ("Ethernet", 14)]
    assert before((IPV4, Layer("IPIP"), IPV4, ICMP)) == [("IPv4", 20)]
    assert sum(size for _, size in before((ETHERNET, IPV6, UDP, VXLAN, ETHERNET, IPV6, ICMP))) == 70


def test_the_tightest_device_is_the_first_that_takes_no_more() -> None:
    plain = (ETHERNET, IPV4, ICMP)
    path = [("a", "eth0", 1450, plain), ("n1", "vxlan", 1450, plain), ("n1", "eth0", 1500, OUTER)]
    one = made(path, Tried(1450, True), Tried(1451, False, "a", "too long"))
    assert (one.limit, one.tightest.place, one.wire.place, one.holds) == (1450, "a:eth0", "n1:eth0", True)
    assert layers(one) == [
        ("MTU of n1:eth0", 0, 1500),
        ("IPv4", 20, 1480),
        ("UDP", 8, 1472),
        ("VXLAN", 8, 1464),
        ("Ethernet", 14, 1450),
        ("IPv4 of the pod", 20, 1430),
        ("ICMP", 8, 1422),
    ]
    narrow = made([*path[:2], ("n1", "eth0", 1400, OUTER)], Tried(1350, True), Tried(1351, False, "n1:eth0", ""))
    assert (narrow.limit, narrow.tightest.place, narrow.holds) == (1350, "n1:eth0", True)


@pytest.mark.parametrize(
    ("fits", "longer"),
    [
        (Tried(1450, False, "a"), Tried(1451, False, "a")),
        (Tried(1450, True), Tried(1451, True)),
        (Tried(1450, True), Tried(1451, False, "s1:a", "dropped")),
    ],
)
def test_a_budget_that_the_probes_belie(fits: Tried, longer: Tried) -> None:
    assert not made([("a", "eth0", 1450, (ETHERNET, IPV4, ICMP))], fits, longer).holds


@pytest.mark.parametrize("link", [1500, 9000])
@pytest.mark.parametrize("name", sorted(MODES))
def test_a_mode_s_pod_mtu_is_the_links_less_its_headers(name: str, link: int) -> None:
    plugin, _, rest = name.partition("-")
    spec = with_links(preset(mode(plugin, rest).preset), link)
    found = plan(spec, plugin, rest, frozenset(FEATURES))
    assert found.wanted.pod_mtu == link - OVERHEAD.get(name, 0)
    devices = [one for pod in found.cluster.pods for one in found.state[pod.name].links if one.name == "eth0"]
    peers = [
        one.peer
        for node in found.cluster.nodes
        for one in found.state[node.name].links
        if getattr(one, "peer_netns", "") in {pod.name for pod in found.cluster.pods} and one.peer.name == "eth0"  # type: ignore[attr-defined]
    ]
    assert {one.mtu for one in (*devices, *peers)} == {found.wanted.pod_mtu}
