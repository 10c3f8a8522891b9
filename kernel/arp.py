"""Frames of ARP (RFC 826, 5227) and of IPv6 neighbour discovery (RFC 4861): who has an address, and who says so. Pure.

Every function that makes a frame takes the MAC of the device that it leaves by.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

ARP, IPV6 = 0x0806, 0x86DD
"""EtherTypes."""
REQUEST, REPLY = 1, 2
"""ARP operations."""
BROADCAST, UNKNOWN = b"\xff" * 6, bytes(6)
SOLICITATION, ADVERTISEMENT = 135, 136
"""ICMPv6 types."""
SOURCE_OPTION, TARGET_OPTION = 1, 2
"""Options of neighbour discovery: the link-layer address of who asks, and of what is asked for."""
OVERRIDE = 0x20000000
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET = 14


@dataclass(frozen=True)
class Heard:
    """Somebody with `mac` says that `address` is there; `to` is the IPv4 address that an ARP packet is for."""

    address: str
    mac: str
    to: str = ""


def ethertype(address: str) -> int:
    """What carries questions and answers about an address."""
    return IPV6 if ":" in address else ARP


def question(mac: bytes, target: str, sender: str = "") -> bytes:
    """Asks for `target`, as broadcast or to its solicited-node group. For IPv4 it is an ARP request from the address
    `sender`, or an ARP probe without one (RFC 5227, section 1.1); for IPv6 a solicitation from the device's link-local
    address."""
    if ":" not in target:
        return _arp(REQUEST, mac, sender or "0.0.0.0", UNKNOWN, target)
    group = IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + IPv6Address(target).packed[13:])
    return _icmp6(mac, group, _neighbour(SOLICITATION, 0, target, SOURCE_OPTION, mac))


def announcements(mac: bytes, address: str) -> list[bytes]:
    """Gratuitous ARP as request and as reply, since some hosts heed only one of them; for IPv6 an unsolicited
    advertisement to all nodes (RFC 4861, section 7.2.6)."""
    if ":" not in address:
        return [_arp(kind, mac, address, BROADCAST, address) for kind in (REQUEST, REPLY)]
    return [_icmp6(mac, IPv6Address("ff02::1"), _neighbour(ADVERTISEMENT, OVERRIDE, address, TARGET_OPTION, mac))]


def heard(frame: bytes) -> Heard | None:
    """What a frame claims, if it is ARP or a neighbour advertisement."""
    kind = int.from_bytes(frame[12:14], "big")
    body = frame[_ETHERNET:]
    if kind == ARP and len(body) >= _ARP.size:
        *_, sender, source, _, target = _ARP.unpack_from(body)
        return Heard(socket.inet_ntoa(source), sender.hex(":"), socket.inet_ntoa(target))
    if kind == IPV6 and len(body) >= 64 and body[6] == socket.IPPROTO_ICMPV6 and body[40] == ADVERTISEMENT:
        mac = body[66:72] if body[64:66] == bytes((TARGET_OPTION, 1)) else frame[6:12]
        return Heard(socket.inet_ntop(socket.AF_INET6, body[48:64]), mac.hex(":"))
    return None


def link_local(mac: bytes) -> IPv6Address:
    """The address that the kernel gives a device with this MAC (RFC 4291, appendix A)."""
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:])


def _arp(operation: int, mac: bytes, sender: str, target_mac: bytes, target: str) -> bytes:
    addresses = mac, socket.inet_aton(sender), target_mac, socket.inet_aton(target)
    return BROADCAST + mac + struct.pack("!H", ARP) + _ARP.pack(1, 0x0800, 6, 4, operation, *addresses)


def _neighbour(kind: int, flags: int, target: str, option: int, mac: bytes) -> bytes:
    """An ICMPv6 message with its checksum still zero."""
    return struct.pack("!BBHI", kind, 0, 0, flags) + IPv6Address(target).packed + bytes((option, 1)) + mac


def _icmp6(mac: bytes, group: IPv6Address, message: bytes) -> bytes:
    """The message in an IPv6 packet to a multicast group, with the hop limit that receivers insist on."""
    addresses = link_local(mac).packed + group.packed
    pseudo = addresses + struct.pack("!IxxxB", len(message), socket.IPPROTO_ICMPV6) + message
    message = message[:2] + struct.pack("!H", checksum(pseudo)) + message[4:]
    ip = struct.pack("!IHBB", 6 << 28, len(message), socket.IPPROTO_ICMPV6, 255) + addresses
    return b"\x33\x33" + group.packed[12:] + mac + struct.pack("!H", IPV6) + ip + message


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
