"""The engine against a real kernel: what it makes is what is read back, a second apply does nothing, and what
somebody changes by hand is repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kernel.errors import BadInput, KernelRefused
from kernel.state import (
    Address,
    Bridge,
    Dummy,
    Gre,
    Ipip,
    Ipvlan,
    Link,
    Macvlan,
    Netns,
    PortVlan,
    Route,
    Sit,
    State,
    Veth,
    Vlan,
    Vti,
    Vxlan,
)
from tests.lab.world import EVERYTHING, MAC_A, MAC_B, World, pair

EMBEDDED = pytest.mark.only("embedded")
"""What the machine's kernel may lack."""


def test_what_is_made_is_read_back(world: World) -> None:
    world.settle(EVERYTHING)


SABOTAGE = {
    "device": "ip link del vx",
    "other end": "ip link del eth0",
    "address": "ip addr del 192.0.2.1/24 dev eth0",
    "IPv6 address": "ip addr del 2001:db8::1/64 dev eth0",
    "route": "ip route del 10.2.0.0/16",
    "next hop": "ip route replace 10.6.0.0/24 via 192.0.2.9",
    "throw": "ip -6 route del throw 2001:db8:4::/64 table 40000",
    "rule": "ip rule del pref 4",
    "neighbour": "ip neigh del 10.0.0.2 dev vx",
    "proxy": "ip neigh del proxy 10.9.9.9 dev eth0",
    "FDB entry": "bridge fdb del 00:00:00:00:00:00 dev vx dst 192.0.2.3",
    "down": "ip link set eth0 down",
    "MTU": "ip link set eth0 mtu 1300",
    "port": "ip link set vx6 nomaster",
    "sysctl": "sysctl -w net.ipv4.conf.eth0.proxy_arp=0",
    "name": "ip link set mv down; ip link set mv name vm; ip link del vm",
    "kind": "ip link del mv; ip link add name mv type bridge",
}


@pytest.mark.case("F14")
@pytest.mark.parametrize("what", SABOTAGE)
def test_what_somebody_breaks_is_repaired(world: World, what: str) -> None:
    world.engine.apply(EVERYTHING)
    for command in SABOTAGE[what].split(";"):
        world.run("a", command)
    assert world.engine.plan(EVERYTHING), "the plan does not see it"
    world.settle(EVERYTHING)


def test_the_plan_names_what_is_missing_and_only_that(world: World) -> None:
    world.engine.apply(EVERYTHING)
    world.run("a", "ip route del 10.2.0.0/16")
    world.run("a", "ip rule del pref 3")
    assert world.engine.plan(EVERYTHING) == [
        "a: + ip route replace 10.2.0.0/16 via 10.0.0.2 dev vx proto 80 onlink mtu 1300",
        "a: + ip rule add pref 3 from all fwmark 0x20/0x20 lookup 40001",
    ]


def test_one_state_becomes_another_and_back(world: World) -> None:
    world.settle(pair())
    before = {name: world.engine.read(name) for name in ("a", "b")}
    world.settle(EVERYTHING)
    changed = pair(
        links=(Vxlan("vx", mtu=1350, vni=7, dev="eth0", local="192.0.2.1"),), rules=EVERYTHING["a"].rules[:1]
    )
    world.settle(changed)
    world.settle(pair())
    after = {name: world.engine.read(name) for name in ("a", "b")}
    assert after == before
    assert world.run("a", "sysctl -n net.ipv4.ip_forward").strip() == "0", "the sysctl has not its first value again"


@pytest.mark.case("F14")
def test_a_foreign_object_is_left_alone(world: World) -> None:
    world.engine.apply(pair())
    world.run("a", "ip route add 203.0.113.0/24 via 192.0.2.2")
    world.run("a", "ip link add name own type bridge")
    assert world.engine.plan(pair()) == []
    world.engine.apply(pair())
    assert "203.0.113.0/24" in world.run("a", "ip route")
    assert "own" in world.run("a", "ip link")


