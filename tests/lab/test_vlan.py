"""The lab's switches as IEEE 802.1Q bridges, frame by frame: what goes in at which port, where it comes out and with
which tags. Frames made by hand go in, raw captures come out; the machine's kernel may have no VLAN-aware bridge."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from cluster.links import joined
from kernel import carrier
from kernel.engine import Engine
from kernel.namespaces import Namespaces
from paths.capture import Frame
from tests.lab import wire
from tests.lab.frames import captured, having, layers, ping, ttl
from topologies.source import parse
from topologies.underlay import underlay

pytestmark = pytest.mark.only("embedded")

TEXT = """
name: vlans
pools: [{cidr: 10.244.0.0/16, block: 26}]
pods_per_node: 0
switches: [{name: s1}, {name: s2}]
links: [{ends: [s1, s2]}]
nodes:
  - {name: a, switch: s1, vlan: 10, addresses: [192.168.10.1/24]}
  - {name: c, switch: s1, vlan: 20, addresses: [192.168.20.1/24]}
  - {name: b, switch: s1, trunk: [10, 20], vlan: 99, addresses: [192.168.1.2/24]}
  - {name: t, switch: s1, trunk: [10, 20], addresses: [192.168.1.3/24]}
  - {name: d, switch: s2, vlan: 10, addresses: [192.168.10.2/24]}
  - {name: e, switch: s2, vlan: 20, addresses: [192.168.20.2/24]}
  - {name: n, switch: s2, trunk: [20], vlan: 10, addresses: [192.168.10.4/24]}
  - {name: plain, switch: s2, addresses: [192.168.1.5/24]}
router:
  name: gw
  asn: 64999
  ports:
    - {switch: s1, vlan: 10, addresses: [192.168.10.254/24]}
    - {switch: s1, vlan: 20, addresses: [192.168.20.254/24]}
"""
HOSTS = ("a", "c", "b", "t", "d", "e", "n", "plain")
"""Access ports, trunks with a native VLAN of their own, with none and with one that is an access VLAN too, and a port
that knows nothing of VLANs."""
EVERYBODY, NOBODY = "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:99"
ETHERTYPE = b"\x88\xb5"
"""For local experiments (IEEE 802)."""
Tags = tuple[int, ...]
"""Tag control information of each tag, the outermost first."""
Heard = dict[str, set[Tags]]
"""Port -> how frames were tagged there; `wire` is the link of the two switches."""
U: Tags = ()
IN_10: dict[str, Tags] = {"a": U, "b": (10,), "t": (10,), "d": U, "n": U, "gw-0": U, "wire": (10,)}
IN_20: dict[str, Tags] = {"c": U, "b": (20,), "t": (20,), "e": U, "n": (20,), "gw-1": U, "wire": (20,)}


def but(host: str, members: dict[str, Tags], inner: Tags = ()) -> Heard:
    """What a frame that is flooded from `host` is heard as, with further tags inside."""
    return {name: {(*tags, *inner)} for name, tags in members.items() if name != host}


class World:
    """The underlay alone, no plugin on it."""

    def __init__(self) -> None:
        self.namespaces = Namespaces()
        self.engine = Engine(self.namespaces)
        self.apply(TEXT)

    def apply(self, text: str) -> None:
        state = underlay(parse(text, "vlans.yaml"))
        self.engine.apply(state)
        assert carrier.wait(self.namespaces, joined(state), 10) == []

    def sent(self, host: str, tags: Tags = U, target: str = EVERYBODY) -> Heard:
        """Sends one frame from `host`; where it is heard. What left a switch's port is what came to the host there."""
        mark = os.urandom(46)
        source = bytes.fromhex(f"0200000000{HOSTS.index(host):02x}")
        stack = b"".join(wire.VLAN + struct.pack("!H", tci) for tci in tags)
        with captured(self, *HOSTS, "s1", "s2") as frames, self._nic(host) as sock:
            sock.send(bytes.fromhex(target.replace(":", "")) + source + stack + ETHERTYPE + mark)
        seen = [one for one in frames if mark in one.raw]
        left = _tags(seen, lambda one: one.device if one.netns in ("s1", "s2") and one.outgoing else None)
        came = _tags(seen, lambda one: one.netns if one.netns in HOSTS and not one.outgoing else None)
        between = left.pop("s1", set()) | left.pop("s2", set())
        assert {name: found for name, found in left.items() if name in HOSTS} == came
        return left | ({"wire": between} if between else {})

    def _nic(self, host: str) -> socket.socket:
        with self.namespaces.inside(host):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sock.bind(("eth0", 0))
            return sock


