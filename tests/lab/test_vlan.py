"""802.1Q on the lab's switches, frame by frame: access and trunk ports, native VLANs, and no way between VLANs but
the router. Raw frames in, raw captures out; the machine's kernel may have no VLAN-aware bridge, so on the embedded one.
"""

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
from tests.lab.frames import captured, layers, ping, ttl
from topologies.source import parse
from topologies.underlay import underlay

pytestmark = pytest.mark.only("embedded")

ETHERTYPE = 0x88B5
"""For local experiments (IEEE 802)."""
EVERYBODY = bytes.fromhex("ffffffffffff")
PORTS = {"a10": "s1", "b10": "s2", "a20": "s1", "b20": "s2", "t": "s1", "n": "s2", "plain": "s2"}
"""Each host and its switch: access ports in VLAN 10 and 20 on both; a trunk without and one with a native VLAN."""
TEXT = """
name: vlans
pools: [{cidr: 10.244.0.0/16, block: 26}]
switches: [{name: s1}, {name: s2}]
links: [{ends: [s1, s2]}]
nodes:
  - {name: a10, switch: s1, vlan: 10, addresses: [192.168.10.1/24]}
  - {name: b10, switch: s2, vlan: 10, addresses: [192.168.10.2/24]}
  - {name: a20, switch: s1, vlan: 20, addresses: [192.168.20.1/24]}
  - {name: b20, switch: s2, vlan: 20, addresses: [192.168.20.2/24]}
  - {name: t, switch: s1, trunk: [10, 20], addresses: [192.168.1.3/24]}
  - {name: n, switch: s2, trunk: [20], vlan: 10, addresses: [192.168.10.4/24]}
  - {name: plain, switch: s2, addresses: [192.168.1.5/24]}
router:
  name: gw
  asn: 64999
  ports:
    - {switch: s1, vlan: 10, addresses: [192.168.10.254/24]}
    - {switch: s1, vlan: 20, addresses: [192.168.20.254/24]}
"""


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

    def send(self, name: str, vid: int | None = None) -> bytes:
        """A broadcast out of a host's NIC, tagged when `vid` is given. Returns its payload, which no other has."""
        payload = os.urandom(48)
        tag = b"" if vid is None else struct.pack("!HH", 0x8100, vid)
        with self.namespaces.inside(name), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("eth0", 0))
            sock.send(EVERYBODY + bytes.fromhex("02000000aa01") + tag + struct.pack("!H", ETHERTYPE) + payload)
        return payload

    def tells(self, name: str, vid: int | None = None) -> dict[str, str]:
        """Where such a frame comes out: of each host that hears it, how the frame is tagged there."""
        names = [host for host in PORTS if host != name]
        with captured(self, "s1", "s2", *names, "gw") as frames:
            payload = self.send(name, vid)
        self.seen = [frame for frame in frames if payload in frame.raw]
        return {frame.netns: tag(frame) for frame in self.seen if frame.netns in (*names, "gw")}

    def between(self) -> set[str]:
        """How the last frame was tagged on the link between the switches."""
        return {tag(frame) for frame in self.seen if (frame.netns, frame.device) in (("s1", "s2"), ("s2", "s1"))}


def tag(frame: Frame) -> str:
    """ "VLAN 10", or "" for an untagged frame; read from the frame's bytes."""
    return next((one for one in layers(frame.raw) if one.startswith("VLAN")), "")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.engine.close()
    world.namespaces.close()


def test_an_access_port_s_frame_is_tagged_between_switches_and_nowhere_else(world: World) -> None:
    heard = world.tells("a10")
    assert heard == {"b10": "", "t": "VLAN 10", "n": "", "gw": ""}
    assert world.between() == {"VLAN 10"}
    assert world.tells("b20") == {"a20": "", "t": "VLAN 20", "n": "VLAN 20", "gw": ""}
    assert world.between() == {"VLAN 20"}


def test_no_frame_of_one_vlan_on_a_port_of_another(world: World) -> None:
    world.tells("a10")
    devices = {frame.device for frame in world.seen if frame.netns in ("s1", "s2")}
    assert devices.isdisjoint({"a20", "b20", "plain", "gw-1"}) and "b10" in devices


