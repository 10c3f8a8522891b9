"""VXLAN on the wire (RFC 7348), as Linux speaks it: three tunnel ends on one bridge, and packets made by hand.

What each mode's tunnel looks like is checked where that mode's lab is up; here is what it takes, refuses and repeats.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from functools import partial

import pytest

from kernel import carrier
from kernel.engine import Engine
from kernel.namespaces import Namespaces
from kernel.state import Address, Bridge, Fdb, Link, Netns, State, Veth, Vxlan
from paths.capture import Frame
from tests.lab import wire
from tests.lab.calico import echo, ipv4, send_raw, udp
from tests.lab.frames import captured, ends, having, ping

VNI, PORT = 1234567, 4789
ENDS = ("v1", "v2", "v3")
HEADER = bytes.fromhex("0800000012d68700")
ALL_ZERO = "00:00:00:00:00:00"


def outer(name: str) -> str:
    return f"192.0.2.{name[1:]}"


def inner(name: str) -> str:
    return f"10.9.0.{name[1:]}"


def mac(name: str) -> str:
    return f"02:00:00:00:09:0{name[1:]}"


class World:
    """v1 and v2 learn MAC addresses, v3 does not; each replicates to both others."""

    def __init__(self) -> None:
        self.namespaces = Namespaces()
        self.engine = Engine(self.namespaces)
        wires = tuple(Veth(name, master="br", peer_netns=name, peer=Link("eth0")) for name in ENDS)
        lan = Netns("lan", links=(Bridge("br"), *wires))
        self.engine.apply(State((lan, *(self._end(name) for name in ENDS))))
        assert carrier.wait(self.namespaces, [("lan", name) for name in ENDS], 5.0) == []

    def _end(self, name: str) -> Netns:
        tunnel = Vxlan("vx", mac=mac(name), vni=VNI, dev="eth0", local=outer(name), port=PORT, learning=name != "v3")
        return Netns(
            name,
            links=(tunnel,),
            addresses=(Address("eth0", f"{outer(name)}/24"), Address("vx", f"{inner(name)}/24")),
            fdb=tuple(Fdb("vx", ALL_ZERO, outer(other)) for other in ENDS if other != name),
        )

    def answers(self, packet: bytes, target: str = "v1") -> bool:
        """Whether the stack behind `target`'s tunnel answers the echo request inside `packet`, which v2 sends."""
        assert ping(self, target, inner("v2"))  # who has 10.9.0.2 is known, and where
        with captured(self, target) as frames:
            send_raw(self, "v2", packet)
            assert ping(self, "v2", inner(target))  # what was sent before is answered by now, or never
        self.seen = frames
        reply = having([f for f in frames if f.outgoing and b"podpath!" in f.raw], "ICMP 0", device="vx")
        return bool(reply)


def packet(
    header: bytes = HEADER, port: int = PORT, source: str = "192.0.2.2", tag: bytes = b"", target: str = "v1"
) -> bytes:
    """A tunnel packet with an echo request from v2 inside; its UDP checksum is zero."""
    ethernet = bytes.fromhex((mac(target) + mac("v2")).replace(":", "")) + tag + wire.IPV4
    return ipv4(source, outer(target), 17, udp(port, header + ethernet + ipv4(inner("v2"), inner(target), 1, echo())))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    found = World()
    yield found
    found.engine.close()
    found.namespaces.close()


def tunnelled(frames: list[Frame], source: str, target: str) -> list[Frame]:
    return wire.between([one for one in frames if one.netns == "lan"], outer(source), outer(target))


def source_port(frame: Frame) -> int:
    return int(struct.unpack_from("!H", frame.raw, 34)[0])


@pytest.mark.case("VX-01", "VX-02", "VX-06", "VX-07", "VX-13")
def test_what_linux_sends(world: World) -> None:
    with captured(world, "lan") as frames:
        assert ping(world, "v1", inner("v2")) and ping(world, "v1", inner("v2"), size=1000, whole=True)
    check = partial(wire.vxlan, vni=VNI, port=PORT)
    assert wire.faults(tunnelled(frames, "v1", "v2") + tunnelled(frames, "v2", "v1"), check) == []
    assert check(next(f.raw for f in frames if f.raw[42:50] == HEADER)) == []


@pytest.mark.case("VX-03", "VX-04")
@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("0800000012d68700", True),
        ("0c00000012d68700", False),
        ("0800010012d68700", False),
        ("0800000012d68701", False),
        ("0000000012d68700", False),
        ("0800000012d68800", False),
    ],
    ids=["good", "reserved flag", "reserved bits", "reserved byte", "no I flag", "another VNI"],
)
def test_which_header_is_taken(world: World, header: str, taken: bool) -> None:
    """RFC 7348 has reserved bits ignored on receipt; Linux drops such packets (drivers/net/vxlan, vxlan_rcv)."""
    assert world.answers(packet(bytes.fromhex(header))) == taken


@pytest.mark.case("VX-04")
def test_another_port_is_refused(world: World) -> None:
    assert not world.answers(packet(port=8472))
    assert having(world.seen, ends(outer("v1"), outer("v2")), "ICMP 3", device="eth0")


