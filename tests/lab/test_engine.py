"""The engine against a real kernel: what it makes is what is read back, a second apply does nothing, and what
somebody changes by hand is repaired."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from kernel import diff
from kernel.engine import Engine
from kernel.errors import BadInput, KernelRefused, MissingFeature
from kernel.namespaces import Namespaces
from kernel.state import (
    PARTS,
    Address,
    Bridge,
    Dummy,
    Fdb,
    Gre,
    Ipip,
    Ipvlan,
    Link,
    Macvlan,
    Neighbour,
    Netns,
    NextHop,
    PortVlan,
    Route,
    Rule,
    Shaping,
    Sit,
    State,
    Sysctl,
    Veth,
    Vlan,
    Vti,
    Vxlan,
    merge,
)

EMBEDDED = pytest.mark.only("embedded")
"""What the machine's kernel may lack."""
MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


class World:
    """Namespaces and their engine."""

    def __init__(self) -> None:
        self.namespaces = Namespaces()
        self.engine = Engine(self.namespaces)

    def run(self, name: str, command: str) -> str:
        done = self.namespaces.run(name, command.split())
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def reaches(self, name: str, target: str, wait_s: int = 3) -> bool:
        """One ping is answered; a device that was just made may lose the first."""
        return self.namespaces.run(name, ["ping", "-c1", "-i0.2", f"-w{wait_s}", target]).returncode == 0

    def settle(self, state: State) -> None:
        """Applies, and checks that nothing is left to do and that the kernel has what is wanted."""
        self.engine.apply(state)
        assert self.engine.plan(state) == []
        assert self.engine.apply(state).messages == 0
        wanted = diff.ends(state)
        for ns in state.namespaces:
            actual = self.engine.read(ns.name)
            there = {link.name: link for link in actual.links}
            assert set(there) == set(wanted[ns.name])
            for name, link in wanted[ns.name].items():
                assert diff.fits(ns.name, link, there[name]), f"{there[name]} is not {link}"
                assert diff.settled(link, there[name]), f"{there[name]} is not {link}"
            for part in ("port_vlans", "addresses", "routes", "rules", "neighbours", "fdb", "sysctls"):
                assert _comparable(getattr(actual, part)) == _comparable(getattr(ns, part)), part


def _comparable(items: tuple[Any, ...]) -> set[Any]:
    """Without what the kernel fills in where a state leaves it open."""
    return {replace(item, dev=None, scope="global") if isinstance(item, Route) and item.via else item for item in items}


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.engine.close()
    made.namespaces.close()


def pair(**more: Any) -> State:
    """Namespaces a and b with a link between them."""
    veth = Veth("eth0", mac=MAC_A, mtu=1400, peer_netns="b", peer=Link("eth0", mac=MAC_B, mtu=1400))
    a = Netns("a", links=(veth,), addresses=(Address("eth0", "192.0.2.1/24"), Address("eth0", "2001:db8::1/64")))
    b = Netns("b", addresses=(Address("eth0", "192.0.2.2/24"), Address("eth0", "2001:db8::2/64")))
    return State((a.plus(Netns("a", **more)), b))


EVERYTHING = pair(
    links=(
        Vxlan("vx", mac="02:00:00:00:00:01", mtu=1350, vni=42, dev="eth0", local="192.0.2.1", port=4789),
        Bridge("br0", mac="02:00:00:00:00:02"),
        Vxlan("vx6", mtu=1300, vni=43, dev="eth0", local="2001:db8::1", port=4790, learning=True, master="br0"),
        Macvlan("mv", dev="eth0", mode="bridge", mac="02:00:00:00:00:03"),
        Macvlan("over-vx", dev="vx", mode="private", mac="02:00:00:00:00:04", up=False),
    ),
    addresses=(Address("vx", "10.0.0.1/32"), Address("mv", "10.1.0.1/24", noprefixroute=True, scope="host")),
    routes=(
        Route("0.0.0.0/0", dev="eth0", via="192.0.2.2"),
        Route("::/0", via="2001:db8::2"),
        Route("10.2.0.0/16", dev="vx", via="10.0.0.2", onlink=True, proto=80, mtu=1300),
        Route("10.3.0.0/16", kind="blackhole", proto=80),
        Route("10.4.0.0/16", kind="throw", table=40000),
        Route("10.4.0.0/24", dev="eth0", table=40000, scope="link", src="192.0.2.1"),
        Route("2001:db8:4::/64", kind="throw", table=40000),
        Route("10.5.0.0/24", dev="eth0", metric=1024),
        Route("10.6.0.0/24", hops=(NextHop("eth0", "192.0.2.2"), NextHop("eth0", "192.0.2.3", weight=3))),
        Route("2001:db8:6::/64", hops=(NextHop("eth0", "2001:db8::2"), NextHop("eth0", "2001:db8::3"))),
        Route("10.7.0.0/24", via="2001:db8::2", dev="eth0"),
    ),
    rules=(
        Rule(1, 40000),
        Rule(2, 40000, 6),
        Rule(3, 40001, fwmark=0x20, fwmask=0x20),
        Rule(4, 10000, src="10.2.0.0/16", fwmark=0, fwmask=0x4040),
        Rule(512, 254, dst="10.1.0.9/32", iif="mv"),
    ),
    neighbours=(
        Neighbour("vx", "10.0.0.2", "02:00:00:00:00:09"),
        Neighbour("mv", "10.1.0.9", "02:00:00:00:00:08", state="noarp"),
        Neighbour("eth0", "10.9.9.9", proxy=True),
        Neighbour("eth0", "2001:db8::99", proxy=True),
    ),
    fdb=(
        Fdb("vx", "02:00:00:00:00:09", "192.0.2.2"),
        Fdb("vx", "00:00:00:00:00:00", "192.0.2.2"),
        Fdb("vx", "00:00:00:00:00:00", "192.0.2.3"),
        Fdb("vx6", "02:00:00:00:00:0c", "2001:db8::2"),
    ),
    sysctls=(
        Sysctl("net.ipv4.ip_forward", "1"),
        Sysctl("net.ipv4.conf.eth0.proxy_arp", "1"),
        Sysctl("net.ipv6.neigh.vx.app_solicit", "1"),
    ),
)


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


