"""What the kernel has in one namespace, as the state types: netlink dumps through pyroute2's parsers.

Left out is what nobody stated: the local table, multicast, the kernel's own connected routes, link-local
addresses, learned neighbours and forwarding entries, and routes of a routing daemon unless asked for.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from kernel import wire
from kernel.state import Address, Bridge, Fdb, Link, Neighbour, Netns, PortVlan, Route, Rule, Sysctl, Veth, Vlan, Vxlan

KERNEL_PROTO, BGP_PROTO, ZEBRA_PROTO = 2, 186, 11
"""Route protocols (linux/rtnetlink.h)."""
DEFAULT_RULES = {(0, 255), (32766, 254), (32767, 253)}
"""(priority, table) of the rules that every namespace is born with."""
DEVICE_KEYS = (".conf.", ".neigh.")
"""Sysctl trees that have a folder for each device; those of `all` and `default` count as the namespace's."""
_KINDS = {1: "unicast", 6: "blackhole", 7: "unreachable", 9: "throw"}
_SCOPES = {0: "global", 253: "link", 254: "host"}
Dump = Callable[..., bytes]


def parsed(data: bytes) -> Iterator[Any]:
    """pyroute2's messages out of raw netlink data."""
    from pyroute2.netlink.rtnl.marshal import MarshalRtnl

    yield from MarshalRtnl().parse(data)


def indexes(rtnl: wire.Rtnl) -> dict[str, int]:
    """Interface indexes by name, without pyroute2."""
    data = rtnl.dump(wire.GETLINK, wire.ifinfo(0, None))
    found = {}
    for offset, length, _ in wire.messages(data):
        index = struct.unpack_from("=i", data, offset + wire.HEAD.size + 4)[0]
        place, end = offset + wire.HEAD.size + 16, offset + length
        while place + 4 <= end:
            size, kind = struct.unpack_from("=HH", data, place)
            if kind == 3:
                found[data[place + 4 : place + size].rstrip(b"\0").decode()] = index
                break
            place += (size + 3) & ~3
    return found


