"""IPIP on the wire (RFC 2003), as Linux speaks it: p1 - h1 = r1 - r2 = h2 - p2, a tunnel from h1 to h2.

What calico's tunnels look like is checked where they are up; here are the cases that need a path to be changed.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

import pytest

from kernel import carrier
from kernel.engine import Engine
from kernel.namespaces import Namespaces
from kernel.state import Address, Ipip, Link, Netns, Route, State, Sysctl, Veth
from paths.capture import Frame
from tests.lab import wire
from tests.lab.calico import echo, ipv4, send_raw
from tests.lab.frames import captured, ends, having, ping

pytestmark = pytest.mark.only("embedded")
P1, P2, H1, H2 = "10.8.1.2", "10.8.2.2", "10.1.1.1", "10.1.3.2"
FORWARDS = (Sysctl("net.ipv4.ip_forward", "1"),)


def cable(device: str, to: str, there: str = "eth0") -> Veth:
    return Veth(device, peer_netns=to, peer=Link(there))


def end(name: str, other: str, pod: str, pods: str) -> Netns:
    """A tunnel's end: its pod on eth1, the other's pods by the tunnel, all else by the router."""
    local, remote = (H1, H2) if name == "h1" else (H2, H1)
    return Netns(
        name,
        links=(cable("eth1", pod), Ipip("tun", dev="eth0", local=local, remote=remote)),
        addresses=(Address("eth0", f"{local}/24"), Address("eth1", f"{pods}.1/24"), Address("tun", f"{pods}.1/32")),
        routes=(Route("0.0.0.0/0", dev="eth0", via=f"{local.rpartition('.')[0]}.9"), Route(other, dev="tun")),
        sysctls=FORWARDS,
    )


def pod(name: str, address: str) -> Netns:
    gateway = address.rpartition(".")[0] + ".1"
    addresses, default = (Address("eth0", f"{address}/24"),), Route("0.0.0.0/0", dev="eth0", via=gateway)
    return Netns(name, addresses=addresses, routes=(default,))


def router(name: str, left: str, right: str, behind: str, via: str, links: tuple[Link, ...]) -> Netns:
    addresses = (Address("eth0", f"{left}/24"), Address("eth1", f"{right}/24"))
    out = "eth1" if via.rpartition(".")[0] == right.rpartition(".")[0] else "eth0"
    return Netns(name, links=links, addresses=addresses, routes=(Route(behind, dev=out, via=via),), sysctls=FORWARDS)


STATE = State(
    (
        end("h1", "10.8.2.0/24", "p1", "10.8.1"),
        end("h2", "10.8.1.0/24", "p2", "10.8.2"),
        pod("p1", P1),
        pod("p2", P2),
        router("r1", "10.1.1.9", "10.1.2.1", "10.1.3.0/24", "10.1.2.2", (cable("eth0", "h1"), cable("eth1", "r2"))),
        router("r2", "10.1.2.2", "10.1.3.9", "10.1.1.0/24", "10.1.2.1", (cable("eth1", "h2"),)),
    )
)


class World:
    def __init__(self) -> None:
        self.namespaces = Namespaces()
        self.engine = Engine(self.namespaces)
        self.engine.apply(STATE)
        places = [(ns.name, device) for ns in STATE.namespaces for device in ("eth0", "eth1") if ns.name[0] != "p"]
        assert carrier.wait(self.namespaces, places, 5.0) == []

    def run(self, name: str, command: str) -> str:
        done = self.namespaces.run(name, command.split())
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def tunnel(self, *options: str) -> None:
        """Changes h1's end; what is not said has Linux's default."""
        self.run("h1", f"ip tunnel change tun mode ipip local {H1} remote {H2} dev eth0 {' '.join(options)}")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    found = World()
    yield found
    found.engine.close()
    found.namespaces.close()


def sent(world: World, size: int = 56, whole: bool = False) -> list[Frame]:
    """The tunnel packets of one ping from p1 to p2, as they leave h1."""
    with captured(world, "r1") as frames:
        assert ping(world, "p1", P2, size=size, whole=whole)
    return [one for one in wire.between(frames, H1, H2) if one.device == "eth0"]


def by_hand(world: World, tos: int = 0) -> list[Frame]:
    """The tunnel packets, as they leave h1, of an echo request from p1 that may be fragmented, as no socket's may."""
    inner = bytearray(ipv4(P1, P2, 1, echo()))
    inner[1] = tos
    with captured(world, "r1") as frames:
        send_raw(world, "p1", bytes(inner))
        assert ping(world, "p1", P2)  # the other has passed by now
    found = [one for one in wire.between(frames, H1, H2) if one.device == "eth0" and b"podpath!" in one.raw]
    assert found
    return found


@pytest.mark.case("IP-01", "IP-02", "IP-03", "IP-06", "IP-09")
def test_what_linux_sends(world: World) -> None:
    """The inner TTL is one less, for h1 forwarded it; the outer is the same, and routers take from that alone."""
    frames = sent(world) + sent(world, whole=True)
    assert wire.faults(frames, wire.ipip) == []
    assert {wire.parsed(head.payload).ttl for one in frames if (head := wire.packet(one.raw))} == {63}
    with captured(world, "h2") as arrived:
        assert ping(world, "p1", P2)
    heads = [wire.packet(one.raw) for one in wire.between(arrived, H1, H2)]
    assert {(head.ttl, wire.parsed(head.payload).ttl) for head in heads if head} == {(61, 63)}


