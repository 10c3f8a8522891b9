"""Waiting for BGP: until each router's kernel has the routes that it is to learn, by the kernel's own events."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_network

from bgp.model import Router
from kernel import wire
from kernel.errors import NotConverged
from kernel.namespaces import Namespaces
from kernel.state import MAIN

PROTO_BGP = 186
"""RTPROT_BGP, linux/rtnetlink.h."""
GROUPS = 0x40 | 0x400
"""RTMGRP_IPV4_ROUTE and RTMGRP_IPV6_ROUTE."""
Deaths = Mapping[int, Callable[[], NotConverged]]
"""Process descriptors, readable once the process has ended (pidfd_open(2)), and what to raise then."""


class _Waiter:
    """One router's kernel, and how it differs from what BGP is to make of it."""

    def __init__(self, router: Router) -> None:
        """In the router's namespace."""
        self.netns = router.netns
        self._expected = set(router.expects)
        self._pools = [ip_network(pool) for pool in router.pools]
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        self.sock.bind((0, GROUPS))
        self._rtnl = wire.Rtnl()
        self.look()  # after the subscription: what is there already, then what changes

    def look(self) -> None:
        """Drops the events that wait and reads the routes themselves: events of one table may get lost."""
        try:
            while self.sock.recv(1 << 16):
                pass
        except OSError:  # nothing more, or too many for the buffer
            pass
        there = set(self._learned())
        self.missing = self._expected - there
        self.surplus = {one for one in there - self._expected if self._pooled(one)}

    def _pooled(self, prefix: str) -> bool:
        network = ip_network(prefix)
        return any(network.version == pool.version and network[0] in pool for pool in self._pools)

    def _learned(self) -> Iterable[str]:
        for family in (socket.AF_INET, socket.AF_INET6):
            data = self._rtnl.dump(wire.GETROUTE, struct.pack("=B11x", family))
            for offset, length, kind in wire.messages(data):
                body = data[offset + wire.HEAD.size : offset + length]
                _, bits, _, _, table, proto = struct.unpack_from("=BBBBBB", body)
                if kind == wire.NEWROUTE and (table, proto) == (MAIN, PROTO_BGP):
                    yield _prefix(family, bits, body)

    def close(self) -> None:
        self.sock.close()
        self._rtnl.close()


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


def wait(routers: Sequence[Router], namespaces: Namespaces, deadline_s: float, deaths: Deaths | None = None) -> float:
    """Waits until every router's main table has all prefixes that it `expects` from BGP and none beside them within
    its pools; returns the seconds that took.

    Raises NotConverged naming the routers and what they miss, or what a process of `deaths` that ended has to say.
    """
    start = time.monotonic()
    waiters: dict[int, _Waiter] = {}
    dying = dict(deaths or {})
    try:
        for router in routers:
            with namespaces.inside(router.netns):
                one = _Waiter(router)
                waiters[one.sock.fileno()] = one
        while any(one.missing or one.surplus for one in waiters.values()):
            left = deadline_s - (time.monotonic() - start)
            ready = select.select([*waiters, *dying], [], [], max(0.0, left))[0]
            if not ready:
                raise _late(waiters.values(), deadline_s)
            for fd in ready:
                if fd in dying:
                    raise dying[fd]()
                waiters[fd].look()
    finally:
        for one in waiters.values():
            one.close()
    return time.monotonic() - start


def _late(waiters: Iterable[_Waiter], deadline_s: float) -> NotConverged:
    late = [f"{one.netns} lacks {', '.join(sorted(one.missing))}" for one in waiters if one.missing]
    late += [f"{one.netns} still has {', '.join(sorted(one.surplus))}" for one in waiters if one.surplus]
    what = f"BGP did not converge within {deadline_s:g} s: {'; '.join(late)}"
    return NotConverged(what, remedy="`inspect` shows the sessions; `exec NODE -- vtysh -N NODE` asks FRR itself")
