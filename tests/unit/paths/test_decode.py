"""Frames into headers: real ones that were recorded, ones made by hand, and anything at all."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paths.decode import decode
from paths.model import Packet
from tests.unit.paths.recorded import NAMES, frames

A, B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
IP_A, IP_B = socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2")
SIX_A, SIX_B = (socket.inet_pton(socket.AF_INET6, text) for text in ("fd00::1", "fd00::2"))


def ethernet(kind: int, data: bytes, *tags: tuple[int, int]) -> bytes:
    tagged = b"".join(struct.pack("!HH", tpid, vid) for tpid, vid in tags)
    return B + A + tagged + struct.pack("!H", kind) + data


def ipv4(protocol: int, data: bytes, fragment: int = 0x4000, ttl: int = 64, options: bytes = b"") -> bytes:
    size = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, size + len(data), 7, fragment, ttl, protocol, 0)
    return head + IP_A + IP_B + options + data


def ipv6(header: int, data: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(data), header, 63) + SIX_A + SIX_B + data


def udp(target: int, data: bytes) -> bytes:
    return struct.pack("!HHHH", 40000, target, 8 + len(data), 0) + data


def kinds(packet: Packet) -> list[str]:
    return [layer.kind for layer in packet.layers]


ECHO = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"payload"
SYN = struct.pack("!HHIIBBHHH", 40000, 80, 5, 0, 0x60, 2, 1000, 0, 0) + bytes(4)


def test_plain_tagged_and_twice_tagged() -> None:
    plain, once, twice = (
        decode(ethernet(0x0800, ipv4(1, ECHO), *tags))
        for tags in ((), ((0x8100, 0xA00A),), ((0x88A8, 20), (0x8100, 10)))
    )
    assert kinds(plain) == ["Ethernet", "IPv4", "ICMP"] and plain.vlan is None
    assert kinds(once) == ["Ethernet", "802.1Q", "IPv4", "ICMP"] and once.vlan == 10, "the priority is no part of it"
    assert kinds(twice) == ["Ethernet", "802.1Q", "802.1Q", "IPv4", "ICMP"] and twice.vlan == 20, "the outer one"
    assert plain.ethernet and (plain.ethernet.src, plain.ethernet.dst) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert plain.inner and (plain.inner.src, plain.inner.dst, plain.inner.more["ttl"]) == ("10.0.0.1", "10.0.0.2", 64)


@pytest.mark.parametrize("port", [4789, 8472])
def test_vxlan_and_what_is_in_it(port: int) -> None:
    inner = ethernet(0x0800, ipv4(6, SYN), (0x8100, 30))
    packet = decode(ethernet(0x0800, ipv4(17, udp(port, b"\x08\0\0\0\0\x10\0\0" + inner))))
    assert kinds(packet) == ["Ethernet", "IPv4", "UDP", "VXLAN", "Ethernet", "802.1Q", "IPv4", "TCP"]
    assert packet.tunnel and packet.tunnel.more["vni"] == 4096
    assert packet.vlan is None, "the tag in the tunnel is not the frame's"
    assert packet.layers[-1].more["flags"] == 2 and packet.layers[-1].size == 24


def test_udp_to_another_port_or_without_the_flag_is_no_vxlan() -> None:
    inner = ethernet(0x0800, ipv4(1, ECHO))
    assert kinds(decode(ethernet(0x0800, ipv4(17, udp(9999, b"\x08" + bytes(7) + inner)))))[-1] == "UDP"
    assert kinds(decode(ethernet(0x0800, ipv4(17, udp(4789, bytes(8) + inner)))))[-1] == "UDP"


def test_ip_in_ip_gre_and_options() -> None:
    assert kinds(decode(ethernet(0x0800, ipv4(4, ipv4(1, ECHO))))) == ["Ethernet", "IPv4", "IPIP", "IPv4", "ICMP"]
    assert kinds(decode(ethernet(0x0800, ipv4(41, ipv6(17, udp(1, b"")))))) == [
        "Ethernet",
        "IPv4",
        "SIT",
        "IPv6",
        "UDP",
    ]
    keyed = struct.pack("!HHI", 0x2000, 0x0800, 99) + ipv4(1, ECHO)
    assert kinds(decode(ethernet(0x0800, ipv4(47, keyed)))) == ["Ethernet", "IPv4", "GRE", "IPv4", "ICMP"]
    packet = decode(ethernet(0x0800, ipv4(1, ECHO, options=bytes(8))))
    assert packet.layers[1].size == 28 and kinds(packet)[-1] == "ICMP"


def test_ipv6_with_extensions_and_fragments() -> None:
    hop_by_hop = bytes([17, 0]) + bytes(6)
    assert kinds(decode(ethernet(0x86DD, ipv6(0, hop_by_hop + udp(53, b""))))) == ["Ethernet", "IPv6", "UDP"]
    later = bytes([17, 0]) + struct.pack("!HI", 64, 1) + udp(53, b"")
    packet = decode(ethernet(0x86DD, ipv6(44, later)))
    assert kinds(packet) == ["Ethernet", "IPv6"] and packet.inner and packet.inner.more["fragment"] == 64


def test_fragments_of_ipv4() -> None:
    first = decode(ethernet(0x0800, ipv4(17, udp(53, b""), fragment=0x2000)))
    assert kinds(first)[-1] == "UDP" and first.inner and first.inner.more["fragment"] == 0
    later = decode(ethernet(0x0800, ipv4(17, udp(53, b""), fragment=0x0010)))
    assert kinds(later)[-1] == "IPv4" and later.inner and later.inner.more["fragment"] == 128
    whole = decode(ethernet(0x0800, ipv4(17, udp(53, b""))))
    assert whole.inner and "fragment" not in whole.inner.more and whole.inner.more["df"]


def test_icmp_errors_say_what_they_are_about() -> None:
    quoted = ipv4(1, ECHO)
    needed = decode(ethernet(0x0800, ipv4(1, struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + quoted))).layers[-1]
    assert needed.more["error"] == "fragmentation needed" and needed.more["mtu"] == 1400
    assert needed.more["about"] == "10.0.0.1 > 10.0.0.2"
    unreachable = decode(ethernet(0x0800, ipv4(1, struct.pack("!BBHI", 3, 1, 0, 0) + quoted))).layers[-1]
    assert unreachable.more["error"] == "host unreachable" and "mtu" not in unreachable.more
    big = decode(ethernet(0x86DD, ipv6(58, struct.pack("!BBHI", 2, 0, 0, 1280) + ipv6(58, ECHO)))).layers[-1]
    assert (big.more["error"], big.more["mtu"], big.more["about"]) == ("packet too big", 1280, "fd00::1 > fd00::2")


def test_arp_and_neighbour_solicitations() -> None:
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + A + IP_A + bytes(6) + IP_B
    asked = decode(ethernet(0x0806, arp)).layers[-1]
    assert (asked.kind, asked.src, asked.dst, asked.more["op"]) == ("ARP", "10.0.0.1", "10.0.0.2", "request")
    solicited = decode(ethernet(0x86DD, ipv6(58, struct.pack("!BBHI", 135, 0, 0, 0) + SIX_B))).layers[-1]
    assert (solicited.kind, solicited.dst, solicited.more["type"]) == ("ICMPv6", "fd00::2", 135)


def test_a_device_without_a_link_layer() -> None:
    assert kinds(decode(ipv4(1, ECHO), bare=True)) == ["IPv4", "ICMP"]


@pytest.mark.parametrize("name", NAMES)
def test_recorded_frames_cut_short_give_the_headers_that_are_whole(name: str) -> None:
    for frame in frames(name):
        whole = decode(frame.raw, frame.bare)
        for length in range(min(len(frame.raw), 160)):
            cut = decode(frame.raw[:length], frame.bare)
            assert kinds(cut) == kinds(whole)[: len(cut.layers)]


STARTS = [
    b"",
    bytes(12) + b"\x08\x00E",
    bytes(12) + b"\x86\xdd`",
    bytes(12) + b"\x81\x00\0\1\x08\x00E",
    bytes(12) + b"\x08\x06",
]


@given(st.sampled_from(STARTS), st.binary(max_size=160), st.booleans())
def test_nothing_raises(start: bytes, rest: bytes, bare: bool) -> None:
    decode(start + rest, bare)


@given(st.sampled_from(NAMES), st.data())
def test_real_frames_with_a_byte_changed_do_not_raise(name: str, data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from(frames(name)))
    raw = bytearray(frame.raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    decode(bytes(raw), frame.bare)