def _tags(frames: Iterable[Frame], place: Any) -> Heard:
    found: Heard = {}
    for one in frames:
        if (name := place(one)) is not None:
            found.setdefault(name, set()).add(wire.tags(one.raw))
    return found


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.engine.close()
    world.namespaces.close()


@pytest.mark.case("L2-01", "L2-02", "L2-03", "L2-04", "L2-05", "L2-06", "L2-07", "L2-08", "L2-11")
@pytest.mark.parametrize(
    ("host", "tags", "out"),
    [
        pytest.param("a", U, but("a", IN_10), id="L2-01 untagged into an access port"),
        pytest.param("e", U, but("e", IN_20), id="L2-01 and of VLAN 20 on the other switch"),
        pytest.param("b", (10,), but("b", IN_10), id="L2-02 tag 10 from a trunk"),
        pytest.param("b", (20,), but("b", IN_20), id="L2-03 tag 20 from a trunk"),
        pytest.param("b", U, {"wire": {(99,)}}, id="L2-04 untagged on a trunk of native 99"),
        pytest.param("t", U, {}, id="L2-04 untagged on a trunk without a native VLAN"),
        pytest.param("b", (30,), {}, id="L2-05 a tag that the port does not carry"),
        pytest.param("t", (30,), {}, id="L2-05 nor that one"),
        pytest.param("a", (10,), but("a", IN_10), id="L2-06 an access port's own tag"),
        pytest.param("a", (20,), {}, id="L2-07 another VLAN's tag into an access port"),
        pytest.param("plain", (10,), {}, id="L2-07 a tag into a port without VLANs"),
        pytest.param("plain", U, {"wire": {U}}, id="ports without VLANs stay among themselves"),
        pytest.param("n", U, but("n", IN_10), id="L2-11 untagged on a trunk of native 10"),
        pytest.param("n", (20,), but("n", IN_20), id="tag 20 from that trunk"),
    ],
)
def test_where_a_frame_comes_out(world: World, host: str, tags: Tags, out: Heard) -> None:
    """All that hear it are named, so no frame of one VLAN is on a port of another. L2-06: Linux takes it for a frame of
    VLAN 10, where a strict bridge drops it. Between switches, VLAN 1 is the native one."""
    assert world.sent(host, tags) == out


@pytest.mark.case("L2-08")
def test_a_priority_tag_gets_the_ports_vlan_and_keeps_its_priority(world: World) -> None:
    heard = world.sent("a", (0xA000,))
    assert heard["b"] == heard["t"] == heard["wire"] == {(0xA00A,)}
    assert heard.keys() == but("a", IN_10).keys()


@pytest.mark.case("L2-09", "L2-10")
def test_hopping_needs_a_native_vlan_that_is_also_an_access_vlan(world: World) -> None:
    """The inner tag is payload: all get it and have no such VLAN. But a trunk of native 10 takes the outer tag off, and
    the next bridge would read the inner one: the known attack, so that L2-09 is seen to be able to fail."""
    heard = world.sent("a", (10, 20))
    assert heard == but("a", IN_10, (20,))
    assert (heard["b"], heard["n"]) == ({(10, 20)}, {(20,)})
    assert not heard.keys() & {"c", "e", "gw-1"}


@pytest.mark.case("L2-12", "M05")
@pytest.mark.parametrize(("vid", "possible"), [(0, True), (4094, True), (4095, False)])
def test_which_vlans_there_are(world: World, vid: int, possible: bool) -> None:
    run = world.namespaces.run
    made = run("t", ["ip", "link", "add", "link", "eth0", "name", "test", "type", "vlan", "id", str(vid)])
    run("t", ["ip", "link", "del", "test"])
    assert (made.returncode == 0) == possible, made.stderr
    if not possible:
        assert run("s1", ["bridge", "vlan", "add", "dev", "t", "vid", str(vid)]).returncode != 0


@pytest.mark.case("L2-13")
def test_a_tag_comes_on_top_of_the_mtu(world: World) -> None:
    run: Any = world.namespaces.run
    run("t", ["ip", "link", "add", "link", "eth0", "name", "eth0.10", "type", "vlan", "id", "10"])
    try:
        run("t", ["ip", "addr", "add", "192.168.10.3/24", "dev", "eth0.10"])
        run("t", ["ip", "link", "set", "eth0.10", "up"])
        assert " mtu 1500 " in run("t", ["ip", "link", "show", "eth0.10"]).stdout
        with captured(world, "s1") as frames:
            assert ping(world, "t", "192.168.10.2", size=1472, whole=True)
    finally:
        run("t", ["ip", "link", "del", "eth0.10"])
    sent = having((f for f in frames if len(f.raw) == 14 + 4 + 1500), "VLAN 10", "ICMP 8", device="t")
    assert sent, "no whole packet with a tag"


