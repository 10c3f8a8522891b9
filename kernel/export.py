"""A state as the commands that somebody would type: ip, bridge, sysctl, ipset, iptables and tc."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_interface

from kernel import devices, diff, firewall, ipsec, tc
from kernel.devices import FALLBACK
from kernel.read import sysctl_path
from kernel.state import (
    MAIN,
    Address,
    Bridge,
    Claim,
    Fdb,
    Gre,
    Ipvlan,
    Link,
    Macvlan,
    Neighbour,
    Netns,
    NextHop,
    PortVlan,
    Route,
    Rule,
    Sit,
    Stacked,
    State,
    Tunnel,
    Veth,
    Vlan,
    Vti,
    Vxlan,
)

PROTOCOLS = {3: "boot", 4: "static", 80: "80"}


LEGACY = """\
mkdir /run/bin
for tool in iptables ip6tables; do # a kernel without nftables needs the legacy backend
    $tool -t nat -N try 2>/dev/null && $tool -t nat -X try || ln -s "$(command -v $tool-legacy)" /run/bin/$tool
done
PATH=/run/bin:$PATH""".splitlines()


def as_ip(state: State) -> str:
    """A shell script that makes the same lab with iproute2; run it as root in namespaces of your own."""
    lines = ["#!/bin/sh", "# Run it in a mount and network namespace of its own: unshare -mn sh THIS_FILE", "set -e"]
    lines += ["mount -t tmpfs tmpfs /run"]
    lines += LEGACY if any(ns.filters for ns in state.namespaces) else []
    lines += [f"ip netns add {ns.name}" for ns in state.namespaces]
    for ns in state.namespaces:
        lines += [f"ip -n {ns.name} link set lo up"]
        lines += [line for item in ns.links if isinstance(item, Bridge) for line in device(ns.name, item)]
    for ns in state.namespaces:
        lines += [f"ip netns exec {ns.name} sysctl -qw {_words(s.key, s.value)}" for s in ns.sysctls if _early(s.key)]
    for ns in state.namespaces:
        lines += [line for item in ns.links if isinstance(item, Veth) for line in device(ns.name, item)]
    stated = {(ns.name, link.name) for ns in state.namespaces for link in ns.links}
    for row in diff.ranks(diff.ends(state)):
        others = [(name, link) for name, link in row if not isinstance(link, Bridge | Veth)]
        lines += [line for name, link in others if (name, link.name) in stated for line in device(name, link)]
    for ns in state.namespaces:
        lines += ["", f"# {ns.name}"]
        lines += [prefixed(ns.name, line) for line in _objects(ns, early=False)]
    return "\n".join(lines) + "\n"


def prefixed(name: str, line: str) -> str:
    """A command as it must be typed to act in namespace `name`."""
    tool, _, rest = line.partition(" ")
    if tool == "#":
        return line
    return f"{tool} -n {name} {rest}" if tool in ("ip", "bridge", "tc") else f"ip netns exec {name} {line}"


def lines(ns: Netns) -> list[str]:
    """One namespace's commands, devices apart, as typed inside it."""
    return list(_objects(ns, early=True))


def difference(change: diff.Change) -> list[str]:
    """A change's commands, "+" or "-" before each, "~" before those that give a sysctl its former value. Rules and
    sets that somebody changed by hand are not in it (kernel.firewall.tampered)."""
    add, remove = (replace(ns, filters=(), ipsets=()) for ns in (change.add, change.remove))
    found = [f"- {line}" for line in _removals(replace(remove, sysctls=()))]
    found += [f"~ {line}" for line in lines(Netns(remove.name, sysctls=remove.sysctls))]
    found += [f"+ {line}" for line in lines(add)]
    if change.tampered & {"filters", "ipsets"}:
        return found
    return found + list(firewall.differences(change.add, change.remove, change.whole))


_OPPOSITE = (
    ("ip addr add", "ip addr del"),
    ("route replace", "route del"),
    ("rule add", "rule del"),
    ("ip neigh replace", "ip neigh del"),
    ("ip xfrm state add", "ip xfrm state delete"),
    ("ip xfrm policy add", "ip xfrm policy delete"),
    ("bridge fdb replace", "bridge fdb del"),
    ("bridge fdb append", "bridge fdb del"),
    ("bridge vlan add", "bridge vlan del"),
    ("tc qdisc add", "tc qdisc del"),
    ("tc filter add", "tc filter del"),
)


