"""calico's sets and chains, without those of policies (felix/rules/static.go and nat.go).

In the order in which a packet meets them: a pod may not lie about its source address (raw), tunnel packets come from
nodes only (filter), what leaves the pools gets the node's address, and what the node itself sends into a tunnel gets
the tunnel's (nat).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cluster.model import Cluster
from kernel.state import FilterRule, IpSet

Family = Literal[4, 6]
Table = Literal["filter", "nat", "mangle", "raw"]
FAMILIES: tuple[Family, ...] = (4, 6)
PREFIX = {4: "cali40", 6: "cali60"}
"""What the names of sets begin with (felix/ipsets, IPVersionConfig)."""
MARKS, FROM_POD = "0x1b0000", "0x80000"
"""All mark bits of felix that these chains clear, and scratch0, which says "from a pod" (since 3.30)."""


@dataclass(frozen=True)
class Tunnel:
    """A tunnel device's part in the chains: `peers` are the node addresses that may speak through it, `name` their
    set's; `match` finds its outer packets. With `port` it is VXLAN, which is not tracked."""

    device: str
    family: Family
    name: str
    peers: tuple[str, ...]
    match: tuple[str, ...]
    port: int | None = None


def ipip(device: str, hosts: Iterable[str]) -> Tunnel:
    """IP protocol 4; every node is among the peers."""
    return Tunnel(device, 4, "cali40all-hosts-net", tuple(hosts), ("-p", "4"))


def vxlan(device: str, version: Family, port: int, others: Iterable[str]) -> Tunnel:
    """UDP to `port`; the peers are the other nodes."""
    match = ("-p", "udp", "--dport", str(port))
    return Tunnel(device, version, f"{PREFIX[version]}all-vxlan-net", tuple(others), match, port)


def sets(cluster: Cluster, tunnels: Sequence[Tunnel] = ()) -> Iterator[IpSet]:
    """Pools, and each tunnel's peers."""
    for version in _families(cluster):
        pools = tuple(pool.cidr for pool in cluster.pools if pool.family == version)
        for name in ("masq-ipam-pools", "network-ip-pools"):
            yield IpSet(PREFIX[version] + name, "hash:net", pools, version)
    yield from (IpSet(one.name, "hash:net", one.peers, one.family) for one in tunnels)


def rules(cluster: Cluster, tunnels: Sequence[Tunnel] = ()) -> Iterator[FilterRule]:
    """All rules of a node."""
    for version in _families(cluster):
        mine = [tunnel for tunnel in tunnels if tunnel.family == version]
        yield from _raw(version, mine)
        if mine:
            yield from _filter(version, mine)
        yield from _nat(version, mine)


def _raw(version: Family, tunnels: Iterable[Tunnel]) -> Iterator[FilterRule]:
    """Strict reverse-path check of what pods send, whatever rp_filter says (RPFilter)."""
    untracked = [tunnel.match for tunnel in tunnels if tunnel.port]
    for hook in ("PREROUTING", "OUTPUT"):
        chain = f"cali-{hook}"
        yield _rule(version, "raw", hook, "-j", chain)
        yield _rule(version, "raw", chain, "-j", "MARK", "--set-xmark", f"0x0/{MARKS}")
        for match in untracked:
            yield _rule(version, "raw", chain, *match, "-j", "NOTRACK")
    pre = "cali-PREROUTING"
    yield _rule(version, "raw", pre, "-i", "cali+", "-j", "MARK", "--set-xmark", f"{FROM_POD}/{FROM_POD}")
    from_pod = ("-m", "mark", "--mark", f"{FROM_POD}/{FROM_POD}")
    yield _rule(version, "raw", pre, *from_pod, "-m", "rpfilter", "--validmark", "--invert", "-j", "DROP")


def _filter(version: Family, tunnels: Iterable[Tunnel]) -> Iterator[FilterRule]:
    """Tunnel packets come from nodes, and go to nodes; others are dropped (filterInputChain, filterOutputChain)."""
    local = ("-m", "addrtype", "--dst-type", "LOCAL")
    yield _rule(version, "filter", "INPUT", "-j", "cali-INPUT")
    yield _rule(version, "filter", "OUTPUT", "-j", "cali-OUTPUT")
    yield _rule(version, "filter", "cali-OUTPUT", "-o", "cali+", "-j", "RETURN")
    for one in tunnels:
        known = ("-m", "set", "--match-set", one.name)
        yield _rule(version, "filter", "cali-INPUT", *one.match, *known, "src", *local, "-j", "ACCEPT")
        yield _rule(version, "filter", "cali-INPUT", *one.match, *(local if one.port else ()), "-j", "DROP")
        mine = ("-m", "addrtype", "--src-type", "LOCAL")
        yield _rule(version, "filter", "cali-OUTPUT", *one.match, *known, "dst", *mine, "-j", "ACCEPT")


def _nat(version: Family, tunnels: Iterable[Tunnel]) -> Iterator[FilterRule]:
    """natOutgoing: from a pool to outside of every pool leaves with the node's address. What the node sends into a
    tunnel with another of its addresses gets the tunnel's (StaticNATPostroutingChains)."""
    yield _rule(version, "nat", "POSTROUTING", "-j", "cali-POSTROUTING")
    yield _rule(version, "nat", "cali-POSTROUTING", "-j", "cali-nat-outgoing")
    for one in tunnels:
        not_its_own = ("-m", "addrtype", "!", "--src-type", "LOCAL", "--limit-iface-out")
        wrong = ("-o", one.device, *not_its_own, "-m", "addrtype", "--src-type", "LOCAL")
        if one.port:  # a reply to the VXLAN port would be taken for a stranger's tunnel packet (masqPortRangeExcluding)
            ports = ("--to-ports", f"{one.port + 1}-65535", "--random-fully")
            yield _rule(version, "nat", "cali-POSTROUTING", "-p", "udp", *wrong, "-j", "MASQUERADE", *ports)
        yield _rule(version, "nat", "cali-POSTROUTING", *wrong, "-j", "MASQUERADE", "--random-fully")
    source = ("-m", "set", "--match-set", f"{PREFIX[version]}masq-ipam-pools", "src")
    target = ("-m", "set", "!", "--match-set", f"{PREFIX[version]}network-ip-pools", "dst")
    yield _rule(version, "nat", "cali-nat-outgoing", *source, *target, "-j", "MASQUERADE", "--random-fully")


def _families(cluster: Cluster) -> list[Family]:
    """Those that pods have."""
    return [version for version in FAMILIES if any(pool.family == version for pool in cluster.pools)]


def _rule(version: Family, table: Table, chain: str, *args: str) -> FilterRule:
    return FilterRule(version, table, chain, args)
