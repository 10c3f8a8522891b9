"""Request and response over UDP and TCP between two namespaces: the round trip in microseconds.

Both sockets belong to one thread: it sends, receives at the far end, answers and receives the answer.
So the time is that of the kernel's path there and back plus four system calls from Python, with no
process woken in between. The same loop over the loopback device is the `overhead`, to be read beside the figures.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bench.stats import percentile
from kernel.errors import PodpathError

Proto = Literal["udp", "tcp"]
DEADLINE_S = 5
"""An answer later than this is no answer."""
PAYLOAD = b"podpath!" * 8


class Enters(Protocol):
    """The part of kernel.namespaces.Namespaces that is used here."""

    def inside(self, name: str) -> AbstractContextManager[Any]:
        """This thread is in namespace `name`."""
        ...


@dataclass(frozen=True)
class Latency:
    """Round trips in microseconds; `first` is the very first one, which also resolves neighbours
    (for TCP the handshake); the percentiles are of the `count` that follow."""

    count: int
    first: float
    p50: float
    p90: float
    p99: float


def measure(
    namespaces: Enters, source: str, target: str, address: str, proto: Proto = "udp", count: int = 2000
) -> Latency:
    """`count` round trips from namespace `source` to `address` in `target`, after one that is reported apart."""
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespaces.inside(target):
        far = socket.socket(family, kind)
    with namespaces.inside(source):
        near = socket.socket(family, kind)
    with far, near:
        for sock in (far, near):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", DEADLINE_S, 0))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", DEADLINE_S, 0))
        try:
            far.bind((address, 0))
            return _udp(near, far, count) if proto == "udp" else _tcp(near, far, count)
        except OSError as problem:
            raise PodpathError(f"no {proto} answer from {address} ({target}) to {source}: {problem}") from problem


def _udp(near: socket.socket, far: socket.socket, count: int) -> Latency:
    near.connect(far.getsockname())

    def once() -> None:
        near.send(PAYLOAD)
        data, sender = far.recvfrom(256)
        far.sendto(data, sender)
        near.recv(256)

    return _times(once, count, first=None)


def _tcp(near: socket.socket, far: socket.socket, count: int) -> Latency:
    far.listen(1)
    before = time.perf_counter_ns()
    near.connect(far.getsockname())
    handshake = (time.perf_counter_ns() - before) / 1000
    served, _ = far.accept()
    with served:
        for sock in (near, served):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        served.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", DEADLINE_S, 0))

        def once() -> None:
            near.send(PAYLOAD)
            served.send(served.recv(256))
            near.recv(256)

        return _times(once, count, first=handshake)


def _times(once: Callable[[], None], count: int, first: float | None) -> Latency:
    samples = []
    for _ in range(count + 1):
        before = time.perf_counter_ns()
        once()
        samples.append((time.perf_counter_ns() - before) / 1000)
    rest = samples[1:]
    return Latency(count, samples[0] if first is None else first, *(percentile(rest, p) for p in (50, 90, 99)))


def overhead(namespaces: Enters, name: str, proto: Proto = "udp", count: int = 2000) -> Latency:
    """The same loop over loopback in namespace `name`: what the measuring itself costs."""
    return measure(namespaces, name, name, "127.0.0.1", proto, count)
