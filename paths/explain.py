"""Why a packet went where it was seen next: the kernel's own answers about routes, neighbours and FDB entries."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from kernel import wire
from kernel.read import Reader, parsed
from kernel.state import Bridge, Netns, Rule, Veth
from paths.lab import Lab
from paths.model import Hop, Layer, Sighting

LOOKUP_TABLE, FIB_MATCH = 0x1000, 0x2000
"""RTM_F_LOOKUP_TABLE and RTM_F_FIB_MATCH (linux/rtnetlink.h): the table and the entry that matched."""
LOCAL, MAIN = 255, 254
TABLES = {LOCAL: "local", MAIN: "main", 253: "default"}
STATES = {
    1: "INCOMPLETE",
    2: "REACHABLE",
    4: "STALE",
    8: "DELAY",
    16: "PROBE",
    32: "FAILED",
    64: "NOARP",
    128: "PERMANENT",
}
TYPES = {1: "unicast", 2: "local", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}


@dataclass(frozen=True)
class Lookup:
    """The kernel's answer to where a packet would go; `error` is the errno's text when nowhere."""

    table: int = 0
    kind: str = ""
    dst: str = ""
    via: str | None = None
    dev: str | None = None
    rule: int | None = None
    mark: int = 0
    error: str = ""

    def __str__(self) -> str:
        """As `ip route` says it, with the rule that led there."""
        if self.error:
            return f"no route: {self.error}"
        way = (f" via {self.via}" if self.via else "") + (f" dev {self.dev}" if self.dev else "")
        kind = f"{self.kind} " if self.kind != "unicast" else ""
        mark = f" (mark {self.mark:#x})" if self.mark else ""
        rule = f"rule {self.rule}{mark}, " if self.rule is not None else ""
        return f"{rule}table {TABLES.get(self.table, self.table)}: {kind}{self.dst}{way}"


@dataclass(frozen=True)
class Neigh:
    """A neighbour entry of any state."""

    dev: str
    address: str
    mac: str
    state: str


class Space:
    """What one namespace's kernel answers, read once."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.name = name
        with lab.namespaces.inside(name):
            self._rtnl = wire.Rtnl()
        self._reader = Reader(name, self._rtnl)
        self.index = {device: index for index, device in self._reader.names.items()}
        self.now: Netns = self._reader.netns(daemons=True)
        self.links = {link.name: link for link in self.now.links}

    def close(self) -> None:
        self._rtnl.close()

    def lookup(self, dst: str, src: str | None, iif: str | None, mark: int = 0) -> Lookup:
        """ip route get DST from SRC iif IIF mark MARK, with the entry and the rule that matched."""
        family = wire.family_of(dst)
        body = struct.pack("=BBBBBBBBI", family, 128 if ":" in dst else 32, 0, 0, 0, 0, 0, 0, LOOKUP_TABLE | FIB_MATCH)
        body += wire.attr(1, wire.packed(dst))
        if src and iif:
            body = body[:2] + bytes([128 if ":" in src else 32]) + body[3:] + wire.attr(2, wire.packed(src))
        if iif and iif in self.index:
            body += wire.u32(3, self.index[iif])
        if mark:
            body += wire.u32(16, mark)
        try:
            answer = next(parsed(self._rtnl.dump(wire.GETROUTE, body, flags=0)))
        except OSError as problem:
            return Lookup(mark=mark, error=problem.strerror or "refused")
        return self._answer(answer, src, mark)

    def _answer(self, item: object, src: str | None, mark: int) -> Lookup:
        get = item.get_attr  # type: ignore[attr-defined]
        table = get("RTA_TABLE") or item["table"]  # type: ignore[index]
        six = item["family"] == socket.AF_INET6  # type: ignore[index]
        dst = f"{get('RTA_DST') or ('::' if six else '0.0.0.0')}/{item['dst_len']}"  # type: ignore[index]
        kind = TYPES.get(item["type"], str(item["type"]))  # type: ignore[index]
        via = get("RTA_GATEWAY")
        dev = self._reader.names.get(get("RTA_OIF") or 0)
        return Lookup(table, kind, dst, via, dev, self._rule(table, six, src, mark), mark)

    def _rule(self, table: int, six: bool, src: str | None, mark: int) -> int | None:
        """The first rule that leads a packet of this source and mark into `table`."""
        rules = [*self.now.rules, Rule(0, LOCAL, 6 if six else 4), Rule(32766, MAIN, 6 if six else 4)]
        for rule in sorted(rules, key=lambda rule: rule.priority):
            if rule.table == table and rule.family == (6 if six else 4) and _matches(rule, src, mark):
                return rule.priority
        return None

    def marks(self) -> list[int]:
        """The firewall marks that rules ask for, 0 first."""
        return [0, *sorted({rule.fwmark for rule in self.now.rules if rule.fwmark})]

    def neighbours(self) -> list[Neigh]:
        """Every neighbour entry that is there now."""
        found = []
        for item in parsed(self._rtnl.dump(wire.GETNEIGH, struct.pack("=BxHiHBB", 0, 0, 0, 0, 0, 0))):
            address = item.get_attr("NDA_DST")
            if item["family"] in (socket.AF_INET, socket.AF_INET6) and address:
                mac = item.get_attr("NDA_LLADDR") or ""
                dev = self._reader.names.get(item["ifindex"], "")
                found.append(Neigh(dev, str(ip_address(address)), mac, STATES.get(item["state"], str(item["state"]))))
        return found

    def fdb(self, device: str) -> list[tuple[str, str]]:
        """(MAC, destination) of a VXLAN device's entries, learned ones too."""
        body = struct.pack("=BxHiHBB", socket.AF_BRIDGE, 0, 0, 0, 0, 0)
        entries = parsed(self._rtnl.dump(wire.GETNEIGH, body))
        mine = [
            item for item in entries if self._reader.names.get(item["ifindex"]) == device and item.get_attr("NDA_DST")
        ]
        return [(item.get_attr("NDA_LLADDR"), str(ip_address(item.get_attr("NDA_DST")))) for item in mine]


