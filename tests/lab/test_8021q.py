"""The lab's switches as IEEE 802.1Q bridges, by frames made by hand: what goes in where, and what comes out.

Ports a (access, VLAN 10), c (access, 20) and b (trunk of 10 and 20, native 99) on s1; d (10) and e (20) on s2 behind
the tagged link. L2-01 to L2-16 are the ids of the conformance scenarios that issue 3 speaks of.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.links import joined
from kernel import carrier
from kernel.engine import Engine
from kernel.namespaces import Namespaces
from tests.lab.frames import captured, ping
from topologies.source import parse
from topologies.underlay import underlay

pytestmark = pytest.mark.only("embedded")
LAB = """
name: q
pools: [{{cidr: 10.244.0.0/16}}]
pods_per_node: 0
switches: [{{name: s1}}, {{name: s2}}]
links: [{{ends: [s1, s2]}}]
nodes:
  - {{name: a, switch: s1, vlan: 10, addresses: [192.168.1.1/24]}}
  - {{name: c, switch: s1, vlan: 20, addresses: [192.168.1.3/24]}}
  - {{name: b, switch: s1, trunk: [10, 20], vlan: {native}, addresses: [192.168.1.2/24]}}
  - {{name: d, switch: s2, vlan: 10, addresses: [192.168.1.4/24]}}
  - {{name: e, switch: s2, vlan: 20, addresses: [192.168.1.5/24]}}
"""
HOSTS = ("a", "b", "c", "d", "e")
MARK = b"podpath 802.1Q test frame"
EVERYBODY, NOBODY = "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:99"
Tags = tuple[int, ...]
"""Tag control information of each tag, the outermost first."""
UNTAGGED: Tags = ()


class Switches:
    """The underlay of one topology, and frames into and out of it."""

    def __init__(self, native: int) -> None:
        self.namespaces = Namespaces()
        self.engine = Engine(self.namespaces)
        state = underlay(parse(LAB.format(native=native), "q.yaml"))
        self.engine.apply(state)
        assert carrier.wait(self.namespaces, joined(state), 5.0) == []

    def sent(self, host: str, tags: Tags = UNTAGGED, target: str = EVERYBODY) -> dict[str, set[Tags]]:
        """Sends one frame from `host`; which hosts got it, and with which tags. `wire` is the link of the switches."""
        source = bytes.fromhex(f"0200000000{HOSTS.index(host):02x}")
        tagged = b"".join(struct.pack("!HH", 0x8100, tci) for tci in tags)
        frame = bytes.fromhex(target.replace(":", "")) + source + tagged + b"\x88\xb5" + MARK.ljust(46, b"\0")
        with captured(self, *HOSTS, "s1") as frames, self._wire(host) as sock:
            sock.send(frame)
        found: dict[str, set[Tags]] = {}
        for one in frames:
            if MARK not in one.raw:
                continue
            if one.netns == "s1" and one.device == "s2" and one.outgoing:
                found.setdefault("wire", set()).add(_tags(one.raw))
            elif one.netns in HOSTS and not one.outgoing:
                found.setdefault(one.netns, set()).add(_tags(one.raw))
        return found

    def _wire(self, host: str) -> socket.socket:
        with self.namespaces.inside(host):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sock.bind(("eth0", 0))
            return sock

    def close(self) -> None:
        self.engine.close()
        self.namespaces.close()


def _tags(raw: bytes) -> Tags:
    found, start = [], 12
    while raw[start : start + 2] == b"\x81\x00":
        found.append(struct.unpack_from("!H", raw, start + 2)[0])
        start += 4
    return tuple(found)


@pytest.fixture(scope="module")
def switches() -> Iterator[Switches]:
    found = Switches(native=99)
    yield found
    found.close()


@pytest.fixture(scope="module")
def misconfigured() -> Iterator[Switches]:
    """The trunk's native VLAN is also an access VLAN."""
    found = Switches(native=10)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("host", "tags", "out"),
    [
        pytest.param("a", (), {"b": {(10,)}, "d": {()}, "wire": {(10,)}}, id="L2-01 untagged into an access port"),
        pytest.param("b", (10,), {"a": {()}, "d": {()}, "wire": {(10,)}}, id="L2-02 tag 10 from the trunk"),
        pytest.param("b", (20,), {"c": {()}, "e": {()}, "wire": {(20,)}}, id="L2-03 tag 20 from the trunk"),
        pytest.param("b", (), {"wire": {(99,)}}, id="L2-04 untagged on a trunk of native 99"),
        pytest.param("b", (30,), {}, id="L2-05 a tag that the port does not carry"),
        pytest.param("a", (10,), {"b": {(10,)}, "d": {()}, "wire": {(10,)}}, id="L2-06 an access port's own tag"),
        pytest.param("a", (20,), {}, id="L2-07 another VLAN's tag into an access port"),
        pytest.param("a", (0xA000,), {"b": {(0xA00A,)}, "d": {()}, "wire": {(0xA00A,)}}, id="L2-08 priority tag"),
        pytest.param("a", (10, 20), {"b": {(10, 20)}, "d": {(20,)}, "wire": {(10, 20)}}, id="L2-09 no hopping"),
    ],
)
def test_frames(switches: Switches, host: str, tags: Tags, out: dict[str, set[Tags]]) -> None:
    """L2-06: Linux takes it for a frame of VLAN 10, where a strict bridge drops it. L2-08: the VLAN is the port's, the
    priority stays. L2-09: the inner tag is payload; d gets it and has no VLAN 20 of its own."""
    assert switches.sent(host, tags) == out


