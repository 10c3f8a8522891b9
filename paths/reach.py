"""Who reaches whom, and under which address: one datagram for each pair, all at once, from this one process.

Sockets are opened in the namespaces themselves, so nothing forks. A datagram that is not answered is sent again: a
neighbour that is being resolved holds only a few packets (arp(7), unres_qlen).
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kernel.errors import BadInput
from kernel.namespaces import Namespaces

PORTS = range(33534, 60000)
"""Where the UDP port of all ends is taken from, another one each time: connection tracking remembers how it treated the
datagrams of the last time, and would treat the same ports alike (nf_conntrack, nf_nat)."""
AGAIN_S = 0.4
"""After so many seconds what was not answered is sent again."""
WAIT_S = 4.0
"""How long answers are waited for, seconds: hybridnet's proxies take 0.8 s for each node's pods (proxy_delay)."""
DATAGRAM = struct.Struct("!8sQB")
"""Our mark, the number of the call, and whether this is the answer."""


@dataclass(frozen=True)
class Call:
    """A datagram from namespace `source` to `address`, which namespace `target` has."""

    source: str
    target: str
    address: str

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4


@dataclass(frozen=True)
class Heard:
    """What came of a call. `own` is the address that the source's kernel gave its socket, `seen` the one that the
    target's socket got the datagram from: they differ where there is NAT. Both are empty when there was none."""

    call: Call
    own: str = ""
    seen: str = ""
    answered: bool = False


def exchange(namespaces: Namespaces, calls: Sequence[Call], wait_s: float = WAIT_S) -> list[Heard]:
    """What came of each call, in their order. Raises BadInput when the port that was drawn is taken in one of the
    namespaces."""
    port = random.choice(PORTS)
    with contextlib.ExitStack() as stack:
        ends = {end: stack.enter_context(_socket(namespaces, *end, port)) for end in _ends(calls)}
        run = _Run(calls, ends, port)
        run.until(time.monotonic() + wait_s)
        own = [_own_address(namespaces, call, port) for call in calls]
    return [Heard(c, own[n], run.seen.get(n, ""), n in run.answered) for n, c in enumerate(calls)]


def _ends(calls: Iterable[Call]) -> Iterator[tuple[str, int]]:
    yield from dict.fromkeys((name, call.family) for call in calls for name in (call.source, call.target))


def _socket(namespaces: Namespaces, name: str, family: int, port: int) -> socket.socket:
    with namespaces.inside(name):
        sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    if family == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        sock.bind(("", port))
    except OSError:
        sock.close()
        what = f"UDP port {port} is taken in {name!r}"
        raise BadInput(what, where="verify", remedy="try again: another port is drawn") from None
    return sock


def _own_address(namespaces: Namespaces, call: Call, port: int) -> str:
    """What getsockname(2) says once the kernel has chosen a route; nothing is sent for it."""
    with namespaces.inside(call.source):
        sock = socket.socket(socket.AF_INET6 if call.family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        try:
            sock.connect((call.address, port))
        except OSError:
            return ""
        return str(sock.getsockname()[0])


class _Run:
    """The sockets and what has come of the calls so far, by their numbers."""

    def __init__(self, calls: Sequence[Call], ends: dict[tuple[str, int], socket.socket], port: int) -> None:
        self.calls, self.ends, self.port = calls, ends, port
        self.mark = os.urandom(8)
        self.seen: dict[int, str] = {}
        self.answered: set[int] = set()

    def until(self, deadline: float) -> None:
        """Sends and answers until all is answered or the deadline (monotonic) has passed."""
        poller = select.poll()
        sockets = {sock.fileno(): sock for sock in self.ends.values()}
        for fd in sockets:
            poller.register(fd, select.POLLIN)
        while len(self.answered) < len(self.calls) and (now := time.monotonic()) < deadline:
            self._send()
            again = min(now + AGAIN_S, deadline)
            while len(self.answered) < len(self.calls) and (left := again - time.monotonic()) > 0:
                for fd, _ in poller.poll(left * 1000):
                    self._take(sockets[fd])

    def _send(self) -> None:
        for number, call in enumerate(self.calls):
            if number not in self.answered:
                with contextlib.suppress(OSError):  # no route, or an ICMP error about the one before
                    data = DATAGRAM.pack(self.mark, number, 0)
                    self.ends[call.source, call.family].sendto(data, (call.address, self.port))

    def _take(self, sock: socket.socket) -> None:
        """Reads a socket empty; questions are answered."""
        while True:
            try:
                data, sender = sock.recvfrom(64)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error that the kernel noted on the socket
                continue
            if len(data) != DATAGRAM.size or data[:8] != self.mark:
                continue
            _, number, is_answer = DATAGRAM.unpack(data)
            if is_answer:
                self.answered.add(number)
                continue
            self.seen[number] = str(sender[0])
            with contextlib.suppress(OSError):
                sock.sendto(DATAGRAM.pack(self.mark, number, 1), sender)