def _removals(ns: Netns) -> list[str]:
    """The commands that take these objects away."""
    found = []
    for line in lines(ns):
        verb = next(((add, remove) for add, remove in _OPPOSITE if add in line), None)
        if verb:
            found.append(line.replace(*verb, 1))
    return found


def _objects(ns: Netns, *, early: bool) -> Iterator[str]:
    yield from (port_vlan(item) for item in ns.port_vlans)
    yield from (address(item) for item in ns.addresses)
    yield from (line for item in ns.addresses if not item.own for line in disown(item))
    yield from (f"sysctl -qw {_words(item.key, item.value)}" for item in ns.sysctls if early or not _early(item.key))
    yield from (route(item) for item in diff.direct_first(ns.routes))
    yield from (rule(item) for item in ns.rules)
    yield from (neighbour(item) for item in ns.neighbours)
    yield from (fdb(item) for item in ns.fdb)
    yield from firewall.lines(ns)
    yield from (f"tc {line}" for line in tc.lines(ns))
    yield from ipsec.lines(ns.ipsec)
    yield from (line for item in ns.claims for line in claim(item))


def _early(key: str) -> bool:
    return not diff.device_of(key)


def _words(key: str, value: str) -> str:
    return f"'{sysctl_path(key).removeprefix('/proc/sys/')}={value}'"


def device(netns: str, link: Link) -> list[str]:
    """The commands, typed outside, that make a device of `netns`."""
    if isinstance(link, Veth):
        made = f"ip link add {_stated(link)} type veth peer {_stated(link.peer)} netns {link.peer_netns}"
        after = [prefixed(link.peer_netns, line) for line in _after(link.peer)]
        return [prefixed(netns, made), *(prefixed(netns, line) for line in _after(link)), *after]
    if link.name in FALLBACK:  # the kernel may have made it already
        made = f"ip -n {netns} link add {_stated(link)} {_kind(link)} 2>/dev/null || true"
        return [made, f"ip -n {netns} {settings(link)}"]
    under = f"link {link.dev} " if isinstance(link, Stacked) else ""
    if isinstance(link, Stacked) and link.dev_netns not in ("", netns):
        born = _stated(replace(link, name=NEWBORN))
        made = f"ip -n {link.dev_netns} link add {under}{born} netns {netns} {_kind(link)}"
        return [made, f"ip -n {netns} link set {NEWBORN} name {link.name}", *_outside(netns, link)]
    return [f"ip -n {netns} link add {under}{_stated(link)} {_kind(link)}", *_outside(netns, link)]


NEWBORN = "newborn"
"""A name for a device that is made in its parent's namespace, where its own may be taken, for another one."""


def _outside(netns: str, link: Link) -> list[str]:
    return [prefixed(netns, line) for line in _after(link)]


def _kind(link: Link) -> str:
    """What `ip link add` is told of a device's kind."""
    name = devices.BY_TYPE[type(link)].name
    words = [f"type {name}"]
    if isinstance(link, Bridge):
        words += ["vlan_filtering 1 vlan_default_pvid 0"] if link.vlan_filtering else []
    elif isinstance(link, Vxlan):
        words += [f"id {link.vni}", *_tunnel(link), f"dstport {link.port}"]
        words += ["learning" if link.learning else "nolearning"]
    elif isinstance(link, Vlan):
        words += [f"id {link.vid}"]
    elif isinstance(link, Macvlan):
        words += [f"mode {link.mode}"]
    elif isinstance(link, Ipvlan):
        words += [f"mode {link.mode} {link.flag}"]
    elif isinstance(link, Tunnel | Vti):
        words += _tunnel(link)
        words += [f"key {link.key}"] if isinstance(link, Gre | Vti) and link.key else []
        words += ["isatap"] if isinstance(link, Sit) and link.isatap else []
    return " ".join(words)


def _tunnel(link: Vxlan | Tunnel | Vti) -> list[str]:
    words = [f"dev {link.dev}"] if link.dev else []
    words += [f"local {link.local}"] if link.local else []
    if not isinstance(link, Vxlan):
        words += [f"remote {link.remote}"] if link.remote else []
    return words + ([f"ttl {link.ttl}"] if isinstance(link, Tunnel) and link.ttl else [])


def settings(link: Link) -> str:
    """The command that changes a device that is there, without the leading `ip`."""
    words = [f"mtu {link.mtu}"] if link.mtu else []
    words += [f"address {link.mac}"] if link.mac else []
    words += [f"master {link.master}"] if link.master else []
    words += [] if link.arp is None else ["arp on" if link.arp else "arp off"]
    return f"link set {link.name} {' '.join([*words, 'up' if link.up else 'down'])}"


