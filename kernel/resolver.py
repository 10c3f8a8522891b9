"""Answers the kernel's own questions for MAC addresses, as hybridnet's daemon does.

A device with `app_solicit` above 0 asks user space before it asks the wire: an RTM_GETNEIGH notification in
the group RTNLGRP_NEIGH (kernel: net/core/neighbour.c, neigh_app_ns). The answer is a reachable neighbour
entry (hybridnet: pkg/daemon/vxlan/vxlan.go).
"""

from __future__ import annotations

import os
import select
import socket
import struct

from kernel import wire
from kernel.namespaces import Namespaces
from kernel.read import indexes
from kernel.state import State

GROUP_NEIGH = 4
"""RTMGRP_NEIGH, linux/rtnetlink.h."""
REACHABLE = 0x02
"""NUD_REACHABLE, linux/neighbour.h."""


Answers = dict[tuple[int, bytes], bytes]
"""The MAC of each device's index and address."""


def reply(question: bytes, answers: Answers) -> bytes | None:
    """The message that answers an RTM_GETNEIGH, given without its header; None when there is no answer."""
    family, index = struct.unpack_from("=Bxxxi", question)
    address = wire.attributes(question, 12).get(1, b"")
    mac = answers.get((index, address))
    if mac is None:
        return None
    body = struct.pack("=BxHiHBB", family, 0, index, REACHABLE, 0, 0) + wire.attr(1, address) + wire.attr(2, mac)
    flags = wire.REQUEST | wire.CREATE | wire.REPLACE
    return wire.HEAD.pack(wire.HEAD.size + len(body), wire.NEWNEIGH, flags, 0, 0) + body


class _Listener:
    """The questions of one namespace. Closed sockets of a former state go with it."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((0, GROUP_NEIGH))

    def handle(self) -> int:
        """Answers all questions that wait; returns how many."""
        answered = 0
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except BlockingIOError:
                return answered
            except OSError:  # ENOBUFS: some were lost; the kernel asks again
                continue
            for offset, length, kind in wire.messages(data):
                question = data[offset + wire.HEAD.size : offset + length]
                if kind == wire.GETNEIGH and (said := reply(question, self.answers)):
                    self.sock.send(said)
                    answered += 1


class Resolvers:
    """The listeners of a lab. `run_forever` serves them in a thread; `set` may be called meanwhile."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._listeners: dict[int, _Listener] = {}
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._closed = False

    def set(self, state: State) -> None:
        """Listens where `state` has resolvers, with its answers, and nowhere else."""
        listeners = {}
        for ns in state.namespaces:
            if ns.resolvers:
                with self._namespaces.inside(ns.name):
                    rtnl = wire.Rtnl()
                    index = indexes(rtnl)
                    rtnl.close()
                    pairs = ((index[one.dev], *answer) for one in ns.resolvers for answer in one.answers)
                    one = _Listener({(dev, wire.packed(ip)): wire.mac_bytes(mac) for dev, ip, mac in pairs})
                listeners[one.sock.fileno()] = one
        old, self._listeners = self._listeners, listeners
        os.write(self._wake, b"x")
        for listener in old.values():
            listener.sock.close()

    def filenos(self) -> list[int]:
        """What to wait on for questions."""
        return list(self._listeners)

    def handle(self, fd: int) -> int:
        """Answers what waits on one of `filenos`; returns how many."""
        listener = self._listeners.get(fd)
        return listener.handle() if listener else 0

    def run_forever(self) -> None:
        """Serves until `close`."""
        while not self._closed:
            try:
                ready, _, _ = select.select([self._woken, *self._listeners], [], [])
                for fd in ready:
                    if fd == self._woken:
                        os.read(fd, 64)
                    else:
                        self.handle(fd)
            except (OSError, ValueError):  # a listener was replaced in between
                continue

    def close(self) -> None:
        """Stops listening."""
        self._closed = True
        os.write(self._wake, b"x")
        for listener in self._listeners.values():
            listener.sock.close()
        self._listeners = {}
