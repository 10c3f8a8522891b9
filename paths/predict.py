"""Where a packet will go, from the wanted state alone: rules, routes, neighbours, FDB entries, VLANs, filters, tunnels.

Nothing here asks a kernel, so a path can be predicted without a lab. What the observed path is compared with is this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bgp.model import Router
from kernel.state import Ipip, Ipvlan, Netns, State, Tunnel, Vti, Vxlan
from paths import fib, filters
from paths.fib import Lookup, ip_interface
from paths.filters import Passing
from paths.learned import with_learned
from paths.model import Step
from paths.segment import Segments, Way, on
from paths.wires import Place

MOST = 128
"""Devices on a way; more is a loop."""
TUNNEL_KINDS = {"Ipip": "IPIP", "Gre": "GRE", "Sit": "SIT", "Vxlan": "VXLAN"}
"""A device's kind, and what its packets are called on the wire (paths.decode)."""
Heading = Literal["out", "back"]


@dataclass(frozen=True)
class Cargo:
    """A packet inside a tunnel: what it is, the device that put it in, and for VXLAN the device its frame is for."""

    packet: Packet
    kind: str
    entry: Place
    end: Place | None = None


@dataclass(frozen=True)
class Packet:
    """A packet as IP sees it."""

    src: str
    dst: str
    protocol: str = "icmp"
    cargo: Cargo | None = None

    @property
    def inner(self) -> Packet:
        """The packet in the innermost tunnel."""
        return self.cargo.packet.inner if self.cargo else self

    def at(self, step: Step) -> Step:
        """The step as this packet's."""
        kind = self.cargo.kind if self.cargo else ""
        return replace(step, tunnel=kind, src=self.inner.src, dst=self.inner.dst)


@dataclass(frozen=True)
class Prediction:
    """The devices in their order; `lost` says why it does not arrive, and `src` is the source that the target sees."""

    steps: Way
    lost: str = ""
    src: str = ""
    translations: tuple[tuple[str, str, str], ...] = ()
    """(namespace, new source, old source) of each source translation on the way."""


class Predictor:
    """Predicts on one state; the routes that BGP will bring are added first."""

    def __init__(self, state: State, routers: Sequence[Router] = ()) -> None:
        self.segments = Segments(with_learned(state, routers))

    def way(self, source: str, src: str | None, dst: str, protocol: str = "icmp") -> Prediction:
        """From namespace `source` and address `src` (None: as the kernel chooses it) to `dst`."""
        src = src or _own_address(self.segments.spaces[source], dst)
        return _Walk(self.segments, "out").run(source, Packet(src, dst, protocol))

    def answer(self, there: Prediction, target: str, dst: str, protocol: str = "icmp") -> Prediction:
        """The answer's way from namespace `target`, which has `dst`, after the probe came by `there`."""
        walk = _Walk(self.segments, "back", {(ns, new): old for ns, new, old in there.translations})
        return walk.run(target, Packet(dst, there.src, protocol))


class _Lost(Exception):
    """The packet goes no further; the reason."""


