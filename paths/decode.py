"""Frames into headers: Ethernet, 802.1Q, ARP, IP, UDP, TCP, ICMP, also inside VXLAN (RFC 7348), GRE (RFC 2784) and IP
in IP (RFC 2003, 4213, 2473). A frame cut short or malformed gives the headers that are whole; nothing here raises."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

from paths.model import Layer, Packet

VXLAN_PORTS = (4789, 8472)
"""IANA's, and Linux' own older one, which hybridnet and flannel use."""
ETH_IPV4, ETH_IPV6, ETH_ARP, ETH_BRIDGED = 0x0800, 0x86DD, 0x0806, 0x6558
VLAN_TAGS = (0x8100, 0x88A8)
"""802.1Q and, outside of it, 802.1ad."""
ICMP, ICMPV6, TCP, UDP, IN_IPV4, IN_IPV6, GRE = 1, 58, 6, 17, 4, 41, 47
EXTENSIONS = (0, 43, 60)
"""IPv6 hop-by-hop options, routing, destination options: next header, length in 8 bytes but the first (RFC 8200)."""
FRAGMENT = 44
NAMES = {ICMP: "ICMP", ICMPV6: "ICMPv6", TCP: "TCP", UDP: "UDP"}
ICMP_ERRORS = {
    (1, 3, 0): "network unreachable",
    (1, 3, 1): "host unreachable",
    (1, 3, 3): "port unreachable",
    (1, 3, 4): "fragmentation needed",
    (1, 3, 9): "network prohibited",
    (1, 3, 10): "host prohibited",
    (1, 3, 13): "administratively prohibited",
    (1, 11, 0): "TTL exceeded",
    (58, 1, 0): "no route",
    (58, 1, 1): "administratively prohibited",
    (58, 1, 3): "address unreachable",
    (58, 1, 4): "port unreachable",
    (58, 1, 6): "route rejected",
    (58, 2, 0): "packet too big",
    (58, 3, 0): "hop limit exceeded",
}
"""(protocol, type, code) of RFC 792, RFC 1812 and RFC 4443."""
NEIGHBOUR = (135, 136)
"""Neighbour solicitation and advertisement (RFC 4861): what they are about is the layer's `dst`."""
TOO_BIG = ("fragmentation needed", "packet too big")


def decode(frame: bytes, bare: bool = False) -> Packet:
    """The headers of an Ethernet frame, outermost first; a `bare` one begins with the IP header."""
    if bare:
        return Packet(tuple(_network(ETH_IPV6 if frame[:1] and frame[0] >> 4 == 6 else ETH_IPV4, frame)))
    return Packet(tuple(_ethernet(frame)))


def _ethernet(data: bytes) -> Iterator[Layer]:
    if len(data) < 14:
        return
    yield Layer("Ethernet", data[6:12].hex(":"), data[:6].hex(":"), 14)
    kind, rest = int.from_bytes(data[12:14], "big"), data[14:]
    while kind in VLAN_TAGS and len(rest) >= 4:
        tci, kind = struct.unpack_from("!HH", rest)
        yield Layer("802.1Q", size=4, more={"vid": tci & 0xFFF})
        rest = rest[4:]
    yield from _network(kind, rest)


def _network(kind: int, data: bytes) -> Iterator[Layer]:
    if kind == ETH_IPV4:
        yield from _ipv4(data)
    elif kind == ETH_IPV6:
        yield from _ipv6(data)
    elif kind == ETH_BRIDGED:
        yield from _ethernet(data)
    elif kind == ETH_ARP and len(data) >= 28:
        yield _arp(data)


def _arp(data: bytes) -> Layer:
    request = data[6:8] == b"\0\1"
    sender, target = socket.inet_ntoa(data[14:18]), socket.inet_ntoa(data[24:28])
    return Layer("ARP", sender, target, 28, {"op": "request" if request else "reply", "mac": data[8:14].hex(":")})