@pytest.mark.case("VX-05")
def test_the_source_port_is_the_inner_flows(world: World) -> None:
    with captured(world, "lan") as frames:
        assert ping(world, "v1", inner("v2")) and ping(world, "v1", inner("v2"))
        with world.namespaces.inside("v1"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("", 5000))
            for port in range(6000, 6008):
                sock.sendto(b"x", (inner("v2"), port))
    sent = tunnelled(frames, "v1", "v2")
    pings = {source_port(f) for f in sent if having([f], "ICMP 8")}
    flows = {source_port(f) for f in sent if having([f], "VXLAN 1234567", "IPv4 10.9.0.1 > 10.9.0.2", "UDP 6003")}
    several = {source_port(f) for f in sent if any(having([f], f"UDP {port}") for port in range(6000, 6008))}
    assert len(pings) == len(flows) == 1 and len(several) > 1
    assert all(32768 <= port <= 60999 for port in pings | several), "net.ipv4.ip_local_port_range"


@pytest.mark.case("VX-06")
def test_a_checksum_of_zero_is_taken(world: World) -> None:
    """All that is made here by hand has none; so a packet with a wrong one is needed to see that others are read."""
    good = packet()
    assert good[26:28] == b"\0\0" and world.answers(good)
    assert not world.answers(good[:26] + b"\x12\x34" + good[28:])


@pytest.mark.case("VX-07")
def test_dont_fragment_stays_inside(world: World) -> None:
    with captured(world, "lan") as frames:
        assert ping(world, "v1", inner("v2"), whole=True)
    found = [wire.packet(f.raw) for f in tunnelled(frames, "v1", "v2") if having([f], "ICMP 8")]
    assert found and all(one and not one.dont_fragment for one in found)
    assert all(one and wire.packet(one.payload[16:]).dont_fragment for one in found)  # type: ignore[union-attr]


@pytest.mark.case("VX-08")
def test_1450_bytes_fit_and_no_more(world: World) -> None:
    with captured(world, "lan") as frames:
        assert ping(world, "v1", inner("v2"), size=1422, whole=True)
    assert max(len(f.raw) for f in tunnelled(frames, "v1", "v2")) == 14 + 1500
    with pytest.raises(OSError) as refused:
        ping(world, "v1", inner("v2"), size=1423, whole=True)
    assert refused.value.errno == errno.EMSGSIZE


@pytest.mark.case("VX-09")
def test_a_tag_inside_is_not_for_the_untagged_device(world: World) -> None:
    """But a priority tag is no VLAN."""
    assert not world.answers(packet(tag=wire.VLAN + b"\0\x05"))
    assert world.answers(packet(tag=wire.VLAN + b"\xa0\0"))


@pytest.mark.case("VX-10")
@pytest.mark.parametrize("target", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb", "02:00:00:00:00:99"])
def test_what_has_no_entry_goes_to_each_end_once(world: World, target: str) -> None:
    mark = b"podpath replication " + target.encode()
    with captured(world, *ENDS, "lan") as frames:
        with world.namespaces.inside("v1"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("vx", 0))
            sock.send(bytes.fromhex((target + mac("v1")).replace(":", "")) + b"\x88\xb5" + mark.ljust(46, b"\0"))
        assert ping(world, "v2", inner("v1")) and ping(world, "v3", inner("v1"))
    copies = [f for f in frames if f.netns == "v1" and f.device == "eth0" and mark in f.raw]
    heads = [wire.packet(f.raw) for f in copies]
    assert sorted(head.target for head in heads if head) == [outer("v2"), outer("v3")]
    assert all(f.outgoing for f in copies) and len({source_port(f) for f in copies}) == 1
    arrived = sorted(f.netns for f in frames if f.device == "vx" and not f.outgoing and mark in f.raw)
    assert arrived == ["v2", "v3"], "not once to each, or back to the sender"


@pytest.mark.case("VX-11", "VX-12")
def test_an_end_that_nobody_knows_is_believed_and_learned_where_learning_is_on(world: World) -> None:
    """The trust that RFC 7348 (section 7) leaves to the network; calico's filter closes it (test_a7 of its tunnels)."""
    source = "192.0.2.66"
    assert world.answers(packet(source=source)), "an end in no forwarding entry"
    forged = world.namespaces.run("v1", ["bridge", "fdb", "show", "dev", "vx"]).stdout
    assert f"{mac('v2')} dst 192.0.2.2 self" in forged, "the ping afterwards comes from v2's own end again"
    with captured(world, "v1", "v3"):
        for target in ("v1", "v3"):
            send_raw(world, "v2", packet(source=source, target=target).replace(bytes.fromhex("020000000902"), FORGED))
        assert ping(world, "v2", inner("v1")) and ping(world, "v2", inner("v3"))
    entry = f"{FORGED.hex(':')} dst {source} self"
    tables = {name: world.namespaces.run(name, ["bridge", "fdb", "show", "dev", "vx"]).stdout for name in ("v1", "v3")}
    assert entry in tables["v1"] and FORGED.hex(":") not in tables["v3"]


FORGED = bytes.fromhex("020000000977")
