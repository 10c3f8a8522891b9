"""Namespaces with an engine of their own, and states to try it with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernel import diff
from kernel.engine import Engine
from kernel.namespaces import Namespaces
from kernel.state import (
    Address,
    Bridge,
    Fdb,
    Link,
    Macvlan,
    Neighbour,
    Netns,
    NextHop,
    Route,
    Rule,
    State,
    Sysctl,
    Veth,
    Vxlan,
)

MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


class World:
    """Namespaces and their engine."""

    def __init__(self) -> None:
        self.namespaces = Namespaces()
        self.engine = Engine(self.namespaces)

    def close(self) -> None:
        self.engine.close()
        self.namespaces.close()

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


def planned(key: str) -> State:
    from cluster.lab import features, plan
    from plugins.registry import mode
    from topologies.spec import preset

    found = mode(*key.split("-", 1))
    return plan(preset(found.preset or "default"), *key.split("-", 1), features()).state
