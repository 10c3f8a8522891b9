"""Makes a wanted state so: reads what is there, works out the difference, applies it in batched netlink.

Devices of all namespaces come first, since a veth has its ends in two; then each namespace by itself. A
namespace that is made now is not read: all of it is the difference.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kernel import devices, diff, export, firewall, ipsec, linker, seals, tc, wire
from kernel.errors import BadInput, KernelRefused
from kernel.namespaces import Namespaces
from kernel.read import sysctl_path
from kernel.spaces import Counts, Spaces
from kernel.state import IFNAMSIZ, Bridge, Link, Netns, Route, State, Sysctl, Veth

MOST_PORTS = 1023
"""Ports that a Linux bridge takes (net/bridge/br_private.h: BR_PORT_BITS is 10, port 0 is not used)."""


@dataclass(frozen=True)
class Report:
    """What an apply did; `messages` are netlink requests sent."""

    messages: int
    made: int
    removed: int
    seconds: float

    def plus(self, other: Report) -> Report:
        """Both, one after the other."""
        counts = (self.messages + other.messages, self.made + other.made, self.removed + other.removed)
        return Report(*counts, self.seconds + other.seconds)


@dataclass(frozen=True)
class _Difference:
    """What stands between the kernel and a state: the devices that must go, those that stay, and each namespace's
    own part as it will be once they are gone."""

    wanted: diff.Links
    lost: frozenset[diff.Place]
    there: dict[str, dict[str, Link]]
    changes: dict[str, diff.Change]


class Engine:
    """Applies states to `namespaces`. It keeps one socket a namespace and what it applied last."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self._spaces = Spaces(namespaces)

    def apply(self, state: State) -> Report:
        """Makes `state` so; a second time it sends nothing. Raises KernelRefused naming the object, and BadInput for
        a state that cannot be."""
        check(state)
        start, self._spaces.counts = time.monotonic(), Counts()
        fresh = self._namespaces(state)
        found = self._difference(state, fresh)
        self._own_parts(found, remove=True)
        work = linker.Linker(self._spaces, found.wanted, found.there)
        work.remove(set(found.lost))
        for netns, device in found.lost:
            before = self._spaces[netns].before
            self._spaces[netns].before = {key: old for key, old in before.items() if diff.device_of(key) != device}
        for name, change in found.changes.items():
            self._sysctls(name, [item for item in change.add.sysctls if not diff.device_of(item.key)])
        work.run()
        self._own_parts(found, remove=False)
        for ns in state.namespaces:
            self._spaces[ns.name].applied = ns
        self._again(state, found)
        firewall.apply(self.namespaces, found.changes.values())
        tc.apply(self.namespaces, found.changes.values())
        ipsec.apply(self.namespaces, found.changes.values())
        for name, change in found.changes.items():
            if change.redo:
                self._spaces[name].seals = self._seals(name)
        counts = self._spaces.counts
        return Report(counts.messages, counts.made, counts.removed, time.monotonic() - start)

    def plan(self, state: State) -> list[str]:
        """What `apply` would do, a line each, in `ip` words; empty when there is nothing to do."""
        check(state)
        fresh = {name for name in state.names if name not in self.namespaces.names}
        found = self._difference(state, fresh)
        lines = [f"{name}: - the namespace" for name in self._spaces if name not in state.names]
        lines += [f"{name}: + the namespace" for name in fresh]
        lines += [f"{netns}: - ip link del {name}" for netns, name in sorted(found.lost)]
        for ns in state.namespaces:
            missing = [link for link in ns.links if link.name not in found.there[ns.name]]
            lines += [f"+ {line}" for link in missing for line in export.device(ns.name, link)]
        for netns, links in found.wanted.items():
            there = found.there[netns]
            moved = [link for name, link in links.items() if name in there and not diff.settled(link, there[name])]
            lines += [f"{netns}: ~ ip {export.settings(link)}" for link in moved]
        for name, change in found.changes.items():
            lines += [f"{name}: {line}" for line in export.difference(change)]
            if change.tampered & {"filters", "ipsets"}:
                lines += [f"{name}: {line}" for line in firewall.tampered(self.namespaces, change.whole)]
        return lines

    def read(self, name: str, daemons: bool = False) -> Netns:
        """What the kernel has in `name` now; with `daemons` also routes that FRR installed."""
        return self._spaces.read([name], daemons)[name]

    def after_fork(self) -> None:
        """In a child: drops the parent's sockets without a word to the kernel, and opens its own."""
        self._spaces.after_fork()

    def close(self) -> None:
        """Closes the sockets; the namespaces are not ours."""
        self._spaces.close()

    # -- the difference --

    def _difference(self, state: State, fresh: set[str]) -> _Difference:
        wanted = diff.ends(state)
        keys = {ns.name: ns.sysctls for ns in state.namespaces}
        actual = self._spaces.read((name for name in state.names if name not in fresh), keys=keys)
        there = {name: {link.name: link for link in actual[name].links} if name in actual else {} for name in wanted}
        lost = linker.lost(self._spaces, wanted, there)
        changes = {}
        for ns in state.namespaces:
            if ns.name in fresh:
                changes[ns.name] = diff.change(ns, Netns(ns.name), None)
                continue
            names = {device for netns, device in lost if netns == ns.name}
            rest = diff.without(actual[ns.name], names - devices.FALLBACK.keys())
            space, now = self._spaces[ns.name], self._seals(ns.name)
            intact = [part for part in diff.WHOLE if space.seals.get(part) == now.get(part)]
            change = diff.change(ns, space.applied, rest, intact)
            former = (Sysctl(item.key, space.before.get(item.key, "")) for item in change.remove.sysctls)
            known = replace(change.remove, sysctls=tuple(item for item in former if item.value))
            changes[ns.name] = replace(change, remove=known)
            there[ns.name] = {name: link for name, link in there[ns.name].items() if name not in names}
        return _Difference(wanted, frozenset(lost), there, changes)

    def _seals(self, name: str) -> dict[str, Hashable]:
        """Taken now, of what was applied last."""
        space = self._spaces[name]
        if not any(getattr(space.applied, part) for part in diff.WHOLE):
            return {}
        with self.namespaces.inside(name):
            return seals.take(space.rtnl, space.index, space.applied)

    def _again(self, state: State, found: _Difference) -> None:
        """The kernel drops more than what is named: routes with an address that goes or a device that goes down,
        IPv6 addresses likewise. Namespaces in which something went or was settled are looked at once more."""
        touched = {netns for netns, _ in found.lost} | {n for n, change in found.changes.items() if _removes(change)}
        for netns, links in found.wanted.items():
            there = found.there[netns]
            if any(name in there and not diff.settled(link, there[name]) for name, link in links.items()):
                touched.add(netns)
        actual = self._spaces.read(touched)
        for ns in state.namespaces:
            if ns.name in actual:
                change = diff.change(ns, ns, actual[ns.name])
                self._add(change, ns.name)

    # -- namespaces --

    def _namespaces(self, state: State) -> set[str]:
        """Makes those that are missing and drops those no longer wanted; returns the fresh ones."""
        for name in [name for name in self._spaces if name not in state.names]:
            self._spaces.drop(name)
        known = set(self.namespaces.names)
        missing = [name for name in state.names if name not in known]
        speaks_six = {ns.name for ns in state.namespaces if _speaks_six(ns)}

        def each(name: str) -> None:
            if name in speaks_six:  # addresses, link-local ones too, are usable at once (RFC 4862 takes a second)
                _write(Sysctl("net.ipv6.conf.default.accept_dad", "0"))

        self._spaces.create(missing, each)
        return set(missing)

    # -- one namespace's own parts --

    def _own_parts(self, found: _Difference, *, remove: bool) -> None:
        for name, change in found.changes.items():
            if remove:
                self._remove(change.remove)
            else:
                self._add(change, name)

    def _remove(self, what: Netns) -> None:
        """Objects that were ours and are wanted no more; some went with their device already."""
        name, index = what.name, self._spaces[what.name].index
        requests = [wire.rule(item, remove=True) for item in what.rules]
        requests += [wire.route(item, index, remove=True) for item in what.routes if _devices(item) <= index.keys()]
        requests += [wire.neighbour(x, index[x.dev], remove=True) for x in what.neighbours if x.dev in index]
        requests += [wire.fdb(x, index[x.dev], remove=True) for x in what.fdb if x.dev in index]
        requests += [wire.address(x, index[x.dev], remove=True) for x in what.addresses if x.dev in index]
        requests += [self._port_vlan(name, x, remove=True) for x in what.port_vlans if x.dev in index]
        if requests:
            self._spaces.counts.removed += len(requests)
            self._spaces.attempt(name, requests)
        self._restore(name, what.sysctls)

    def _add(self, change: diff.Change, name: str) -> None:
        """Everything of one namespace but its devices, in the order in which the kernel can take it."""
        what, known = change.add, self._spaces[name].index
        requests = [devices.up_link(1, "lo")] if change.fresh else []
        requests += [self._port_vlan(name, item) for item in what.port_vlans]
        requests += [wire.address(item, self._spaces.index(name, item.dev)) for item in what.addresses]
        self._send(name, requests)
        foreign = [item for item in what.addresses if not item.own]
        if requests := [one for item in foreign for one in wire.disown(item, known[item.dev])]:
            self._spaces.attempt(name, requests)
        self._sysctls(name, [item for item in what.sysctls if diff.device_of(item.key)])
        for route in what.routes:
            for device in _devices(route):
                self._spaces.index(name, device)
        requests = [wire.route(item, known) for item in diff.direct_first(what.routes)]
        requests += [wire.rule(item) for item in what.rules]
        requests += [wire.neighbour(item, self._spaces.index(name, item.dev)) for item in what.neighbours]
        requests += [wire.fdb(item, self._spaces.index(name, item.dev)) for item in what.fdb]
        self._send(name, requests)

    def _port_vlan(self, name: str, item: Any, remove: bool = False) -> wire.Request:
        itself = isinstance(self._spaces[name].links.get(item.dev), Bridge)
        return devices.port_vlan(self._spaces.index(name, item.dev), item, itself, remove)

    def _send(self, name: str, requests: list[wire.Request]) -> None:
        self._spaces.counts.made += len(requests)
        self._spaces.send(name, requests)

    def _sysctls(self, name: str, items: Sequence[Sysctl]) -> None:
        """Writes keys, and remembers what each held before the first time."""
        if items:
            before = self._spaces[name].before
            with self.namespaces.inside(name):
                for item in items:
                    before.setdefault(item.key, _write(item))
            self._spaces.counts.made += len(items)

    def _restore(self, name: str, items: Sequence[Sysctl]) -> None:
        """Gives keys that are wanted no more their first value again."""
        if items:
            with self.namespaces.inside(name):
                for item in items:
                    with contextlib.suppress(KernelRefused):  # it went with its device
                        _write(item)
                    del self._spaces[name].before[item.key]
            self._spaces.counts.removed += len(items)


