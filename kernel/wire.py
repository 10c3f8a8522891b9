"""rtnetlink requests packed by hand, and the socket that sends many of them at once.

pyroute2 encodes a message in 0.3 ms and takes 0.2 s to import; a lab of a thousand pods is 30,000 messages.
So requests are packed and answers read with struct (rtnetlink(7), linux/neighbour.h, linux/fib_rules.h); the tests
compare with pyroute2. Devices are in kernel.devices.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network

from kernel.errors import KernelRefused
from kernel.state import LOCAL, Address, Fdb, Neighbour, NextHop, Route, Rule

NETLINK_XFRM = 6
"""The protocol of IPsec's socket (linux/netlink.h)."""
REQUEST, ACK, REPLACE, EXCL, CREATE, APPEND, DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800, 0x300
NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWRULE, DELRULE, GETRULE = 32, 33, 34
UP, NOARP = 0x1, 0x80
"""IFF_UP and IFF_NOARP, linux/if.h."""
HEAD = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")
NESTED = 0x8000
_SOL_NETLINK, _EXT_ACK, _CAP_ACK = 270, 11, 10
_INTERRUPTED, _PATIENCE = 0x10, 5
_BATCH = 1 << 15
"""Bytes a send: well under the default socket buffer of 208 KiB."""

Request = tuple[int, int, bytes, Callable[[], str]]
"""Type, flags, body, and what it is in words, made only when the kernel refuses it."""


