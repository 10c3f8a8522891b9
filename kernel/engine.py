"""Makes a wanted state so: reads what is there, works out the difference, applies it in batched netlink.

Links of all namespaces come first, since a veth has its ends in two; then each namespace by itself. A
namespace that is made now is not read: all of it is the difference.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from kernel import diff, export, firewall, tc, wire
from kernel.errors import BadInput, KernelRefused
from kernel.namespaces import Namespaces
from kernel.read import Reader, indexes, of_device, sysctl, sysctl_path
from kernel.state import IFNAMSIZ, Bridge, Link, Netns, Route, State, Sysctl, Veth, Vlan, Vxlan

FIRST_INDEX = 16
"""Where our interface indexes start in a fresh namespace; tunnel modules make up to nine devices of their own."""


@dataclass(frozen=True)
class Report:
    """What an apply did; `messages` are netlink requests sent."""

    messages: int
    made: int
    removed: int
    seconds: float


@dataclass
class _Space:
    """One namespace as the engine knows it."""

    rtnl: wire.Rtnl
    index: dict[str, int] = field(default_factory=dict)
    applied: Netns = field(default_factory=lambda: Netns(""))
    links: dict[str, Link] = field(default_factory=dict)

    def free_index(self) -> int:
        return max(FIRST_INDEX - 1, max(self.index.values(), default=0)) + 1


class Engine:
    """Applies states to `namespaces`. It keeps one socket a namespace and what it applied last."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self._spaces: dict[str, _Space] = {}
        self._counts = [0, 0, 0]
        self._far: set[tuple[str, str]] = set()
        """Ends of veths made in this apply that could not be born up."""

    # -- for others --

    def apply(self, state: State) -> Report:
        """Makes `state` so; a second time it sends nothing. Raises KernelRefused naming the object."""
        _check(state)
        start, self._counts = time.monotonic(), [0, 0, 0]
        fresh = self._namespaces(state)
        actual = {ns.name: None if ns.name in fresh else self.read(ns.name) for ns in state.namespaces}
        changes = {ns.name: diff.change(ns, self._spaces[ns.name].applied, actual[ns.name]) for ns in state.namespaces}
        for ns in state.namespaces:
            self._remove(changes[ns.name].remove)
            self._sysctls(ns.name, (item for item in changes[ns.name].add.sysctls if not of_device(item.key)))
        self._links(state, actual)
        for ns in state.namespaces:
            self._add(changes[ns.name].add, ns.name in fresh)
            self._spaces[ns.name].applied = ns
        firewall.apply(self.namespaces, changes.values())
        tc.apply(self.namespaces, changes.values())
        return Report(self._counts[0], self._counts[1], self._counts[2], time.monotonic() - start)

    def plan(self, state: State) -> list[str]:
        """What `apply` would do, a line each, in `ip` words."""
        _check(state)
        lines = [f"{name}: - the namespace" for name in self._spaces if name not in state.names]
        wanted_ends = diff.ends(state)
        for ns in state.namespaces:
            if ns.name not in self._spaces:
                lines.append(f"{ns.name}: + the namespace")
                lines += [f"{ns.name}: + {line}" for line in export.lines(ns)]
                continue
            actual, applied = self.read(ns.name), self._spaces[ns.name].applied
            there = {link.name: link for link in actual.links}
            change = diff.change(ns, applied, actual)
            gone = [n for n in self._spaces[ns.name].links if n not in wanted_ends[ns.name] and n in there]
            lines += [f"{ns.name}: - link {name}" for name in gone]
            lines += [f"{ns.name}: - {line}" for line in export.lines(change.remove, links=False)]
            for name, link in wanted_ends[ns.name].items():
                if name not in there or not diff.fits(link, there[name]):
                    lines.append(f"{ns.name}: + link {name}")
                elif not diff.settled(link, there[name]):
                    lines.append(f"{ns.name}: ~ link {name}")
            nothing: dict[str, Any] = dict.fromkeys(change.same, ())
            again = replace(change.add, **nothing)
            lines += [f"{ns.name}: + {line}" for line in export.lines(again, links=False)]
        return lines

    def read(self, name: str, daemons: bool = False) -> Netns:
        """What the kernel has in `name` now; with `daemons` also routes that FRR installed."""
        space = self._space(name)
        reader = Reader(name, space.rtnl)
        found = reader.netns(daemons)
        space.index = {device: index for index, device in reader.names.items()}
        with self.namespaces.inside(name):
            return replace(found, sysctls=tuple(sysctl(item) for item in space.applied.sysctls))

    def after_fork(self) -> None:
        """In a child: drops the parent's sockets without a word to the kernel, and opens its own when needed."""
        for name, space in list(self._spaces.items()):
            space.rtnl.close()
            with self.namespaces.inside(name):
                space.rtnl = wire.Rtnl()

    def close(self) -> None:
        """Closes the sockets; the namespaces are not ours."""
        for space in self._spaces.values():
            space.rtnl.close()
        self._spaces.clear()

    # -- namespaces --

    def _space(self, name: str) -> _Space:
        if name not in self._spaces:
            with self.namespaces.inside(name):
                self._open(name)
            self._spaces[name].index = indexes(self._spaces[name].rtnl)
        return self._spaces[name]

    def _open(self, name: str) -> None:
        """In the namespace: its socket."""
        self._spaces[name] = _Space(wire.Rtnl(), {"lo": 1}, Netns(name))

    def _namespaces(self, state: State) -> set[str]:
        """Makes those that are missing and drops those no longer wanted; returns the fresh ones."""
        for name in [name for name in self._spaces if name not in state.names]:
            space = self._spaces.pop(name)
            wishes = [wire.del_link(space.index[device], device) for device in space.links if device in space.index]
            space.rtnl.attempt(wishes)  # at once: the kernel clears a dropped namespace some time later
            space.rtnl.close()
            self.namespaces.drop(name)
            self._counts[2] += 1
        known = set(self.namespaces.names)
        for name in [name for name in state.names if name in known]:
            self._space(name)
        missing = [name for name in state.names if name not in known]
        speaks_six = {ns.name for ns in state.namespaces if _speaks_six(ns)}

        def each(name: str) -> None:
            self._open(name)
            if name in speaks_six:  # addresses, link-local ones too, are usable at once (RFC 4862 takes a second)
                _write(Sysctl("net.ipv6.conf.default.accept_dad", "0"))

        self.namespaces.create_all(missing, each)
        self._counts[1] += len(missing)
        return set(missing)

    # -- links --

    def _links(self, state: State, actual: dict[str, Netns | None]) -> None:
        """Removes, makes and settles the links of all namespaces, those under others first."""
        self._far.clear()
        wanted = diff.ends(state)
        there = {name: {link.name: link for link in (ns.links if ns else ())} for name, ns in actual.items()}
        self._remove_links(wanted, there)
        queues: dict[str, list[wire.Request]] = {name: [] for name in wanted}
        veths = [(ns.name, link) for ns in state.namespaces for link in ns.links if isinstance(link, Veth)]
        plain = [(ns.name, link) for ns in state.namespaces for link in ns.links if not isinstance(link, Veth)]
        for name, link in plain:
            if isinstance(link, Bridge) and link.name not in there[name]:
                self._queue(queues[name], name, link)
        self._flush(queues)
        for name, veth in veths:
            ends = veth.name in there[name], veth.peer.name in there[veth.peer_netns]
            if not any(ends):
                self._veth(queues, name, veth)
        self._flush(queues)
        for name, link in sorted(plain, key=lambda pair: isinstance(pair[1], Vxlan)):
            if not isinstance(link, Bridge) and link.name not in there[name]:
                self._queue(queues[name], name, link)
        self._flush(queues)
        for name, links in wanted.items():
            self._settle(queues[name], name, links, there[name])
        self._flush(queues)

    def _remove_links(self, wanted: dict[str, dict[str, Link]], there: dict[str, dict[str, Link]]) -> None:
        """Ours that are wanted no more, and those that must be made anew because they are of another kind."""
        for name, links in wanted.items():
            space = self._spaces[name]
            gone = [device for device in space.links if device not in links and device in there[name]]
            wrong = [d for d, link in links.items() if d in there[name] and not diff.fits(link, there[name][d])]
            requests = [wire.del_link(space.index[device], device) for device in gone + wrong]
            self._attempt(name, requests)
            for device in gone + wrong:
                there[name].pop(device, None)

    def _queue(self, queue: list[wire.Request], name: str, link: Link) -> None:
        """The request that makes a bridge, VXLAN or VLAN device."""
        space = self._spaces[name]
        under = link.dev if isinstance(link, Vxlan | Vlan) else ""
        dev = self._index(name, under) if under else None
        master = self._master(name, link)
        index = space.index[link.name] = space.free_index()
        queue.append(wire.new_link(link, index, master, dev))
        self._counts[1] += 1

    def _veth(self, queues: dict[str, list[wire.Request]], name: str, veth: Veth) -> None:
        """Both ends, from the side that belongs to a bridge: that end can be born in it and up."""
        here: tuple[str, Link] = (name, veth)
        there: tuple[str, Link] = (veth.peer_netns, veth.peer)
        if veth.peer.master:
            here, there = there, here
        (near_name, near), (far_name, far) = here, there
        near_index = self._spaces[near_name].index[near.name] = self._spaces[near_name].free_index()
        far_index = self._spaces[far_name].index[far.name] = self._spaces[far_name].free_index()
        self._far.add((far_name, far.name))
        master = self._master(near_name, near)
        fd = self.namespaces.fd(far_name)
        queues[near_name].append(wire.new_veth(near, near_index, far, far_index, fd, master))
        self._counts[1] += 1

    def _settle(self, queue: list[wire.Request], name: str, links: dict[str, Link], there: dict[str, Link]) -> None:
        """What could not be stated when a link was made, and what has changed since."""
        space = self._spaces[name]
        for device, link in links.items():
            before, index = there.get(device), self._index(name, device)
            if before is None:
                if (name, device) in self._far:
                    queue.append(wire.set_link(index, Link(device, up=link.up), self._master(name, link)))
            elif not diff.settled(link, before):
                moved = link.master != before.master
                queue.append(wire.set_link(index, link, (self._master(name, link) or 0) if moved else None))
                if isinstance(link, Bridge) and not diff.filters_alike(link, before):
                    queue.append(wire.filtering(index, link))
        space.links = dict(links)

    def _master(self, name: str, link: Link) -> int | None:
        return self._index(name, link.master) if link.master else None

    def _index(self, name: str, device: str) -> int:
        index = self._spaces[name].index
        if device not in index:
            index.update(indexes(self._spaces[name].rtnl))
        if device not in index:
            raise BadInput(f"there is no device {device!r}", where=f"namespace {name}")
        return index[device]

    # -- one namespace --

    def _remove(self, what: Netns) -> None:
        """Objects that were ours and are wanted no more; some went with their device already."""
        name = what.name
        requests = [wire.rule(item, remove=True) for item in what.rules]
        requests += [wire.route(item, self._known(name, item.dev), remove=True) for item in what.routes]
        requests += [wire.neighbour(x, i, remove=True) for x in what.neighbours if (i := self._known(name, x.dev))]
        requests += [wire.fdb(x, i, remove=True) for x in what.fdb if (i := self._known(name, x.dev))]
        requests += [wire.address(x, i, remove=True) for x in what.addresses if (i := self._known(name, x.dev))]
        for item in what.port_vlans:
            if index := self._known(name, item.dev):
                requests.append(wire.port_vlan(index, item, self._is_bridge(name, item.dev), remove=True))
        self._counts[2] += len(requests)
        self._attempt(name, requests)

    def _known(self, name: str, device: str | None) -> int | None:
        return self._spaces[name].index.get(device) if device else None

    def _is_bridge(self, name: str, device: str) -> bool:
        return isinstance(self._spaces[name].links.get(device), Bridge)

    def _add(self, what: Netns, fresh: bool) -> None:
        """Everything of one namespace but its links, in the order in which the kernel can take it."""
        name = what.name
        requests = [wire.up_link(1, "lo")] if fresh else []
        for item in what.port_vlans:
            requests.append(wire.port_vlan(self._index(name, item.dev), item, self._is_bridge(name, item.dev)))
        requests += [wire.address(item, self._index(name, item.dev)) for item in what.addresses]
        self._sysctls(name, (item for item in what.sysctls if of_device(item.key)), requests)
        requests = [wire.route(r, self._index(name, r.dev) if r.dev else None) for r in _direct_first(what)]
        requests += [wire.rule(item) for item in what.rules]
        requests += [wire.neighbour(item, self._index(name, item.dev)) for item in what.neighbours]
        requests += [wire.fdb(item, self._index(name, item.dev)) for item in what.fdb]
        self._send(name, requests)
        self._counts[1] += len(requests)

    def _sysctls(self, name: str, items: Iterable[Sysctl], requests: Iterable[wire.Request] = ()) -> None:
        """Sends `requests`, then writes keys."""
        self._send(name, list(requests))
        wanted = list(items)
        if wanted:
            with self.namespaces.inside(name):
                for item in wanted:
                    _write(item)
            self._counts[1] += len(wanted)

    # -- sending --

    def _send(self, name: str, requests: list[wire.Request]) -> None:
        self._counts[0] += len(requests)
        try:
            self._spaces[name].rtnl.send(requests)
        except KernelRefused as problem:
            raise KernelRefused(problem.what, where=f"namespace {name}", remedy=problem.remedy) from None

    def _attempt(self, name: str, requests: list[wire.Request]) -> None:
        self._counts[0] += len(requests)
        self._spaces[name].rtnl.attempt(requests)

    def _flush(self, queues: dict[str, list[wire.Request]]) -> None:
        for name, requests in queues.items():
            if requests:
                self._send(name, requests)
                requests.clear()


