"""calico without encapsulation, by the acceptance checks A1 to A15 of its facts: two racks, mesh and reflectors.

A3 (tunnels) has nothing here; A8 (policy) and A14 (disabled pools, BGPFilter) are not in the model.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab import wire
from tests.lab.calico import echo, ipv4, main_table, running, send_raw, sessions
from tests.lab.documented import check_documented
from tests.lab.frames import Stream, captured, ends, having, ping
from tests.lab.pods import node_ip, of, pod, unreached

FAMILIES = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two racks; the router between them speaks BGP."""
    with running("bgp", "two-rack", Path(tmp_path_factory.mktemp("racks"))) as lab:
        yield lab


@contextmanager
def route_events(lab: Any, *names: str) -> Iterator[list[str]]:
    """The namespaces in which an IPv4 route came, went or changed meanwhile."""
    socks = {}
    for name in names:
        with lab.namespaces.inside(name):
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        sock.bind((0, 0x40))  # RTMGRP_IPV4_ROUTE
        socks[sock] = name
    found: list[str] = []
    yield found
    found += [socks[sock] for sock in select.select(list(socks), [], [], 0)[0]]
    for sock in socks:
        sock.close()


def test_documented_paths(lab: Any) -> None:
    check_documented(lab)


@pytest.mark.case("A1", "F16")
def test_a1_names_macs_and_the_next_hop_that_nobody_has(lab: Any) -> None:
    from plugins.calico.felix import host_end

    one = pod(lab, "node1")
    devices = {link.name: link for link in lab.engine.read("node1").links}
    assert devices[host_end(one)].mac == "ee:ee:ee:ee:ee:ee"
    assert host_end(one).startswith("cali") and len(host_end(one)) == 15
    assert not any(item.dev == host_end(one) for item in lab.engine.read("node1").addresses)
    assert ping(lab, one.name, node_ip(lab, "node1"))
    neighbour = lab.namespaces.run(one.name, ["ip", "neigh", "show", "169.254.1.1"]).stdout
    assert "lladdr ee:ee:ee:ee:ee:ee" in neighbour


@pytest.mark.case("A2")
def test_a2_main_table(lab: Any) -> None:
    """A route to each pod, a guard for each block, and each other block by way of its node: what reaches a node of the
    other rack goes by the router, which BGP found recursively."""
    one, two = pod(lab, "node1", 0), pod(lab, "node1", 1)
    assert main_table(lab, "node1") == sorted(
        [
            "default via 192.168.1.254 dev eth0",
            "blackhole 10.244.0.0/26 proto 80",
            f"{one.addresses[0]} dev <{one.name}> scope link metric 1024",
            f"{two.addresses[0]} dev <{two.name}> scope link metric 1024",
            "10.244.0.64/26 via 192.168.1.2 dev eth0 proto bgp metric 20",
            "10.244.0.128/26 via 192.168.1.254 dev eth0 proto bgp metric 20",
            "10.244.0.192/26 via 192.168.1.254 dev eth0 proto bgp metric 20",
        ]
    )
    assert f"{one.addresses[1]} dev <{one.name}> metric 1024" in main_table(lab, "node1", 6)
    assert "blackhole fd00:10:244::/122 dev lo proto 80 metric 1024" in main_table(lab, "node1", 6)


@pytest.mark.case("A4")
@FAMILIES
def test_a4_everybody_reaches_everybody(lab: Any, version: int) -> None:
    assert unreached(lab, version) == []


@pytest.mark.case("A5", "F22")
@FAMILIES
def test_a5_who_is_seen_as_the_sender(lab: Any, version: int) -> None:
    """A pod as itself, also from a node to a pod; as its node outside of every pool (natOutgoing)."""
    a, far = pod(lab, "node1"), pod(lab, "node3")
    outside = of(lab.spec.client.addresses, version)
    for source, shown, target, place in (
        (a.name, of(a.addresses, version), of(far.addresses, version), far.name),
        ("node1", node_ip(lab, "node1", version), of(far.addresses, version), far.name),
        (a.name, node_ip(lab, "node1", version), outside, "client"),
    ):
        with captured(lab, place) as frames:
            assert ping(lab, source, target)
        assert having(frames, ends(shown, target), f"ICMP {8 if version == 4 else 128}"), (source, target)


