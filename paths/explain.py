"""Why a packet went where it was seen next: the kernel's own answers about routes, neighbours and FDB entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address

from kernel.namespaces import Namespaces
from kernel.state import Ipvlan, Link, Macvlan, Sit, Vlan, Vxlan
from paths.fib import Lookup
from paths.model import Hop, Sighting
from paths.space import Space
from paths.wires import Wires


class Explainer:
    """Explains sightings on one lab; reads each namespace at most once. Also a context manager."""

    def __init__(self, namespaces: Namespaces, wires: Wires) -> None:
        self.wires = wires
        self._namespaces = namespaces
        self._spaces: dict[str, Space] = {}

    def space(self, name: str) -> Space:
        """What namespace `name` answers."""
        if name not in self._spaces:
            self._spaces[name] = Space(self._namespaces, name)
        return self._spaces[name]

    def close(self) -> None:
        for space in self._spaces.values():
            space.close()

    def __enter__(self) -> Explainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hops(self, path: Sequence[Sighting], answer: bool = False) -> Iterator[Hop]:
        """Each sighting of a chain with what happened since the one before. In an `answer` (or an error) a changed
        destination is the probe's source translation undone."""
        for hop, before in zip(self._plain(path), (None, *path), strict=False):
            changed = tuple(_rewritten(before, hop.seen, answer)) if before else ()
            yield replace(hop, why=(*hop.why, *changed))

    def _plain(self, path: Sequence[Sighting]) -> Iterator[Hop]:
        before: Sighting | None = None
        for one in path:
            yield self._hop(before, one)
            before = one

    def _hop(self, before: Sighting | None, now: Sighting) -> Hop:
        if before is None:
            return self._routed(None, now) if now.direction == "out" else Hop(now, "arrives")
        if stacked := self._stacked(before, now):
            return stacked
        if self.wires.secret.get((now.netns, now.device)) == (before.netns, before.device):
            return Hop(now, "decrypted", (f"left by {before.place} in ESP, where no packet can be told from another",))
        if before.netns != now.netns:
            return Hop(now, "arrives", (f"the other end of {before.place}",))
        if before.packet.tunnel is None and now.packet.tunnel is not None:
            return self._encapsulated(before, now)
        if before.packet.tunnel is not None and now.packet.tunnel is None:
            return _decapsulated(before, now)
        if self._master(before) is not None and self._master(before) == self._master(now):
            return self._bridged(before, now)
        return self._routed(before, now)

    def _link(self, seen: Sighting) -> Link | None:
        return self.space(seen.netns).links.get(seen.device)

    def _master(self, seen: Sighting) -> str | None:
        link = self._link(seen)
        return link.master if link else None

    def _bridged(self, before: Sighting, now: Sighting) -> Hop:
        """By a bridge: which entry chose the port."""
        ether, bridge = now.packet.ethernet, self._master(now) or ""
        mac = ether.dst if ether else ""
        entries = self.space(now.netns).fdb(bridge)
        known = any(entry.mac == mac and entry.dev == now.device for entry in entries)
        vid = before.packet.vlan or now.packet.vlan
        vlan = f", VLAN {vid}" if vid else ""
        why = f"FDB {mac} dev {now.device}{vlan}" if known else f"{mac} is not in the FDB: flooded{vlan}"
        return Hop(now, "bridged", (why,))

    def _stacked(self, before: Sighting, now: Sighting) -> Hop | None:
        """From a VLAN, macvlan or ipvlan device to the one under it, up again, or to another one over the same."""
        there, here, below = (before.netns, before.device), (now.netns, now.device), self.wires.below
        if below.get(there) == here and now.direction == "in":
            return Hop(now, "turned back", ("shown to the device under it, for a sibling: it did not leave the node",))
        if below.get(there) == here:
            upper = self.wires.devices[there]
            if isinstance(upper, Ipvlan) and upper.mode != "l2":
                return self._by_parents_routes(now, upper)
            return _tag(now, "tagged", upper) or _over(now, "by parent", upper)
        if below.get(here) == there:
            return _tag(now, "untagged", self.wires.devices[here]) or _over(now, "to child", self.wires.devices[here])
        if here in below and below.get(here) == below.get(there):
            return Hop(now, "to sibling", (f"both are over {':'.join(below[here])}: it did not leave the node",))
        return None

    def _by_parents_routes(self, now: Sighting, upper: Ipvlan) -> Hop:
        """From an ipvlan device in an L3 mode: the routing tables of the parent's namespace choose the next hop."""
        space, inner = self.space(now.netns), now.packet.inner
        lookup = space.lookup(inner.dst if inner else "0.0.0.0", None, None)
        neighbour = _neighbour(space, lookup, now, inner.dst if inner else "")
        return Hop(now, "by parent", (f"ipvlan, mode {upper.mode}", str(lookup), *neighbour), lookup.rule, lookup.table)

    def _encapsulated(self, before: Sighting, now: Sighting) -> Hop:
        """By a tunnel: what chose its other end, and how the outer packet was routed."""
        outer = now.packet.outer
        space, target = self.space(now.netns), outer.dst if outer else ""
        lookup = space.lookup(target, None, None)
        why = [self._chosen(space, before, target), f"{now.ip_length - before.ip_length} bytes of headers put on"]
        if outer and "fragment" in outer.more:
            why.append("in fragments: the whole is longer than the MTU under the tunnel")
        why += [str(lookup), *_neighbour(space, lookup, now, target)]
        return Hop(now, "encapsulated", tuple(why), lookup.rule, lookup.table)

    def _chosen(self, space: Space, before: Sighting, target: str) -> str:
        link = self._link(before)
        if isinstance(link, Sit) and link.isatap:
            return f"{target} is what the next hop's address ends with (isatap)"
        if not isinstance(link, Vxlan):
            named = "its remote address" if getattr(link, "remote", "") else "the route's next hop"
            return f"the other end of {before.device} is {named} {target}"
        mac = before.packet.ethernet.dst if before.packet.ethernet else ""
        if any(entry.mac == mac and entry.dst == target for entry in space.fdb(before.device)):
            return f"FDB {mac} dst {target}"
        return f"no FDB entry of {mac}: flooded, here to {target}"

    def _routed(self, before: Sighting | None, now: Sighting) -> Hop:
        """By the routing tables of the namespace; without `before` it was sent from here. Routers between two ends of a
        tunnel see its outer header only."""
        header = now.packet.outer
        if header is None or now.direction == "in":
            return Hop(now, "arrives")
        space = self.space(now.netns)
        was = (before.packet.outer if before else None) or header
        iif = before.device if before else None
        lookup = self.way_out(space, was.dst, was.src, iif, now.device)
        if lookup.dev != now.device and header.dst != was.dst:
            lookup = self.way_out(space, header.dst, was.src, iif, now.device)
        why = (str(lookup), *_neighbour(space, lookup, now, header.dst))
        return Hop(now, "routed" if before else "sent", why, lookup.rule, lookup.table)

    @staticmethod
    def way_out(space: Space, dst: str, src: str | None, iif: str | None, device: str) -> Lookup:
        """The lookup that explains that the packet left by `device`: with no mark, else with one that rules know."""
        answers = [space.lookup(dst, src, iif, mark) for mark in space.marks()]
        return next((answer for answer in answers if answer.dev == device), answers[0])


