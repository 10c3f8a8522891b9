"""What is measured. A probe is one run between two ends; it gives one or more metrics.

A new one is a function and a line in PROBES; nothing else changes for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bench import cost, latency, loops
from kernel import iperf3
from kernel.errors import BadInput, meant

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """A figure: its unit, which way is better, and what it is in one line."""

    name: str
    unit: str
    better: Better
    what: str


@dataclass(frozen=True)
class Ends:
    """Where to measure: from namespace `source` to `target`, which holds `address`; `nic` is the device by which the
    source's node is on the wire, with its namespace (None: nothing goes over a wire)."""

    namespaces: Any
    source: str
    target: str
    address: str
    mtu: int
    nic: tuple[str, str] | None = None


@dataclass(frozen=True)
class Budget:
    """How much of it: seconds of throughput, round trips, seconds for each loop; `idle_busy` is the CPU share that the
    machine spends meanwhile on other things."""

    seconds: float = 3.0
    trips: int = 2000
    loop_s: float = 0.3
    omit_s: int = 0
    idle_busy: float = 0.0


@dataclass(frozen=True)
class Measured:
    """Figures by metric, and what else the run said."""

    values: Mapping[str, float]
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """One kind of run."""

    name: str
    metrics: tuple[Metric, ...]
    run: Callable[[Ends, Budget], Measured]


# -- throughput and its cost -------------------------------------------------------------------------------


def _tcp(streams: int, reverse: bool, name: str) -> Callable[[Ends, Budget], Measured]:
    def run(ends: Ends, budget: Budget) -> Measured:
        way = (ends.namespaces, ends.source, ends.target, ends.address)
        before, wire = cost.Clock.now(), _sent(ends)
        rate = iperf3.measure(*way, budget.seconds, streams=streams, reverse=reverse, omit=budget.omit_s)
        spent, wire_end = cost.between(before, cost.Clock.now(), budget.idle_busy), _sent(ends)
        payload = rate.bits_per_second / 8 * (max(1, round(budget.seconds)) + budget.omit_s)
        values = {name: rate.bits_per_second}
        if payload and not reverse and streams == 1:
            if wire and wire_end:
                values["wire_per_payload"] = (wire_end[0] - wire[0]) / payload
            if spent.known:
                values["tcp_cpu_per_gb"] = spent.busy / payload * 1e9
                values["tcp_switches_per_gb"] = spent.switches / payload * 1e9
        return Measured(values, {**asdict(rate), "cpu_s": dict(spent.cpu), "background_s": spent.background})

    return run


def _sent(ends: Ends) -> tuple[int, int] | None:
    return cost.sent(ends.namespaces, *ends.nic) if ends.nic else None


# -- packets, round trips, connections ---------------------------------------------------------------------


def _datagrams(size: int) -> Callable[[Ends, Budget], Measured]:
    def run(ends: Ends, budget: Budget) -> Measured:
        way = (ends.namespaces, ends.source, ends.target, ends.address)
        before = cost.Clock.now()
        rate = loops.datagrams(*way, size, budget.loop_s)
        spent = cost.between(before, cost.Clock.now(), budget.idle_busy)
        values = {f"udp_pps_{size}": rate, f"udp_rate_{size}": rate * size * 8}
        if size == 64 and spent.known:
            values["udp_cpu_per_mpkt"] = spent.busy / (rate * spent.seconds) * 1e6
        return Measured(values, {"cpu_s": dict(spent.cpu)})

    return run


def _trips(proto: latency.Proto) -> Callable[[Ends, Budget], Measured]:
    def run(ends: Ends, budget: Budget) -> Measured:
        one = latency.measure(ends.namespaces, ends.source, ends.target, ends.address, proto, budget.trips)
        own = latency.overhead(ends.namespaces, ends.source, proto, max(50, budget.trips // 4)).p50
        values = {f"{proto}_rr_{point}": getattr(one, point) for point in ("p50", "p90", "p99", "p999")}
        return Measured(values, {"first": one.first, "overhead": own, "slots": [list(slot) for slot in one.slots]})

    return run


def _connections(ends: Ends, budget: Budget) -> Measured:
    rate = loops.connections(ends.namespaces, ends.source, ends.target, ends.address, budget.loop_s)
    return Measured({"connections": rate})


def _ping(ends: Ends, budget: Budget) -> Measured:
    return Measured({"ping": loops.ping(ends.namespaces, ends.source, ends.address, max(20, budget.trips // 10))})


# -- the registry ------------------------------------------------------------------------------------------

COSTS = (
    Metric("tcp_cpu_per_gb", "s/GB", "lower", "CPU seconds (user, system, irq, softirq) for each GB of TCP payload"),
    Metric("tcp_switches_per_gb", "1/GB", "lower", "context switches for each GB of TCP payload"),
    Metric("wire_per_payload", "B/B", "lower", "bytes on the node's NIC for each byte of TCP payload"),
)


def _tcp_probe(streams: int, reverse: bool) -> Probe:
    name = f"tcp_{streams}" + ("_reverse" if reverse else "")
    what = f"TCP goodput, {streams} stream{'s' * (streams > 1)}" + (", from target to source" if reverse else "")
    costs = COSTS if (streams, reverse) == (1, False) else ()
    return Probe(name, (Metric(name, "bit/s", "higher", what), *costs), _tcp(streams, reverse, name))


def _udp_probe(size: int) -> Probe:
    found = [
        Metric(f"udp_pps_{size}", "1/s", "higher", f"UDP datagrams of {size} bytes a second, none lost"),
        Metric(f"udp_rate_{size}", "bit/s", "higher", f"UDP payload in datagrams of {size} bytes, none lost"),
    ]
    if size == 64:
        found.append(
            Metric("udp_cpu_per_mpkt", "s/M", "lower", "CPU seconds for each million UDP datagrams of 64 bytes")
        )
    return Probe(f"udp_{size}", tuple(found), _datagrams(size))


def _trips_probe(proto: latency.Proto) -> Probe:
    name = f"{proto}_rr"
    points = {"p50": "median", "p90": "90th percentile", "p99": "99th percentile", "p999": "99.9th percentile"}
    what = f"{proto.upper()} request and response, 64 bytes: "
    metrics = tuple(Metric(f"{name}_{point}", "us", "lower", what + words) for point, words in points.items())
    return Probe(name, metrics, _trips(proto))


PROBES: dict[str, Probe] = {
    one.name: one
    for one in (
        *(_tcp_probe(streams, reverse) for streams in (1, 8) for reverse in (False, True)),
        *(_udp_probe(size) for size in (64, 512, 1400)),
        _trips_probe("udp"),
        _trips_probe("tcp"),
        Probe(
            "connect",
            (Metric("connections", "1/s", "higher", "TCP connections opened and closed a second"),),
            _connections,
        ),
        Probe("ping", (Metric("ping", "us", "lower", "ICMP echo, median round trip"),), _ping),
    )
}
METRICS: dict[str, Metric] = {metric.name: metric for probe in PROBES.values() for metric in probe.metrics}


def probe(name: str) -> Probe:
    """Raises BadInput for a name that is none."""
    if name not in PROBES:
        raise BadInput(f"there is no metric {name!r}", where="--metrics", remedy=meant(name, PROBES))
    return PROBES[name]
