"""A running lab: the wanted state of a topology and a mode, applied and kept by this process."""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from bgp.daemons import Routers
from cluster.links import Device, joined, with_down
from cluster.model import Cluster
from cluster.plan import cluster_of
from kernel import carrier, claims
from kernel.diff import ends
from kernel.engine import Engine, Report
from kernel.errors import BadInput, MissingFeature, PodpathError, meant
from kernel.namespaces import Namespaces
from kernel.resolver import Resolvers
from kernel.state import State, merge
from plugins.contract import HasGateways, Mode, Wanted
from plugins.registry import mode as find_mode
from topologies.checks import LEAST_IPV6_MTU
from topologies.spec import LabSpec, from_json
from topologies.underlay import underlay

CARRIER_S = 10.0
"""How long links may take to carry frames, seconds: the kernel looks once a second, or later when it is busy."""
CONVERGENCE_S = 30.0
"""Deadline for BGP, in seconds; a full mesh of ten routers takes under three."""
COUNTER = struct.Struct("=Q")
Said = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """All that follows from a topology, a mode and a kernel's features, with nothing built."""

    spec: LabSpec
    plugin: str
    mode: str
    features: frozenset[str]
    cluster: Cluster
    wanted: Wanted
    state: State


def plan(spec: LabSpec, plugin: str, mode: str, features: frozenset[str]) -> Plan:
    """Raises BadInput (unknown mode, pods that do not fit) and MissingFeature."""
    chosen = find_mode(plugin, mode)
    for who, where, needs in (
        (f"{plugin} {mode}", "--mode", chosen.needs),
        (f"the topology {spec.name!r}", "", spec.needs),
    ):
        if lacking := sorted(needs - features):
            what = f"{who} needs {', '.join(lacking)}, which this kernel lacks"
            raise MissingFeature(what, where=where, remedy="use --kernel embedded, which has every feature")
    cluster, notes = _carried(spec, chosen)
    wanted = chosen.wanted(cluster, features)
    _check_mtu(spec, chosen, cluster, wanted)
    wanted = replace(wanted, notes=(*wanted.notes, *notes))
    return Plan(spec, plugin, mode, features, cluster, wanted, merge((underlay(spec), wanted.state)))


def _carried(spec: LabSpec, mode: Mode) -> tuple[Cluster, tuple[str, ...]]:
    """The cluster as far as the mode can carry it, and a note on what it cannot. Raises BadInput with the mode's
    reason when the topology insists on it, or nothing would be left."""
    cluster = cluster_of(spec, mode.first_pod if isinstance(mode, HasGateways) else 1)
    lacking = sorted({pool.family for pool in cluster.pools} - set(mode.families))
    for version in sorted(set(spec.families or ()) - set(mode.families)):
        what = f"{mode.plugin} {mode.name} carries no IPv{version}: {mode.lacks[version]}"
        raise BadInput(what, where="families", remedy="choose another mode, or leave this family out")
    wished = set(spec.families or mode.families) & set(mode.families)
    carried = cluster.only(wished)
    for before, pod in zip(cluster.pods, carried.pods, strict=True):
        if before.addresses and not pod.addresses:
            why = "; ".join(f"IPv{version}: {mode.lacks[version]}" for version in lacking)
            what = f"{mode.plugin} {mode.name} can give pod {pod.name!r} no address" + (f" ({why})" if why else "")
            raise BadInput(what, where="pools", remedy="give its network a pool of another family")
    return carried, tuple(f"pods have no IPv{version} here: {mode.lacks[version]}" for version in lacking)


def _check_mtu(spec: LabSpec, mode: Mode, cluster: Cluster, wanted: Wanted) -> None:
    """Raises BadInput when what a tunnel leaves of the links is less than IPv6 needs (RFC 8200, section 5)."""
    six = any(":" in address for pod in cluster.pods for address in pod.addresses)
    if six and wanted.pod_mtu < LEAST_IPV6_MTU:
        left = f"{mode.plugin} {mode.name} leaves pods an MTU of {wanted.pod_mtu}"
        what = f"{left}, and their IPv6 addresses need {LEAST_IPV6_MTU}"
        raise BadInput(what, where="mtu", remedy="give the nodes' links a larger MTU, or pods no IPv6")