def test_l2_10_hopping_needs_a_native_vlan_that_is_also_an_access_vlan(misconfigured: Switches) -> None:
    """The trunk takes the outer tag off, and the next bridge would read the inner one: the known attack, shown once so
    that L2-09 is seen to be able to fail."""
    assert misconfigured.sent("a", (10, 20))["b"] == {(20,)}


def test_l2_11_the_native_vlan_leaves_untagged(misconfigured: Switches) -> None:
    assert misconfigured.sent("a")["b"] == {UNTAGGED}
    assert misconfigured.sent("b")["a"] == {UNTAGGED}


def test_l2_14_flooding_stays_in_the_vlan_and_each_vlan_learns_for_itself(switches: Switches) -> None:
    assert switches.sent("a", target=NOBODY) == {"b": {(10,)}, "d": {()}, "wire": {(10,)}}
    switches.sent("b", (10,))
    switches.sent("b", (20,))
    learned = switches.namespaces.run("s1", ["bridge", "fdb", "show", "br", "s1"]).stdout
    known = [line.split() for line in learned.splitlines() if line.startswith("02:00:00:00:00:01 dev b vlan")]
    assert {"10", "20"} <= {words[4] for words in known}
    assert switches.sent("a", target="02:00:00:00:00:01") == {"b": {(10,)}}  # b's: known, and not flooded


def test_l2_15_hosts_of_two_vlans_do_not_talk_even_in_one_subnet(switches: Switches) -> None:
    assert ping(switches, "a", "192.168.1.4")
    with captured(switches, "c") as frames:
        assert ping(switches, "a", "192.168.1.3", timeout_s=0.3) is None
    assert not [one for one in frames if one.raw[12:14] == b"\x08\x06" and not one.outgoing]


@pytest.mark.parametrize(
    ("target", "out"),
    [
        ("01:80:c2:00:00:0e", {}),
        ("01:80:c2:00:00:00", {"b": {(10,)}, "d": {()}, "wire": {(10,)}}),
        ("01:80:c2:00:00:21", {"b": {(10,)}, "d": {()}, "wire": {(10,)}}),
    ],
    ids=["LLDP", "STP", "GVRP"],
)
def test_l2_16_reserved_addresses(switches: Switches, target: str, out: dict[str, Any]) -> None:
    """Linux forwards STP's while it runs none itself, and GVRP's; an 802.1Q bridge stops STP's too."""
    assert switches.sent("a", target=target) == out
