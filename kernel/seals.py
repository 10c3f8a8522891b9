"""Seals on what is applied as a whole: filter rules, sets, queueing disciplines and IPsec are not read back one by one,
but a seal taken after an apply and one taken later tell whether somebody changed them meanwhile. No process is started.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import socket
import struct
from collections.abc import Callable, Hashable, Iterator

from kernel import firewall, ipsec, wire
from kernel.read import bodies
from kernel.state import Netns

GETQDISC, GETTFILTER = 38, 46
"""linux/rtnetlink.h"""
NETFILTER, NFT, IPSET = 12, 10, 6
"""NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES and NFNL_SUBSYS_IPSET (linux/netfilter/nfnetlink.h)."""
GETCHAIN, GETRULE, LIST_SETS = NFT << 8 | 4, NFT << 8 | 7, IPSET << 8 | 7
GET_INFO, GET_ENTRIES = 64, 65
"""IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES; the same numbers for IPv6 (linux/netfilter_ipv4/ip_tables.h)."""
ENTRY = {4: (socket.AF_INET, 0, 88, 96, 112), 6: (socket.AF_INET6, 41, 140, 152, 168)}
"""Of legacy rules, by IP version: socket family and option level; where struct ipt_entry or ip6t_entry has its
offsets, its counters, and its end."""
_TCMSG, _NFGENMSG = struct.Struct("=BxxxiIII"), struct.Struct("=BBH")
_libc = ctypes.CDLL(None, use_errno=True)


def take(rtnl: wire.Rtnl, index: dict[str, int], ns: Netns) -> dict[str, Hashable]:
    """The seals of the parts that `ns` has, in this thread's namespace."""
    makers: dict[str, Callable[[], Hashable]] = {
        "ipsets": lambda: _sets({one.name for one in ns.ipsets}),
        "filters": lambda: _rules(ns),
        "rewrites": lambda: _queueing(rtnl, {index[one.dev] for one in ns.rewrites if one.dev in index}, True),
        "shaping": lambda: _queueing(rtnl, {index[one.dev] for one in ns.shaping if one.dev in index}, False),
        "ipsec": ipsec.seal,
    }
    return {part: make() for part, make in makers.items() if getattr(ns, part)}


# -- queueing --------------------------------------------------------------------------------------------


def _queueing(rtnl: wire.Rtnl, devices: set[int], filters: bool) -> Hashable:
    """Each device's disciplines with their options, and with `filters` which filters hang on them."""
    found = [one for one in _traffic(rtnl, GETQDISC, 0, True) if one[0] in devices]
    if filters:
        found += [one for device in sorted(devices) for one in _traffic(rtnl, GETTFILTER, device, False)]
    return tuple(found)


def _traffic(rtnl: wire.Rtnl, request: int, device: int, options: bool) -> Iterator[tuple[int, int, int, bytes, bytes]]:
    for body in bodies(rtnl.dump(request, _TCMSG.pack(0, device, 0, 0, 0))):
        _, index, handle, parent, _ = _TCMSG.unpack_from(body)
        found = wire.attributes(body, _TCMSG.size)
        yield index, handle, parent, found.get(1, b""), found.get(2, b"") if options else b""


# -- sets and rules --------------------------------------------------------------------------------------


def _sets(names: set[str]) -> Hashable:
    """The members of each set (linux/netfilter/ipset/ip_set.h: IPSET_ATTR_SETNAME 2, IPSET_ATTR_ADT 8)."""
    found: dict[bytes, bytes] = {name.encode(): b"" for name in names}
    for body in _netfilter(LIST_SETS, wire.attr(1, b"\6")):
        one = wire.attributes(body, _NFGENMSG.size)
        if (name := one.get(2, b"").rstrip(b"\0")) in found:
            found[name] += b"+" + one.get(8, b"")
    return tuple((name, _short(members)) for name, members in sorted(found.items()))


def _rules(ns: Netns) -> Hashable:
    if firewall.backend() == "nft":
        return tuple(_nft())
    tables = sorted({(rule.family, rule.table) for rule in ns.filters})
    return tuple((family, table, _legacy(family, table)) for family, table in tables)


def _nft() -> Iterator[tuple[bytes, ...]]:
    """Each chain with its policy and each rule with its handle, which a rule keeps as long as it is
    (linux/netfilter/nf_tables.h)."""
    for body in _netfilter(GETCHAIN):
        one = wire.attributes(body, _NFGENMSG.size)
        yield body[:1], one[1], one[3], one.get(5, b"")
    for body in _netfilter(GETRULE):
        one = wire.attributes(body, _NFGENMSG.size)
        yield body[:1], one[1], one[2], one[3]


def _netfilter(request: int, attributes: bytes = b"") -> Iterator[bytes]:
    sock = wire.Rtnl(NETFILTER)
    try:
        yield from bodies(sock.dump(request, _NFGENMSG.pack(0, 0, 0) + attributes))
    finally:
        sock.close()


def _legacy(version: int, table: str) -> bytes:
    """A table's entries without their counters."""
    family, level, offsets, counters, end = ENTRY[version]
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as sock:
        name = table.encode().ljust(32, b"\0")
        info = _ask(sock, level, GET_INFO, name + bytes(52))
        size = struct.unpack_from("=I", info, 80)[0]
        entries = bytearray(_ask(sock, level, GET_ENTRIES, name + struct.pack("=I4x", size) + bytes(size))[40:])
    place = 0
    while place + end <= len(entries):
        entries[place + counters : place + end] = bytes(end - counters)
        place += struct.unpack_from("=HH", entries, place + offsets)[1] or len(entries)
    return _short(bytes(entries))


def _ask(sock: socket.socket, level: int, option: int, question: bytes) -> bytes:
    """getsockopt(2) with something in the buffer, which Python's own cannot. Raises OSError."""
    buffer = ctypes.create_string_buffer(question, len(question))
    length = ctypes.c_uint(len(question))
    if _libc.getsockopt(sock.fileno(), level, option, buffer, ctypes.byref(length)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return buffer.raw[: length.value]


def _short(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()