def test_a_namespace_goes_with_all_that_hangs_on_it(world: World) -> None:
    world.settle(EVERYTHING)
    world.settle(State((Netns("b"),)))
    assert world.namespaces.names == ("b",)


def test_a_device_over_one_that_is_made_anew_is_made_anew(world: World) -> None:
    world.settle(EVERYTHING)
    links = tuple(replace(link, vni=99) if link.name == "vx" else link for link in EVERYTHING["a"].links)
    world.settle(State((replace(EVERYTHING["a"], links=links), EVERYTHING["b"])))


def node_with_pods(kind: Callable[[str], Link]) -> State:
    """A node whose NIC carries a device in each of two pods, and a host outside."""
    outside = Veth("eth0", mac=MAC_A, peer_netns="out", peer=Link("eth0", mac=MAC_B))
    pods = (
        Netns(name, links=(kind(name),), addresses=(Address("eth0", f"10.0.0.{number}/24"),))
        for number, name in enumerate(("pod1", "pod2"), 11)
    )
    return State((Netns("node", links=(outside,)), Netns("out", addresses=(Address("eth0", "10.0.0.1/24"),)), *pods))


def macvlan(pod: str) -> Link:
    return Macvlan("eth0", dev="eth0", dev_netns="node", mac=f"02:00:00:00:01:0{pod[-1]}")


def test_macvlan_in_pods_is_born_there(world: World) -> None:
    state = node_with_pods(macvlan)
    world.settle(state)
    assert world.reaches("pod1", "10.0.0.12")
    assert world.reaches("pod1", "10.0.0.1")
    world.run("pod2", "ip link del eth0")
    world.settle(state)
    private = node_with_pods(lambda pod: replace(macvlan(pod), mode="private"))
    world.settle(private)
    assert not world.reaches("pod1", "10.0.0.12", 1)
    assert world.reaches("pod1", "10.0.0.1")


def test_a_pod_follows_its_parent(world: World) -> None:
    """The node's NIC is made anew: what pods have on it went with it."""
    state = node_with_pods(macvlan)
    world.settle(state)
    world.run("node", "ip link del eth0")
    world.settle(state)


@EMBEDDED
@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_ipvlan_in_pods(world: World, mode: Any) -> None:
    state = node_with_pods(lambda pod: Ipvlan("eth0", dev="eth0", dev_netns="node", mode=mode))
    world.settle(state)
    assert world.reaches("pod1", "10.0.0.12")
    lonely = node_with_pods(lambda pod: Ipvlan("eth0", dev="eth0", dev_netns="node", mode=mode, flag="private"))
    world.settle(lonely)
    assert not world.reaches("pod1", "10.0.0.12", 1)


@EMBEDDED
def test_vlan_devices_and_ports(world: World) -> None:
    """A trunk with VLAN 20 tagged; macvlan on the VLAN device in a pod; an access port on the other side."""
    switch = Netns(
        "s",
        links=(Bridge("s", vlan_filtering=True),),
        port_vlans=(
            PortVlan("node", 10, pvid=True, untagged=True),
            PortVlan("node", 20),
            PortVlan("out", 20, pvid=True, untagged=True),
        ),
    )
    trunk = Veth("eth0", peer_netns="s", peer=Link("node", master="s"))
    access = Veth("eth0", peer_netns="s", peer=Link("out", master="s"))
    vlan = Vlan("eth0.20", dev="eth0", vid=20)
    pod = Macvlan("eth0", dev="eth0.20", dev_netns="node")
    state = State(
        (
            Netns("pod", links=(pod,), addresses=(Address("eth0", "10.0.20.2/24"),)),
            Netns("node", links=(vlan, trunk)),
            Netns("out", links=(access,), addresses=(Address("eth0", "10.0.20.1/24"),)),
            switch,
        )
    )
    world.settle(state)
    assert world.reaches("pod", "10.0.20.1")
    world.run("s", "bridge vlan del dev node vid 20")
    assert world.engine.plan(state) == ["s: + bridge vlan add dev node vid 20"]
    world.settle(state)
    assert world.reaches("pod", "10.0.20.1")


