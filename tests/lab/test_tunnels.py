"""Tunnels as links of a topology: each type passes traffic, and the wire shows what it should."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from kernel.state import State
from paths.capture import Frame
from paths.trace import trace
from tests.lab.frames import captured, ends, having, ping

pytestmark = pytest.mark.only("embedded")
IPIP, GRE, IPV6, ESP = 4, 47, 41, 50


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    with Lab(plan(preset("tunnels"), "ipvlan", "l3", features()), tmp_path_factory.mktemp("lab")) as lab:
        lab.up()
        yield lab


def carried(frames: list[Frame], protocol: int) -> list[bytes]:
    """What the IPv4 packets of this protocol hold that left node1."""
    found = []
    for frame in frames:
        data = frame.raw[14:]
        if frame.device == "node1" and not frame.outgoing and frame.raw[12:14] == b"\x08\x00" and data[9] == protocol:
            found.append(data[(data[0] & 15) * 4 :])
    return found


@pytest.mark.parametrize(
    ("target", "protocol", "head"),
    [
        ("10.9.0.2", IPIP, b"\x45"),
        ("10.9.0.6", GRE, b"\0\0\x08\0"),
        ("fd00:9::2", GRE, b"\0\0\x86\xdd"),
        ("10.9.0.10", GRE, b"\x20\0\x08\0" + struct.pack("!I", 42)),
        ("fd00:9:1::2", IPV6, b"\x60"),
    ],
    ids=["ipip", "gre", "gre IPv6", "gre key", "sit"],
)
def test_a_tunnel_carries_and_shows_its_protocol(lab: Any, target: str, protocol: int, head: bytes) -> None:
    with captured(lab, "s1") as frames:
        assert ping(lab, "node1", target)
    packets = carried(frames, protocol)
    assert [one for one in packets if ip_address(target).packed in one]
    assert all(one.startswith(head) for one in packets)
    assert having(frames, "ICMP 8") == [one for one in having(frames, "IPIP", "ICMP 8")]  # nothing goes beside it


@pytest.mark.parametrize(("name", "target"), [("t-ipip", "10.9.0.2"), ("t-key", "10.9.0.10"), ("t-vti", "10.9.0.14")])
def test_the_mtu_is_what_just_fits(lab: Any, name: str, target: str) -> None:
    mtu = next(link.mtu for link in lab.engine.read("node1").links if link.name == name)
    with captured(lab, "s1") as frames:
        assert ping(lab, "node1", target, size=mtu - 28, whole=True)
    longest = max(struct.unpack("!H", one.raw[16:18])[0] for one in frames if one.raw[12:14] == b"\x08\x00")
    assert 1500 - 3 <= longest <= 1500  # ESP pads to four bytes
    with pytest.raises(OSError, match="Message too long"):
        ping(lab, "node1", target, size=mtu - 27, whole=True)


def test_vti_is_encrypted(lab: Any) -> None:
    """ESP both ways with the two agreed SPIs and growing sequence numbers; nothing of the inner packet is readable."""
    with captured(lab, "s1") as frames:
        assert ping(lab, "node1", "10.9.0.14", size=64)
        assert ping(lab, "node1", "10.9.0.14", size=64)
    sent = carried(frames, ESP)
    mine = lab.state["node1"].ipsec[0]
    numbers = [struct.unpack("!II", one[:8]) for one in sent]
    assert [spi for spi, _ in numbers] == [mine.spi_out] * 2
    assert numbers[1][1] == numbers[0][1] + 1
    assert not [one for one in frames if ip_address("10.9.0.14").packed in one.raw or bytes(32) in one.raw]
    assert having(frames, "ICMP 8") == []


def test_a_trace_joins_the_ends_of_what_is_encrypted(lab: Any) -> None:
    found = trace(lab, "node1", "10.9.0.14")
    assert [(hop.seen.place, hop.action) for hop in found.forward] == [
        ("node1:t-vti", "sent"),
        ("node3:t-vti", "decrypted"),
    ]
    assert found.delivered and found.notes == ()


def test_a_wrong_key_is_not_taken(lab: Any) -> None:
    """The check above would see a vti that does not decrypt."""
    end = lab.state["node3"]
    wrong = replace(end, ipsec=(replace(end.ipsec[0], key_in="00" * 20),))
    lab.engine.apply(State(tuple(wrong if ns == end else ns for ns in lab.state.namespaces)))
    assert ping(lab, "node1", "10.9.0.14", timeout_s=0.5) is None
    lab.engine.apply(lab.state)
    assert ping(lab, "node1", "10.9.0.14")


def test_ipsec_that_somebody_took_away_is_made_again(lab: Any) -> None:
    lab.namespaces.run("node1", ["ip", "xfrm", "state", "flush"])
    assert ping(lab, "node1", "10.9.0.14", timeout_s=0.5) is None
    assert lab.engine.plan(lab.state) != []
    lab.engine.apply(lab.state)
    assert ping(lab, "node1", "10.9.0.14")
    assert lab.engine.plan(lab.state) == []


def test_isatap_finds_the_other_end_in_its_address(lab: Any) -> None:
    """RFC 5214: the identifier is 0000:5efe and the IPv4 address; no device knows a remote."""
    with captured(lab, "s2") as frames:
        assert ping(lab, "node3", "2001:db8:5::5efe:192.168.1.254")
        assert ping(lab, "node3", "2001:db8:5::5efe:192.168.1.2", timeout_s=0.5) is None  # node2 has no isatap
    asked = [one for one in having(frames, "protocol 41") if one[1].startswith("IPv4 192.168.1.3 > ")]
    assert {one[1].rpartition(" ")[2] for one in asked} == {"192.168.1.254", "192.168.1.2"}
    found = lab.namespaces.run("node3", ["ip", "-6", "addr", "show", "dev", "t-isatap"]).stdout
    assert "inet6 2001:db8:5::5efe:c0a8:103/64" in found and "inet6 fe80::5efe:c0a8:103/64" in found
    inner = [one.raw for one in frames if one.raw[34:35] == b"\x60" and one.raw[23] == IPV6]
    assert inner and all(raw[50:54] == b"\0\0\x5e\xfe" for raw in inner)
    assert ends("192.168.1.3", "192.168.1.254") in having(frames, "protocol 41")[0]