class Lab:
    """The lab that this process holds; its namespaces last as long as it. Also a context manager, already up."""

    def __init__(self, wanted: Plan, folder: Path, *, bind: bool = False) -> None:
        self._plan = wanted
        self.namespaces = Namespaces(bind=bind)
        self.engine = Engine(self.namespaces)
        self.routers = Routers(self.namespaces, folder)
        self.resolvers = Resolvers(self.namespaces)
        self._resolving: threading.Thread | None = None
        self._state, self._applied = wanted.state, State()
        self._down: frozenset[Device] = frozenset()
        self._changes = mmap.mmap(-1, COUNTER.size)

    @classmethod
    def from_json(cls, spec: str, plugin: str, mode: str, folder: Path) -> Lab:
        """A lab of this process's own kernel out of what a client sent; not up yet."""
        return cls(plan(from_json(spec), plugin, mode, features()), folder, bind=True)

    spec = property(lambda self: self._plan.spec)
    plugin = property(lambda self: self._plan.plugin)
    mode = property(lambda self: self._plan.mode)
    features = property(lambda self: self._plan.features)
    cluster = property(lambda self: self._plan.cluster)
    wanted = property(lambda self: self._plan.wanted)
    down_devices = property(lambda self: self._down)

    @property
    def state(self) -> State:
        """The wanted state, devices that were set down being so."""
        return self._state

    @property
    def changes(self) -> int:
        """How often the lab has changed; a child of this process sees it count on."""
        return int(COUNTER.unpack_from(self._changes)[0])

    def up(self, said: Said = lambda _: None) -> dict[str, Any]:
        """Builds everything and waits until BGP has converged. Raises what the rooms below raise."""
        return self._become(self._plan, said)

    def change(self, spec: str, plugin: str, mode: str, said: Said = lambda _: None) -> dict[str, Any]:
        """Makes the running lab another one by applying the difference; on a bad wish nothing changes, and when the
        change fails on its way the lab goes back to what it was."""
        wanted = plan(from_json(spec), plugin, mode, self.features)
        before, down = self._plan, self._down
        try:
            return self._become(wanted, said)
        except PodpathError:
            said("it failed: the lab goes back to what it was")
            self._apply(before, down)
            self.routers.start(before.wanted.routers)
            raise

    def plan(self, spec: str, plugin: str, mode: str) -> list[str]:
        """What `change` would do, a line for each step."""
        wanted = plan(from_json(spec), plugin, mode, self.features)
        return self.engine.plan(with_down(wanted.state, self._still_down(wanted)))

    def shape(self, a: str, b: str, values: Mapping[str, Any]) -> None:
        """Changes bandwidth, delay, loss or MTU of the link between `a` and `b`. Raises BadInput, MissingFeature."""
        spec = self.spec.with_link(a, b, **values)
        wanted = plan(spec, self.plugin, self.mode, self.features)
        self._apply(wanted, self._still_down(wanted))

    def set_up(self, devices: Iterable[Device], up: bool) -> None:
        """Sets devices up or down, and keeps them so through later changes. Raises BadInput."""
        chosen = frozenset((netns, name) for netns, name in devices)
        for netns, name in sorted(chosen - _devices(self._plan.state)):
            raise BadInput(f"{netns!r} has no device {name!r}", remedy="`inspect` shows what there is")
        self._apply(self._plan, self._down - chosen if up else self._down | chosen)
        if up:
            self._await_frames(chosen)

    def _await_frames(self, devices: frozenset[Device]) -> list[Device]:
        """Waits until those of `devices` carry frames that are an end of a link of which no end is down; returns
        those that do not by the deadline."""
        others = joined(self.state)
        plugged = (one for one in devices if one in others and not {one, others[one]} & self._down)
        return carrier.wait(self.namespaces, plugged, CARRIER_S)

    def _still_down(self, wanted: Plan) -> frozenset[Device]:
        """What was set down and is there still, plugged into what it was."""
        before, now = joined(self._plan.state), joined(wanted.state)
        there = _devices(wanted.state)
        return frozenset(device for device in self._down & there if before.get(device) == now.get(device))

    def _apply(self, wanted: Plan, down: frozenset[Device], said: Said = lambda _: None) -> Report:
        held = with_down(wanted.state, down)
        report = claims.apply(self.engine, held, self._applied, said)
        self.resolvers.set(held)
        self._resolve()
        self._plan, self._state, self._applied, self._down = wanted, held, held, down
        COUNTER.pack_into(self._changes, 0, self.changes + 1)
        return report

    def _become(self, wanted: Plan, said: Said) -> dict[str, Any]:
        start = time.monotonic()
        said(f"{wanted.plugin} {wanted.mode}: {len(wanted.state.names)} namespaces")
        had_routers = bool(self._plan.wanted.routers)
        report = self._apply(wanted, self._still_down(wanted), said)
        routers, notes = wanted.wanted.routers, list(wanted.wanted.notes)
        if report.made and (late := self._await_frames(_devices(self.state))):
            notes.append(f"no frames yet after {CARRIER_S:g} s on {_listed(late)}")
        converged = None
        if routers or had_routers:
            said(f"FRR: {len(routers)} routers")
            begun = time.monotonic()
            self.routers.start(routers)
            if not self._down:
                self.routers.wait(CONVERGENCE_S)
                converged = time.monotonic() - begun
        if self._down:
            unawaited = "; BGP was not waited for" if routers else ""
            notes.append(f"left down, as set at the prompt: {_listed(self._down)}{unawaited}")
        return {
            "namespaces": len(wanted.state.names),
            "nodes": len(wanted.cluster.nodes),
            "pods": len(wanted.cluster.pods),
            "routers": len(routers),
            "messages": report.messages,
            "made": report.made,
            "removed": report.removed,
            "converged_s": converged,
            "seconds": time.monotonic() - start,
            "notes": notes,
        }

    def _resolve(self) -> None:
        """hybridnet's daemon answers the kernel's questions for MAC addresses; so does this thread."""
        if self._resolving is None and self.resolvers.filenos():
            self._resolving = threading.Thread(target=self.resolvers.run_forever, daemon=True)
            self._resolving.start()

    def must_have(self, name: str) -> None:
        """Raises BadInput unless `name` is a node, switch, pod or other member of this lab."""
        if name not in self.state.names:
            raise BadInput(f"the lab has no {name!r}", remedy=meant(name, sorted(self.state.names)))

    def must_carry(self, version: int, *names: str) -> None:
        """Raises BadInput with the mode's reason when one of `names` is a pod, and pods have no such addresses."""
        lacks = find_mode(self.plugin, self.mode).lacks
        pod = next((pod.name for pod in self.cluster.pods if pod.name in names), None)
        if pod is not None and version in lacks:
            what = f"pod {pod!r} has no IPv{version} address in {self.plugin} {self.mode}: {lacks[version]}"
            raise BadInput(what, remedy=f"use IPv{10 - version}, or choose a mode that carries IPv{version}")

    def after_fork(self) -> None:
        """In a child: leaves the parent's sockets alone."""
        self.engine.after_fork()

    def down(self) -> None:
        """Ends the routers and gives every namespace back to the kernel."""
        self.routers.stop()
        self.resolvers.close()
        self.engine.close()
        self.namespaces.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.down()


def _listed(devices: Iterable[Device]) -> str:
    return ", ".join(f"{netns}:{name}" for netns, name in sorted(devices))


def _devices(state: State) -> frozenset[Device]:
    return frozenset((netns, name) for netns, links in ends(state).items() for name in links)


def features() -> frozenset[str]:
    """The names of the features that this process's kernel has; for the embedded one, those that it is known to have:
    to try them all takes it a second."""
    from kernel.features import of_embedded, probe

    found = of_embedded() if os.environ.get("PODPATH_KERNEL") == "embedded" else probe()
    return frozenset(name for name, lack in found.items() if not lack)