def test_a_tag_does_not_get_a_frame_into_another_vlan(world: World) -> None:
    assert world.tells("a10", vid=20) == {}, "the port is no member of VLAN 20"
    assert world.tells("t", vid=30) == {}, "nor is the trunk of VLAN 30"
    assert world.tells("plain", vid=10) == {}


def test_a_trunk_carries_its_vlans_tagged_and_nothing_untagged(world: World) -> None:
    assert world.tells("t", vid=10) == {"a10": "", "b10": "", "n": "", "gw": ""}
    assert world.tells("t", vid=20) == {"a20": "", "b20": "", "n": "VLAN 20", "gw": ""}
    assert world.tells("t") == {}, "it has no native VLAN"


def test_a_native_vlan_is_untagged_on_its_port_only(world: World) -> None:
    assert world.tells("n") == {"a10": "", "b10": "", "t": "VLAN 10", "gw": ""}
    assert world.between() == {"VLAN 10"}
    assert world.tells("n", vid=20) == {"a20": "", "b20": "", "t": "VLAN 20", "gw": ""}


def test_ports_without_a_vlan_stay_among_themselves(world: World) -> None:
    assert world.tells("plain") == {}
    assert world.between() == {""}, "VLAN 1 is the native one between switches"


def hops(frames: Iterable[Frame], source: str, target: str, device: str) -> list[tuple[str, int]]:
    """Tag and TTL of the requests from one address to another on a device of s1."""
    wanted = f"IPv4 {source} > {target}"
    seen = [frame for frame in frames if (frame.netns, frame.device) == ("s1", device) and wanted in layers(frame.raw)]
    return sorted({(tag(frame), ttl(frame.raw)) for frame in seen}, reverse=True)


def test_between_vlans_packets_go_through_the_router(world: World) -> None:
    with captured(world, "s1", "s2") as frames:
        assert ping(world, "a10", "192.168.20.2") is not None
    assert hops(frames, "192.168.10.1", "192.168.20.2", "gw-0") == [("", 64)]
    assert hops(frames, "192.168.10.1", "192.168.20.2", "gw-1") == [("", 63)]
    assert hops(frames, "192.168.10.1", "192.168.20.2", "s2") == [("VLAN 20", 63)]
    with captured(world, "s1") as frames:
        assert ping(world, "a10", "192.168.10.2") is not None
    assert not hops(frames, "192.168.10.1", "192.168.10.2", "gw-0"), "within a VLAN the router sees none of it"
    assert hops(frames, "192.168.10.1", "192.168.10.2", "s2") == [("VLAN 10", 64)]


def test_a_port_moves_to_another_vlan_while_the_lab_runs(world: World) -> None:
    moved = TEXT.replace("{name: b10, switch: s2, vlan: 10", "{name: b10, switch: s2, vlan: 20")
    moved = moved.replace("{name: t, switch: s1, trunk: [10, 20]", "{name: t, switch: s1, trunk: [20], vlan: 10")
    world.apply(moved)
    assert world.tells("a10") == {"t": "", "n": "", "gw": ""}
    assert world.tells("a20") == {"b10": "", "b20": "", "t": "VLAN 20", "n": "VLAN 20", "gw": ""}
    assert world.engine.plan(underlay(parse(moved, "moved.yaml"))) == []
    world.apply(TEXT)
    assert world.tells("a10") == {"b10": "", "t": "VLAN 10", "n": "", "gw": ""}


def test_the_check_itself_sees_a_leak(world: World) -> None:
    """A VLAN put on a port by hand lets its frames out, and the capture must show them."""
    run: Any = world.namespaces.run
    assert run("s2", ["bridge", "vlan", "add", "dev", "b20", "vid", "10", "untagged"]).returncode == 0
    try:
        assert world.tells("a10") == {"b10": "", "b20": "", "t": "VLAN 10", "n": "", "gw": ""}
    finally:
        assert run("s2", ["bridge", "vlan", "del", "dev", "b20", "vid", "10"]).returncode == 0
    assert "b20" not in world.tells("a10")