def _tag(now: Sighting, action: str, upper: Link) -> Hop | None:
    """An 802.1Q sub-interface puts its tag on, or takes it off."""
    return Hop(now, action, (f"802.1Q VLAN {upper.vid} is {upper.name}",)) if isinstance(upper, Vlan) else None


def _over(now: Sighting, action: str, upper: Link) -> Hop:
    kind = type(upper).__name__.lower()
    mode = f", mode {upper.mode}" if isinstance(upper, Macvlan | Ipvlan) else ""
    return Hop(now, action, (f"{kind}{mode}, MAC {upper.mac}" if upper.mac else f"{kind}{mode}",))


def _decapsulated(before: Sighting, now: Sighting) -> Hop:
    tunnel, outer = before.packet.tunnel, before.packet.outer
    vni = f" of VNI {tunnel.more['vni']}" if tunnel and "vni" in tunnel.more else ""
    target = outer.dst if outer else "?"
    shed = before.ip_length - now.ip_length
    why = f"{tunnel.kind if tunnel else ''}{vni} for {target}: {shed} bytes of headers taken off"
    return Hop(now, "decapsulated", (why,))


def _neighbour(space: Space, lookup: Lookup, now: Sighting, target: str) -> Iterator[str]:
    ether = now.packet.ethernet
    hop = str(ip_address(lookup.via)) if lookup.via else target
    for neigh in space.neighbours():
        if neigh.dev == now.device and neigh.address == hop and ether and neigh.mac == ether.dst:
            yield f"neighbour {hop} is {neigh.mac} ({neigh.state})"


def _rewritten(before: Sighting, now: Sighting, answer: bool) -> Iterator[str]:
    """NAT shows as addresses that differ between two sightings of the same kind."""
    was, header = before.packet.outer, now.packet.outer
    if was is None or header is None or (before.packet.tunnel is None) != (now.packet.tunnel is None):
        return
    if was.src != header.src:
        yield f"source {was.src} became {header.src}: {'DNAT undone' if answer else 'SNAT'}"
    if was.dst != header.dst:
        yield f"destination {was.dst} became {header.dst}: {'SNAT undone' if answer else 'DNAT'}"
