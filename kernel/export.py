"""A state as the commands that somebody would type: ip, bridge, sysctl, ipset, iptables and tc."""

from __future__ import annotations

from collections.abc import Iterator

from kernel import firewall, tc
from kernel.read import of_device, sysctl_path
from kernel.state import (
    MAIN,
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
    Veth,
    Vlan,
    Vxlan,
)

PROTOCOLS = {3: "boot", 4: "static", 80: "80"}


def as_ip(state: State) -> str:
    """A shell script that makes the same lab with iproute2; run it as root in namespaces of your own."""
    lines = ["#!/bin/sh", "# Run it in a mount and network namespace of its own: unshare -mn sh THIS_FILE", "set -e"]
    lines += ["mount -t tmpfs tmpfs /run"]
    lines += [f"ip netns add {ns.name}" for ns in state.namespaces]
    for ns in state.namespaces:
        lines += [f"ip -n {ns.name} link set lo up"]
        lines += [prefixed(ns.name, line) for item in ns.links if isinstance(item, Bridge) for line in make(item)]
    for ns in state.namespaces:
        lines += [f"ip netns exec {ns.name} sysctl -qw {_words(s.key, s.value)}" for s in ns.sysctls if _early(s.key)]
    for ns in state.namespaces:
        lines += [line for item in ns.links if isinstance(item, Veth) for line in _veth(ns.name, item)]
    for ns in state.namespaces:
        others = [item for item in ns.links if not isinstance(item, Bridge | Veth)]
        lines += [prefixed(ns.name, line) for item in others for line in make(item)]
    for ns in state.namespaces:
        lines += ["", f"# {ns.name}"]
        lines += [prefixed(ns.name, line) for line in _objects(ns, early=False)]
    return "\n".join(lines) + "\n"


def prefixed(name: str, line: str) -> str:
    """A command as it must be typed to act in namespace `name`."""
    tool, _, rest = line.partition(" ")
    return f"{tool} -n {name} {rest}" if tool in ("ip", "bridge", "tc") else f"ip netns exec {name} {line}"


def lines(ns: Netns, *, links: bool = True) -> list[str]:
    """One namespace's commands, as typed inside it."""
    made = [line for item in ns.links for line in make(item)] if links else []
    return made + list(_objects(ns, early=True))


def _objects(ns: Netns, *, early: bool) -> Iterator[str]:
    yield from (port_vlan(item) for item in ns.port_vlans)
    yield from (address(item) for item in ns.addresses)
    yield from (f"sysctl -qw {_words(item.key, item.value)}" for item in ns.sysctls if early or not _early(item.key))
    yield from (route(item) for item in sorted(ns.routes, key=lambda item: item.via is not None))
    yield from (rule(item) for item in ns.rules)
    yield from (neighbour(item) for item in ns.neighbours)
    yield from (fdb(item) for item in ns.fdb)
    yield from firewall.lines(ns)
    yield from (f"tc {line}" for line in tc.lines(ns))


def _early(key: str) -> bool:
    return not of_device(key)


def _words(key: str, value: str) -> str:
    return f"'{sysctl_path(key).removeprefix('/proc/sys/')}={value}'"


def make(link: Link) -> list[str]:
    """The commands that make a link."""
    if isinstance(link, Veth):
        return [
            f"ip link add {_stated(link)} type veth peer {_stated(link.peer)} netns {link.peer_netns}",
            *_after(link),
        ]
    if isinstance(link, Bridge):
        kind = "type bridge vlan_filtering 1" if link.vlan_filtering else "type bridge"
    elif isinstance(link, Vxlan):
        local = f" local {link.local}" if link.local else ""
        learning = "learning" if link.learning else "nolearning"
        kind = f"type vxlan id {link.vni} dev {link.dev}{local} dstport {link.port} {learning}"
    elif isinstance(link, Vlan):
        return [f"ip link add link {link.dev} {_stated(link)} type vlan id {link.vid}", *_after(link)]
    else:
        kind = ""
    return [f"ip link add {_stated(link)} {kind}".rstrip(), *_after(link)]


def _veth(name: str, link: Veth) -> Iterator[str]:
    made, *after = make(link)
    yield prefixed(name, made)
    yield from (prefixed(name, line) for line in after)
    yield from (prefixed(link.peer_netns, line) for line in _after(link.peer))


def _stated(link: Link) -> str:
    mac = f" address {link.mac}" if link.mac else ""
    mtu = f" mtu {link.mtu}" if link.mtu else ""
    return f"name {link.name}{mac}{mtu}"


def _after(link: Link) -> list[str]:
    master = f" master {link.master}" if link.master else ""
    up = " up" if link.up else ""
    return [f"ip link set {link.name}{master}{up}"] if master or up else []


def port_vlan(item: PortVlan) -> str:
    flags = (" pvid" if item.pvid else "") + (" untagged" if item.untagged else "")
    return f"bridge vlan add dev {item.dev} vid {item.vid}{flags}"


def address(item: Address) -> str:
    nodad = " nodad" if ":" in item.address else ""
    scope = f" scope {item.scope}" if item.scope != "global" else ""
    quiet = " noprefixroute" if item.noprefixroute else ""
    return f"ip addr add {item.address} dev {item.dev}{scope}{nodad}{quiet}"


def route(item: Route) -> str:
    six = "-6 " if ":" in item.dst else ""
    kind = "" if item.kind == "unicast" else f"{item.kind} "
    parts = [f"ip {six}route replace {kind}{item.dst}"]
    parts += [f"via {'inet6 ' if item.via and ':' in item.via and not six else ''}{item.via}"] if item.via else []
    parts += [f"dev {item.dev}"] if item.dev else []
    parts += [f"table {item.table}"] if item.table != MAIN else []
    parts += [f"proto {PROTOCOLS.get(item.proto, item.proto)}"] if item.proto != 3 else []
    parts += ["scope link"] if item.scope == "link" and not six else []
    parts += [f"metric {item.metric}"] if item.metric else []
    parts += ["onlink"] if item.onlink else []
    parts += [f"src {item.src}"] if item.src else []
    parts += [f"mtu {item.mtu}"] if item.mtu else []
    return " ".join(parts)


def rule(item: Rule) -> str:
    mask = f"/{item.fwmask:#x}" if item.fwmask is not None else ""
    mark = f" fwmark {item.fwmark:#x}{mask}" if item.fwmark is not None else ""
    six = "-6 " if item.family == 6 else ""
    return f"ip {six}rule add pref {item.priority} from {item.src or 'all'}{mark} lookup {item.table}"


def neighbour(item: Neighbour) -> str:
    if item.proxy:
        return f"ip neigh replace proxy {item.address} dev {item.dev}"
    return f"ip neigh replace {item.address} lladdr {item.mac} dev {item.dev} nud permanent"


def fdb(item: Fdb) -> str:
    verb = "append" if item.mac == "00:00:00:00:00:00" or int(item.mac[:2], 16) & 1 else "replace"
    return f"bridge fdb {verb} {item.mac} dev {item.dev} dst {item.dst} self permanent"
