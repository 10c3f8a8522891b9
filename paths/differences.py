"""What a namespace's kernel has otherwise than the wanted state says: usually the cause of a broken path itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from kernel import export
from kernel.diff import change, ends, fits
from kernel.state import Link, Netns
from paths.lab import Lab


def differences(lab: Lab, names: Iterable[str]) -> tuple[str, ...]:
    """One line for each difference, in `ip` words, in the order of `names`."""
    wanted = ends(lab.state)
    return tuple(f"{name}: {line}" for name in names for line in _of(lab, name, wanted.get(name, {})))


def _of(lab: Lab, name: str, wanted_links: dict[str, Link]) -> Iterator[str]:
    actual = lab.engine.read(name)
    there = {link.name: link for link in actual.links}
    for device, link in wanted_links.items():
        yield from _link(name, link, there.get(device))
    wanted = lab.state[name]
    gone = {device for device, link in wanted_links.items() if device not in there or link.up > there[device].up}
    lacking = change(wanted, Netns(name), actual).add
    yield from (f"lacks `{line}`" for line in export.lines(_comparable(lacking, gone)))
    yield from (f"has `{line}`, which is not wanted" for line in _surplus(wanted, actual))
    yield from _learned(lab, name)


def _learned(lab: Lab, name: str) -> Iterator[str]:
    """Routes that BGP should have brought."""
    expected = {prefix for router in lab.wanted.routers if router.netns == name for prefix in router.expects}
    there = {route.dst for route in lab.engine.read(name, daemons=True).routes} if expected else set()
    yield from (f"lacks the route to {prefix}, which BGP should have brought" for prefix in sorted(expected - there))


def _link(netns: str, wanted: Link, there: Link | None) -> Iterator[str]:
    """One device against its wanted self."""
    if there is None:
        yield f"has no device {wanted.name}"
        return
    if not fits(netns, wanted, there):
        yield f"{wanted.name} is another device than is wanted"
    if wanted.up and not there.up:
        yield f"{wanted.name} is down"
    for what in ("mtu", "mac", "master"):
        value, now = getattr(wanted, what), getattr(there, what)
        if value not in (None, now):
            yield f"{wanted.name} has {what.upper() if what != 'master' else what} {now}, not {value}"


def _comparable(ns: Netns, without: set[str]) -> Netns:
    """Those parts that the kernel was read for, but for what went away with its device (or with its being up)."""
    kept = {
        part: tuple(item for item in getattr(ns, part) if getattr(item, "dev", None) not in without)
        for part in ("port_vlans", "addresses", "routes", "rules", "neighbours", "fdb")
    }
    keys = {device.replace(".", "/") for device in without}
    sysctls = tuple(item for item in ns.sysctls if keys.isdisjoint(item.key.split(".")))
    return Netns(ns.name, sysctls=sysctls, **kept)


def _surplus(wanted: Netns, actual: Netns) -> Iterator[str]:
    """What somebody added. Routing daemons' routes and what the kernel learns by itself were not read."""
    known = replace(wanted, links=())
    more = change(replace(actual, links=(), sysctls=()), Netns(wanted.name), known).add
    own = {link.name for link in actual.links if link.master is None}
    added = Netns(
        wanted.name,
        port_vlans=tuple(item for item in more.port_vlans if item.dev not in own),
        routes=tuple(item for item in more.routes if not _same_route(item, wanted)),
        rules=more.rules,
        neighbours=more.neighbours,
        fdb=more.fdb,
    )
    yield from export.lines(added)


def _same_route(item: object, wanted: Netns) -> bool:
    """The kernel fills in what a stated route leaves open; `lacks` has told about it then."""
    key = getattr(item, "dst", None), getattr(item, "table", None)
    return any((route.dst, route.table) == key for route in wanted.routes)
