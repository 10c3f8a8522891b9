"""Requests that make, change and remove devices, and each kind's own attributes in one table.

The table is read both ways: it packs IFLA_INFO_DATA and turns what the kernel says back into the state types
(linux/if_link.h, linux/if_tunnel.h).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from kernel.state import (
    Bridge,
    Dummy,
    Gre,
    Ipip,
    Ipvlan,
    Link,
    Macvlan,
    PortVlan,
    Sit,
    Stacked,
    Veth,
    Vlan,
    Vti,
    Vxlan,
)
from kernel.wire import (
    CREATE,
    DELLINK,
    EXCL,
    NEWLINK,
    SETLINK,
    Request,
    attr,
    attributes,
    ifinfo,
    mac_bytes,
    nest,
    packed,
    text,
    u32,
)

ADDRESS, IFNAME, MTU, IFLA_LINK, MASTER, LINKINFO, GROUP, NET_NS_FD, LINK_NETNSID = 1, 3, 4, 5, 10, 18, 27, 28, 37
OURS = 0x706F
"""The group (ip-link(8)) of every device made here."""
INFO_KIND, INFO_DATA = 1, 2
FALLBACK = {"tunl0": "ipip", "gre0": "gre", "sit0": "sit", "ip_vti0": "vti"}
"""Devices that a tunnel module makes in every namespace: they are taken over, never removed."""
KERNELS_OWN = frozenset(FALLBACK) | {"gretap0", "erspan0", "ip6tnl0", "ip6gre0", "ip6_vti0"}
"""All devices that modules make by themselves."""
Pack = Callable[[Any], bytes | None]
Unpack = Callable[[bytes], Any]


@dataclass(frozen=True)
class Attr:
    """An attribute of IFLA_INFO_DATA and the field that it stands for; `pack` gives None for one left out."""

    number: int
    field: str
    pack: Pack
    unpack: Unpack | None


@dataclass(frozen=True)
class Kind:
    """A kind of device. `under` is the attribute that holds the index of the device under it, None for IFLA_LINK."""

    name: str
    type: type[Link]
    attrs: tuple[Attr, ...] = ()
    under: int | None = None


def _number(number: int, field: str, form: str) -> Attr:
    code = struct.Struct(form)
    return Attr(number, field, lambda value: code.pack(value), lambda data: code.unpack_from(data)[0])


def _flag(number: int, field: str) -> Attr:
    return Attr(number, field, lambda value: bytes([value]), lambda data: bool(data[0]))


def _bit(number: int, field: str, form: str) -> Attr:
    code = struct.Struct(form)
    return Attr(number, field, lambda value: code.pack(value), lambda data: bool(code.unpack_from(data)[0] & 1))


def _word(number: int, field: str, form: str, words: Mapping[str, int]) -> Attr:
    code, names = struct.Struct(form), {value: name for name, value in words.items()}
    return Attr(number, field, lambda value: code.pack(words[value]), lambda data: names[code.unpack_from(data)[0]])


def _address(number: int, field: str, size: int) -> Attr:
    """An IPv4 (4 bytes) or IPv6 address (16); "" is none."""

    def pack(value: str) -> bytes | None:
        data = packed(value) if value else b""
        return data if len(data) == size else None

    return Attr(number, field, pack, lambda data: str(ip_address(data)) if any(data) else "")


def _if_set(number: int, field: str, value: bytes) -> Attr:
    """A constant that goes with a field that is set; not read."""
    return Attr(number, field, lambda wanted: value if wanted else None, None)


_GRE_KEY = struct.pack("!H", 0x2000)
_NO_PVID = struct.pack("=H", 0)
_IPV6_INSIDE = bytes([socket.IPPROTO_IPV6])
_IPTUN = (_address(2, "local", 4), _address(3, "remote", 4), _number(4, "ttl", "=B"))
_KINDS = (
    Kind(
        "bridge",
        Bridge,
        (
            Attr(7, "vlan_filtering", lambda wanted: b"\1" if wanted else None, lambda data: bool(data[0])),
            _if_set(39, "vlan_filtering", _NO_PVID),  # else every port is in VLAN 1, too
        ),
    ),
    Kind("dummy", Dummy),
    Kind("vlan", Vlan, (_number(1, "vid", "=H"),)),
    Kind(
        "macvlan",
        Macvlan,
        (_word(1, "mode", "=I", {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}),),
    ),
    Kind(
        "ipvlan",
        Ipvlan,
        (
            _word(1, "mode", "=H", {"l2": 0, "l3": 1, "l3s": 2}),
            _word(2, "flag", "=H", {"bridge": 0, "private": 1, "vepa": 2}),
        ),
    ),
    Kind(
        "vxlan",
        Vxlan,
        (
            _number(1, "vni", "=I"),
            _number(15, "port", "!H"),
            _flag(7, "learning"),
            _address(4, "local", 4),
            _address(17, "local", 16),
        ),
        under=3,
    ),
    Kind("ipip", Ipip, _IPTUN, under=1),
    Kind(
        "sit",
        Sit,
        (*_IPTUN, _if_set(9, "name", _IPV6_INSIDE), _bit(8, "isatap", "=H")),
        under=1,
    ),
    Kind(
        "gre",
        Gre,
        (
            _address(6, "local", 4),
            _address(7, "remote", 4),
            _number(8, "ttl", "=B"),
            _number(4, "key", "!I"),
            Attr(5, "key", lambda value: struct.pack("!I", value), None),
            _if_set(2, "key", _GRE_KEY),
            _if_set(3, "key", _GRE_KEY),
        ),
        under=1,
    ),
    Kind(
        "vti",
        Vti,
        (
            _address(4, "local", 4),
            _address(5, "remote", 4),
            _number(2, "key", "!I"),
            Attr(3, "key", lambda value: struct.pack("!I", value), None),
        ),
        under=1,
    ),
    Kind("veth", Veth),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}
BY_TYPE: dict[type[Link], Kind] = {kind.type: kind for kind in _KINDS}


def fixed(link: Link) -> tuple[object, ...]:
    """What cannot be changed once the device is there; a bridge's filtering can."""
    kind = BY_TYPE.get(type(link))
    names = {attribute.field for attribute in kind.attrs} - {"vlan_filtering", "name"} if kind else set()
    return tuple(getattr(link, name) for name in sorted(names))


