"""What a run is to measure, and in which order. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.metrics import PROBES, Budget, probe
from bench.settings import SETTINGS, Setting, setting
from kernel.errors import BadInput, meant
from plugins.registry import MODES
from plugins.registry import mode as find

RAW, AGAIN = "raw", "raw-again"
"""The baseline, and a second one beside it: what the two differ by is the noise floor."""
WIRE, NODE, SAME_NODE = "pod-cross", "node", "pod-same"
SCENARIOS = {
    WIRE: "between pods of two nodes",
    SAME_NODE: "between pods of one node",
    NODE: "from node to node, with the mode's rules",
}
GOODPUT = "tcp_1"
"""The only probe on shaped links: there header sizes decide, and nothing else is to be seen."""


@dataclass(frozen=True)
class Subject:
    """What a sample is of: a mode and where its two ends are."""

    mode: str
    scenario: str


@dataclass(frozen=True)
class Plan:
    """A run. Times are seconds; `precision` is the half width of an interval, as a share, at which a metric is done;
    `rate_bps` 0 is what the kernel can fill."""

    modes: tuple[str, ...]
    scenarios: tuple[str, ...] = (WIRE,)
    settings: tuple[str, ...] = ("unlimited", "shaped-1500")
    probes: tuple[str, ...] = ("tcp_1", "udp_rr", "tcp_rr", "udp_64", "connect", "ping")
    rounds: int = 5
    seconds: float = 2.0
    trips: int = 2000
    omit_s: int = 1
    precision: float | None = None
    seed: int = 1
    rate_bps: int = 0
    profile: str = "default"

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """What `to_json` made."""
        whole: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in data.items()}
        return cls(**whole)

    @property
    def labs(self) -> tuple[str, ...]:
        """Everything that is brought up: the modes, and the second baseline beside the first."""
        return tuple(one for mode in self.modes for one in ((RAW, AGAIN) if mode == RAW else (mode,)))

    def setting(self, name: str) -> Setting:
        """With this run's bit rate."""
        one = setting(name)
        if not (one.rate_bps and self.rate_bps):
            return one
        what = one.what.replace("1 Gbit/s", f"{self.rate_bps / 1e6:g} Mbit/s")
        return replace(one, rate_bps=self.rate_bps, what=what)

    def probes_of(self, one: Setting) -> tuple[str, ...]:
        """What is measured in a setting."""
        return (GOODPUT,) if one.rate_bps else self.probes

    def budget(self, one: Setting, warm_up: bool, idle_busy: float) -> Budget:
        """How much of it; a warm-up is as short as can be."""
        if warm_up:
            return Budget(1, 200, 0.05, 0, idle_busy)
        return Budget(self.seconds, self.trips, 0.3, self.omit_s if one.rate_bps else 0, idle_busy)

    def subjects(self, one: Setting, labs: Sequence[str]) -> list[Subject]:
        """What is measured in a setting, out of the `labs` that came up."""
        found = []
        for lab in labs:
            wanted = (RAW,) if lab in (RAW, AGAIN) else self.scenarios
            found += [Subject(lab, name) for name in wanted if not (one.rate_bps and name == SAME_NODE)]
        return found

    def order(self, one: Setting, number: int, probe_name: str, subjects: Sequence[Subject]) -> list[Subject]:
        """The subjects of a round, shuffled by the seed; all of them before the next probe, so that they are close."""
        mixed = list(subjects)
        random.Random(f"{self.seed}/{one.name}/{number}/{probe_name}").shuffle(mixed)
        return mixed

    def groups(self) -> Iterator[tuple[int, list[Setting]]]:
        """The settings by MTU: those of a group share their labs."""
        chosen = [self.setting(name) for name in self.settings]
        for mtu in dict.fromkeys(one.mtu for one in chosen):
            yield mtu, [one for one in chosen if one.mtu == mtu]

    def total(self) -> int:
        """Samples when nothing fails or stops early."""
        every = [one for _, group in self.groups() for one in group]
        return sum(self.rounds * len(self.probes_of(one)) * len(self.subjects(one, self.labs)) for one in every)


QUICK: dict[str, Any] = {
    "settings": ("unlimited", "shaped-1500"),
    "probes": ("tcp_1", "udp_rr"),
    "rounds": 3,
    "seconds": 1.0,
    "trips": 1000,
}
"""Under a minute for four modes."""
FULL: dict[str, Any] = {
    "settings": tuple(SETTINGS),
    "scenarios": tuple(SCENARIOS),
    "probes": tuple(PROBES),
    "rounds": 12,
    "seconds": 3.0,
    "trips": 10000,
}
"""Everything, often enough for an interval of some percent (12 to 15 rounds); p99.9 needs 10000 round trips."""
PROFILES: dict[str, dict[str, Any]] = {"default": {}, "quick": QUICK, "full": FULL}


def split(mode: str) -> tuple[str, str]:
    """Plugin and mode out of "calico-bgp"."""
    plugin, dash, name = mode.partition("-")
    if not (plugin and dash and name):
        remedy = "write PLUGIN-MODE, such as hybridnet-vxlan, or raw"
        raise BadInput(f"{mode!r} is no mode", where="--modes", remedy=remedy)
    return plugin, name


def checked(plan: Plan) -> Plan:
    """The plan with "all" spelled out and without repetitions. Raises BadInput for names that are none."""
    every = [one for mode in plan.modes for one in ((RAW, *MODES) if mode == "all" else (mode,))]
    if not every:
        raise BadInput("no mode to measure", where="--modes", remedy="name one, such as raw,hybridnet-vxlan")
    for mode in every:
        if mode != RAW:
            _must_be_mode(mode)
    for name in plan.probes:
        probe(name)
    for name in plan.settings:
        setting(name)
    for name in plan.scenarios:
        if name not in SCENARIOS:
            raise BadInput(f"there is no scenario {name!r}", where="--scenarios", remedy=meant(name, SCENARIOS))
    parts: dict[str, Any] = {"scenarios": plan.scenarios, "settings": plan.settings, "probes": plan.probes}
    for option, names in parts.items():
        if not names:
            raise BadInput("nothing to measure", where=f"--{option.replace('probes', 'metrics')}", remedy="name one")
    once: dict[str, Any] = {name: tuple(dict.fromkeys(names)) for name, names in parts.items()}
    return replace(plan, modes=tuple(dict.fromkeys(every)), **once)


def _must_be_mode(mode: str) -> None:
    try:
        find(*split(mode))
    except BadInput as problem:
        raise BadInput(problem.what, where="--modes", remedy=problem.remedy) from None
