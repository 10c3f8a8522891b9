"""Route look-up on a namespace's state as the kernel does it: rules by priority, the longest prefix in each table,
throw goes on to the next rule (ip-rule(8), net/ipv4/fib_rules.c). Pure: the state may be a wanted or a read one."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from kernel.diff import USUAL_IPV6_METRIC
from kernel.state import DEFAULT, LOCAL, MAIN, Netns, Route, Rule

ip_address = functools.lru_cache(4096)(ipaddress.ip_address)
ip_interface = functools.lru_cache(4096)(ipaddress.ip_interface)
ip_network = functools.lru_cache(4096)(ipaddress.ip_network)
"""Texts are read again and again on one packet's way."""
DEFAULT_TABLE = 253
TABLES = {LOCAL: "local", MAIN: "main", DEFAULT_TABLE: "default"}
BORN = (0, 32766, 32767)
"""Priorities of the rules that every namespace is born with (ip-rule(8)); not worth a word."""
ENDS = {"blackhole": "Invalid argument", "unreachable": "No route to host", "prohibit": "Permission denied"}
"""Kinds of route that end a packet, and what the kernel answers to a look-up (fib_props, net/ipv4/fib_semantics.c)."""
NOWHERE = "Network is unreachable"
CONNECTED_6 = 256
"""Metric of IPv6 routes that come with addresses (linux/ipv6_route.h)."""


@dataclass(frozen=True)
class Lookup:
    """Where a packet would go; `error` is the errno's text when nowhere (with the entry, if one says so)."""

    table: int = 0
    kind: str = ""
    dst: str = ""
    via: str | None = None
    dev: str | None = None
    rule: int | None = None
    mark: int = 0
    error: str = ""
    src: str | None = None

    def __str__(self) -> str:
        """As `ip route` says it, with the rule that led there."""
        if self.error and not self.kind:
            return f"no route: {self.error}"
        way = (f" via {self.via}" if self.via else "") + (f" dev {self.dev}" if self.dev else "")
        kind = f"{self.kind} " if self.kind != "unicast" else ""
        mark = f" (mark {self.mark:#x})" if self.mark else ""
        rule = f"rule {self.rule}{mark}, " if self.rule not in (None, *BORN) else ""
        dst = "default" if self.dst in DEFAULT.values() else self.dst
        return f"{rule}table {TABLES.get(self.table, self.table)}: {kind}{dst}{way}"

    def same_way(self, other: Lookup) -> bool:
        """Both lead to the same next hop, whichever entry says so."""
        return (self.kind, self.dev, self.via) == (other.kind, other.dev, other.via)


def lookup(ns: Netns, dst: str, src: str | None = None, mark: int = 0, iif: str | None = None) -> Lookup:
    """The rule and the route that a packet to `dst` from `src` with firewall mark `mark` follows; `iif` is the device
    where it came in. Of a route with several next hops the first is taken."""
    family: Literal[4, 6] = 6 if ":" in dst else 4
    tables: dict[int, list[Route]] = {}
    for route in _routes(ns, family):
        tables.setdefault(route.table, []).append(route)
    for rule in rules(ns, family):
        best = _longest(tables.get(rule.table, []), dst) if matches(rule, src, mark, dst, iif) else None
        if best is None or best.kind == "throw":
            continue
        kind = "local" if rule.table == LOCAL else best.kind
        dev, via = (best.hops[0].dev, best.hops[0].via) if best.hops else (best.dev, best.via)
        error = ENDS.get(best.kind, "")
        found = Lookup(rule.table, kind, best.dst, via, dev, rule.priority, mark, error, best.src)
        return found if dev or not via else _through(ns, found, family)
    return Lookup(mark=mark, error=NOWHERE)


def rules(ns: Netns, family: Literal[4, 6]) -> list[Rule]:
    """All rules of a family in their order, with those that every namespace is born with."""
    born = (Rule(p, table, family) for p, table in zip(BORN, (LOCAL, MAIN, DEFAULT_TABLE), strict=True))
    return sorted((rule for rule in (*ns.rules, *born) if rule.family == family), key=lambda rule: rule.priority)


def matches(rule: Rule, src: str | None, mark: int, dst: str | None = None, iif: str | None = None) -> bool:
    """A packet from `src` to `dst` with firewall mark `mark` that came in by `iif` follows the rule."""
    mask = 0xFFFFFFFF if rule.fwmask is None else rule.fwmask
    if rule.fwmark is not None and (mark & mask) != rule.fwmark or rule.iif is not None and rule.iif != iif:
        return False
    return _within(src, rule.src) and (dst is None or _within(dst, rule.dst))


def _within(address: str | None, prefix: str | None) -> bool:
    return prefix is None or (address is not None and ip_address(address) in ip_network(prefix))


def _routes(ns: Netns, family: int) -> Iterator[Route]:
    """Stated routes and those that addresses bring, without what devices that are down take with them."""
    down = {link.name for link in ns.links if not link.up}
    for route in ns.routes:
        if (":" in route.dst) == (family == 6) and route.dev not in down:
            yield route
    for item in ns.addresses:
        here = ip_interface(item.address)
        if here.version != family or item.dev in down:
            continue
        if item.own:
            yield Route(str(ip_network(here.ip)), dev=item.dev, table=LOCAL)
        if not item.noprefixroute and here.network.num_addresses > 1:
            yield Route(str(here.network), dev=item.dev, scope="link", metric=CONNECTED_6 if family == 6 else 0)


def _longest(routes: list[Route], dst: str) -> Route | None:
    """The longest prefix that holds `dst`; of equal ones that of the lowest metric."""
    target = ip_address(dst)
    fitting = [route for route in routes if target in ip_network(route.dst)]
    return max(fitting, key=lambda route: (ip_network(route.dst).prefixlen, -_metric(route)), default=None)


def _metric(route: Route) -> int:
    return route.metric or (USUAL_IPV6_METRIC if ":" in route.dst else 0)


def _through(ns: Netns, found: Lookup, family: Literal[4, 6]) -> Lookup:
    """A next hop without a stated device is where main says that it is."""
    hop = _longest([route for route in _routes(ns, family) if route.table == MAIN and route.dev], found.via or "")
    dev = hop.dev if hop else None
    return Lookup(found.table, found.kind, found.dst, found.via, dev, found.rule, found.mark, "" if hop else NOWHERE)