class Reader:
    """Reads one namespace through its socket."""

    def __init__(self, name: str, rtnl: wire.Rtnl) -> None:
        self.name, self.rtnl = name, rtnl
        self.links = list(parsed(rtnl.dump(wire.GETLINK, wire.ifinfo(0, None))))
        self.names: dict[int, str] = {link["index"]: link.get_attr("IFLA_IFNAME") for link in self.links}

    def netns(self, daemons: bool = False) -> Netns:
        """Everything; with `daemons` also the routes that routing daemons installed."""
        return Netns(
            self.name,
            links=tuple(self._link(link) for link in self.links if self.names[link["index"]] != "lo"),
            port_vlans=tuple(self._port_vlans()),
            addresses=tuple(self._addresses()),
            routes=tuple(self._routes(daemons)),
            rules=tuple(self._rules()),
            neighbours=tuple(self._neighbours()),
            fdb=tuple(self._fdb()),
        )

    def _link(self, link: Any) -> Link:
        info = link.get_attr("IFLA_LINKINFO")
        kind = info.get_attr("IFLA_INFO_KIND") if info else None
        data = (info.get_attr("IFLA_INFO_DATA") if info else None) or None
        common: dict[str, Any] = {
            "name": self.names[link["index"]],
            "mtu": link.get_attr("IFLA_MTU"),
            "mac": link.get_attr("IFLA_ADDRESS"),
            "master": self.names.get(link.get_attr("IFLA_MASTER") or 0),
            "up": bool(link["flags"] & wire.UP),
        }
        under = self.names.get(link.get_attr("IFLA_LINK") or 0, "")
        if kind == "bridge":
            return Bridge(**common, vlan_filtering=bool(data and data.get_attr("IFLA_BR_VLAN_FILTERING")))
        if kind == "vxlan" and data:
            return Vxlan(
                **common,
                vni=data.get_attr("IFLA_VXLAN_ID"),
                dev=self.names.get(data.get_attr("IFLA_VXLAN_LINK") or 0, ""),
                local=data.get_attr("IFLA_VXLAN_LOCAL") or data.get_attr("IFLA_VXLAN_LOCAL6") or "",
                port=data.get_attr("IFLA_VXLAN_PORT"),
                learning=bool(data.get_attr("IFLA_VXLAN_LEARNING")),
            )
        if kind == "vlan" and data:
            return Vlan(**common, dev=under, vid=data.get_attr("IFLA_VLAN_ID"))
        return Veth(**common) if kind == "veth" else Link(**common)

    def _port_vlans(self) -> Iterator[PortVlan]:
        body = wire.ifinfo(0, None, socket.AF_BRIDGE) + wire.u32(29, 2)  # IFLA_EXT_MASK: RTEXT_FILTER_BRVLAN
        with contextlib.suppress(OSError):  # no bridge in this kernel
            for link in parsed(self.rtnl.dump(wire.GETLINK, body)):
                spec = link.get_attr("IFLA_AF_SPEC")
                for vlan in spec.get_attrs("IFLA_BRIDGE_VLAN_INFO") if spec else ():
                    flags = vlan["flags"]
                    yield PortVlan(self.names[link["index"]], vlan["vid"], bool(flags & 2), bool(flags & 4))

    def _addresses(self) -> Iterator[Address]:
        for item in parsed(self.rtnl.dump(wire.GETADDR, bytes(8))):
            dev = self.names.get(item["index"], "")
            text = item.get_attr("IFA_LOCAL") or item.get_attr("IFA_ADDRESS")
            value = ip_address(text)
            if value.is_loopback or (
                value.version == 6 and value.is_link_local and not (item.get_attr("IFA_FLAGS") or 0) & 0x80
            ):
                continue
            if value.version == 6 and value.is_link_local and _eui64(self._mac(item["index"])) == value.packed[8:]:
                continue
            scope: Any = _SCOPES.get(item["scope"], "global")
            scope = "global" if value.version == 6 else scope
            flags = item.get_attr("IFA_FLAGS") or 0
            yield Address(dev, f"{value}/{item['prefixlen']}", scope, bool(flags & 0x200))

    def _mac(self, index: int) -> str:
        return next((link.get_attr("IFLA_ADDRESS") or "" for link in self.links if link["index"] == index), "")

    def _routes(self, daemons: bool) -> Iterator[Route]:
        skipped = {KERNEL_PROTO} | (set() if daemons else {BGP_PROTO, ZEBRA_PROTO})
        for family in (socket.AF_INET, socket.AF_INET6):
            for item in parsed(self.rtnl.dump(wire.GETROUTE, struct.pack("=B11x", family))):
                table = item.get_attr("RTA_TABLE") or item["table"]
                if table == 255 or item["proto"] in skipped or item["type"] not in _KINDS or item["flags"] & 0x200:
                    continue
                if (route := self._route(item, table, family)) is not None:
                    yield route

    def _route(self, item: Any, table: int, family: int) -> Route | None:
        everything = "0.0.0.0" if family == socket.AF_INET else "::"
        network = ip_network(f"{item.get_attr('RTA_DST') or everything}/{item['dst_len']}")
        if network.version == 6 and (network.is_multicast or str(network).startswith("fe80::")):
            return None
        kind: Any = _KINDS[item["type"]]
        hop = (item.get_attr("RTA_MULTIPATH") or [item])[0]
        metric = item.get_attr("RTA_PRIORITY") or 0
        via = hop.get_attr("RTA_GATEWAY")
        metrics = item.get_attr("RTA_METRICS")
        oif = hop.get("oif") or hop.get_attr("RTA_OIF")
        return Route(
            str(network),
            dev=self.names.get(oif or 0) if kind == "unicast" else None,
            via=str(ip_address(via)) if via else None,
            table=table,
            kind=kind,
            scope="link" if item["scope"] == 253 and kind == "unicast" else "global",
            proto=item["proto"],
            metric=0 if family == socket.AF_INET6 and metric == 1024 else metric,  # IP6_RT_PRIO_USER
            onlink=bool(hop.get("flags", 0) & 4),
            src=item.get_attr("RTA_PREFSRC"),
            mtu=metrics.get_attr("RTAX_MTU") if metrics else None,
        )

    def _rules(self) -> Iterator[Rule]:
        for family, number in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            for item in parsed(self.rtnl.dump(wire.GETRULE, struct.pack("=B11x", family))):
                table = item.get_attr("FRA_TABLE") or item["table"]
                priority = item.get_attr("FRA_PRIORITY") or 0
                if (priority, table) in DEFAULT_RULES:
                    continue
                source = item.get_attr("FRA_SRC")
                mask = item.get_attr("FRA_FWMASK")
                mark = item.get_attr("FRA_FWMARK", 0 if mask else None)  # the kernel does not state a mark of 0
                source = str(ip_network(f"{source}/{item['src_len']}")) if source else None
                which: Any = number
                yield Rule(priority, table, which, source, mark, None if mask == 0xFFFFFFFF else mask)

    def _neighbours(self) -> Iterator[Neighbour]:
        for family in (socket.AF_INET, socket.AF_INET6):
            for flags in (0, wire.NTF_PROXY):
                body = struct.pack("=BxHiHBB", family, 0, 0, 0, flags, 0)
                for item in parsed(self.rtnl.dump(wire.GETNEIGH, body)):
                    if not (flags or item["state"] & wire.PERMANENT) or not item.get_attr("NDA_DST"):
                        continue
                    target = str(ip_address(item.get_attr("NDA_DST")))
                    dev = self.names.get(item["ifindex"], "")
                    yield Neighbour(dev, target, None if flags else item.get_attr("NDA_LLADDR"), bool(flags))

    def _fdb(self) -> Iterator[Fdb]:
        with contextlib.suppress(OSError):
            body = struct.pack("=BxHiHBB", socket.AF_BRIDGE, 0, 0, 0, 0, 0)
            for item in parsed(self.rtnl.dump(wire.GETNEIGH, body)):
                if (target := item.get_attr("NDA_DST")) and item["state"] & wire.PERMANENT:
                    yield Fdb(self.names.get(item["ifindex"], ""), item.get_attr("NDA_LLADDR"), str(ip_address(target)))


def _eui64(mac: str) -> bytes:
    """The interface identifier that the kernel makes of a MAC (RFC 4291, appendix A)."""
    raw = bytes.fromhex(mac.replace(":", "")) if mac else b""
    return bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:] if len(raw) == 6 else b""


def sysctl(item: Sysctl) -> Sysctl:
    """The value that a key has now in this thread's namespace; empty when there is no such key."""
    try:
        with open(sysctl_path(item.key)) as file:
            return Sysctl(item.key, " ".join(file.read().split()))
    except OSError:
        return Sysctl(item.key, "")


def sysctl_path(key: str) -> str:
    """/proc/sys's file of a key; "/" and "." change places, as sysctl(8) has it."""
    return "/proc/sys/" + key.translate(str.maketrans("./", "/."))


def of_device(key: str) -> bool:
    """The key exists only once its device does."""
    for tree in DEVICE_KEYS:
        _, found, rest = key.partition(tree)
        if found:
            return rest.split(".")[0] not in ("all", "default")
    return False