TUNNELS: dict[str, Callable[[str, str], Link]] = {
    "ipip": lambda local, remote: Ipip("tun", mtu=1380, local=local, remote=remote, ttl=64),
    "tunl0": lambda local, remote: Ipip("tunl0", mtu=1380),
    "gre": lambda local, remote: Gre("tun", mtu=1376, local=local, remote=remote),
    "gre with key": lambda local, remote: Gre("tun", mtu=1372, local=local, remote=remote, key=7, dev="eth0"),
    "sit": lambda local, remote: Sit("tun", mtu=1380, local=local, remote=remote),
    "isatap": lambda local, remote: Sit("tun", mtu=1380, local=local, isatap=True),
    "vti": lambda local, remote: Vti("tun", mtu=1380, local=local, remote=remote, key=7),
}


def tunnelled(kind: str) -> State:
    """Both ends of a tunnel over the pair, with an address and a route on it."""
    ends = []
    for number, ns in enumerate(pair().namespaces, 1):
        other = 3 - number
        link = TUNNELS[kind](f"192.0.2.{number}", f"192.0.2.{other}")
        inside = (
            Address(link.name, f"10.0.{number}.1/32"),
            Address(link.name, f"2001:db8:1::5efe:c000:20{number}/64"),
        )
        addresses = inside[1:] if isinstance(link, Sit) else inside[:1]
        routes = (Route(f"10.0.{other}.0/24", dev=link.name, via=f"192.0.2.{other}", onlink=True, proto=80),)
        routes = () if isinstance(link, Sit) else routes
        ends.append(ns.plus(Netns(ns.name, links=(link,), addresses=addresses, routes=routes)))
    return State(tuple(ends))


@EMBEDDED
@pytest.mark.parametrize("kind", TUNNELS)
def test_tunnels(world: World, kind: str) -> None:
    state = tunnelled(kind)
    world.settle(state)
    if kind != "vti":
        assert world.reaches("a", "2001:db8:1::5efe:c000:202" if kind in ("sit", "isatap") else "10.0.2.1")
    world.settle(pair())
    assert "UP" not in (world.run("a", "ip link show tunl0") if kind == "tunl0" else "")
    world.settle(state)


@EMBEDDED
def test_dummy(world: World) -> None:
    world.settle(State((Netns("a", links=(Dummy("d0", mac=MAC_A),), addresses=(Address("d0", "10.0.0.1/32"),)),)))


def test_what_the_kernel_refuses_is_named(world: World) -> None:
    with pytest.raises(KernelRefused) as told:
        world.engine.apply(pair(routes=(Route("10.0.0.0/8", via="203.0.113.1"),)))
    assert str(told.value).startswith("namespace a: the kernel refused route 10.0.0.0/8 via 203.0.113.1")


def test_mistakes_are_found_before_anything_is_made(world: World) -> None:
    ports = tuple(Veth(f"e{n}", peer_netns="s", peer=Link(f"p{n}", master="s")) for n in range(1024))
    crowd = State((Netns("s", links=(Bridge("s"),)), Netns("a", links=ports)))
    for state, message in (
        (crowd, "namespace s: the bridge s would have 1024 ports, and takes 1023"),
        (State((Netns("a", links=(Bridge("sixteen-letters-"),)),)), "'sixteen-letters-' is no interface name"),
        (State((Netns("a", links=(Bridge("x"), Bridge("x"))),)), "the device x is stated twice"),
        (State((Netns("a"), Netns("a"))), "a namespace is stated twice"),
        (State((Netns("a", links=(Macvlan("m", dev="e", dev_netns="b"),)),)), "m has its other part in 'b'"),
        (State((Netns("a", links=(Vlan("x", dev="y"), Vlan("y", dev="x"))),)), "stands on itself"),
    ):
        with pytest.raises(BadInput) as told:
            world.engine.apply(state)
        assert message in str(told.value)
        assert world.namespaces.names == ()