def filters(link: Link) -> bool:
    """It is an 802.1Q switch."""
    return isinstance(link, Bridge) and link.vlan_filtering


def read_back(kind: str, data: bytes) -> tuple[type[Link], dict[str, Any], int]:
    """The state type of `kind`, its own fields, and the index under it if its own attributes have one (else 0)."""
    known = KINDS.get(kind)
    if known is None:
        return Link, {}, 0
    found = attributes(data)
    fields = {one.field: one.unpack(found[one.number]) for one in known.attrs if one.unpack and one.number in found}
    under = struct.unpack("=I", found[known.under])[0] if known.under in found else 0
    return known.type, fields, under


# -- requests ------------------------------------------------------------------------------------------


def common(link: Link) -> bytes:
    """Name, MTU and MAC: what may be stated when any link is made; and our group, to remove all at once."""
    parts = text(IFNAME, link.name) + u32(GROUP, OURS)
    if link.mtu is not None:
        parts += u32(MTU, link.mtu)
    if link.mac is not None:
        parts += attr(ADDRESS, mac_bytes(link.mac))
    return parts


def _born(link: Link, index: int, master: int | None) -> bytes:
    return ifinfo(index, link.up, arp=link.arp) + common(link) + (u32(MASTER, master) if master else b"")


def new_veth(link: Link, index: int, peer: Link, peer_index: int, peer_fd: int, master: int | None) -> Request:
    """Both ends in one message; the peer is born in the namespace of `peer_fd` and cannot be born up."""
    there = ifinfo(peer_index, None) + common(peer) + u32(NET_NS_FD, peer_fd)
    info = nest(LINKINFO, text(INFO_KIND, "veth"), nest(INFO_DATA, nest(1, there)))
    return NEWLINK, CREATE | EXCL, _born(link, index, master) + info, lambda: f"veth pair {link.name} - {peer.name}"


