"""What a frame on the wire must look like, case by case of docs/CONFORMANCE.md: each check reads the bytes by itself
and returns its faults, none for a good frame. tests/unit/test_wire_checks.py feeds each with frames that are wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from paths.capture import Frame

VLAN, IPV4, IPV6 = b"\x81\x00", b"\x08\x00", b"\x86\xdd"
IPIP, UDP, GRE, SIT = 4, 17, 47, 41
VXLAN_PORTS = (4789, 8472)
"""IANA's and Linux's own (RFC 7348, section 5; drivers/net/vxlan)."""


@dataclass(frozen=True)
class Packet:
    """An IP header, read from its bytes. `size` is the whole packet's by its own account, in bytes."""

    version: int
    source: str
    target: str
    tos: int
    size: int
    ttl: int
    protocol: int
    dont_fragment: bool
    options: bytes
    payload: bytes


def tags(frame: bytes) -> tuple[int, ...]:
    """The tag control information of each 802.1Q tag, the outermost first."""
    found, start = [], 12
    while frame[start : start + 2] == VLAN:
        found.append(struct.unpack_from("!H", frame, start + 2)[0])
        start += 4
    return tuple(found)


def packet(frame: bytes) -> Packet | None:
    """The outermost IP packet of an Ethernet frame, None when it carries something else."""
    start = 12 + 4 * len(tags(frame))
    return parsed(frame[start + 2 :]) if frame[start : start + 2] in (IPV4, IPV6) else None


def parsed(data: bytes) -> Packet:
    """A packet that begins here (RFC 791, RFC 8200; no extension headers)."""
    if data[0] >> 4 == 6:
        source, target = (str(ip_address(data[at : at + 16])) for at in (8, 24))
        size = 40 + struct.unpack_from("!H", data, 4)[0]
        tos = (data[0] & 15) << 4 | data[1] >> 4
        return Packet(6, source, target, tos, size, data[7], data[6], False, b"", data[40:size])
    head = (data[0] & 15) * 4
    source, target = (str(ip_address(data[at : at + 4])) for at in (12, 16))
    size, flags = struct.unpack_from("!H", data, 2)[0], data[6]
    return Packet(
        4, source, target, data[1], size, data[8], data[9], bool(flags & 0x40), data[20:head], data[head:size]
    )


def vxlan(frame: bytes, vni: int, port: int, ttl: int = 64) -> list[str]:
    """VX-01, VX-02, VX-06, VX-07, VX-09 and VX-13 as Linux sends: RFC 7348 and the defaults of ip-link(8)."""
    outer = packet(frame)
    if outer is None or outer.protocol != UDP:
        return ["VX-01: no UDP"]
    to = struct.unpack_from("!H", outer.payload, 2)[0]
    checksum, header, inner = outer.payload[6:8], outer.payload[8:16], outer.payload[16:]
    wanted = b"\x08\0\0\0" + vni.to_bytes(3, "big") + b"\0"
    rules = {
        f"VX-01: to port {to}, not {port}": to == port,
        f"VX-02: header {header.hex()}, not {wanted.hex()}": header == wanted,
        "VX-06: no checksum": checksum != b"\0\0",
        f"VX-07: TTL {outer.ttl}, not {ttl}": outer.ttl == ttl,
        f"VX-07: TOS {outer.tos:#x}": outer.tos == 0,
        "VX-07: don't fragment": not outer.dont_fragment,
        f"VX-09: a tag inside: {tags(inner)}": not tags(inner),
        f"VX-13: {outer.size} bytes for {len(inner)} inside": _fits(outer, inner),
    }
    return [fault for fault, kept in rules.items() if not kept]


def _fits(outer: Packet, inner: bytes) -> bool:
    """The lengths that the headers tell agree: outer IP, UDP, and what is inside, which may end in padding."""
    told = struct.unpack_from("!H", outer.payload, 4)[0]
    held, begins = packet(inner), 14 + 4 * len(tags(inner))
    head = 20 if outer.version == 4 else 40
    return outer.size == head + told == head + 16 + len(inner) and len(inner) >= begins + (held.size if held else 0)


def ipip(frame: bytes, ttl: int | None = None) -> list[str]:
    """IP-01, IP-02, IP-03, IP-06 and IP-09 as Linux sends with its defaults: RFC 2003; TTL inherited unless given."""
    outer = packet(frame)
    if outer is None or outer.protocol != IPIP:
        return ["IP-01: no protocol 4"]
    inner = parsed(outer.payload)
    rules = {
        f"IP-01: {outer.size} bytes for {inner.size} inside": outer.size == inner.size + 20,
        f"IP-02: TTL {outer.ttl}, inside {inner.ttl}": outer.ttl == (inner.ttl if ttl is None else ttl),
        "IP-03: may be fragmented": outer.dont_fragment,
        f"IP-06: TOS {outer.tos:#x}": outer.tos == 0,
        "IP-09: the outer header has options": not outer.options,
    }
    return [fault for fault, kept in rules.items() if not kept]


def plain(frame: bytes) -> list[str]:
    """A packet that nothing encapsulates: A6, and issue 3's "no encapsulation in BGP modes"."""
    found = packet(frame)
    if found is None:
        return []
    if found.protocol in (IPIP, SIT, GRE):
        return [f"protocol {found.protocol} between {found.source} and {found.target}"]
    ports = struct.unpack_from("!HH", found.payload) if found.protocol == UDP else ()
    return [f"VXLAN to port {port}" for port in VXLAN_PORTS if port in ports[1:]]


def tagged(frame: bytes, *vids: int) -> list[str]:
    """H04, L2-01 and others: these VLANs, the outermost first; none for an untagged frame."""
    found = tuple(tci & 0xFFF for tci in tags(frame))
    return [] if found == vids else [f"VLANs {found}, not {vids}"]


def foreign(frame: bytes, macs: Collection[str]) -> list[str]:
    """A frame's sender is one of these: nodes in hybridnet's VLAN mode, pods in bifrost's."""
    sender = frame[6:12].hex(":")
    return [] if sender in macs else [f"sent by {sender}"]


def faults(frames: Iterable[Frame], check: Callable[[bytes], list[str]]) -> list[str]:
    """What `check` finds in these frames. Fails when there is none: a check that saw nothing says nothing."""
    seen = [frame for frame in frames if not frame.bare]
    assert seen, "no frame to check"
    return sorted({fault for frame in seen for fault in check(frame.raw)})


def between(frames: Iterable[Frame], source: str, target: str) -> list[Frame]:
    """The frames whose outermost IP header has these two addresses."""
    pair = (str(ip_address(source)), str(ip_address(target)))
    heads = ((frame, packet(frame.raw)) for frame in frames if not frame.bare)
    return [frame for frame, head in heads if head is not None and (head.source, head.target) == pair]
