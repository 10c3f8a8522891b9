"""Layer 2 from the wanted state: whom a frame that leaves by a device can reach, by which devices, and who answers for
an address. Pure; switches filter VLANs as their ports say, and nothing is flooded twice through one bridge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kernel.state import Bridge, Ipvlan, Link, Macvlan, Netns, PortVlan, State, Sysctl, Vlan, Vxlan
from paths import fib
from paths.fib import ip_address, ip_interface
from paths.model import Step
from paths.wires import Place, Wires

Way = tuple[Step, ...]
EMPTY = Link("")


@dataclass(frozen=True)
class Answer:
    """Who has the MAC address of a next hop; `at` is unknown when no device has it, `how` says why it answers."""

    mac: str
    at: Place | None
    how: str


class Segments:
    """All layer 2 of one state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.wires = Wires(state)
        self.spaces: dict[str, Netns] = {ns.name: ns for ns in state.namespaces}
        self._members: dict[Place, list[Place]] = {}
        self._children: dict[Place, list[Place]] = {}
        for place, link in self.wires.devices.items():
            if link.master:
                self._members.setdefault((place[0], link.master), []).append(place)
        for place, under in self.wires.below.items():
            self._children.setdefault(under, []).append(place)

    def mac(self, place: Place) -> str:
        """A device's MAC; a VLAN or ipvlan device without one has that of the device under it. "" is unknown."""
        link = self.wires.devices.get(place, EMPTY)
        if link.mac is None and place in self.wires.below:
            return self.mac(self.wires.below[place])
        return link.mac or ""

    # -- whom a frame reaches --

    def leaving(self, place: Place, tag: int | None = None, seen: frozenset[Place] = frozenset()) -> Iterator[Way]:
        """Every way of a frame that leaves by `place`, up to a device that takes it in for its host."""
        link = self.wires.devices.get(place, EMPTY)
        first = Step(*place, "out", tag=tag)
        if peer := self.wires.peers.get(place):
            yield from ((first, *rest) for rest in self._entering(peer, tag, seen))
        elif isinstance(link, Vlan):
            yield from ((first, *_as(rest, "tagged")) for rest in self.leaving(self.wires.below[place], link.vid, seen))
        elif isinstance(link, Macvlan | Ipvlan):
            yield from ((first, *rest) for rest in self._from_child(place, link, tag, seen))
        elif isinstance(link, Bridge):
            for port in self._members.get(place, ()):
                if self._up(port):
                    yield from ((first, *_as(rest, "bridged")) for rest in self.leaving(port, tag, seen | {place}))
        elif isinstance(link, Vxlan):
            yield from (
                (first, *rest) for there in self._vteps(place, link) for rest in self._entering(there, None, seen)
            )

    def _from_child(
        self, place: Place, link: Macvlan | Ipvlan, tag: int | None, seen: frozenset[Place]
    ) -> Iterator[Way]:
        """To siblings within the node (but for private and vepa), and down to the device below."""
        under = self.wires.below[place]
        shown = (Step(*under, "in", "turned back"),) if isinstance(link, Macvlan) else ()
        together = (link.mode if isinstance(link, Macvlan) else link.flag) == "bridge"
        for sibling in self._children[under] if together else ():
            if sibling != place and isinstance(self.wires.devices[sibling], type(link)):
                yield from ((*shown, *rest) for rest in self._entering(sibling, tag, seen))
        yield from (_as(rest, "by parent") for rest in self.leaving(under, tag, seen))

    def _entering(self, place: Place, tag: int | None, seen: frozenset[Place]) -> Iterator[Way]:
        """Every way of a frame that comes in at `place`."""
        link = self.wires.devices.get(place, EMPTY)
        if not link.up:
            return
        first = Step(*place, "in", tag=tag)
        if link.master:
            yield from ((first, *rest) for rest in self._bridged(place, (place[0], link.master), tag, seen))
            return
        if tag is None:
            yield (first,)
        for child in self._children.get(place, ()):
            above = self.wires.devices[child]
            if isinstance(above, Vlan):
                if above.vid == tag:
                    yield from ((first, *_as(rest, "untagged")) for rest in self._entering(child, None, seen))
            elif tag is None:
                yield from ((first, *_as(rest, "to child")) for rest in self._entering(child, None, seen))

    def _bridged(self, port: Place, bridge: Place, tag: int | None, seen: frozenset[Place]) -> Iterator[Way]:
        """From one port of a bridge to all others, and to the bridge's own device."""
        filtering = getattr(self.wires.devices.get(bridge), "vlan_filtering", False)
        vid = self._vid(port, tag) if filtering else None
        if bridge in seen or (filtering and vid is None):
            return
        if not filtering:
            yield (Step(*bridge, "in", tag=tag),)
        for other in self._members[bridge]:
            if other == port or not self._up(other):
                continue
            out = self._vlans(other).get(vid or 0) if filtering else None
            if filtering and out is None:
                continue
            kept = tag if out is None else None if out.untagged else vid
            yield from (_as(rest, "bridged") for rest in self.leaving(other, kept, seen | {bridge}))

    def _vid(self, port: Place, tag: int | None) -> int | None:
        """The VLAN of a frame that came in by a port; None if it may not."""
        vlans = self._vlans(port)
        if tag is not None:
            return tag if tag in vlans else None
        return next((vid for vid, item in vlans.items() if item.pvid), None)

    def _vlans(self, port: Place) -> dict[int, PortVlan]:
        return {item.vid: item for item in self.spaces[port[0]].port_vlans if item.dev == port[1]}

    def _up(self, place: Place) -> bool:
        return self.wires.devices[place].up

    def _vteps(self, place: Place, link: Vxlan) -> Iterator[Place]:
        """VXLAN devices of the same network that this one floods to."""
        targets = {entry.dst for entry in self.spaces[place[0]].fdb if entry.dev == place[1]}
        for there, other in self.wires.devices.items():
            same = isinstance(other, Vxlan) and (other.vni, other.port) == (link.vni, link.port)
            if same and there != place and getattr(other, "local", "") in targets:
                yield there

    # -- who answers --

    def answer(self, place: Place, address: str) -> Answer | None:
        """Whose MAC a host puts on packets for next hop `address` that leave by `place`; None when nobody answers."""
        ns = self.spaces[place[0]]
        for item in ns.neighbours:
            if (item.dev, item.address) == (place[1], address) and item.mac:
                return Answer(item.mac, self._holder(place, item.mac), f"{item.state} neighbour")
        for resolver in ns.resolvers:
            mac = dict(resolver.answers).get(address) if resolver.dev == place[1] else None
            if mac:
                return Answer(mac, self._holder(place, mac), "the node's agent knows it")
        ends = [(way[-1].netns, way[-1].device) for way in self.leaving(place)]
        for reason in (self._has, self._stands_proxy):
            for end in ends:
                if how := reason(end, address):
                    return Answer(self.mac(end), end, how)
        return None

    def way(self, place: Place, end: Place) -> Way | None:
        """The devices from `place` to `end`."""
        return next((way for way in self.leaving(place) if (way[-1].netns, way[-1].device) == end), None)

    def child_with(self, place: Place, address: str) -> Place | None:
        """The ipvlan device over this one that has an address: it gets what comes in, below the host's stack."""
        for child in self._children.get(place, ()):
            mine = (ip_interface(item.address).ip for item in self.spaces[child[0]].addresses if item.dev == child[1])
            if isinstance(self.wires.devices[child], Ipvlan) and ip_address(address) in mine:
                return child
        return None

    def _holder(self, place: Place, mac: str) -> Place | None:
        ends = ((way[-1].netns, way[-1].device) for way in self.leaving(place))
        return next((end for end in ends if self.mac(end) == mac), None)

    def _has(self, end: Place, address: str) -> str:
        """A host answers for each of its addresses, whatever device it is on; IPv6 for those of the device."""
        ns, target = self.spaces[end[0]], ip_address(address)
        if target.version == 6 and target.is_link_local and _link_local(self.mac(end)) == target:
            return "its own link-local address"
        mine = (item for item in ns.addresses if item.own and ip_interface(item.address).ip == target)
        return "its own address" if any(target.version == 4 or item.dev == end[1] for item in mine) else ""

    def _stands_proxy(self, end: Place, address: str) -> str:
        """A proxy neighbour, or proxy_arp and a route by another device (arp(7))."""
        ns = self.spaces[end[0]]
        if any(item.proxy and (item.dev, item.address) == (end[1], address) for item in ns.neighbours):
            return "proxy neighbour"
        if ":" in address or not on(
            ns, f"net.ipv4.conf.{end[1].replace('.', '/')}.proxy_arp", "net.ipv4.conf.all.proxy_arp"
        ):
            return ""
        found = fib.lookup(ns, address)
        return "proxy ARP" if found.dev not in (None, end[1]) and not found.error else ""


def on(ns: Netns, *keys: str) -> bool:
    """One of these sysctls is wanted to be other than 0."""
    return any(Sysctl(item.key, item.value) == item and item.key in keys and item.value != "0" for item in ns.sysctls)


def _as(way: Way, action: str) -> Way:
    """The same with what happened at its first device."""
    return (replace(way[0], action=way[0].action or action), *way[1:])


def _link_local(mac: str) -> object:
    """The link-local address that a device makes of its MAC (RFC 4291, appendix A)."""
    if not mac:
        return None
    raw = bytes.fromhex(mac.replace(":", ""))
    return ip_address(b"\xfe\x80" + bytes(6) + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:])