@pytest.mark.case("L2-14")
def test_flooding_stays_in_the_vlan_and_each_vlan_learns_for_itself(world: World) -> None:
    assert world.sent("a", target=NOBODY) == but("a", IN_10)
    world.sent("b", (10,))
    world.sent("b", (20,))
    mine = "02:00:00:00:00:02"
    learned = world.namespaces.run("s1", ["bridge", "fdb", "show", "br", "s1"]).stdout
    known = [line.split() for line in learned.splitlines() if line.startswith(f"{mine} dev b vlan")]
    assert {"10", "20"} <= {words[4] for words in known}
    assert world.sent("a", target=mine) == {"b": {(10,)}}  # known, and not flooded


@pytest.mark.case("L2-15")
def test_hosts_of_two_vlans_do_not_talk_even_in_one_subnet(world: World) -> None:
    run: Any = world.namespaces.run
    run("c", ["ip", "addr", "add", "192.168.10.21/24", "dev", "eth0"])
    try:
        assert ping(world, "a", "192.168.10.2")
        with captured(world, "c", "d") as frames:
            assert ping(world, "a", "192.168.10.21", timeout_s=0.3) is None
    finally:
        run("c", ["ip", "addr", "del", "192.168.10.21/24", "dev", "eth0"])
    assert {one.netns for one in frames if having([one], "ARP asks 192.168.10.21") and not one.outgoing} == {"d"}


@pytest.mark.case("L2-16")
@pytest.mark.parametrize(
    ("target", "forwarded"),
    [("01:80:c2:00:00:0e", False), ("01:80:c2:00:00:00", True), ("01:80:c2:00:00:21", True)],
    ids=["LLDP", "STP", "GVRP"],
)
def test_reserved_addresses(world: World, target: str, forwarded: bool) -> None:
    """Linux forwards STP's while it runs none itself, and GVRP's; an 802.1Q bridge stops STP's too."""
    assert world.sent("a", target=target) == (but("a", IN_10) if forwarded else {})


def hops(frames: Iterable[Frame], source: str, target: str, device: str) -> list[tuple[Tags, int]]:
    """Tags and TTL of the requests from one address to another on a device of s1."""
    wanted = f"IPv4 {source} > {target}"
    seen = [frame for frame in frames if (frame.netns, frame.device) == ("s1", device) and wanted in layers(frame.raw)]
    return sorted({(wire.tags(frame.raw), ttl(frame.raw)) for frame in seen}, reverse=True)


@pytest.mark.case("H04")
def test_between_vlans_packets_go_through_the_router(world: World) -> None:
    with captured(world, "s1", "s2") as frames:
        assert ping(world, "a", "192.168.20.2") is not None
    assert hops(frames, "192.168.10.1", "192.168.20.2", "gw-0") == [(U, 64)]
    assert hops(frames, "192.168.10.1", "192.168.20.2", "gw-1") == [(U, 63)]
    assert hops(frames, "192.168.10.1", "192.168.20.2", "s2") == [((20,), 63)]
    with captured(world, "s1") as frames:
        assert ping(world, "a", "192.168.10.2") is not None
    assert not hops(frames, "192.168.10.1", "192.168.10.2", "gw-0"), "within a VLAN the router sees none of it"
    assert hops(frames, "192.168.10.1", "192.168.10.2", "s2") == [((10,), 64)]


def test_a_port_moves_to_another_vlan_while_the_lab_runs(world: World) -> None:
    moved = TEXT.replace("{name: d, switch: s2, vlan: 10", "{name: d, switch: s2, vlan: 20")
    moved = moved.replace("{name: t, switch: s1, trunk: [10, 20]", "{name: t, switch: s1, trunk: [20], vlan: 10")
    world.apply(moved)
    now_10, now_20 = IN_10 | {"t": U}, IN_20 | {"d": U}
    del now_10["d"]
    assert world.sent("a") == but("a", now_10)
    assert world.sent("c") == but("c", now_20)
    assert world.engine.plan(underlay(parse(moved, "moved.yaml"))) == []
    world.apply(TEXT)
    assert world.sent("a") == but("a", IN_10)


def test_the_check_itself_sees_a_leak(world: World) -> None:
    """A VLAN put on a port by hand lets its frames out, and the capture must show them."""
    run: Any = world.namespaces.run
    assert run("s2", ["bridge", "vlan", "add", "dev", "e", "vid", "10", "untagged"]).returncode == 0
    try:
        assert world.sent("a") == but("a", IN_10) | {"e": {U}}
    finally:
        assert run("s2", ["bridge", "vlan", "del", "dev", "e", "vid", "10"]).returncode == 0
    assert world.sent("a") == but("a", IN_10)
