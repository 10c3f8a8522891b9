"""What the kernel has in one namespace, as the state types, out of netlink dumps.

Left out is what nobody stated: the local table, multicast, the kernel's own connected routes and link-local
addresses, learned neighbours and forwarding entries, what a module makes by itself as long as it is down, and
routes of a routing daemon unless asked for.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from kernel import devices, wire
from kernel.diff import USUAL_IPV6_METRIC
from kernel.state import (
    LOCAL,
    Address,
    Fdb,
    Link,
    Neighbour,
    Netns,
    NextHop,
    PortVlan,
    Route,
    Rule,
    Stacked,
    Sysctl,
    Veth,
    Vxlan,
)

KERNEL_PROTO, BGP_PROTO, ZEBRA_PROTO = 2, 186, 11
"""Route protocols (linux/rtnetlink.h)."""
DEFAULT_RULES = {(0, 255), (32766, 254), (32767, 253)}
"""(priority, table) of the rules that every namespace is born with."""
Elsewhere = Mapping[int, tuple[str, Mapping[int, str]]]
"""Other namespaces by the number that the kernel gives them in this one: name, and devices by index."""
_IFINFO, _IFADDR, _RTMSG = struct.Struct("=BxHiII"), struct.Struct("=BBBBi"), struct.Struct("=BBBBBBBBI")
_NDMSG, _NEXTHOP, _U32, _S32 = (
    struct.Struct("=BxHiHBB"),
    struct.Struct("=HBBi"),
    struct.Struct("=I"),
    struct.Struct("=i"),
)
_KINDS = {number: name for name, number in wire.KINDS.items()}
_SCOPES = {number: name for name, number in wire.SCOPES.items()}
_STATES = {number: name for name, number in wire.NUD.items()}
_LOCAL_TYPE = 2
"""RTN_LOCAL (linux/rtnetlink.h)."""
_PERMANENT, _NOPREFIXROUTE, _CLONED = 0x80, 0x200, 0x200
"""IFA_F_PERMANENT, IFA_F_NOPREFIXROUTE (linux/if_addr.h) and RTM_F_CLONED."""
_KERNELS_OWN = (1, 2, 3)
"""IFA_PROTO of addresses on lo, from router advertisements, and link-local ones (linux/if_addr.h, from 5.18 on)."""
_NSID = devices.LINK_NETNSID


def bodies(data: bytes) -> Iterator[bytes]:
    """The messages of a dump without their headers."""
    for offset, length, _ in wire.messages(data):
        yield data[offset + wire.HEAD.size : offset + length]


def indexes(rtnl: wire.Rtnl) -> dict[str, int]:
    """Interface indexes by name."""
    found = {}
    for body in bodies(rtnl.dump(wire.GETLINK, wire.ifinfo(0, None))):
        for kind, value in wire.each_attribute(body, _IFINFO.size):
            if kind == devices.IFNAME:
                found[_text(value)] = _IFINFO.unpack_from(body)[2]
                break
    return found


class Reader:
    """Reads one namespace through its socket. `elsewhere` may be set to what is known of other namespaces, for the
    devices that have their other part there."""

    def __init__(self, name: str, rtnl: wire.Rtnl) -> None:
        self.name, self.rtnl = name, rtnl
        self.elsewhere: Elsewhere = {}
        self._links: dict[int, dict[int, bytes]] = {}
        self._flags: dict[int, int] = {}
        self.names: dict[int, str] = {}
        for body in bodies(rtnl.dump(wire.GETLINK, wire.ifinfo(0, None))):
            _, _, index, flags, _ = _IFINFO.unpack_from(body)
            self._links[index] = found = wire.attributes(body, _IFINFO.size)
            self._flags[index] = flags
            self.names[index] = _text(found[devices.IFNAME])

    def numbers(self) -> set[int]:
        """What this namespace calls those in which its devices have their other part."""
        return {_S32.unpack(found[_NSID])[0] for found in self._links.values() if _NSID in found}

    def netns(self, daemons: bool = False) -> Netns:
        """Everything; with `daemons` also the routes that routing daemons installed."""
        links = tuple(self.links())
        return Netns(
            self.name,
            links=links,
            port_vlans=tuple(self._port_vlans({link.name for link in links if devices.filters(link)})),
            addresses=tuple(self._addresses()),
            routes=tuple(self._routes(daemons)),
            rules=tuple(self._rules()),
            neighbours=tuple(self._neighbours()),
            fdb=tuple(self._fdb()) if any(isinstance(link, Vxlan) for link in links) else (),
        )

    def links(self) -> Iterator[Link]:
        """All devices but lo and those of a module that nobody took over."""
        for index, name in self.names.items():
            up = self._flags[index] & wire.UP
            if name != "lo" and (up or name not in devices.KERNELS_OWN):
                yield self._link(index)

    def _link(self, index: int) -> Link:
        found = self._links[index]
        info = wire.attributes(found.get(devices.LINKINFO, b""))
        kind, fields, under = devices.read_back(
            _text(info.get(devices.INFO_KIND, b"")), info.get(devices.INFO_DATA, b"")
        )
        common: dict[str, Any] = {
            "name": self.names[index],
            "mtu": u32(found, devices.MTU),
            "mac": self._mac(index),
            "master": self.names.get(u32(found, devices.MASTER)),
            "up": bool(self._flags[index] & wire.UP),
            "arp": not self._flags[index] & wire.NOARP,
        }
        netns, dev = self._other_part(found, under)
        if issubclass(kind, Veth):
            return Veth(**common, peer_netns=netns, peer=Link(dev))
        if issubclass(kind, Stacked):
            return kind(**common, **fields, dev=dev, dev_netns=netns)
        if "dev" in kind.__dataclass_fields__:
            fields["dev"] = dev
        return kind(**common, **fields)

    def _mac(self, index: int) -> str | None:
        raw = self._links[index].get(devices.ADDRESS, b"")
        return raw.hex(":") if len(raw) == 6 else None

    def _other_part(self, found: Mapping[int, bytes], under: int) -> tuple[str, str]:
        """Namespace ("" is this one) and name of the device under this one, or of a veth's other end; unknown is ""."""
        index = under or u32(found, devices.IFLA_LINK)
        if _NSID not in found:
            return "", self.names.get(index, "")
        number = _S32.unpack(found[_NSID])[0]
        name, names = self.elsewhere.get(number, ("?", {}))
        return name, names.get(index, "")

    def _port_vlans(self, bridges: set[str]) -> Iterator[PortVlan]:
        """Of the bridges that filter; the others have everything in VLAN 1 and do not look."""
        if not bridges:
            return
        body = wire.ifinfo(0, None, socket.AF_BRIDGE) + wire.u32(29, 2)  # IFLA_EXT_MASK: RTEXT_FILTER_BRVLAN
        with contextlib.suppress(OSError):  # no bridge in this kernel
            for link in bodies(self.rtnl.dump(wire.GETLINK, body)):
                found = wire.attributes(link, _IFINFO.size)
                dev = self.names[_IFINFO.unpack_from(link)[2]]
                if dev not in bridges and self.names.get(u32(found, devices.MASTER)) not in bridges:
                    continue
                for kind, value in wire.each_attribute(found.get(26, b"")):
                    if kind == 2:
                        flags, vid = struct.unpack("=HH", value)
                        yield PortVlan(dev, vid, bool(flags & 2), bool(flags & 4))

    def _addresses(self) -> Iterator[Address]:
        for body in bodies(self.rtnl.dump(wire.GETADDR, bytes(8))):
            family, length, _, scope, index = _IFADDR.unpack_from(body)
            found = wire.attributes(body, _IFADDR.size)
            flags, raw = u32(found, 8), found.get(2) or found[1]
            dev = self.names.get(index, "")
            if found.get(11, b"\0")[0] in _KERNELS_OWN or (dev == "lo" and raw[0] == 127) or not flags & _PERMANENT:
                continue
            if scope == wire.SCOPES["link"] and family == socket.AF_INET6 and not self._mac(index):
                continue  # a tunnel's, made of its IPv4 address
            words: Any = _SCOPES.get(scope, "global") if family == socket.AF_INET else "global"
            own = words != "link" or raw in self._own()
            yield Address(dev, f"{socket.inet_ntop(family, raw)}/{length}", words, bool(flags & _NOPREFIXROUTE), own)

    def _own(self) -> set[bytes]:
        """The IPv4 addresses that the kernel takes for its own: those with a route of type local in the table local."""
        request = struct.pack("=B11x", socket.AF_INET)
        found = set()
        for body in bodies(self.rtnl.dump(wire.GETROUTE, request)):
            head = _RTMSG.unpack_from(body)
            if (head[4], head[7]) == (LOCAL, _LOCAL_TYPE):
                found.add(wire.attributes(body, _RTMSG.size)[1])
        return found

    def _routes(self, daemons: bool) -> Iterator[Route]:
        skipped = {KERNEL_PROTO} | (set() if daemons else {BGP_PROTO, ZEBRA_PROTO})
        for body in bodies(self.rtnl.dump(wire.GETROUTE, bytes(12))):
            head = _RTMSG.unpack_from(body)
            family, kind, flags = head[0], head[7], head[8]
            if head[5] in skipped or kind not in _KINDS or flags & _CLONED or head[4] == 255:
                continue
            found = wire.attributes(body, _RTMSG.size)
            if family == socket.AF_INET or (family == socket.AF_INET6 and found.get(1, b"\0")[0] < 0xFE):
                yield self._route(head, found)

    def _route(self, head: tuple[int, ...], found: Mapping[int, bytes]) -> Route:
        family, length, _, _, table, proto, scope, number, flags = head
        six = family == socket.AF_INET6
        kind: Any = _KINDS[number]
        metric = u32(found, 6)
        hops = tuple(self._hops(found[9], family)) if 9 in found else ()
        several = len(hops) > 1
        dev, via, onlink = self.names.get(u32(found, 4)), gateway(found, family), bool(flags & wire.ONLINK)
        if hops and not several:
            dev, via, onlink = hops[0].dev, hops[0].via, hops[0].onlink
        return Route(
            f"{socket.inet_ntop(family, found.get(1, bytes(16 if six else 4)))}/{length}",
            dev=dev if kind == "unicast" and not several else None,
            via=None if several else via,
            table=u32(found, 15) or table,
            kind=kind,
            scope="link" if scope == 253 and kind == "unicast" else "global",
            proto=proto,
            metric=0 if six and metric == USUAL_IPV6_METRIC else metric,
            onlink=onlink and not several,
            src=socket.inet_ntop(family, found[7]) if 7 in found else None,
            mtu=u32(wire.attributes(found.get(8, b"")), 2) or None,
            hops=hops if several else (),
        )

    def _hops(self, data: bytes, family: int) -> Iterator[NextHop]:
        """RTA_MULTIPATH: rtnexthop after rtnexthop, each with its gateway."""
        offset = 0
        while offset + _NEXTHOP.size <= len(data):
            length, flags, weight, index = _NEXTHOP.unpack_from(data, offset)
            found = wire.attributes(data[offset : offset + length], _NEXTHOP.size)
            yield NextHop(self.names.get(index, ""), gateway(found, family), bool(flags & wire.ONLINK), weight + 1)
            offset += (length + 3) & ~3

    def _rules(self) -> Iterator[Rule]:
        for body in bodies(self.rtnl.dump(wire.GETRULE, bytes(12))):
            family, to_length, from_length, _, table, _, _, action, _ = _RTMSG.unpack_from(body)
            found = wire.attributes(body, _RTMSG.size)
            table, priority = u32(found, 15) or table, u32(found, 6)
            if action != 1 or (priority, table) in DEFAULT_RULES or family not in (socket.AF_INET, socket.AF_INET6):
                continue
            mask = u32(found, 16)
            yield Rule(
                priority,
                table,
                6 if family == socket.AF_INET6 else 4,
                src=f"{socket.inet_ntop(family, found[2])}/{from_length}" if 2 in found else None,
                fwmark=u32(found, 10) if 10 in found or 16 in found else None,
                fwmask=None if mask in (0, 0xFFFFFFFF) else mask,
                dst=f"{socket.inet_ntop(family, found[1])}/{to_length}" if 1 in found else None,
                iif=_text(found[3]) if 3 in found else None,
            )

    def _neighbours(self) -> Iterator[Neighbour]:
        """Permanent ones, NUD_NOARP ones that somebody stated (the kernel makes them too, with the device's own MAC
        or for groups), and proxies."""
        for proxy in (False, True):
            head = _NDMSG.pack(0, 0, 0, 0, wire.NTF_PROXY if proxy else 0, 0)
            for body in bodies(self.rtnl.dump(wire.GETNEIGH, head)):
                family, _, index, state, _, _ = _NDMSG.unpack_from(body)
                found = wire.attributes(body, _NDMSG.size)
                if 1 not in found or family not in (socket.AF_INET, socket.AF_INET6) or index not in self.names:
                    continue
                dev, target, mac = self.names[index], socket.inet_ntop(family, found[1]), found.get(2)
                if proxy:
                    yield Neighbour(dev, target, proxy=True)
                elif state in _STATES and not (state == wire.NUD_NOARP and self._made_itself(index, mac)):
                    kind: Any = _STATES[state]
                    yield Neighbour(dev, target, mac.hex(":") if mac else None, state=kind)

    def _made_itself(self, index: int, mac: bytes | None) -> bool:
        return not mac or bool(mac[0] & 1) or not any(mac) or mac == self._links[index].get(devices.ADDRESS)

    def _fdb(self) -> Iterator[Fdb]:
        body = _NDMSG.pack(socket.AF_BRIDGE, 0, 0, 0, 0, 0)
        for one in bodies(self.rtnl.dump(wire.GETNEIGH, body)):
            _, _, index, state, _, _ = _NDMSG.unpack_from(one)
            found = wire.attributes(one, _NDMSG.size)
            if (target := found.get(1)) and state & wire.PERMANENT:
                family = socket.AF_INET if len(target) == 4 else socket.AF_INET6
                yield Fdb(self.names.get(index, ""), found[2].hex(":"), socket.inet_ntop(family, target))


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode()


def u32(found: Mapping[int, bytes], kind: int) -> int:
    """A 32-bit attribute; 0 when it is not there."""
    return int(_U32.unpack_from(found[kind])[0]) if kind in found else 0


def gateway(found: Mapping[int, bytes], family: int) -> str | None:
    """The next hop in a route's attributes."""
    if 5 in found:
        return socket.inet_ntop(family, found[5])
    if 18 in found:  # RTA_VIA: family and address
        return socket.inet_ntop(struct.unpack_from("=H", found[18])[0], found[18][2:])
    return None


def sysctl(key: str) -> Sysctl:
    """What a key holds now in this thread's namespace; empty when there is no such key."""
    try:
        with open(sysctl_path(key)) as file:
            return Sysctl(key, " ".join(file.read().split()))
    except OSError:
        return Sysctl(key, "")


def sysctl_path(key: str) -> str:
    """/proc/sys's file of a key; "/" and "." change places, as sysctl(8) has it."""
    return "/proc/sys/" + key.translate(str.maketrans("./", "/."))
