"""Throughput and latency from a pod to a pod on another node, mode by mode, against the links alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from bench import latency, raw
from bench.stats import median, ratio
from cluster.model import Cluster, Pod
from kernel import iperf3
from kernel.errors import BadInput, PodpathError

RAW = "raw"
WARM_UP = 200
"""Round trips before the measured ones; a path's first packets also resolve neighbours and fill caches."""


class Lab(Protocol):
    """The part of cluster.lab.Lab that is used here: a running lab."""

    @property
    def namespaces(self) -> Any: ...
    @property
    def cluster(self) -> Cluster: ...


LabFactory = Callable[[str, str], AbstractContextManager[Lab]]
"""(plugin, mode) -> a context in which that lab is up."""
Result = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """Two namespaces to measure between; `address` is the target's."""

    namespaces: Any
    source: str
    target: str
    address: str
    mtu: int


def split(mode: str) -> tuple[str, str]:
    """Plugin and mode out of "calico-bgp"."""
    plugin, dash, name = mode.partition("-")
    if not (plugin and dash and name):
        remedy = "write PLUGIN-MODE, such as hybridnet-vxlan, or raw"
        raise BadInput(f"{mode!r} is no mode", where="--modes", remedy=remedy)
    return plugin, name


def far_pods(cluster: Cluster) -> tuple[Pod, Pod]:
    """The first pod, and the first one on another node."""
    for first in cluster.pods[:1]:
        for other in cluster.pods:
            if other.node != first.node:
                return first, other
    raise BadInput(
        "the lab has no two pods on different nodes", remedy="give the lab file two nodes with a pod on each"
    )


@contextmanager
def pair(mode: str, lab_factory: LabFactory) -> Iterator[Pair]:
    """The two ends of `mode`, up while the context lasts."""
    if mode == RAW:
        with _raw_pair() as ends:
            yield ends
        return
    with lab_factory(*split(mode)) as lab:
        source, target = far_pods(lab.cluster)
        address = next(a for a in (*(a for a in target.addresses if ":" not in a), *target.addresses))
        yield Pair(lab.namespaces, source.name, target.name, address, mtu(lab.namespaces, source.name))


@contextmanager
def _raw_pair() -> Iterator[Pair]:
    from kernel.engine import Engine
    from kernel.namespaces import Namespaces

    namespaces = Namespaces()
    engine = Engine(namespaces)
    try:
        engine.apply(raw.state())
        yield Pair(namespaces, raw.LEFT, raw.RIGHT, raw.ADDRESSES[raw.RIGHT], mtu(namespaces, raw.LEFT))
    finally:
        engine.close()
        namespaces.close()


def mtu(namespaces: Any, name: str) -> int:
    """The MTU of eth0 in namespace `name` (SIOCGIFMTU, netdevice(7))."""
    import fcntl
    import socket
    import struct

    siocgifmtu = 0x8921
    with namespaces.inside(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, siocgifmtu, struct.pack("16si12x", b"eth0", 0))
    return int(struct.unpack("16si12x", answer)[1])


def measure(ends: Pair, seconds: float) -> Result:
    """One round: the first round trip, latency, then throughput."""
    spaces, way = ends.namespaces, (ends.source, ends.target, ends.address)
    first = latency.measure(spaces, *way, "udp", WARM_UP).first
    udp = asdict(latency.measure(spaces, *way, "udp")) | {"first": first}
    tcp = asdict(latency.measure(spaces, *way, "tcp"))
    own = latency.overhead(spaces, ends.source).p50
    rate = iperf3.measure(spaces, *way, seconds)
    return {"mtu": ends.mtu, "udp": udp, "tcp": tcp, "overhead": own, **asdict(rate)}


def run(lab_factory: LabFactory, modes: Sequence[str], seconds: float, rounds: int) -> Result:
    """All modes, round after round, each time in a fresh lab; a mode that cannot run keeps its reason."""
    for mode in modes:
        if mode != RAW:
            split(mode)
    runs: list[Result] = []
    for number in range(1, rounds + 1):
        for mode in modes:
            one: Result = {"mode": mode, "round": number}
            try:
                with pair(mode, lab_factory) as ends:
                    one |= measure(ends, seconds)
            except PodpathError as problem:
                one["error"] = str(problem)
            runs.append(one)
            said = one.get("error") or f"{one['bits_per_second'] / 1e9:.2f} Gbit/s, {one['udp']['p50']:.1f} us"
            print(f"round {number} {mode}: {said}", file=sys.stderr)
    return {"rounds": rounds, "seconds": seconds, "medians": medians(runs), "runs": runs}


def medians(runs: Sequence[Mapping[str, Any]]) -> list[Result]:
    """One row a mode; its ratios to `raw` where that was measured too."""
    rows = [_row(mode, [run for run in runs if run["mode"] == mode]) for mode in dict.fromkeys(r["mode"] for r in runs)]
    base = next((row for row in rows if row["mode"] == RAW and row["bits_per_second"] is not None), None)
    for row in rows:
        measured = base is not None and row["bits_per_second"] is not None
        row["throughput_against_raw"] = (
            ratio(row["bits_per_second"], base["bits_per_second"]) if base and measured else None
        )
        row["latency_against_raw"] = ratio(row["udp"]["p50"], base["udp"]["p50"]) if base and measured else None
    return rows


def _row(mode: str, runs: Sequence[Mapping[str, Any]]) -> Result:
    good = [run for run in runs if "error" not in run]
    row: Result = {"mode": mode, "rounds": len(good), "bits_per_second": None}
    if len(good) < len(runs):
        row["error"] = next(run["error"] for run in runs if "error" in run)
    if good:
        for key in ("bits_per_second", "retransmits", "mtu", "overhead"):
            row[key] = median([run[key] for run in good])
        for proto in ("udp", "tcp"):
            row[proto] = {key: median([run[proto][key] for run in good]) for key in good[0][proto]}
    return row