def _matches(rule: Rule, src: str | None, mark: int) -> bool:
    if rule.src and (src is None or ip_address(src) not in ip_network(rule.src)):
        return False
    mask = 0xFFFFFFFF if rule.fwmask is None else rule.fwmask
    return rule.fwmark is None or (mark & mask) == rule.fwmark


class Explainer:
    """Explains sightings on one lab; reads each namespace at most once."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._spaces: dict[str, Space] = {}
        self.peers: dict[tuple[str, str], tuple[str, str]] = {}
        for ns in lab.state.namespaces:
            for link in ns.links:
                if isinstance(link, Veth):
                    self.peers[ns.name, link.name] = (link.peer_netns, link.peer.name)
                    self.peers[link.peer_netns, link.peer.name] = (ns.name, link.name)

    def space(self, name: str) -> Space:
        """What namespace `name` answers."""
        if name not in self._spaces:
            self._spaces[name] = Space(self.lab, name)
        return self._spaces[name]

    def close(self) -> None:
        for space in self._spaces.values():
            space.close()

    def ordered(self, seen: Sequence[Sighting]) -> list[Sighting]:
        """Along the wires: the kernel stamps the first frames after a capture begins late, so time alone can
        swap the two ends of a link."""
        left = sorted(seen, key=lambda one: one.time_ns)
        found: list[Sighting] = []
        while left:
            chosen = self._next(found[-1], left) if found else self._first(left)
            left.remove(chosen)
            found.append(chosen)
        return found

    def _first(self, left: Sequence[Sighting]) -> Sighting:
        """What no wire led to: an `out` whose namespace saw it come in nowhere before."""
        earliest = left[0]
        peer = self.peers.get((earliest.netns, earliest.device))
        if earliest.direction == "in" and peer:
            return next((x for x in left if (x.netns, x.device, x.direction) == (*peer, "out")), earliest)
        return earliest

    def _next(self, last: Sighting, left: Sequence[Sighting]) -> Sighting:
        peer = self.peers.get((last.netns, last.device))
        if last.direction == "out" and peer:
            for one in left:
                if (one.netns, one.device, one.direction) == (*peer, "in"):
                    return one
        return next((one for one in left if one.netns == last.netns), left[0])

    def hops(self, seen: Sequence[Sighting]) -> Iterator[Hop]:
        """Each sighting with what happened since the one before."""
        before: Sighting | None = None
        for one in self.ordered(seen):
            yield self._hop(before, one)
            before = one

    def _hop(self, before: Sighting | None, now: Sighting) -> Hop:
        if before is None:
            return self._routed(None, now, "sent")
        if before.netns != now.netns:
            return Hop(now, "arrives", (f"the other end of {before.place}",))
        if before.packet.tunnel is None and now.packet.tunnel is not None:
            return self._encapsulated(before, now)
        if before.packet.tunnel is not None and now.packet.tunnel is None:
            tunnel = before.packet.tunnel
            shed = before.length - now.length
            outer = before.packet.outer
            why = f"addressed to {outer.dst if outer else '?'}, {tunnel}: {shed} bytes of headers taken off"
            return Hop(now, "decapsulated", (why,))
        if isinstance(self._kind(now.netns), Bridge):
            return self._bridged(before, now)
        return self._routed(before, now, "routed")

    def _kind(self, name: str) -> object:
        """A switch's bridge, or None for a host."""
        return self.space(name).links.get(name)

    def _bridged(self, before: Sighting, now: Sighting) -> Hop:
        ether = now.packet.ethernet
        vlan = f" in VLAN {now.packet.vlan}" if now.packet.vlan else ""
        return Hop(now, "bridged", (f"{now.netns} switches {ether.dst if ether else '?'} from {before.device}{vlan}",))

    def _encapsulated(self, before: Sighting, now: Sighting) -> Hop:
        """By a VXLAN device: which entry chose the destination, and how the outer packet was routed."""
        ether, outer, tunnel = before.packet.ethernet, now.packet.outer, now.packet.tunnel
        mac = ether.dst if ether else ""
        space = self.space(now.netns)
        target = outer.dst if outer else ""
        entry = next((f"FDB {m} dst {d}" for m, d in space.fdb(before.device) if m == mac and d == target), None)
        if entry is None:
            entry = f"no FDB entry of {mac}: sent to the default destination {target}"
        lookup = space.lookup(target, outer.src if outer else None, None)
        grown = now.length - before.length
        what = f"{tunnel} over {' '.join(_ports(now.packet.layers))}: {grown} bytes of headers added"
        return Hop(
            now,
            "encapsulated",
            (entry, what, str(lookup), *self._neighbour(space, lookup, now, target)),
            lookup.rule,
            lookup.table,
        )

    def _routed(self, before: Sighting | None, now: Sighting, action: str) -> Hop:
        inner = now.packet.inner
        if inner is None:
            return Hop(now, action)
        space = self.space(now.netns)
        iif = before.device if before else None
        source = before.packet.inner.src if before and before.packet.inner else inner.src
        lookup = self.way_out(space, inner.dst, source, iif, now.device)
        why = [str(lookup), *self._neighbour(space, lookup, now, inner.dst), *_rewritten(before, inner)]
        if now.direction == "in":
            return Hop(now, "arrives", tuple(_rewritten(before, inner)))
        return Hop(now, action, tuple(why), lookup.rule, lookup.table)

    @staticmethod
    def way_out(space: Space, dst: str, src: str | None, iif: str | None, device: str) -> Lookup:
        """The lookup that explains that the packet left by `device`: with no mark, else with one that rules know."""
        answers = [space.lookup(dst, src, iif, mark) for mark in space.marks()]
        return next((answer for answer in answers if answer.dev == device), answers[0])

    @staticmethod
    def _neighbour(space: Space, lookup: Lookup, now: Sighting, target: str) -> Iterator[str]:
        ether = now.packet.ethernet
        hop = str(ip_address(lookup.via)) if lookup.via else target
        for neigh in space.neighbours():
            if neigh.dev == now.device and neigh.address == hop and ether and neigh.mac == ether.dst:
                yield f"neighbour {hop} is {neigh.mac} ({neigh.state})"


def _ports(layers: Iterable[Layer]) -> Iterator[str]:
    """The outer part of an encapsulated packet in short."""
    for layer in layers:
        if layer.kind in ("IPv4", "IPv6", "UDP"):
            yield str(layer)
        if layer.kind in ("VXLAN", "IPIP"):
            return


def _rewritten(before: Sighting | None, inner: Layer) -> Iterator[str]:
    """NAT shows as addresses that differ between two sightings."""
    was = before.packet.inner if before else None
    if was and was.src != inner.src:
        yield f"source {was.src} became {inner.src}: SNAT (masquerade)"
    if was and was.dst != inner.dst:
        yield f"destination {was.dst} became {inner.dst}: DNAT"
