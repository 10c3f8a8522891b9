"""bifrost on a real kernel: pods' own MACs in tagged frames, and what the service pair is there for."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from kernel.firewall import backend
from paths.capture import Frame
from plugins.bifrost.macvlan import host_end, vlan_device
from tests.lab.documented import check_documented
from tests.lab.frames import captured, ends, having, ping, ttl

TAGGED = pytest.mark.only("embedded")
SERVICE = "10.96.0.10"


def a_lab(name: str, folder: Path) -> Any:
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    return Lab(plan(preset(name), "bifrost", "macvlan", features()), folder)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """VLANs 10 and 20 on trunks; two pods of VLAN 10 and one of VLAN 20 a node."""
    with a_lab("trunks", tmp_path_factory.mktemp("trunks")) as lab:
        lab.up()
        yield lab


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Pods in the nodes' own subnet, untagged."""
    with a_lab("flat", tmp_path_factory.mktemp("flat")) as lab:
        lab.up()
        yield lab


def pod(lab: Any, node: str, number: int = 0, vid: int = 10) -> Any:
    return [one for one in lab.cluster.pods_of(node) if lab.cluster.pool_of(one.addresses[0]).vlan == vid][number]


def ip(lab: Any, node: str) -> str:
    return str(ip_interface(lab.cluster.node(node).addresses[0]).ip)


def reaches(lab: Any, a: Any, b: Any, *names: str) -> list[Frame]:
    """Pings from pod to pod and returns the frames seen in these namespaces."""
    with captured(lab, *names, b.name) as frames:
        assert ping(lab, a.name, b.addresses[0]), f"{a.name} does not reach {b.name}"
    assert having(frames, ends(a.addresses[0], b.addresses[0]), "ICMP 8", device="eth0"), "not its own address"
    return frames


def requests(frames: list[Frame], a: Any, b: Any, *netns: str) -> list[Frame]:
    """The echo requests from a to b that were seen in `netns`."""
    found = [one for one in frames if having([one], ends(a.addresses[0], b.addresses[0]), "ICMP 8")]
    return [one for one in found if not netns or one.netns in netns]


@TAGGED
def test_documented_paths(lab: Any) -> None:
    check_documented(lab)


@TAGGED
def test_every_pod_reaches_every_pod_and_node(lab: Any) -> None:
    targets = [one.addresses[0] for one in lab.cluster.pods] + [ip(lab, node.name) for node in lab.cluster.nodes]
    for source in lab.cluster.pods:
        lost = [one for one in targets if one != source.addresses[0] and ping(lab, source.name, one) is None]
        assert lost == [], f"{source.name} does not reach {lost}"
    for node in lab.cluster.nodes:
        lost = [one.name for one in lab.cluster.pods if ping(lab, node.name, one.addresses[0]) is None]
        assert lost == [], f"{node.name} does not reach {lost}"


@TAGGED
def test_same_node_and_vlan_never_leaves_the_node(lab: Any) -> None:
    """The article's "enters the eth0-10 VLAN subnet card", which matches the MAC of pod2: nothing goes further down."""
    a, b = pod(lab, "node1", 0), pod(lab, "node1", 1)
    seen = requests(reaches(lab, a, b, "node1", "s1", a.name), a, b)
    assert sorted((one.netns, one.device, one.outgoing) for one in seen) == [
        ("node1", "eth0-vlan-10", False),
        (a.name, "eth0", True),
        (b.name, "eth0", False),
    ]
    assert {ttl(one.raw) for one in seen} == {64}


@TAGGED
def test_cross_node_same_vlan_is_switched_with_the_pods_macs(lab: Any) -> None:
    a, b = pod(lab, "node1"), pod(lab, "node3")
    frames = reaches(lab, a, b, "s1", "s2", "gw")
    on_wire = having(requests(frames, a, b, "s1", "s2"), f"Ethernet {a.mac} > {b.mac}", "VLAN 10")
    assert len(on_wire) == len(requests(frames, a, b, "s1", "s2")) == 4  # in and out of both switches
    assert requests(frames, a, b, "gw") == []
    assert {ttl(one.raw) for one in requests(frames, a, b, b.name)} == {64}


@TAGGED
@pytest.mark.parametrize("node", ["node1", "node3"], ids=["same node", "cross node"])
def test_cross_vlan_passes_the_gateway_and_comes_back(lab: Any, node: str) -> None:
    a, b = pod(lab, "node1"), pod(lab, node, vid=20)
    frames = reaches(lab, a, b, "s1", "gw")
    from_node1 = [one for one in requests(frames, a, b, "s1") if one.device == "node1" and not one.outgoing]
    assert having(from_node1, "VLAN 10") and [ttl(one.raw) for one in from_node1] == [64]
    assert having(from_node1, "VLAN 10")[0][0].startswith(f"Ethernet {a.mac} > ")
    to_b = [one for one in requests(frames, a, b, "s1") if one.outgoing and ttl(one.raw) == 63]
    assert [one for one in to_b if having([one], "VLAN 20") and having([one])[0][0].endswith(f" > {b.mac}")]
    assert [(one.outgoing, ttl(one.raw)) for one in requests(frames, a, b, "gw")] == [(False, 64), (True, 63)]
    assert [ttl(one.raw) for one in requests(frames, a, b, b.name)] == [63]


