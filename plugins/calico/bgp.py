"""calico without encapsulation: host routes to pods, blocks announced by BGP, as calico 3.33 and later do it.

Felix's part is here as kernel state; BIRD's part is FRR (bgp/): the same sessions, timers and announcements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_interface
from typing import Literal

from bgp.model import Peer, Router
from cluster.model import Cluster, Node, Pod, Speaker, host_veth
from kernel.state import Address, FilterRule, IpSet, Neighbour, Netns, Route, State, Sysctl, merge
from plugins import veth
from plugins.contract import Wanted

ASN = 64512
"""BGPConfiguration's default."""
FELIX = 80
"""Route protocol of felix's block routes (DefaultRouteProto)."""
NORMAL_PRIORITY = 1024
"""Metric of local IPv4 workload routes since 3.32; the kernel gives IPv6 routes the same by itself."""
FAMILIES: tuple[tuple[Literal[4, 6], str], ...] = ((4, "cali40"), (6, "cali60"))
"""IP versions and what the names of their sets begin with."""
NO_POLICY = "felix's policy chains are not made: without a NetworkPolicy they accept everything"
BY_FRR = "FRR is in BIRD's place: learned routes carry `proto bgp` and metric 20 where BIRD's carry `proto bird`"
FAR_SUBNET = (
    "nodes are in several subnets and the router between them speaks no BGP: it drops pods' packets, as a real one "
    "would; give the router an AS number"
)


class Bgp:
    """calico, mode bgp."""

    plugin = "calico"
    name = "bgp"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "default"
    needs = frozenset({"veth", "proxy-neigh", "iptables", "ipset", "frr"})

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes, pods and a BGP speaker a node; full mesh, or with reflectors sessions to those only."""
        del features
        mtu = min(node.mtu for node in cluster.nodes)
        parts = [State((node_side(cluster, node, mtu),)) for node in cluster.nodes]
        parts += [State((_pod_side(pod),)) for pod in cluster.pods]
        subnets = {str(ip_interface(node.addresses[0]).network) for node in cluster.nodes}
        notes = (BY_FRR, NO_POLICY, *((FAR_SUBNET,) if len(subnets) > 1 and not cluster.routers else ()))
        return Wanted(merge(parts), tuple(routers(cluster)), mtu, notes)


def host_end(pod: Pod) -> str:
    """The name of a pod's host end (libcalico-go, workload_endpoint_default.go)."""
    return host_veth("cali", pod.namespace, pod.name)


def node_side(cluster: Cluster, node: Node, mtu: int) -> Netns:
    """All that felix puts on one node."""
    pods = cluster.pods_of(node.name)
    return Netns(
        node.name,
        links=tuple(veth.pair(host_end(pod), pod, mtu) for pod in pods),
        routes=tuple(_routes(cluster, node, pods)),
        neighbours=tuple(
            Neighbour(host_end(pod), address, pod.mac)
            for pod in pods
            for address in pod.addresses
            if not veth.six(address)
        ),
        sysctls=(*veth.FORWARDING, *(one for pod in pods for one in _sysctls(pod))),
        ipsets=tuple(_sets(cluster)),
        filters=tuple(_rules()),
    )


def _routes(cluster: Cluster, node: Node, pods: tuple[Pod, ...]) -> Iterator[Route]:
    """A host route to each pod, and a blackhole for the rest of each block, so that a packet for an address which
    nobody has is dropped here and does not wander back along the default route."""
    for pod in pods:
        for address in pod.addresses:
            dst = veth.host_prefix(address)
            if veth.six(address):
                yield Route(dst, dev=host_end(pod))
            else:
                yield Route(dst, dev=host_end(pod), scope="link", metric=NORMAL_PRIORITY)
    yield from (Route(block.cidr, kind="blackhole", proto=FELIX) for block in cluster.blocks if block.node == node.name)


def _sysctls(pod: Pod) -> Iterator[Sysctl]:
    name = host_end(pod)
    yield from veth.host_sysctls(name, pod)
    if any(veth.six(address) for address in pod.addresses):
        yield Sysctl(f"net.ipv6.conf.{name}.accept_ra", "0")


