"""Waiting until links carry frames, by event: a device that was set up does so only up to a second later, when the
kernel's link watch has seen its carrier and started its queue (net/core/link_watch.c; operstates.rst)."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable

from kernel import wire
from kernel.namespaces import Namespaces

GROUP_LINK = 1
"""RTMGRP_LINK, linux/rtnetlink.h."""
RUNNING = 0x40
"""IFF_RUNNING: up and operational (netdevice(7))."""


def wait(namespaces: Namespaces, devices: Iterable[tuple[str, str]], deadline_s: float) -> list[tuple[str, str]]:
    """Waits until all devices (a namespace and a name each) run; returns those that do not by the deadline, seconds."""
    end = time.monotonic() + deadline_s
    wanted: dict[str, set[str]] = {}
    for netns, name in devices:
        wanted.setdefault(netns, set()).add(name)
    late: dict[socket.socket, dict[int, tuple[str, str]]] = {}
    try:
        for netns, names in wanted.items():
            with namespaces.inside(netns):
                _look(late, netns, names)
        while any(late.values()):
            ready = select.select(list(late), [], [], max(0.0, end - time.monotonic()))[0]
            if not ready:
                break
            for sock in ready:
                _take(late[sock], sock.recv(1 << 16))
        return sorted(device for missing in late.values() for device in missing.values())
    finally:
        for sock in late:
            sock.close()


def _look(late: dict[socket.socket, dict[int, tuple[str, str]]], netns: str, names: Iterable[str]) -> None:
    """In a namespace: keeps a socket with the news of it if one of the devices does not run yet."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    sock.bind((0, GROUP_LINK))
    missing = {socket.if_nametoindex(name): (netns, name) for name in names}
    rtnl = wire.Rtnl()  # after the subscription: what is so already, then what changes
    _take(missing, rtnl.dump(wire.GETLINK, wire.ifinfo(0, None)))
    rtnl.close()
    if missing:
        late[sock] = missing
    else:
        sock.close()


def _take(missing: dict[int, tuple[str, str]], data: bytes) -> None:
    """Strikes out the devices that messages say are running."""
    for offset, _, kind in wire.messages(data):
        if kind == wire.NEWLINK:
            index, flags = struct.unpack_from("=iI", data, offset + wire.HEAD.size + 4)
            if flags & RUNNING:
                missing.pop(index, None)
