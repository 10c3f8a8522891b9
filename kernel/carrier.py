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
    missing: dict[socket.socket, set[tuple[str, str, int]]] = {}
    end = time.monotonic() + deadline_s
    wanted: dict[str, list[str]] = {}
    for netns, name in devices:
        wanted.setdefault(netns, []).append(name)
    try:
        for netns, names in wanted.items():
            with namespaces.inside(netns):
                sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
                sock.bind((0, GROUP_LINK))
                rtnl = wire.Rtnl()  # after the subscription: what is so already, then what changes
                missing[sock] = {(netns, name, socket.if_nametoindex(name)) for name in names}
                _take(missing[sock], rtnl.dump(wire.GETLINK, wire.ifinfo(0, None)))
                rtnl.close()
        while any(missing.values()):
            left = end - time.monotonic()
            ready = select.select(list(missing), [], [], max(0.0, left))[0]
            if not ready:
                break
            for sock in ready:
                _take(missing[sock], sock.recv(1 << 16))
        return sorted((netns, name) for late in missing.values() for netns, name, _ in late)
    finally:
        for sock in missing:
            sock.close()


def _take(missing: set[tuple[str, str, int]], data: bytes) -> None:
    """Strikes out the devices that a message says are running."""
    for offset, _, kind in wire.messages(data):
        if kind != wire.NEWLINK:
            continue
        index, flags = struct.unpack_from("=iI", data, offset + wire.HEAD.size + 4)
        if flags & RUNNING:
            missing -= {one for one in missing if one[2] == index}
