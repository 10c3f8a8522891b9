"""Frames into headers: Ethernet, 802.1Q, IP, UDP, TCP, ICMP, also inside VXLAN (RFC 7348) and IPIP (RFC 2003)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from paths.model import Layer, Packet

VXLAN_PORTS = (4789, 8472)
"""IANA's, and Linux' own older one, which hybridnet and flannel use."""
ETH_IPV4, ETH_IPV6, ETH_ARP, ETH_VLAN = 0x0800, 0x86DD, 0x0806, 0x8100
PROTOCOLS = {1: "ICMP", 58: "ICMPv6", 6: "TCP", 17: "UDP", 4: "IPIP"}
ICMP_ERRORS = {
    (1, 3, 0): "network unreachable",
    (1, 3, 1): "host unreachable",
    (1, 3, 3): "port unreachable",
    (1, 3, 4): "fragmentation needed",
    (1, 3, 10): "host prohibited",
    (1, 3, 13): "administratively prohibited",
    (1, 11, 0): "TTL exceeded",
    (58, 1, 0): "no route",
    (58, 1, 1): "administratively prohibited",
    (58, 1, 3): "address unreachable",
    (58, 1, 4): "port unreachable",
    (58, 2, 0): "packet too big",
    (58, 3, 0): "hop limit exceeded",
}
"""(protocol, type, code) of RFC 792 and RFC 4443."""


def decode(frame: bytes, vid: int | None = None) -> Packet:
    """`vid` is a tag that the device took off before the capture (PACKET_AUXDATA). A frame cut short gives the
    headers that are whole."""
    return Packet(tuple(_ethernet(frame, vid)))


def _mac(raw: bytes) -> str:
    return raw.hex(":")


def _ethernet(data: bytes, vid: int | None = None) -> Iterator[Layer]:
    if len(data) < 14:
        return
    yield Layer("Ethernet", _mac(data[6:12]), _mac(data[:6]), 14)
    kind, rest = struct.unpack_from("!H", data, 12)[0], data[14:]
    if vid is not None:
        yield Layer("802.1Q", size=4, more={"vid": vid})
    while kind == ETH_VLAN and len(rest) >= 4:
        tci, kind = struct.unpack_from("!HH", rest)
        yield Layer("802.1Q", size=4, more={"vid": tci & 0xFFF})
        rest = rest[4:]
    if kind == ETH_IPV4:
        yield from _ipv4(rest)
    elif kind == ETH_IPV6:
        yield from _ipv6(rest)
    elif kind == ETH_ARP and len(rest) >= 28:
        yield _arp(rest)


def _arp(data: bytes) -> Layer:
    request = struct.unpack_from("!H", data, 6)[0] == 1
    sender, target = socket.inet_ntoa(data[14:18]), socket.inet_ntoa(data[24:28])
    return Layer("ARP", sender, target, 28, {"op": "request" if request else "reply", "mac": _mac(data[8:14])})


def _ipv4(data: bytes) -> Iterator[Layer]:
    if len(data) < 20:
        return
    header = (data[0] & 15) * 4
    length, ident, fragment, ttl, protocol = struct.unpack_from("!HHHBB", data, 2)
    del ident
    more = {"ttl": ttl, "length": length, "protocol": protocol, "df": bool(fragment & 0x4000)}
    yield Layer("IPv4", socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20]), header, more)
    if protocol == 4:
        yield Layer("IPIP")
        yield from _ipv4(data[header:])
    elif not fragment & 0x1FFF:
        yield from _transport(protocol, data[header:length])


def _ipv6(data: bytes) -> Iterator[Layer]:
    if len(data) < 40:
        return
    length, protocol, limit = struct.unpack_from("!HBB", data, 4)
    source, target = (socket.inet_ntop(socket.AF_INET6, data[i : i + 16]) for i in (8, 24))
    yield Layer("IPv6", source, target, 40, {"hop_limit": limit, "length": length + 40, "protocol": protocol})
    yield from _transport(protocol, data[40 : 40 + length])


def _transport(protocol: int, data: bytes) -> Iterator[Layer]:
    if protocol == 17 and len(data) >= 8:
        source, target = struct.unpack_from("!HH", data)
        yield Layer("UDP", str(source), str(target), 8)
        if target in VXLAN_PORTS and len(data) >= 16 and data[8] & 0x08:
            yield Layer("VXLAN", size=8, more={"vni": int.from_bytes(data[12:15], "big"), "flags": data[8]})
            yield from _ethernet(data[16:])
    elif protocol == 6 and len(data) >= 20:
        source, target, number, acknowledged = struct.unpack_from("!HHII", data)
        more = {"seq": number, "ack": acknowledged, "flags": data[13]}
        yield Layer("TCP", str(source), str(target), (data[12] >> 4) * 4, more)
    elif protocol in (1, 58) and len(data) >= 8:
        yield _icmp(protocol, data)


def _icmp(protocol: int, data: bytes) -> Layer:
    more: dict[str, int | str] = {"type": data[0], "code": data[1]}
    if error := ICMP_ERRORS.get((protocol, data[0], data[1])):
        more |= {
            "error": error,
            "mtu": struct.unpack_from("!I", data, 4)[0] & (0xFFFF if protocol == 1 else 0xFFFFFFFF),
        }
    return Layer(PROTOCOLS[protocol], size=8, more=more)
