"""Wanted kernel state, per network namespace: what plugins and topologies compute and the engine applies.

Everything is a frozen, hashable value, so two states can be compared, merged, printed and exported
without a kernel. Addresses and prefixes are text in their canonical form ("10.0.0.1/24", "fd00::1/64"),
MACs are lower case with colons, MTUs are bytes of layer 3, times are as the field's name says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

MAIN, LOCAL = 254, 255
"""Numbers of the routing tables main and local (rtnetlink(7))."""
DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}
"""What a default route leads to, by IP version."""
IFNAMSIZ = 15
"""The longest interface name in bytes (linux/if.h has 16 with the closing zero)."""


@dataclass(frozen=True)
class Link:
    """A device and what every kind of device has. `master` is a bridge in the same namespace; `arp` False sets
    IFF_NOARP. What is None may be anything."""

    name: str
    mtu: int | None = None
    mac: str | None = None
    master: str | None = None
    up: bool = True
    arp: bool | None = None


@dataclass(frozen=True)
class Veth(Link):
    """One end of a veth pair, born where it lives. State the pair ONCE, at this end; the other end's
    own attributes are `peer`, in namespace `peer_netns` (its `master` may name a bridge there)."""

    peer_netns: str = ""
    peer: Link = field(default_factory=lambda: Link(""))


@dataclass(frozen=True)
class Bridge(Link):
    """A Linux bridge; with `vlan_filtering` it is an 802.1Q switch (ip-link(8))."""

    vlan_filtering: bool = False


@dataclass(frozen=True)
class Vxlan(Link):
    """A VXLAN device (RFC 7348) without a multicast group; `port` is the UDP destination."""

    vni: int = 0
    dev: str = ""
    local: str = ""
    port: int = 4789
    learning: bool = False


@dataclass(frozen=True)
class Dummy(Link):
    """A device that drops what it is given: a place for addresses."""


@dataclass(frozen=True)
class Stacked(Link):
    """A device over `dev`, which is in namespace `dev_netns` ("" is the same one). It is stated, and born, where it
    lives: a pod's eth0 over its node's NIC."""

    dev: str = ""
    dev_netns: str = ""


@dataclass(frozen=True)
class Vlan(Stacked):
    """An 802.1Q sub-interface."""

    vid: int = 0


@dataclass(frozen=True)
class Macvlan(Stacked):
    """A device with a MAC of its own on another one's wire (ip-link(8)); `passthru` takes the other's MAC."""

    mode: Literal["bridge", "private", "vepa", "passthru"] = "bridge"


@dataclass(frozen=True)
class Ipvlan(Stacked):
    """A device that shares another one's MAC; packets find it by IP address (kernel: networking/ipvlan.rst).
    All on one device have one `mode`; `flag` says how they reach each other."""

    mode: Literal["l2", "l3", "l3s"] = "l2"
    flag: Literal["bridge", "private", "vepa"] = "bridge"


@dataclass(frozen=True)
class Tunnel(Link):
    """What tunnels over IPv4 have in common (ip-tunnel(8)). `local` and `remote` "" are any address, `dev` "" any
    device, `ttl` 0 takes the inner packet's."""

    local: str = ""
    remote: str = ""
    dev: str = ""
    ttl: int = 0


@dataclass(frozen=True)
class Ipip(Tunnel):
    """IPv4 in IPv4 (RFC 2003). `tunl0`, which the kernel's module makes in every namespace, is taken over."""


@dataclass(frozen=True)
class Gre(Tunnel):
    """GRE (RFC 2784); `key` 0 is none (RFC 2890)."""

    key: int = 0


@dataclass(frozen=True)
class Sit(Tunnel):
    """IPv6 in IPv4 (RFC 4213); with `isatap` it has no remote and finds it in the inner address (RFC 5214)."""

    isatap: bool = False


@dataclass(frozen=True)
class Vti(Link):
    """An IPsec tunnel as a device: `key` is the mark of its security associations and policies (ip-link(8))."""

    local: str = ""
    remote: str = ""
    dev: str = ""
    key: int = 0


@dataclass(frozen=True)
class PortVlan:
    """VLAN membership of a bridge port: `untagged` on egress, `pvid` for untagged ingress."""

    dev: str
    vid: int
    pvid: bool = False
    untagged: bool = False


@dataclass(frozen=True)
class Address:
    """An address on a device; `noprefixroute` keeps the kernel from adding the connected route. With `own` False (IPv4)
    the kernel's routes to it in the table local are taken away: ARP may use it as sender, but it is not this host's."""

    dev: str
    address: str
    scope: Literal["global", "link", "host"] = "global"
    noprefixroute: bool = False
    own: bool = True


@dataclass(frozen=True)
class NextHop:
    """One way of a route that has several."""

    dev: str
    via: str | None = None
    onlink: bool = False
    weight: int = 1