def new_link(link: Link, index: int, master: int | None, dev: int | None, fd: int | None = None) -> Request:
    """Any device but a veth; `dev` is the index of the device under it. With `fd` the request goes to the namespace
    of that device, and the new one is born in the namespace of `fd` under an index that is free in both."""
    kind = BY_TYPE[type(link)]
    data = b"".join(
        attr(one.number, value) for one in kind.attrs if (value := one.pack(getattr(link, one.field))) is not None
    )
    if dev and kind.under is not None:
        data += u32(kind.under, dev)
    body = _born(link, index, master)
    if isinstance(link, Stacked):
        body += u32(IFLA_LINK, dev or 0)
    if fd is not None:
        body += u32(NET_NS_FD, fd)
    info = nest(LINKINFO, text(INFO_KIND, kind.name), *([nest(INFO_DATA, data)] if data else []))
    return NEWLINK, CREATE | EXCL, body + info, lambda: f"{kind.name} device {link.name}"


def set_link(index: int, wanted: Link, master: int | None) -> Request:
    """MTU, MAC, bridge and state of a link that is there; `master` 0 takes it out of its bridge."""
    body = ifinfo(index, wanted.up, arp=wanted.arp)
    if wanted.mtu is not None:
        body += u32(MTU, wanted.mtu)
    if wanted.mac is not None:
        body += attr(ADDRESS, mac_bytes(wanted.mac))
    if master is not None:
        body += u32(MASTER, master)
    return NEWLINK, 0, body, lambda: f"settings of {wanted.name}"


def up_link(index: int, name: str) -> Request:
    return NEWLINK, 0, ifinfo(index, True), lambda: f"bringing {name} up"


def del_link(index: int, name: str) -> Request:
    """Removes a device; one that the kernel made itself stays and goes down."""
    if name in FALLBACK:
        return NEWLINK, 0, ifinfo(index, False), lambda: f"taking {name} down"
    return DELLINK, 0, ifinfo(index, None), lambda: f"removing {name}"


def del_ours() -> Request:
    """Removes all devices of the namespace that were made here, in one go: far cheaper than one by one."""
    return DELLINK, 0, ifinfo(0, None) + u32(GROUP, OURS), lambda: "removing all devices"


def filtering(index: int, link: Bridge) -> Request:
    """Switches 802.1Q filtering of a bridge on, with no VLAN that every port is in, or off."""
    data = attr(7, bytes([link.vlan_filtering])) + attr(39, _NO_PVID)
    info = nest(LINKINFO, text(INFO_KIND, "bridge"), nest(INFO_DATA, data))
    return NEWLINK, 0, ifinfo(index, None) + info, lambda: f"VLAN filtering of {link.name}"


def port_vlan(index: int, vlan: PortVlan, bridge_itself: bool, remove: bool = False) -> Request:
    """A bridge port's membership of a VLAN (RTM_SETLINK, AF_BRIDGE); bridge_vlan_info of linux/if_bridge.h."""
    flags = (2 if vlan.pvid else 0) | (4 if vlan.untagged else 0)
    parts = attr(2, struct.pack("=HH", flags, vlan.vid))
    if bridge_itself:
        parts = attr(0, struct.pack("=H", 2)) + parts  # BRIDGE_FLAGS_SELF
    body = ifinfo(index, None, socket.AF_BRIDGE) + nest(26, parts)
    return DELLINK if remove else SETLINK, 0, body, lambda: f"VLAN {vlan.vid} on port {vlan.dev}"
