"""What is to be done in one namespace: wanted against there, and against what was applied before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

from kernel.state import (
    Address,
    Bridge,
    Fdb,
    Link,
    Neighbour,
    Netns,
    PortVlan,
    Route,
    Rule,
    State,
    Sysctl,
    Veth,
    Vlan,
    Vxlan,
)

Key = Callable[[Any], Hashable]


def _route_key(item: Route) -> Hashable:
    return item.dst, item.table, item.metric


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
WHOLE = ("ipsets", "filters", "rewrites", "shaping")
"""The parts that are applied as a whole."""


@dataclass(frozen=True)
class Change:
    """What to add and what to take away in one namespace, links apart."""

    add: Netns
    remove: Netns
    fresh: bool = False
    same: frozenset[str] = frozenset()
    """Those parts of WHOLE that are wanted just as they were applied before."""


def change(wanted: Netns, applied: Netns, actual: Netns | None) -> Change:
    """`actual` None is a fresh namespace: everything is added. What nobody applied is never removed."""
    if actual is None:
        return Change(wanted, Netns(wanted.name), fresh=True)
    add: dict[str, Any] = {}
    remove: dict[str, Any] = {}
    for part, key in KEYS.items():
        there = {key(item): item for item in getattr(actual, part)}
        now = {key(item) for item in getattr(wanted, part)}
        add[part] = tuple(item for item in getattr(wanted, part) if not _same(item, there.get(key(item))))
        remove[part] = tuple(i for i in getattr(applied, part) if key(i) not in now and key(i) in there)
    for part in WHOLE:
        add[part] = getattr(wanted, part)
        remove[part] = tuple(item for item in getattr(applied, part) if item not in getattr(wanted, part))
    same = frozenset(part for part in WHOLE if getattr(wanted, part) == getattr(applied, part))
    return Change(Netns(wanted.name, **add), Netns(wanted.name, **remove), same=same)


def _same(wanted: Any, there: Any) -> bool:
    if there is None:
        return False
    if isinstance(wanted, Route):  # the kernel picks a device for a next hop, and scopes, by itself
        dev = wanted.dev or there.dev
        there = replace(there, scope=wanted.scope, src=wanted.src, onlink=wanted.onlink)
        return bool(replace(wanted, dev=dev) == there)
    return bool(wanted == there)


def ends(state: State) -> dict[str, dict[str, Link]]:
    """Every link of every namespace by name, the peers of veths in theirs."""
    found: dict[str, dict[str, Link]] = {ns.name: {} for ns in state.namespaces}
    for ns in state.namespaces:
        for link in ns.links:
            found[ns.name][link.name] = link
            if isinstance(link, Veth):
                found.setdefault(link.peer_netns, {})[link.peer.name] = link.peer
    return found


def fits(wanted: Link, there: Link) -> bool:
    """The kind and what cannot be changed later are as wanted."""
    if isinstance(wanted, Vxlan):
        fixed = (wanted.vni, wanted.dev, wanted.local, wanted.port, wanted.learning)
        return isinstance(there, Vxlan) and fixed == (there.vni, there.dev, there.local, there.port, there.learning)
    if isinstance(wanted, Vlan):
        return isinstance(there, Vlan) and (wanted.dev, wanted.vid) == (there.dev, there.vid)
    return isinstance(there, Bridge) or not isinstance(wanted, Bridge)


def filters_alike(wanted: Link, there: Link) -> bool:
    """Two bridges that both filter VLANs, or both do not; other devices do not filter any."""
    filtering = [link.vlan_filtering if isinstance(link, Bridge) else None for link in (wanted, there)]
    return None in filtering or filtering[0] == filtering[1]


def settled(wanted: Link, there: Link) -> bool:
    """What can be changed is as wanted too; unstated MTU and MAC may be anything."""
    return (
        wanted.mtu in (None, there.mtu)
        and wanted.mac in (None, there.mac)
        and (wanted.master, wanted.up) == (there.master, there.up)
        and filters_alike(wanted, there)
    )