def _write(item: Sysctl) -> None:
    """Writes a key of this thread's namespace. Raises KernelRefused."""
    try:
        fd = os.open(sysctl_path(item.key), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, item.value.encode())
        finally:
            os.close(fd)
    except OSError as problem:
        what = f"the kernel refused sysctl {item.key}={item.value}: {problem.strerror}"
        raise KernelRefused(what) from None


def _direct_first(ns: Netns) -> list[Route]:
    """A next hop must be reachable before a route may go through it."""
    return sorted(ns.routes, key=lambda route: route.via is not None)


def _speaks_six(ns: Netns) -> bool:
    return any(":" in item.address for item in ns.addresses) or any(":" in item.dst for item in ns.routes)


def _check(state: State) -> None:
    """Mistakes of a state that the kernel would only answer with an errno. Raises BadInput."""
    names = set(state.names)
    if len(names) < len(state.namespaces):
        raise BadInput("a namespace is stated twice", remedy="join the states with kernel.state.merge")
    seen: set[tuple[str, str]] = set()
    for ns in state.namespaces:
        for link in ns.links:
            places = [(ns.name, link.name)]
            if isinstance(link, Veth):
                if link.peer_netns not in names:
                    raise BadInput(
                        f"{link.name} has its other end in {link.peer_netns!r}, which is not there", where=ns.name
                    )
                places.append((link.peer_netns, link.peer.name))
            for place, device in places:
                if not 0 < len(device.encode()) <= IFNAMSIZ:
                    what = f"{device!r} is no interface name: 1 to {IFNAMSIZ} bytes"
                    raise BadInput(what, where=place, remedy="give a shorter name")
                if (place, device) in seen:
                    raise BadInput(f"the device {device} is stated twice", where=place)
                seen.add((place, device))