def _write(item: Sysctl) -> str:
    """Writes a key of this thread's namespace and returns what it held. Raises KernelRefused."""
    try:
        fd = os.open(sysctl_path(item.key), os.O_RDWR | os.O_CLOEXEC)
        try:
            before = os.pread(fd, 4096, 0).decode().strip()
            os.pwrite(fd, item.value.encode(), 0)
            return before
        finally:
            os.close(fd)
    except OSError as problem:
        what = f"the kernel refused sysctl {item.key}={item.value}: {problem.strerror}"
        raise KernelRefused(what) from None


def _devices(route: Route) -> set[str]:
    return {hop.dev for hop in route.hops} | ({route.dev} if route.dev else set())


def _removes(change: diff.Change) -> bool:
    return any(getattr(change.remove, part) for part in diff.KEYS)


def _speaks_six(ns: Netns) -> bool:
    return any(":" in item.address for item in ns.addresses) or any(":" in item.dst for item in ns.routes)


def check(state: State) -> None:
    """Mistakes of a state that the kernel would only answer with an errno. Raises BadInput."""
    names = set(state.names)
    if len(names) < len(state.namespaces):
        raise BadInput("a namespace is stated twice", remedy="join the states with kernel.state.merge")
    seen: set[diff.Place] = set()
    for ns in state.namespaces:
        for link in ns.links:
            places = [(ns.name, link.name)]
            if isinstance(link, Veth):
                places.append((link.peer_netns, link.peer.name))
            far = link.peer_netns if isinstance(link, Veth) else getattr(link, "dev_netns", "") or ns.name
            if far not in names:
                what = f"{link.name} has its other part in {far!r}, which is not there"
                raise BadInput(what, where=f"namespace {ns.name}")
            for place, device in places:
                if not 0 < len(device.encode()) <= IFNAMSIZ:
                    what = f"{device!r} is no interface name: 1 to {IFNAMSIZ} bytes"
                    raise BadInput(what, where=f"namespace {place}", remedy="give a shorter name")
                if (place, device) in seen:
                    raise BadInput(f"the device {device} is stated twice", where=f"namespace {place}")
                seen.add((place, device))
    ends = diff.ends(state)
    diff.ranks(ends)
    ports = Counter((netns, link.master) for netns, links in ends.items() for link in links.values() if link.master)
    for (netns, bridge), count in ports.items():
        if count > MOST_PORTS:
            what = f"the bridge {bridge} would have {count} ports, and takes {MOST_PORTS}"
            raise BadInput(what, where=f"namespace {netns}", remedy="spread them over several bridges")