@dataclass(frozen=True)
class Route:
    """A route; the family is that of `dst` ("0.0.0.0/0" and "::/0" are the defaults).

    `proto` is the rtnetlink protocol number (3 boot, 80 felix); `metric` 0 is the kernel's default. A route with
    several next hops has them in `hops`, and no `dev` and `via`.
    """

    dst: str
    dev: str | None = None
    via: str | None = None
    table: int = MAIN
    kind: Literal["unicast", "blackhole", "throw", "unreachable"] = "unicast"
    scope: Literal["global", "link"] = "global"
    proto: int = 3
    metric: int = 0
    onlink: bool = False
    src: str | None = None
    mtu: int | None = None
    hops: tuple[NextHop, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A policy-routing rule (ip-rule(8)); `src` and `dst` are prefixes, `iif` a device's name."""

    priority: int
    table: int
    family: Literal[4, 6] = 4
    src: str | None = None
    fwmark: int | None = None
    fwmask: int | None = None
    dst: str | None = None
    iif: str | None = None


@dataclass(frozen=True)
class Neighbour:
    """A neighbour that the kernel never asks for, or (`proxy`) an NTF_PROXY entry, which has no MAC. `noarp` entries
    go with their device's ARP, permanent ones stay."""

    dev: str
    address: str
    mac: str | None = None
    proxy: bool = False
    state: Literal["permanent", "noarp"] = "permanent"


@dataclass(frozen=True)
class Fdb:
    """A permanent forwarding entry of a VXLAN device: frames to `mac` go to VTEP `dst`."""

    dev: str
    mac: str
    dst: str


@dataclass(frozen=True)
class Sysctl:
    """A key with dots ("net.ipv4.ip_forward"); a dot in an interface name is written "/" (sysctl(8))."""

    key: str
    value: str


@dataclass(frozen=True)
class IpSet:
    """An ipset of CIDRs or addresses (ipset(8)), swapped in whole."""

    name: str
    kind: Literal["hash:net", "hash:ip"]
    members: tuple[str, ...]
    family: Literal[4, 6] = 4


@dataclass(frozen=True)
class FilterRule:
    """One rule in iptables' own words; its chain is made if it is not built in. Order is meaning."""

    family: Literal[4, 6]
    table: Literal["filter", "nat", "mangle", "raw"]
    chain: str
    args: tuple[str, ...]


@dataclass(frozen=True)
class BroadcastRewrite:
    """hybridnet's tc filter: multicast and broadcast frames leaving `dev` get destination `mac`
    (prio + u32 + pedit; pkg/daemon/vxlan/vxlan.go)."""

    dev: str
    mac: str


@dataclass(frozen=True)
class Shaping:
    """A link's impairment on the egress of `dev`: bits per second, microseconds, percent."""

    dev: str
    rate_bps: int | None = None
    delay_us: int = 0
    loss_pct: float = 0.0


@dataclass(frozen=True)
class Resolver:
    """Answers for the kernel's app_solicit misses on `dev` (NETLINK_ROUTE RTM_GETNEIGH): (IP, MAC) pairs."""

    dev: str
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Claim:
    """This host stands for `address`, which `owner` (a pod) has, on the wire of `dev`. When the claim is new, `gateway`
    must answer there and nobody may answer for the address, each within `check_s` seconds (0: unchecked), before
    anything here does; then it is announced. Something to do, not something to be: nothing is read back."""

    dev: str
    address: str
    owner: str
    gateway: str
    check_s: float


@dataclass(frozen=True)
class Ipsec:
    """One end of an IPsec tunnel: ESP (RFC 4303) with AES-GCM (RFC 4106) for all that bears `mark`, as a Vti's traffic
    does. SPIs are greater than 255; keys are hexadecimal, an AES key and 4 bytes of salt."""

    local: str
    remote: str
    mark: int
    spi_out: int
    spi_in: int
    key_out: str
    key_in: str


@dataclass(frozen=True)
class Netns:
    """All that is wanted in one network namespace. `lo` is always up and is not listed."""

    name: str
    links: tuple[Link, ...] = ()
    port_vlans: tuple[PortVlan, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    fdb: tuple[Fdb, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    ipsets: tuple[IpSet, ...] = ()
    filters: tuple[FilterRule, ...] = ()
    rewrites: tuple[BroadcastRewrite, ...] = ()
    shaping: tuple[Shaping, ...] = ()
    ipsec: tuple[Ipsec, ...] = ()
    resolvers: tuple[Resolver, ...] = ()
    claims: tuple[Claim, ...] = ()

    def plus(self, other: Netns) -> Netns:
        """Both states in one namespace, this one's objects first."""
        parts = {f: getattr(self, f) + getattr(other, f) for f in PARTS}
        return replace(self, **parts)


PARTS: tuple[str, ...] = tuple(n for n in Netns.__dataclass_fields__ if n != "name")
"""The names of a namespace's lists, in the order in which the engine applies them."""


@dataclass(frozen=True)
class State:
    """The wanted state of a whole lab: its namespaces by name, in a stable order."""

    namespaces: tuple[Netns, ...] = ()

    def __getitem__(self, name: str) -> Netns:
        return next(ns for ns in self.namespaces if ns.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(ns.name for ns in self.namespaces)


def merge(states: Iterable[State]) -> State:
    """One state out of several; namespaces of one name are joined, the first one's objects first."""
    joined: dict[str, Netns] = {}
    for state in states:
        for ns in state.namespaces:
            joined[ns.name] = joined[ns.name].plus(ns) if ns.name in joined else ns
    return State(tuple(joined.values()))