def _ipv4(data: bytes) -> Iterator[Layer]:
    header = (data[0] & 15) * 4 if data else 0
    if len(data) < 20 or header < 20:
        return
    length, fragment, ttl, protocol = struct.unpack_from("!HxxHBB", data, 2)
    offset, more_follow = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
    more: dict[str, Any] = {"ttl": ttl, "length": length, "protocol": protocol, "df": bool(fragment & 0x4000)}
    if offset or more_follow:
        more["fragment"] = offset
    yield Layer("IPv4", socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20]), header, more)
    if not offset:
        yield from _inside(protocol, data[header : max(length, header)], IN_IPV4)


def _ipv6(data: bytes) -> Iterator[Layer]:
    if len(data) < 40:
        return
    length, protocol, limit = struct.unpack_from("!HBB", data, 4)
    source, target = (socket.inet_ntop(socket.AF_INET6, data[at : at + 16]) for at in (8, 24))
    more: dict[str, Any] = {"hop_limit": limit, "length": length + 40, "protocol": protocol}
    rest = data[40 : 40 + length]
    while len(rest) >= 8 and (protocol in EXTENSIONS or protocol == FRAGMENT):
        if protocol == FRAGMENT:
            more["fragment"] = struct.unpack_from("!H", rest, 2)[0] & ~7
        size = 8 if protocol == FRAGMENT else (rest[1] + 1) * 8
        protocol, rest = rest[0], rest[size:]
    yield Layer("IPv6", source, target, 40, more)
    if not more.get("fragment"):
        yield from _inside(protocol, rest, IN_IPV6)


def _inside(protocol: int, data: bytes, outer: int) -> Iterator[Layer]:
    """What an IP header carries. IP in IP is named after both, as Linux names its devices: IPIP, SIT, IP6IP6."""
    if protocol == IN_IPV4:
        yield Layer("IPIP" if outer == IN_IPV4 else "IPIP6")
        yield from _ipv4(data)
    elif protocol == IN_IPV6:
        yield Layer("SIT" if outer == IN_IPV4 else "IP6IP6")
        yield from _ipv6(data)
    elif protocol == GRE:
        yield from _gre(data)
    elif protocol == UDP and len(data) >= 8:
        yield from _udp(data)
    elif protocol == TCP and len(data) >= 20:
        source, target, number, acknowledged = struct.unpack_from("!HHII", data)
        more = {"seq": number, "ack": acknowledged, "flags": data[13]}
        yield Layer("TCP", str(source), str(target), (data[12] >> 4) * 4, more)
    elif protocol in (ICMP, ICMPV6) and len(data) >= 8:
        yield _icmp(protocol, data)


def _gre(data: bytes) -> Iterator[Layer]:
    """Checksum, key and sequence number take four bytes each when flagged (RFC 2890)."""
    if len(data) < 4:
        return
    flags, kind = struct.unpack_from("!HH", data)
    size = 4 + 4 * sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000))
    yield Layer("GRE", size=size)
    yield from _network(kind, data[size:])


def _udp(data: bytes) -> Iterator[Layer]:
    source, target = struct.unpack_from("!HH", data)
    yield Layer("UDP", str(source), str(target), 8)
    if target in VXLAN_PORTS and len(data) >= 16 and data[8] & 0x08:  # the I flag: the VNI is valid
        yield Layer("VXLAN", size=8, more={"vni": int.from_bytes(data[12:15], "big"), "flags": data[8]})
        yield from _ethernet(data[16:])


def _icmp(protocol: int, data: bytes) -> Layer:
    """An error also carries what it is about: the `about` addresses, and the MTU if that was too small."""
    more: dict[str, Any] = {"type": data[0], "code": data[1]}
    if protocol == ICMPV6 and data[0] in NEIGHBOUR and len(data) >= 24:
        return Layer(NAMES[protocol], dst=socket.inet_ntop(socket.AF_INET6, data[8:24]), size=24, more=more)
    if error := ICMP_ERRORS.get((protocol, data[0], data[1])):
        more["error"] = error
        if error in TOO_BIG:
            more["mtu"] = int.from_bytes(data[6:8] if protocol == ICMP else data[4:8], "big")
        about = next(_ipv4(data[8:]) if protocol == ICMP else _ipv6(data[8:]), None)
        if about:
            more["about"] = f"{about.src} > {about.dst}"
    return Layer(NAMES[protocol], size=8, more=more)