@pytest.mark.case("IP-02", "IP-03")
def test_what_options_change(world: World) -> None:
    """A TTL of its own; and without path MTU discovery the inner DF is copied, which the check above would see."""
    try:
        world.tunnel("ttl", "64")
        assert wire.faults(sent(world), lambda frame: wire.ipip(frame, ttl=64)) == []
        world.tunnel("ttl", "0", "nopmtudisc")
        assert wire.faults(by_hand(world), wire.ipip) == ["IP-03: may be fragmented"]
        assert wire.faults(sent(world, whole=True), wire.ipip) == []
    finally:
        world.tunnel("ttl", "0", "pmtudisc")
    assert wire.faults(by_hand(world), wire.ipip) == [], "by default DF is set outside though it is clear inside"


@pytest.mark.case("IP-06")
def test_the_type_of_service_stays_inside_unless_it_is_to_be_copied(world: World) -> None:
    for option, outside in (("0", 0), ("inherit", 0xB8)):
        world.tunnel("tos", option)
        heads = [wire.packet(one.raw) for one in by_hand(world, tos=0xB8)]
        assert {(head.tos, wire.parsed(head.payload).tos) for head in heads if head} == {(outside, 0xB8)}
    world.tunnel("tos", "0")


@pytest.mark.case("IP-04")
def test_1480_bytes_fit_and_no_more(world: World) -> None:
    assert " mtu 1480 " in world.run("h1", "ip link show tun")
    assert max(len(one.raw) for one in sent(world, size=1452, whole=True)) == 14 + 1500
    with captured(world, "p1") as frames:
        assert ping(world, "p1", P2, size=1453, whole=True, timeout_s=0.2) is None
    assert too_big(frames) == {("10.8.1.1", 1480)}
    with pytest.raises(OSError) as refused:
        ping(world, "p1", P2, size=1453, whole=True)
    assert refused.value.errno == errno.EMSGSIZE


def too_big(frames: list[Frame]) -> set[tuple[str, int]]:
    """Who said "fragmentation needed", and the MTU that it named (RFC 1191)."""
    heads = [wire.packet(one.raw) for one in frames]
    said = [head for head in heads if head and head.protocol == 1 and head.payload[:2] == b"\3\4"]
    return {(head.source, int(struct.unpack_from("!H", head.payload, 6)[0])) for head in said}


@pytest.mark.case("IP-05")
def test_a_narrow_link_inside_the_tunnels_path_is_told_to_the_sender(world: World) -> None:
    """RFC 2003, section 5: h1 learns it from the first packet, which is lost; from then on it answers by itself."""
    for name, device in (("r1", "eth1"), ("r2", "eth0")):
        world.run(name, f"ip link set {device} mtu 1300")
    try:
        with captured(world, "p1", "h1") as frames:
            assert ping(world, "p1", P2, size=1372, whole=True, timeout_s=0.2) is None
        assert too_big([one for one in frames if one.netns == "h1" and one.device == "eth0"]) == {("10.1.1.9", 1300)}
        assert too_big([one for one in frames if one.netns == "p1"]) == set(), "nothing is said of the first"
        with captured(world, "p1") as frames:
            assert ping(world, "p1", P2, size=1372, whole=True, timeout_s=0.2) is None
        assert too_big(frames) == {("10.8.1.1", 1280)}
        with pytest.raises(OSError) as refused:
            ping(world, "p1", P2, size=1253, whole=True)
        assert refused.value.errno == errno.EMSGSIZE
        assert ping(world, "p1", P2, size=1252, whole=True)
    finally:
        for name, device in (("r1", "eth1"), ("r2", "eth0")):
            world.run(name, f"ip link set {device} mtu 1500")
        for name in ("p1", "h1"):
            world.run(name, "ip route flush cache")


@pytest.mark.case("IP-07")
def test_a_tunnel_does_not_go_into_itself(world: World) -> None:
    """A tunnel bound to no device, whose far end is routed through it; what is sent is counted as an error."""
    far = "10.1.3.77"
    world.run("h1", f"ip link add loop type ipip local {H1} remote {far}")
    try:
        world.run("h1", "ip link set loop up")
        assert counters(world) == (0, 0)
        for behind in (f"{far}/32", "10.8.3.0/24"):
            world.run("h1", f"ip route add {behind} dev loop")
        with captured(world, "r1") as frames:
            assert ping(world, "p1", "10.8.3.2", timeout_s=0.2) is None
        assert wire.between(frames, H1, far) == []
        assert min(counters(world)) > 0
    finally:
        world.run("h1", "ip link del loop")


def counters(world: World) -> tuple[int, int]:
    """Errors and collisions in sending, which is where ip_tunnel_xmit counts a loop."""
    lines = world.run("h1", "ip -s link show loop").splitlines()
    words = lines[next(at for at, line in enumerate(lines) if "TX:" in line) + 1].split()
    return int(words[2]), int(words[5])


@pytest.mark.case("IP-08")
def test_only_the_remote_is_let_in(world: World) -> None:
    inner = ipv4(P2, P1, 1, echo())
    for sender, source, arrives in (("h2", H2, True), ("r2", "10.1.2.2", False)):
        with captured(world, "p1", "h1") as frames:
            send_raw(world, sender, ipv4(source, H1, 4, inner))
            assert ping(world, "p2", P1)
        assert any(b"podpath!" in one.raw for one in frames if one.netns == "p1") == arrives
        assert bool(having(frames, ends(H1, source), "ICMP 3", device="eth0")) != arrives