class _Walk:
    """One packet on its way."""

    def __init__(self, segments: Segments, heading: Heading, undo: dict[tuple[str, str], str] | None = None) -> None:
        self.segments, self.heading, self.undo = segments, heading, undo or {}
        self.steps: list[Step] = []
        self.translations: list[tuple[str, str, str]] = []
        self.src = ""

    def run(self, source: str, packet: Packet) -> Prediction:
        lost = ""
        self.src = packet.src
        try:
            self._send(self.segments.spaces[source], packet, None, "sent")
        except _Lost as reason:
            lost = str(reason)
        return Prediction(tuple(self.steps), lost, self.src, tuple(self.translations))

    # -- a host --

    def _send(self, ns: Netns, packet: Packet, iif: str | None, action: str) -> None:
        """Routes a packet that was made here (`iif` None) or came in."""
        mark = self._hook(ns, packet, "mangle", "PREROUTING" if iif else "OUTPUT", iif or "").mark
        found = fib.lookup(ns, packet.dst, packet.src if iif else None, mark, iif)
        if found.kind == "local":
            if not self.steps and packet.cargo is None:
                self._step(Step(ns.name, "lo", "in", "arrives"), packet)
            self._take(ns, packet, iif or "lo")
            return
        if found.error or not found.dev:
            raise _Lost(f"{ns.name} has no way to {packet.dst}: {found if found.kind else found.error}")
        self._hook(ns, packet, "filter", "FORWARD" if iif else "OUTPUT", iif or "", found.dev, mark)
        if not packet.cargo:
            packet = self._translated(ns, packet, found.dev, mark)
        self._leave(ns, packet, found, action)

    def _hook(
        self, ns: Netns, packet: Packet, table: str, chain: str, iif: str = "", oif: str = "", mark: int = 0
    ) -> Passing:
        """The packet after a hook's rules. Raises _Lost when one drops it."""
        back = self.heading == "back"
        translated = any(name == ns.name for name, _, _ in self.translations) or any(k[0] == ns.name for k in self.undo)
        passing = Passing(
            packet.src,
            packet.dst,
            packet.protocol,
            iif,
            oif,
            mark,
            "ESTABLISHED" if back else "NEW",
            packet.src if back else packet.dst,
            translated,
            frozenset(str(ip_interface(item.address).ip) for item in ns.addresses),
        )
        after = filters.hook(ns, table, chain, passing)
        if after.verdict in ("DROP", "REJECT"):
            raise _Lost(f"the firewall of {ns.name} drops it: {after.rule}")
        return replace(after.packet, src=after.packet.src if after.verdict in ("MASQUERADE", "SNAT") else packet.src)

    def _translated(self, ns: Netns, packet: Packet, oif: str, mark: int) -> Packet:
        """Source translation; only a connection's first packet is looked at, the rest follow."""
        if self.heading == "back":
            return packet
        passing = Passing(packet.src, packet.dst, packet.protocol, oif=oif, mark=mark)
        after = filters.hook(ns, "nat", "POSTROUTING", passing)
        if after.verdict not in ("MASQUERADE", "SNAT"):
            return packet
        source = after.packet.src if after.verdict == "SNAT" else _first_address(ns, oif, packet.dst)
        if not source:
            return packet
        self.translations.append((ns.name, source, packet.src))
        self.src = source
        return replace(packet, src=source)

    def _receive(self, place: Place, packet: Packet) -> None:
        """A packet came in by a device, for its host."""
        ns = self.segments.spaces[place[0]]
        if not packet.cargo and (child := self.segments.child_with(place, packet.dst)):
            self._step(Step(*child, "in", "to child"), packet)
            self._receive(child, packet)
            return
        if not packet.cargo and (old := self.undo.get((ns.name, packet.dst))):
            packet = replace(packet, dst=old)
        if fib.lookup(ns, packet.dst).kind == "local":
            self._take(ns, packet, place[1])
            return
        version = "ipv6" if ":" in packet.dst else "ipv4"
        keys = (f"net.{version}.conf.{place[1].replace('.', '/')}.forwarding", f"net.{version}.conf.all.forwarding")
        if not on(ns, *keys, *(("net.ipv4.ip_forward",) if version == "ipv4" else ())):
            raise _Lost(f"{ns.name} does not forward")
        self._send(ns, packet, place[1], "routed")

    def _take(self, ns: Netns, packet: Packet, device: str) -> None:
        """It is for this host: the end, or a tunnel's."""
        if packet.cargo is None:
            self._hook(ns, packet, "filter", "INPUT", device)
            return
        cargo = packet.cargo
        there = self._exit(ns, packet, cargo)
        if there is None:
            raise _Lost(f"it is for {ns.name}, and no device there takes {cargo.kind}")
        self._step(Step(*there, "in", "decapsulated"), cargo.packet)
        if cargo.end and cargo.end != there:
            self._frame(there, cargo.end, cargo.packet, arrived=True)
        else:
            self._receive(there, cargo.packet)

    def _exit(self, ns: Netns, packet: Packet, cargo: Cargo) -> Place | None:
        """The device that takes a tunnel's packet out."""
        entry = self.segments.wires.devices[cargo.entry]
        for link in ns.links:
            if isinstance(entry, Vxlan) and isinstance(link, Vxlan):
                same = (link.vni, link.port) == (entry.vni, entry.port) and link.local in ("", packet.dst)
            else:
                same = type(link) is type(entry) and _remote(link) in ("", packet.src)
            if same and link.up:
                return ns.name, link.name
        return None

    # -- a device --

    def _leave(self, ns: Netns, packet: Packet, found: Lookup, action: str) -> None:
        """By the device that routing chose."""
        place: Place = (ns.name, found.dev or "")
        link = self.segments.wires.devices.get(place)
        first = Step(*place, "out", action, None, "", found.table, found.rule, str(found))
        if link is not None and not link.up:
            raise _Lost(f"{link.name} of {ns.name} is down")
        if isinstance(link, Tunnel):
            self._step(first, packet)
            target = _remote(link) or (found.via or "" if isinstance(link, Ipip) else "")
            self._encapsulated(ns, packet, place, target, link.local, None)
        elif isinstance(link, Vti):
            self._step(first, packet)
            self._secret(place, packet)
        elif isinstance(link, Ipvlan) and link.mode != "l2":
            self._step(first, packet)
            self._by_parent(place, packet)
        else:
            hop = found.via or packet.dst
            answer = self.segments.answer(place, hop)
            if answer is None:
                raise _Lost(f"{ns.name}: {found}, and nobody answers there for {hop}")
            first = replace(first, next_hop=f"{hop} is {answer.mac or ':'.join(answer.at or ())}: {answer.how}")
            if isinstance(link, Vxlan):
                self._step(first, packet)
                target = self._vtep(ns, place, answer.mac, answer.at)
                self._encapsulated(ns, packet, place, target, link.local, answer.at)
            elif answer.at is None:
                raise _Lost(f"{hop} is {answer.mac} ({answer.how}), which no device behind {':'.join(place)} has")
            else:
                self._frame(place, answer.at, packet, first)

    def _frame(
        self, place: Place, end: Place, packet: Packet, first: Step | None = None, *, arrived: bool = False
    ) -> None:
        """From a device to the one whose MAC the frame has. `arrived`: it came in at `place` by a tunnel."""
        way = self.segments.way(place, end)
        if way is None:
            raise _Lost(f"no way on layer 2 from {':'.join(place)} to {':'.join(end)}")
        for number, step in enumerate(way):
            if number == 0 and first:
                self._step(replace(first, tag=step.tag), packet)
            elif number or not arrived:
                self._step(step, packet)
        self._receive(end, packet)

    def _encapsulated(
        self, ns: Netns, packet: Packet, place: Place, target: str, local: str, end: Place | None
    ) -> None:
        kind = TUNNEL_KINDS[type(self.segments.wires.devices[place]).__name__]
        if not target:
            raise _Lost(f"{':'.join(place)} has no entry for where the packet should go")
        protocol = "udp" if kind == "VXLAN" else kind.lower()
        self._send(ns, Packet(local, target, protocol, Cargo(packet, kind, place, end)), None, "encapsulated")

    def _vtep(self, ns: Netns, place: Place, mac: str, end: Place | None) -> str:
        """The other end that the FDB has for a MAC; among those flooded to the one that is wanted."""
        entries = [entry for entry in ns.fdb if entry.dev == place[1]]
        known = next((entry.dst for entry in entries if entry.mac == mac), "")
        there = self.segments.wires.devices.get(end) if end else None
        flooded = [entry.dst for entry in entries if entry.dst == getattr(there, "local", "")]
        return known or (flooded[0] if flooded else "")

    def _secret(self, place: Place, packet: Packet) -> None:
        """IPsec: nobody can tell whose packet is whose until the other end has taken it out."""
        there = self.segments.wires.secret.get(place)
        if there is None:
            raise _Lost(f"{':'.join(place)} has no other end")
        self._step(Step(*there, "in", "decapsulated"), packet)
        self._receive(there, packet)

    def _by_parent(self, place: Place, packet: Packet) -> None:
        """ipvlan L3: to a sibling by its address, else the parent's namespace routes (ipvlan_process_outbound)."""
        under = self.segments.wires.below[place]
        if sibling := self.segments.child_with(under, packet.dst):
            self._step(Step(*sibling, "in", "to sibling"), packet)
            self._receive(sibling, packet)
        else:
            self._send(self.segments.spaces[under[0]], packet, None, "by parent")

    def _step(self, step: Step, packet: Packet) -> None:
        self.steps.append(packet.at(step))
        if len(self.steps) > MOST:
            raise _Lost("it goes round in a circle")


def _remote(link: object) -> str:
    return getattr(link, "remote", "")


def _own_address(ns: Netns, dst: str) -> str:
    """The source of what a host sends: its route's, else the first address of the device, else the host's first."""
    found = fib.lookup(ns, dst)
    if found.kind == "local":
        return dst
    others = (str(ip_interface(item.address).ip) for item in ns.addresses)
    fitting = (address for address in others if (":" in address) == (":" in dst))
    return found.src or _first_address(ns, found.dev or "", dst) or next(fitting, "")


def _first_address(ns: Netns, device: str, like: str) -> str:
    """A device's first address of a family: what MASQUERADE takes."""
    mine = (str(ip_interface(item.address).ip) for item in ns.addresses if item.dev == device)
    return next((address for address in mine if (":" in address) == (":" in like)), "")
