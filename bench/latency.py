"""Request and response over UDP and TCP between two namespaces: the round trip in microseconds.

Both sockets belong to one thread: it sends, receives at the far end, answers and receives the answer.
So the time is that of the kernel's path there and back plus four system calls from Python, with no
process woken in between. The same loop over the loopback device is the `overhead`, to be read beside the figures.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bench.stats import percentile
from kernel.errors import PodpathError

Proto = Literal["udp", "tcp"]
DEADLINE_S = 5
"""An answer later than this is no answer."""
PAYLOAD = b"podpath!" * 8
SLOTS = 26
"""Histogram slots a decade: 9 % apart."""


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
    p999: float
    slots: tuple[tuple[float, int], ...] = ()
    """How they are spread: (upper bound, how many), the bounds 26 a decade."""


def measure(
    namespaces: Enters, source: str, target: str, address: str, proto: Proto = "udp", count: int = 2000
) -> Latency:
    """`count` round trips from namespace `source` to `address` in `target`, after one that is reported apart."""
    with ends(namespaces, source, target, address, proto) as (near, far):
        return _udp(near, far, count) if proto == "udp" else _tcp(near, far, count)


@contextmanager
def ends(
    namespaces: Enters, source: str, target: str, address: str, proto: Proto
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket in `source` and one in `target` that is bound to `address`; each waits DEADLINE_S at most. A failure
    while they are used is raised as PodpathError."""
    with namespaces.inside(target):
        far = opened(address, proto)
    with namespaces.inside(source):
        near = opened(address, proto)
    with far, near:
        try:
            far.bind((address, 0))
            yield near, far
        except OSError as problem:
            raise PodpathError(f"no {proto} answer from {address} ({target}) to {source}: {problem}") from problem


def opened(address: str, proto: Proto) -> socket.socket:
    """A socket of the address's family in this thread's namespace."""
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    patient(sock)
    return sock


def patient(sock: socket.socket) -> None:
    """Makes calls on it fail after DEADLINE_S."""
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", DEADLINE_S, 0))


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
        patient(served)

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
    p50, p90, p99, p999 = (percentile(rest, p) for p in (50, 90, 99, 99.9))
    return Latency(count, samples[0] if first is None else first, p50, p90, p99, p999, spread(rest))


def spread(samples: Sequence[float]) -> tuple[tuple[float, int], ...]:
    """A histogram with bounds evenly apart in the logarithm, SLOTS a decade; empty slots are left out."""
    counts = Counter(math.ceil(math.log10(sample) * SLOTS) for sample in samples)
    return tuple((round(10 ** (slot / SLOTS), 3), counts[slot]) for slot in sorted(counts))


def overhead(namespaces: Enters, name: str, proto: Proto = "udp", count: int = 2000) -> Latency:
    """The same loop over loopback in namespace `name`: what the measuring itself costs."""
    return measure(namespaces, name, name, "127.0.0.1", proto, count)