@pytest.mark.case("A6")
@FAMILIES
def test_a6_nothing_is_encapsulated(lab: Any, version: int) -> None:
    a, near, far = pod(lab, "node1"), pod(lab, "node2"), pod(lab, "node3")
    for target, router in ((near, False), (far, True)):
        with captured(lab, "tor1", "gw") as frames:
            assert ping(lab, a.name, of(target.addresses, version))
        seen = having(frames, ends(of(a.addresses, version), of(target.addresses, version)))
        assert seen and all(one[0].startswith("Ethernet") and one[1].startswith("IP") for one in seen)
        assert wire.faults(frames, wire.plain) == []
        assert bool([f for f in frames if f.netns == "gw" and having([f], seen[0][1])]) == router


@pytest.mark.case("A7", "F11")
def test_a7_a_pod_cannot_lie_about_its_address(lab: Any) -> None:
    a, near = pod(lab, "node1"), pod(lab, "node2")
    mine, target = a.addresses[0], near.addresses[0]
    for source, arrives in ((mine, True), (pod(lab, "node1", 1).addresses[0], False), ("10.244.9.9", False)):
        with captured(lab, near.name) as frames:
            send_raw(lab, a.name, ipv4(source, target, 1, echo()))
            assert ping(lab, a.name, target)  # what was sent before has arrived or not by now
        theirs = [f for f in frames if not f.outgoing and b"podpath!" in f.raw]
        assert bool(theirs) == arrives, source


@pytest.mark.case("A9", "F08")
@FAMILIES
def test_a9_the_pods_mtu_is_the_underlays(lab: Any, version: int) -> None:
    a, far = pod(lab, "node1"), of(pod(lab, "node3").addresses, version)
    room = 1500 - (28 if version == 4 else 48)
    assert ping(lab, a.name, far, size=room, whole=True)
    with pytest.raises(OSError) as refused:
        ping(lab, a.name, far, size=room + 1, whole=True)
    assert refused.value.errno == errno.EMSGSIZE


def test_an_unused_address_is_answered_by_the_blackhole(lab: Any) -> None:
    """In the own block, here; in another's, by the node that owns it; nothing wanders back by the default route."""
    for address in ("10.244.0.50", "10.244.0.100"):
        with captured(lab, "gw") as frames:
            assert not ping(lab, pod(lab, "node1").name, address, timeout_s=0.2)
        assert having(frames, ends(pod(lab, "node1").addresses[0], address)) == []
    said = lab.namespaces.run("node1", ["ip", "route", "get", "10.244.0.50"])
    assert "Invalid argument" in said.stderr  # what a blackhole gives (ip-route(8))


@pytest.mark.case("RR-14")
@FAMILIES
def test_the_mesh_has_a_session_for_each_pair(lab: Any, version: int) -> None:
    nodes = [node.name for node in lab.cluster.nodes]
    inside = {node_ip(lab, name, version) for name in nodes}
    states = [state for name in nodes for peer, state in sessions(lab, name, version).items() if peer in inside]
    assert set(states) == {"Established"}
    assert len(states) // 2 == len(nodes) * (len(nodes) - 1) // 2


@pytest.mark.case("A11", "F29", "GR-11")
@pytest.mark.only("machine")
def test_a11_a_dead_bgpd_costs_no_packet_and_no_route(lab: Any) -> None:
    """Nothing happens in IPv4. An IPv6 route that is announced again zebra deletes and adds, within 0.1 ms. Not on the
    embedded kernel: there both ends are so slow to dial that their two connections may meet, and the notification that
    closes one of them ends the graceful restart (RFC 4724, section 4.2)."""
    others = ("node1", "node3", "node4", "gw")
    node, target = pod(lab, "node1").name, pod(lab, "node2").addresses[0]
    with Stream(lab, node, target, 0.002) as stream, route_events(lab, *others) as touched:
        lab.routers.kill("node2")
        assert lab.routers.wait(1.0) < 1.0  # all routes are there still
        lab.routers.revive("node2")
        await_sessions(lab, "node2")
        stream.until(100)
    assert stream.lost == []
    assert touched == []


def await_sessions(lab: Any, name: str, deadline_s: float = 20.0) -> None:
    """Until all sessions of a router are established again."""
    end = time.monotonic() + deadline_s
    while set(sessions(lab, name).values()) != {"Established"}:
        assert time.monotonic() < end, sessions(lab, name)
        time.sleep(0.1)


def test_a_dead_router_is_started_again_by_the_next_up(lab: Any) -> None:
    """`up` repairs; routers that run as wanted keep their processes."""
    before = lab.routers.pids
    lab.routers.kill("node3", ("zebra", "bgpd"))
    lab.up()
    after = lab.routers.pids
    assert {name for name in after if after[name] != before[name]} == {"node3"}