def _stated(link: Link) -> str:
    mac = f" address {link.mac}" if link.mac else ""
    mtu = f" mtu {link.mtu}" if link.mtu else ""
    return f"name {link.name}{mac}{mtu}"


def _after(link: Link) -> list[str]:
    master = f" master {link.master}" if link.master else ""
    up = " up" if link.up else ""
    found = [f"ip link set {link.name}{master}{up}"] if master or up else []
    return found if link.arp is None else [*found, f"ip link set {link.name} arp {'on' if link.arp else 'off'}"]


def port_vlan(item: PortVlan) -> str:
    flags = (" pvid" if item.pvid else "") + (" untagged" if item.untagged else "")
    return f"bridge vlan add dev {item.dev} vid {item.vid}{flags}"


def address(item: Address) -> str:
    nodad = " nodad" if ":" in item.address else ""
    scope = f" scope {item.scope}" if item.scope != "global" else ""
    quiet = " noprefixroute" if item.noprefixroute else ""
    return f"ip addr add {item.address} dev {item.dev}{scope}{nodad}{quiet}"


def disown(item: Address) -> Iterator[str]:
    """What `ip route show table local` has of an address; older kernels also have a broadcast route for the first
    address of the network."""
    interface = ip_interface(item.address)
    yield f"ip route del local {interface.ip} dev {item.dev} table local"
    yield f"ip route del broadcast {interface.network.broadcast_address} dev {item.dev} table local"


def route(item: Route) -> str:
    six = "-6 " if ":" in item.dst else ""
    kind = "" if item.kind == "unicast" else f"{item.kind} "
    parts = [f"ip {six}route replace {kind}{item.dst}"]
    parts += [_way(item.via, item.dev, bool(six))] if item.via or item.dev else []
    parts += [f"table {item.table}"] if item.table != MAIN else []
    parts += [f"proto {PROTOCOLS.get(item.proto, item.proto)}"] if item.proto != 3 else []
    parts += ["scope link"] if item.scope == "link" and not six else []
    parts += [f"metric {item.metric}"] if item.metric else []
    parts += ["onlink"] if item.onlink else []
    parts += [f"src {item.src}"] if item.src else []
    parts += [f"mtu {item.mtu}"] if item.mtu else []
    parts += [_nexthop(hop, bool(six)) for hop in item.hops]
    return " ".join(parts)


def _way(via: str | None, dev: str | None, six: bool) -> str:
    gateway = f"via {'inet6 ' if ':' in via and not six else ''}{via}" if via else ""
    return f"{gateway} dev {dev}".strip() if dev else gateway


def _nexthop(hop: NextHop, six: bool) -> str:
    weight = f" weight {hop.weight}" if hop.weight > 1 else ""
    return f"nexthop {_way(hop.via, hop.dev, six)}{weight}{' onlink' if hop.onlink else ''}"


def rule(item: Rule) -> str:
    mask = f"/{item.fwmask:#x}" if item.fwmask is not None else ""
    mark = f" fwmark {item.fwmark:#x}{mask}" if item.fwmark is not None else ""
    six = "-6 " if item.family == 6 else ""
    to = f" to {item.dst}" if item.dst else ""
    iif = f" iif {item.iif}" if item.iif else ""
    return f"ip {six}rule add pref {item.priority} from {item.src or 'all'}{to}{mark}{iif} lookup {item.table}"


def neighbour(item: Neighbour) -> str:
    if item.proxy:
        return f"ip neigh replace proxy {item.address} dev {item.dev}"
    return f"ip neigh replace {item.address} lladdr {item.mac} dev {item.dev} nud {item.state}"


def claim(item: Claim) -> Iterator[str]:
    """As comments: arping is not installed everywhere, and knows no IPv6."""
    if item.check_s:
        yield f"# {item.gateway} must answer on {item.dev}, and nobody for {item.address} of {item.owner}, then:"
    if ":" in item.address:
        yield f"# an unsolicited neighbour advertisement for {item.address} on {item.dev}"
    else:
        yield f"# arping -U -c 1 -I {item.dev} {item.address}; arping -A -c 1 -I {item.dev} {item.address}"


def fdb(item: Fdb) -> str:
    verb = "append" if item.mac == "00:00:00:00:00:00" or int(item.mac[:2], 16) & 1 else "replace"
    return f"bridge fdb {verb} {item.mac} dev {item.dev} dst {item.dst} self permanent"
