"""What is to be done in one namespace: wanted against there, and against what was applied before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kernel import devices
from kernel.errors import BadInput
from kernel.state import (
    Address,
    Fdb,
    Link,
    Neighbour,
    Netns,
    PortVlan,
    Route,
    Rule,
    Stacked,
    State,
    Sysctl,
    Veth,
)

Key = Callable[[Any], Hashable]
USUAL_IPV6_METRIC = 1024
"""IP6_RT_PRIO_USER (linux/ipv6_route.h): the metric of an IPv6 route that states none."""


def _route_key(item: Route) -> Hashable:
    usual = USUAL_IPV6_METRIC if ":" in item.dst else 0
    return item.dst, item.table, item.metric or usual


def _port_key(item: PortVlan) -> Hashable:
    return item.dev, item.vid


def _address_key(item: Address) -> Hashable:
    return item.dev, item.address


def _neighbour_key(item: Neighbour) -> Hashable:
    return item.dev, item.address, item.proxy


def _sysctl_key(item: Sysctl) -> Hashable:
    return item.key


def _itself(item: Rule | Fdb) -> Hashable:
    return item


KEYS: dict[str, Key] = {
    "port_vlans": _port_key,
    "addresses": _address_key,
    "routes": _route_key,
    "rules": _itself,
    "neighbours": _neighbour_key,
    "fdb": _itself,
    "sysctls": _sysctl_key,
}
"""The parts that are compared object by object, and what makes two objects the same one."""
WHOLE = ("ipsets", "filters", "rewrites", "shaping", "ipsec")
"""The parts that are applied as a whole."""


@dataclass(frozen=True)
class Change:
    """What to add and what to take away in one namespace, devices apart."""

    add: Netns
    remove: Netns
    fresh: bool = False
    whole: Netns = Netns("")
    """The parts of WHOLE as they are wanted; `add` and `remove` hold what is new in them and what goes."""
    redo: frozenset[str] = frozenset()
    """Those parts of WHOLE that must be applied."""
    tampered: frozenset[str] = frozenset()
    """Those of them that somebody changed by hand."""


def change(wanted: Netns, applied: Netns, actual: Netns | None, intact: Collection[str] = WHOLE) -> Change:
    """`actual` None is a fresh namespace: everything is added. What nobody applied is never removed. `intact` are
    those parts of WHOLE that the kernel still has as they were applied."""
    whole = replace(Netns(wanted.name), **{part: getattr(wanted, part) for part in WHOLE})
    if actual is None:
        redo = frozenset(part for part in WHOLE if getattr(wanted, part))
        return Change(wanted, Netns(wanted.name), True, whole, redo)
    add: dict[str, Any] = {}
    remove: dict[str, Any] = {}
    for part, key in KEYS.items():
        there = {key(item): item for item in getattr(actual, part) if getattr(item, "value", True)}
        now = {key(item) for item in getattr(wanted, part)}
        add[part] = tuple(item for item in getattr(wanted, part) if not _same(item, there.get(key(item))))
        remove[part] = tuple(i for i in getattr(applied, part) if key(i) not in now and key(i) in there)
    redo = frozenset(p for p in WHOLE if p not in intact or getattr(wanted, p) != getattr(applied, p))
    for part in redo:
        new, old = getattr(wanted, part), getattr(applied, part)
        remove[part] = tuple(item for item in old if item not in new)
        add[part] = tuple(item for item in new if item not in old)
        if part not in intact or not (add[part] or remove[part]):  # somebody changed it, or only the order is new
            add[part] = new
    found = replace(Netns(wanted.name), **add), replace(Netns(wanted.name), **remove)
    return Change(*found, False, whole, redo, frozenset(WHOLE) - frozenset(intact))


def _same(wanted: Any, there: Any) -> bool:
    if there is None:
        return False
    if isinstance(wanted, Route):  # the kernel picks a device for a next hop, and scopes, by itself
        dev = wanted.dev or there.dev
        there = replace(there, scope=wanted.scope, src=wanted.src or there.src, metric=wanted.metric)
        return bool(replace(wanted, dev=dev, src=there.src) == there)
    return bool(wanted == there)


def direct_first(routes: Iterable[Route]) -> list[Route]:
    """A next hop must be reachable before a route may go through it."""
    return sorted(routes, key=lambda route: route.via is not None or bool(route.hops))


# -- links ---------------------------------------------------------------------------------------------

Place = tuple[str, str]
"""A device: namespace and name."""
Links = Mapping[str, Mapping[str, Link]]
"""Devices by namespace and name."""


def ends(state: State) -> dict[str, dict[str, Link]]:
    """Every link of every namespace by name; of a veth also the other end, in its namespace and seen from there."""
    found: dict[str, dict[str, Link]] = {ns.name: {} for ns in state.namespaces}
    for ns in state.namespaces:
        for link in ns.links:
            found[ns.name][link.name] = link
            if isinstance(link, Veth):
                found.setdefault(link.peer_netns, {})[link.peer.name] = other_end(ns.name, link)
    return found


def other_end(netns: str, veth: Veth) -> Veth:
    """The peer of a veth of `netns`, stated from its own side."""
    own = veth.peer
    common = {name: getattr(own, name) for name in Link.__dataclass_fields__}
    return Veth(**common, peer_netns=netns, peer=Link(veth.name))


def below(netns: str, link: Link) -> list[Place]:
    """The devices that must be there before `link` of `netns` can be made."""
    places = [(netns, link.master)] if link.master else []
    if isinstance(link, Veth):
        return places + [(link.peer_netns, link.peer.master)] if link.peer.master else places
    dev = getattr(link, "dev", "")
    return [*places, (_home(netns, link), dev)] if dev else places


def _home(netns: str, link: Link) -> str:
    """The namespace of the device under `link`."""
    return (link.dev_netns if isinstance(link, Stacked) else "") or netns


def falling(gone: Collection[Place], there: Links) -> set[Place]:
    """`gone` and what the kernel removes with them: other ends of veths, and devices over them."""
    above: dict[Place, list[Place]] = {}
    for netns, links in there.items():
        for link in links.values():
            if isinstance(link, Veth):
                above.setdefault((link.peer_netns or netns, link.peer.name), []).append((netns, link.name))
            elif dev := getattr(link, "dev", ""):
                above.setdefault((_home(netns, link), dev), []).append((netns, link.name))
    lost: set[Place] = set()
    waiting = [(netns, device) for netns, device in gone if device in there.get(netns, {})]
    while waiting:
        place = waiting.pop()
        if place not in lost:
            lost.add(place)
            waiting += above.get(place, ())
    return lost


def ranks(wanted: Links) -> list[list[tuple[str, Link]]]:
    """All devices, those first on which others stand. A veth pair is there once, from the side that belongs to a
    bridge: that end can be born in it and up. Raises BadInput for devices that stand on each other."""
    found: dict[Place, int] = {}

    def rank(place: Place, above: tuple[Place, ...] = ()) -> int:
        if place in above:
            what = f"{place[1]} stands on itself, by way of {' and '.join(name for _, name in above)}"
            raise BadInput(what, where=f"namespace {place[0]}")
        if place not in found:
            link = wanted.get(place[0], {}).get(place[1])
            under = below(place[0], link) if link else []
            found[place] = 1 + max((rank(one, (*above, place)) for one in under), default=-1)
        return found[place]

    rows: dict[int, list[tuple[str, Link]]] = {}
    for netns, links in wanted.items():
        for name, link in links.items():
            if not isinstance(link, Veth) or _leads(netns, link, wanted):
                rows.setdefault(rank((netns, name)), []).append((netns, link))
    return [rows[number] for number in sorted(rows)]


def _leads(netns: str, veth: Veth, wanted: Links) -> bool:
    """This end of the pair is the one to make it from."""
    far = wanted[veth.peer_netns][veth.peer.name]
    if bool(veth.master) != bool(far.master):
        return bool(veth.master)
    here, there = len(wanted[netns]), len(wanted[veth.peer_netns])  # one namespace's requests go out together
    return (-here, netns, veth.name) < (-there, veth.peer_netns, far.name)


def without(actual: Netns, names: Collection[str]) -> Netns:
    """A namespace once these devices are gone with all that is theirs."""
    if not names:
        return actual
    parts: dict[str, Any] = {
        part: tuple(item for item in getattr(actual, part) if item.dev not in names)
        for part in ("port_vlans", "addresses", "neighbours", "fdb")
    }
    routes = (r for r in actual.routes if r.dev not in names and not any(hop.dev in names for hop in r.hops))
    sysctls = (Sysctl(s.key, "") if device_of(s.key) in names else s for s in actual.sysctls)
    links = tuple(link for link in actual.links if link.name not in names)
    return replace(actual, **parts, links=links, routes=tuple(routes), sysctls=tuple(sysctls))


def device_of(key: str) -> str:
    """The device whose sysctl this is, "" for one of the whole namespace."""
    for tree in DEVICE_KEYS:
        _, found, rest = key.partition(tree)
        if found:
            device = rest.split(".")[0].replace("/", ".")
            return "" if device in ("all", "default") else device
    return ""


DEVICE_KEYS = (".conf.", ".neigh.")
"""Sysctl trees that have a folder for each device; those of `all` and `default` count as the namespace's."""


def fits(netns: str, wanted: Link, there: Link) -> bool:
    """The kind and what cannot be changed later are as wanted. A namespace that the reader did not know ("?")
    is believed to be the right one."""
    if type(wanted) is not type(there) or devices.fixed(wanted) != devices.fixed(there):
        return False
    if isinstance(wanted, Veth) and isinstance(there, Veth):
        far = there.peer_netns or netns
        return far == "?" or (far, there.peer.name) == (wanted.peer_netns, wanted.peer.name)
    if isinstance(there, Stacked) and there.dev_netns == "?":
        return True
    return (_home(netns, wanted), getattr(wanted, "dev", "")) == (_home(netns, there), getattr(there, "dev", ""))


def settled(wanted: Link, there: Link) -> bool:
    """What can be changed is as wanted too; unstated MTU, MAC and ARP may be anything."""
    return (
        wanted.mtu in (None, there.mtu)
        and wanted.mac in (None, there.mac)
        and wanted.arp in (None, there.arp)
        and (wanted.master, wanted.up) == (there.master, there.up)
        and devices.filters(wanted) == devices.filters(there)
    )
