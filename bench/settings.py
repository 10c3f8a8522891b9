"""What links are like while a mode is measured: as they are, without offloads, or shaped so that header bytes decide.

A shaped link counts what Ethernet has on the wire beyond the frame (tc-stab(8)): preamble, start, check sequence and
gap, and the 802.1Q tag, which Linux keeps beside the packet until a device takes it. It is shaped at the switch's
ports towards the two nodes, where every frame already has its final size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench import offload
from kernel.errors import BadInput, KernelRefused, meant
from kernel.state import State, Veth

ON_WIRE = 24
"""Bytes of an Ethernet frame that a qdisc does not see (IEEE 802.3, clauses 3 and 4)."""
BURST_S = 0.04
"""What the token bucket holds: what the rate sends in this time. A timer that is late for longer costs goodput, and the
embedded kernel's may be 10 ms late even when nothing else runs (HZ=100)."""
Place = tuple[str, str]


@dataclass(frozen=True)
class Setting:
    """`rate_bps` and `delay_us` (each way) hold between the two nodes; on `one_cpu` sender, receiver and the path
    between them run one after the other."""

    name: str
    what: str
    mtu: int = 1500
    offloads: bool = True
    rate_bps: int | None = None
    delay_us: int = 0
    one_cpu: bool = False


GBIT = 10**9
SETTINGS = {
    one.name: one
    for one in (
        Setting("unlimited", "links as they are: segments of up to 64 KiB cross veth whole, hiding MTU and headers"),
        Setting("no-offload", "GSO, TSO and GRO off on every device: each packet costs what it costs", offloads=False),
        Setting("one-cpu", "links as they are, sender and receiver on one and the same CPU", one_cpu=True),
        Setting("shaped-1500", "1 Gbit/s, 1 ms, MTU 1500", 1500, False, GBIT, 1000),
        Setting("shaped-9000", "1 Gbit/s, 1 ms, MTU 9000", 9000, False, GBIT, 1000),
    )
}


def setting(name: str) -> Setting:
    """Raises BadInput for a name that is none."""
    if name not in SETTINGS:
        raise BadInput(f"there is no setting {name!r}", where="--settings", remedy=meant(name, SETTINGS))
    return SETTINGS[name]


def far_end(state: State, place: Place) -> Place:
    """The other end of the veth pair of which `place` is one. KeyError when there is none."""
    for ns in state.namespaces:
        for link in ns.links:
            if isinstance(link, Veth):
                one, other = (ns.name, link.name), (link.peer_netns, link.peer.name)
                if place in (one, other):
                    return other if place == one else one
    raise KeyError(place)


def commands(device: str, one: Setting, tag_bytes: int, delay: bool) -> list[str]:
    """What `tc` is told for a port that sends towards a node."""
    assert one.rate_bps
    frame = 14 + one.mtu + ON_WIRE + tag_bytes
    burst = max(2 * frame, int(one.rate_bps * BURST_S / 8))
    limit = max(burst, int(one.rate_bps * 0.05 / 8))
    said = [
        f"qdisc add dev {device} root handle 1: stab overhead {ON_WIRE + tag_bytes} linklayer ethernet "
        f"tbf rate {one.rate_bps}bit burst {burst} limit {limit}"
    ]
    if delay and one.delay_us:
        said.append(f"qdisc add dev {device} parent 1:1 handle 10: netem delay {one.delay_us}us limit 10000")
    return said


class Shaper:
    """Puts a running lab into a setting and back."""

    def __init__(self, namespaces: Any, ports: tuple[Place, Place], netem: bool) -> None:
        """`ports` are the devices that send towards the two nodes."""
        self._namespaces, self._ports, self._netem = namespaces, ports, netem
        self._shaped, self._cpus = False, os.sched_getaffinity(0)

    def put(self, one: Setting, tag_bytes: int) -> list[str]:
        """Returns what could not be had, in words. Raises KernelRefused."""
        os.sched_setaffinity(0, {min(self._cpus)} if one.one_cpu else self._cpus)  # iperf3 inherits it
        offload.set_all(self._namespaces, self._namespaces.names, one.offloads)
        said = [] if one.offloads else [f"offloads still on: {x}" for x in self._kept()]
        if self._shaped:
            for place in self._ports:
                self._tc(place[0], [f"qdisc del dev {place[1]} root"])
        self._shaped = one.rate_bps is not None
        if self._shaped:
            for netns, device in self._ports:
                self._tc(netns, commands(device, one, tag_bytes, self._netem))
            if one.delay_us and not self._netem:
                said.append("no delay: this kernel has no netem")
        return said

    def _kept(self) -> Iterator[str]:
        yield from offload.still_on(self._namespaces, self._namespaces.names)

    def _tc(self, netns: str, lines: list[str]) -> None:
        done = self._namespaces.run(netns, ["tc", "-batch", "-"], "".join(line + "\n" for line in lines))
        if done.returncode:
            raise KernelRefused(
                f"tc refused: {done.stderr.strip()}", where=f"namespace {netns}", remedy="use --kernel embedded"
            )