def _sets(cluster: Cluster) -> Iterator[IpSet]:
    for version, prefix in FAMILIES:
        pools = tuple(pool.cidr for pool in cluster.pools if veth.six(pool.cidr) == (version == 6))
        for name in ("masq-ipam-pools", "network-ip-pools"):
            yield IpSet(prefix + name, "hash:net", pools, version)


def _rules() -> Iterator[FilterRule]:
    """natOutgoing: from a pool to outside of every pool leaves with the node's address."""
    for version, prefix in FAMILIES:
        yield FilterRule(version, "nat", "POSTROUTING", ("-j", "cali-POSTROUTING"))
        yield FilterRule(version, "nat", "cali-POSTROUTING", ("-j", "cali-nat-outgoing"))
        source = ("-m", "set", "--match-set", f"{prefix}masq-ipam-pools", "src")
        target = ("-m", "set", "!", "--match-set", f"{prefix}network-ip-pools", "dst")
        action = ("-j", "MASQUERADE", "--random-fully")
        yield FilterRule(version, "nat", "cali-nat-outgoing", (*source, *target, *action))


def _pod_side(pod: Pod) -> Netns:
    return veth.pod_side(pod, tuple(Address(veth.POD_NIC, veth.host_prefix(address)) for address in pod.addresses))


# -- BGP -------------------------------------------------------------------------------------------------


def routers(cluster: Cluster) -> Iterator[Router]:
    """A speaker for each node, reflector and router of another AS. A session for each family, as BIRD and
    BIRD6 have them."""
    pools = tuple(pool.cidr for pool in cluster.pools)
    for node in cluster.nodes:
        own = tuple(block.cidr for block in cluster.blocks if block.node == node.name)
        yield Router(
            node.name,
            ASN,
            _ip(node.addresses[0]),
            tuple(_node_peers(cluster, node)),
            networks=own,
            expects=tuple(block.cidr for block in cluster.blocks if block.node != node.name),
            pools=pools,
        )
    everything = tuple(block.cidr for block in cluster.blocks)
    for one in cluster.reflectors:
        peers = _clients(cluster, one) + _fellows(cluster, one)
        identity = _ip(one.addresses[0])
        yield Router(one.netns, ASN, identity, peers, cluster_id=one.cluster_id, expects=everything, pools=pools)
    for one in cluster.routers:
        peers = tuple(Peer(mine, ASN) for node in cluster.nodes for mine, _ in _shared(node.addresses, one.addresses))
        yield Router(one.netns, one.asn or 0, _ip(one.addresses[0]), peers, expects=everything, pools=pools)


def _node_peers(cluster: Cluster, node: Node) -> Iterator[Peer]:
    if cluster.reflectors:
        for one in cluster.reflectors:
            yield from (Peer(_ip(address), ASN) for address in one.addresses if _speaks(node, address))
    else:
        for other in cluster.nodes:
            if other.name != node.name:
                yield from (Peer(_ip(address), ASN) for address in other.addresses if _speaks(node, address))
    for one in cluster.routers:
        yield from (Peer(theirs, one.asn or 0) for _, theirs in _shared(node.addresses, one.addresses))


def _clients(cluster: Cluster, reflector: Speaker) -> tuple[Peer, ...]:
    families = {veth.six(address) for address in reflector.addresses}
    return tuple(
        Peer(_ip(address), ASN, client=True)
        for node in cluster.nodes
        for address in node.addresses
        if veth.six(address) in families
    )


def _fellows(cluster: Cluster, reflector: Speaker) -> tuple[Peer, ...]:
    """Reflectors peer with each other as plain iBGP speakers."""
    return tuple(Peer(_ip(address), ASN) for one in cluster.reflectors if one != reflector for address in one.addresses)


def _speaks(node: Node, address: str) -> bool:
    return any(veth.six(own) == veth.six(address) for own in node.addresses)


def _shared(mine: tuple[str, ...], theirs: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pairs of addresses that are in one subnet."""
    pairs = ((ip_interface(a), ip_interface(b)) for a in mine for b in theirs)
    return [(str(a.ip), str(b.ip)) for a, b in pairs if a.network == b.network]


def _ip(cidr: str) -> str:
    return str(ip_interface(cidr).ip)