@TAGGED
def test_nothing_of_vlan_10_comes_to_a_port_of_vlan_20(lab: Any) -> None:
    """Not even a broadcast: the gateway has an access port in each."""
    a, b = pod(lab, "node1"), pod(lab, "node3")
    lab.namespaces.run(a.name, ["ip", "neigh", "flush", "dev", "eth0"])
    frames = reaches(lab, a, b, "gw")
    asked = [
        one for one in frames if having([one], f"Ethernet {a.mac} > ff:ff:ff:ff:ff:ff", f"ARP asks {b.addresses[0]}")
    ]
    ports = {item.dev for item in lab.state["gw"].addresses if item.address == "10.0.0.1/24"}
    assert {one.device for one in asked if one.netns == "gw"} == ports
    assert having([one for one in asked if one.netns == "gw"], "VLAN 10") == []  # an access port is untagged


@TAGGED
def test_north_and_south_see_the_pods_own_address(lab: Any) -> None:
    """The article's table: north-south traffic leaves with the podIP; and a pod is reached from outside."""
    a, client = pod(lab, "node1"), str(ip_interface(lab.spec.client.addresses[0]).ip)
    with captured(lab, "client", a.name) as frames:
        assert ping(lab, a.name, client) and ping(lab, "client", a.addresses[0])
    assert having(frames, ends(a.addresses[0], client), "ICMP 8") and having(frames, ends(client, a.addresses[0]))


@TAGGED
def test_a_whole_packet_fits_beside_its_tag(lab: Any) -> None:
    """The tag comes on top of the MTU (IEEE 802.1Q): 1500 bytes of IP, frames of 1518 with the tag."""
    a, b = pod(lab, "node1"), pod(lab, "node3")
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, b.addresses[0], size=1472, whole=True)
    assert {len(one.raw) for one in requests(frames, a, b)} == {14 + 4 + 1500}
    with pytest.raises(OSError, match="Message too long"):
        ping(lab, a.name, b.addresses[0], size=1473, whole=True)


@TAGGED
def test_node_and_own_pod_talk_over_the_pair_alone(lab: Any) -> None:
    a = pod(lab, "node1")
    for source, target in ((a.name, ip(lab, "node1")), ("node1", a.addresses[0])):
        with captured(lab, "node1", a.name) as frames:
            assert ping(lab, source, target)
        assert {one.device for one in frames if having([one], "ICMP 8")} == {host_end(a), "veth1"}


def test_without_the_pair_a_node_does_not_reach_its_own_pods(flat: Any) -> None:
    """What the pair is there for: the parent asks on the wire, and no switch sends a frame back where it came from."""
    a, others = flat.cluster.pods_of("node1")[0], ip(flat, "node2")
    assert ping(flat, "node1", a.addresses[0]) and ping(flat, a.name, ip(flat, "node1"))
    flat.namespaces.run("node1", ["ip", "link", "del", host_end(a)])
    try:
        with captured(flat, "node1", "s1", a.name) as frames:
            assert ping(flat, "node1", a.addresses[0], timeout_s=1.2) is None
            assert ping(flat, a.name, ip(flat, "node1"), timeout_s=1.2) is None
        assert having([one for one in frames if one.netns == "s1"], f"ARP asks {a.addresses[0]}")
        assert having([one for one in frames if one.netns == a.name], f"ARP asks {a.addresses[0]}") == []
        assert ping(flat, a.name, others)  # the rest of the network does not miss it
    finally:
        flat.engine.apply(flat.state)
    assert ping(flat, "node1", a.addresses[0]) and ping(flat, a.name, ip(flat, "node1"))


@TAGGED
def test_a_service_needs_the_pair_and_snat(lab: Any) -> None:
    """kube-proxy's rules for one service, by hand: with masquerade the backend's answer comes back by the node;
    without, the backend answers the pod itself, which knows no such connection."""
    a, backend_pod = pod(lab, "node1"), pod(lab, "node3")
    tool = f"iptables-{backend()}"
    nat = [tool, "-w", "-t", "nat"]
    into = ["PREROUTING", "-d", f"{SERVICE}/32", "-p", "tcp", "--dport", "80", "-j", "DNAT"]
    into += ["--to-destination", f"{backend_pod.addresses[0]}:8080"]
    out = ["POSTROUTING", "-m", "conntrack", "--ctstate", "DNAT", "-j", "MASQUERADE"]
    with _server(lab, backend_pod.name, 8080) as callers:
        done = lab.namespaces.run("node1", [*nat, "-A", *into])
        assert done.returncode == 0, done.stderr
        try:
            assert not _connects(lab, a.name, SERVICE, 80)
            lab.namespaces.run("node1", [*nat, "-A", *out])
            assert _connects(lab, a.name, SERVICE, 80)
        finally:
            lab.namespaces.run("node1", [*nat, "-F"])
    assert callers == [ip(lab, "node1")]


@contextlib.contextmanager
def _server(lab: Any, netns: str, port: int) -> Iterator[list[str]]:
    """Accepts TCP connections; the list holds who completed one."""
    with lab.namespaces.inside(netns):
        listening = socket.create_server(("0.0.0.0", port))
    callers: list[str] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, (caller, _) = listening.accept()
                callers.append(caller)
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield callers
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        listening.close()


def _connects(lab: Any, netns: str, address: str, port: int) -> bool:
    with lab.namespaces.inside(netns):
        sock = socket.socket()
    with sock:
        sock.settimeout(1.5)
        try:
            sock.connect((address, port))
        except OSError:
            return False
    return True


@TAGGED
def test_a_node_has_the_vlans_device_with_its_own_mac(lab: Any) -> None:
    links = {link.name: link for link in lab.engine.read("node1").links}
    for vid in (10, 20):
        device = links[vlan_device(lab.cluster.node("node1"), vid)]
        assert (device.vid, device.dev, device.mac) == (vid, "eth0", lab.cluster.node("node1").mac)
    assert {one.dev for one in lab.engine.read("node1").addresses if ":" not in one.address} == {"eth0"}