# -- whole modes -----------------------------------------------------------------------------------------


def planned(key: str) -> State:
    from cluster.lab import features, plan
    from plugins.registry import mode
    from topologies.spec import preset

    found = mode(*key.split("-", 1))
    return plan(preset(found.preset or "default"), *key.split("-", 1), features()).state


def possible() -> list[str]:
    """The modes that this kernel can run."""
    from cluster.lab import features
    from plugins.registry import MODES, mode

    return [key for key in MODES if mode(*key.split("-", 1)).needs <= features() and _has(planned, key)]


def _has(make: Callable[[str], State], key: str) -> bool:
    try:
        return bool(make(key))
    except MissingFeature:  # of the topology
        return False


def test_a_lab_goes_from_mode_to_mode_and_leaves_nothing_behind(world: World, on_kernel: str) -> None:
    from plugins.registry import MODES

    keys = possible()
    assert {"hybridnet-vxlan", "calico-bgp"} <= set(keys)
    assert on_kernel != "embedded" or keys == list(MODES)
    first = {}
    for key in [*keys, keys[0]]:
        state = planned(key)
        wanted = world.engine.plan(state)
        done = world.engine.apply(state)
        assert bool(wanted) == bool(done.made + done.removed), key
        assert world.engine.plan(state) == [], key
        assert world.engine.apply(state).messages == 0, key
        first = first or {name: content(world, name) for name in state.names}
    assert {name: content(world, name) for name in first} == first


BREAKING = {
    "filter rule": "{iptables} -t nat -D POSTROUTING 1",
    "one more filter rule": "{iptables} -t mangle -A FORWARD -j DROP",
    "IPv6 filter rule": "{ip6tables} -t mangle -F",
    "set": "ipset del HYBR-NODE-IP 192.168.1.2",
    "qdisc": "tc qdisc del dev eth0 root",
    "rate": "tc qdisc change dev eth0 root tbf rate 1mbit burst 10k latency 50ms",
}


def test_filters_sets_and_queueing_are_repaired(world: World) -> None:
    from kernel.firewall import backend

    hybridnet, kind = planned("hybridnet-vxlan"), backend()
    node = next(name for name in hybridnet.names if hybridnet[name].filters)
    state = merge((hybridnet, State((Netns(node, shaping=(Shaping("eth0", rate_bps=10_000_000),)),))))
    world.engine.apply(state)
    before = _saved(world, node, kind)
    for what, command in BREAKING.items():
        world.run(node, command.format(iptables=f"iptables-{kind}", ip6tables=f"ip6tables-{kind}"))
        assert world.engine.plan(state), f"{what}: the plan does not see it"
        world.engine.apply(state)
        assert world.engine.plan(state) == [], what
        assert _saved(world, node, kind) == before, what


def _saved(world: World, node: str, kind: str) -> list[str]:
    """Rules, sets and disciplines, without comments, counters and the sets' random numbers."""
    commands = (f"iptables-{kind}-save", f"ip6tables-{kind}-save", "ipset save", "tc qdisc show dev eth0")
    lines = [line for command in commands for line in world.run(node, command).splitlines()]
    return sorted(re.split(r" \[|initval", line)[0] for line in lines if not line.startswith("#"))


def content(world: World, name: str) -> dict[str, list[str]]:
    """What is there, in no order, and without MACs: those that nobody stated are random."""
    actual = world.engine.read(name)
    links = tuple(replace(link, mac=None) for link in actual.links)
    return {part: sorted(map(str, getattr(replace(actual, links=links), part))) for part in PARTS}