def attr(kind: int, data: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = len(data) + 4
    return struct.pack("=HH", length, kind) + data + b"\0" * (-length % 4)


def text(kind: int, value: str) -> bytes:
    return attr(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    return attr(kind, struct.pack("=I", value))


def nest(kind: int, *parts: bytes) -> bytes:
    return attr(kind | NESTED, b"".join(parts))


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by number, without the flag of nested ones; of several with one number the last."""
    return dict(each_attribute(data, offset))


def each_attribute(data: bytes, offset: int = 0) -> Iterable[tuple[int, bytes]]:
    """The same in order."""
    end = len(data)
    while offset + 4 <= end:
        size, kind = _ATTR.unpack_from(data, offset)
        if size < 4:
            break
        yield kind & 0x3FFF, data[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def packed(address: str) -> bytes:
    """An address without a prefix length in network byte order."""
    return socket.inet_pton(family_of(address), address)


def ifinfo(index: int, up: bool | None, family: int = 0, arp: bool | None = None) -> bytes:
    """struct ifinfomsg; what is None leaves its flag as it is."""
    flags = (UP if up else 0) | (NOARP if arp is False else 0)
    mask = (0 if up is None else UP) | (0 if arp is None else NOARP)
    return struct.pack("=BxHiII", family, 0, index, flags, mask)


# -- addresses, routes, rules --------------------------------------------------------------------------

ONLINK = 4
"""RTNH_F_ONLINK"""
SCOPES = {"global": 0, "link": 253, "host": 254}
_NOWHERE = 255
"""RT_SCOPE_NOWHERE: any scope, when a route is deleted."""
KINDS = {"unicast": 1, "blackhole": 6, "unreachable": 7, "throw": 9}


def address(item: Address, index: int, remove: bool = False) -> Request:
    """IPv6 addresses skip duplicate address detection, which would keep them tentative for a second."""
    interface = ip_interface(item.address)
    raw, six = interface.ip.packed, interface.version == 6
    flags = (0x02 if six else 0) | (0x200 if item.noprefixroute else 0)
    head = struct.pack(
        "=BBBBi", family_of(item.address), interface.network.prefixlen, flags & 0xFF, SCOPES[item.scope], index
    )
    body = head + (b"" if six else attr(2, raw)) + attr(1, raw) + u32(8, flags)
    if remove:
        return DELADDR, 0, body, lambda: f"removing address {item.address} from {item.dev}"
    return NEWADDR, CREATE | REPLACE, body, lambda: f"address {item.address} on {item.dev}"


def disown(item: Address, index: int) -> list[Request]:
    """Takes an address's routes out of the table local; some kernels have no broadcast route for the network's first
    address, and refuse that one."""
    interface = ip_interface(item.address)
    found = []
    for target in (interface.ip, interface.network.network_address, interface.network.broadcast_address):
        head = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, LOCAL, 0, _NOWHERE, 0, 0)
        body = head + attr(1, target.packed) + u32(4, index) + attr(7, interface.ip.packed)
        found.append((DELROUTE, 0, body, lambda: f"disowning {item.address} on {item.dev}"))
    return found


def route(item: Route, devices: Mapping[str, int], remove: bool = False) -> Request:
    """Replaces a route of the same destination, table and metric. `devices` are indexes by name."""
    network = ip_network(item.dst)
    table = item.table if item.table < 256 else 0
    scope = 253 if item.scope == "link" and network.version == 4 else 0
    flags = ONLINK if item.onlink else 0
    family = family_of(item.dst)
    head = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, table, item.proto, scope, KINDS[item.kind], flags)
    body = head + u32(15, item.table) + (attr(1, network.network_address.packed) if network.prefixlen else b"")
    if item.hops:
        body += nest(9, *(_hop(hop, devices[hop.dev], family) for hop in item.hops))
    elif item.dev:
        body += u32(4, devices[item.dev])
    if item.via:
        body += _gateway(item.via, family)
    if item.metric:
        body += u32(6, item.metric)
    if item.src:
        body += attr(7, packed(item.src))
    if item.mtu:
        body += nest(8, u32(2, item.mtu))
    if remove:
        return DELROUTE, 0, body, lambda: f"removing {words(item)}"
    return NEWROUTE, CREATE | REPLACE, body, lambda: words(item)


def _gateway(via: str, family: int) -> bytes:
    """RTA_GATEWAY, or RTA_VIA for an IPv4 route over an IPv6 next hop (RFC 5549)."""
    if family_of(via) == family:
        return attr(5, packed(via))
    return attr(18, struct.pack("=H", family_of(via)) + packed(via))


def _hop(hop: NextHop, index: int, family: int) -> bytes:
    """struct rtnexthop and its gateway."""
    via = _gateway(hop.via, family) if hop.via else b""
    return struct.pack("=HBBi", 8 + len(via), ONLINK if hop.onlink else 0, hop.weight - 1, index) + via


def words(item: Route) -> str:
    """A route as `ip route` says it."""
    kind = "" if item.kind == "unicast" else item.kind + " "
    ways = item.hops or ((item,) if item.dev or item.via else ())
    by = ",".join(f" via {one.via} dev {one.dev}" if one.via else f" dev {one.dev}" for one in ways)
    return f"route {kind}{item.dst}{by} table {item.table}"


def rule(item: Rule, remove: bool = False) -> Request:
    """A policy rule (struct fib_rule_hdr, action FR_ACT_TO_TBL)."""
    family = socket.AF_INET6 if item.family == 6 else socket.AF_INET
    source = ip_network(item.src) if item.src else None
    target = ip_network(item.dst) if item.dst else None
    table = item.table if item.table < 256 else 0
    lengths = target.prefixlen if target else 0, source.prefixlen if source else 0
    body = struct.pack("=BBBBBBBBI", family, *lengths, 0, table, 0, 0, 1, 0) + u32(6, item.priority)
    body += u32(15, item.table)
    if target:
        body += attr(1, target.network_address.packed)
    if source:
        body += attr(2, source.network_address.packed)
    if item.iif:
        body += text(3, item.iif)
    if item.fwmark is not None:
        body += u32(10, item.fwmark) + u32(16, 0xFFFFFFFF if item.fwmask is None else item.fwmask)
    what = f"rule {item.priority} to table {item.table}"
    if remove:
        return DELRULE, 0, body, lambda: f"removing {what}"
    return NEWRULE, CREATE | EXCL, body, lambda: what


# -- neighbours and forwarding entries -----------------------------------------------------------------

PERMANENT, NUD_NOARP, NTF_SELF, NTF_PROXY = 0x80, 0x40, 0x02, 0x08
NUD = {"permanent": PERMANENT, "noarp": NUD_NOARP}


def neighbour(item: Neighbour, index: int, remove: bool = False) -> Request:
    """A permanent entry, or a proxy entry (NTF_PROXY)."""
    flags = NTF_PROXY if item.proxy else 0
    head = struct.pack("=BxHiHBB", family_of(item.address), 0, index, NUD[item.state], flags, 0)
    body = head + attr(1, packed(item.address)) + (attr(2, mac_bytes(item.mac)) if item.mac else b"")
    kind = "proxy neighbour" if item.proxy else "neighbour"
    what = f"{kind} {item.address} on {item.dev}"
    if remove:
        return DELNEIGH, 0, body, lambda: f"removing {what}"
    return NEWNEIGH, CREATE | REPLACE, body, lambda: what


def fdb(item: Fdb, index: int, remove: bool = False) -> Request:
    """A permanent entry of a VXLAN device. Those of the all-zero or a group MAC add up: head-end replication."""
    many = item.mac == "00:00:00:00:00:00" or int(item.mac[:2], 16) & 1
    head = struct.pack("=BxHiHBB", socket.AF_BRIDGE, 0, index, PERMANENT, NTF_SELF, 0)
    body = head + attr(2, mac_bytes(item.mac)) + attr(1, packed(item.dst))
    what = f"FDB entry {item.mac} on {item.dev} to {item.dst}"
    if remove:
        return DELNEIGH, 0, body, lambda: f"removing {what}"
    return NEWNEIGH, CREATE | (APPEND if many else REPLACE), body, lambda: what


# -- the socket ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """One request that the kernel refused."""

    what: str
    errno: int
    reason: str


class Rtnl:
    """A netlink socket of the namespace in which it is opened; it stays there. `family` 0 is NETLINK_ROUTE."""

    def __init__(self, family: int = 0) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._sock.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._sock.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._number = 0

    def close(self) -> None:
        self._sock.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Sends all, in order, some hundred a system call. Raises KernelRefused naming the first refused."""
        refused = self.attempt(requests)
        if refused:
            first = refused[0]
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            raise KernelRefused(f"the kernel refused {first.what}: {first.reason}{more}")

    def attempt(self, requests: Sequence[Request]) -> list[Refusal]:
        """Sends all and returns those refused; the others took effect."""
        refused: list[Refusal] = []
        size = first = 0
        for position, (_, _, body, _) in enumerate(requests):
            size += len(body) + HEAD.size
            if size > _BATCH or position == len(requests) - 1:
                refused += self._exchange(requests[first : position + 1])
                size, first = 0, position + 1
        return refused

    def _exchange(self, requests: Sequence[Request]) -> list[Refusal]:
        """Only the last asks for an acknowledgement: errors come anyway, and before it."""
        start = self._number + 1
        last = len(requests) - 1
        parts = []
        for position, (kind, flags, body, _) in enumerate(requests):
            flags |= REQUEST | (ACK if position == last else 0)
            parts.append(HEAD.pack(HEAD.size + len(body), kind, flags, start + position, 0) + body)
            parts.append(b"\0" * (-len(body) % 4))
        self._number += len(requests)
        self._sock.sendall(b"".join(parts))
        refused = []
        while True:
            for number, errno, message in errors(self._sock.recv(1 << 18)):
                position = number - start
                if errno and 0 <= position <= last:
                    reason = os.strerror(errno) + (f" ({message})" if message else "")
                    refused.append(Refusal(requests[position][3](), errno, reason))
                if position == last:
                    return refused

    def dump(self, kind: int, body: bytes, flags: int = DUMP) -> bytes:
        """The raw answer to a dump request, its parts joined, without the closing message. One during which something
        changed, so that it may lack or repeat objects, is asked for again (NLM_F_DUMP_INTR)."""
        for _ in range(_PATIENCE):
            answer, whole = self._dump(kind, body, flags)
            if whole:
                break
        return answer

    def _dump(self, kind: int, body: bytes, flags: int) -> tuple[bytes, bool]:
        """The answer, and whether nothing changed meanwhile."""
        self._number += 1
        self._sock.sendall(HEAD.pack(HEAD.size + len(body), kind, REQUEST | flags, self._number, 0) + body)
        joined, whole = bytearray(), True
        while True:
            data = self._sock.recv(1 << 18)
            for offset, length, message_type in messages(data):
                whole = whole and not HEAD.unpack_from(data, offset)[2] & _INTERRUPTED
                if message_type == 3:  # NLMSG_DONE
                    return bytes(joined), whole
                if message_type == 2:  # NLMSG_ERROR
                    if errno := -struct.unpack_from("=i", data, offset + HEAD.size)[0]:
                        raise OSError(errno, os.strerror(errno))
                    return bytes(joined), whole
                joined += data[offset : offset + length]
            if not flags & DUMP:
                return bytes(joined), True


def messages(data: bytes) -> Iterable[tuple[int, int, int]]:
    """Offset, padded length and type of each message in a datagram."""
    offset = 0
    while offset + HEAD.size <= len(data):
        length, kind, _, _, _ = HEAD.unpack_from(data, offset)
        if length < HEAD.size:
            break
        padded = (length + 3) & ~3
        yield offset, padded, kind
        offset += padded


def errors(data: bytes) -> Iterable[tuple[int, int, str]]:
    """Sequence number, errno (0: an acknowledgement) and the kernel's explanation of each NLMSG_ERROR."""
    for offset, length, kind in messages(data):
        if kind != 2:
            continue
        number = HEAD.unpack_from(data, offset)[3]
        flags = HEAD.unpack_from(data, offset)[2]
        errno = -struct.unpack_from("=i", data, offset + HEAD.size)[0]
        message = ""
        if flags & 0x200:  # NLM_F_ACK_TLVS, after the capped copy of the request's header
            message = _explanation(data[offset + HEAD.size + 4 + HEAD.size : offset + length])
        yield number, errno, message


def _explanation(tlvs: bytes) -> str:
    offset = 0
    while offset + 4 <= len(tlvs):
        length, kind = struct.unpack_from("=HH", tlvs, offset)
        if length < 4:
            break
        if kind == 1:  # NLMSGERR_ATTR_MSG
            return tlvs[offset + 4 : offset + length].rstrip(b"\0").decode()
        offset += (length + 3) & ~3
    return ""
