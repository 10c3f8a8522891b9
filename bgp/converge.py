"""Waiting for BGP: until each router's kernel has the routes that it is to learn, by the kernel's own events."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from bgp.model import Router
from kernel import wire
from kernel.errors import NotConverged
from kernel.namespaces import Namespaces

PROTO_BGP = 186
"""RTPROT_BGP, linux/rtnetlink.h."""
GROUPS = 0x40 | 0x400
"""RTMGRP_IPV4_ROUTE and RTMGRP_IPV6_ROUTE."""


class _Waiter:
    """One router's missing prefixes."""

    def __init__(self, router: Router) -> None:
        """In the router's namespace."""
        self.netns = router.netns
        self.missing = set(router.expects)
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self.sock.bind((0, GROUPS))
        rtnl = wire.Rtnl()  # after the subscription: what is there already, then what changes
        for family in (socket.AF_INET, socket.AF_INET6):
            self.take(rtnl.dump(wire.GETROUTE, struct.pack("=B11x", family)))
        rtnl.close()

    def take(self, data: bytes) -> None:
        """Notes the BGP routes that came or went."""
        for offset, length, kind in wire.messages(data):
            if kind not in (wire.NEWROUTE, wire.DELROUTE):
                continue
            body = data[offset + wire.HEAD.size : offset + length]
            family, bits, _, _, _, proto = struct.unpack_from("=BBBBBB", body)
            if proto == PROTO_BGP:
                prefix = _prefix(family, bits, body)
                if kind == wire.NEWROUTE:
                    self.missing.discard(prefix)


def _prefix(family: int, bits: int, body: bytes) -> str:
    place = 12
    raw = bytes(16 if family == socket.AF_INET6 else 4)
    while place + 4 <= len(body):
        size, kind = struct.unpack_from("=HH", body, place)
        if size < 4:
            break
        if kind == 1:
            raw = body[place + 4 : place + size]
        place += (size + 3) & ~3
    return str(ip_network((raw, bits)))


def wait(routers: Sequence[Router], namespaces: Namespaces, deadline_s: float) -> float:
    """Waits until every router has all prefixes that it `expects`; returns the seconds that took.

    Raises NotConverged naming the routers and what they miss.
    """
    start = time.monotonic()
    waiters: dict[int, _Waiter] = {}
    try:
        for router in routers:
            with namespaces.inside(router.netns):
                one = _Waiter(router)
                waiters[one.sock.fileno()] = one
        while any(one.missing for one in waiters.values()):
            left = deadline_s - (time.monotonic() - start)
            ready = select.select(list(waiters), [], [], max(0.0, left))[0]
            if not ready:
                raise _late(waiters.values(), deadline_s)
            for fd in ready:
                waiters[fd].take(waiters[fd].sock.recv(1 << 16))
    finally:
        for one in waiters.values():
            one.sock.close()
    return time.monotonic() - start


def _late(waiters: Iterable[_Waiter], deadline_s: float) -> NotConverged:
    late = [one for one in waiters if one.missing]
    missing = "; ".join(f"{one.netns} lacks {', '.join(sorted(one.missing))}" for one in late)
    what = f"BGP did not converge within {deadline_s:g} s: {missing}"
    return NotConverged(what, remedy="`inspect` shows the sessions; `exec NODE -- vtysh -N NODE` asks FRR itself")
