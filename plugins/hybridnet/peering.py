"""What hybridnet's BGP modes share: who peers with whom, the way out through the peer, and FRR in gobgp's place.

A node peers with the router of its own subnet (its ToR) and only tells it things: it learns no route, and sends what
its underlay pods send to that router, whatever the target (pkg/daemon/bgp, pkg/daemon/route).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface

from bgp.model import Peer, Router, Timers
from cluster.model import Cluster, Node, Pool, Speaker, family, in_one_subnet, plain
from kernel.errors import BadInput
from kernel.state import DEFAULT, Route, merge
from plugins import veth
from plugins.contract import Wanted
from plugins.hybridnet import daemon, vxlan
from plugins.hybridnet.daemon import Subnet

ASN = 100
"""netID of the BGP Network, the AS of its nodes: all servers below a ToR share one (docs/images/bgp-topologic)."""
GOBGP = Timers(keepalive_s=30, hold_s=90, connect_s=5, restart_s=300)
"""gobgp's defaults, and --gracefulRestartSeconds of a peer that states none (RecordPeer, pkg/daemon/bgp)."""
NEEDS = daemon.NEEDS | vxlan.NEEDS | {"frr"}
BY_FRR = (
    "FRR is in gobgp's place: it only announces, as gobgp does here, since a route map keeps what it learns out of the "
    "kernel"
)
TWO_GATEWAYS = (
    "each IP version has a session and a way out of its own; hybridnet 0.8.9 takes one peer that routes traffic, so "
    "pods of the other version have none"
)


@dataclass(frozen=True)
class Announced:
    """What a node announces: whole subnets, its pods' host routes, and whether those may leave the ToR's AS."""

    subnets: tuple[str, ...]
    pods: tuple[str, ...]
    exported: bool

    @property
    def beyond(self) -> tuple[str, ...]:
        """What the ToR tells other routers."""
        return (*self.subnets, *(self.pods if self.exported else ()))


def networks(cluster: Cluster, mode: str) -> tuple[tuple[Pool, ...], tuple[Pool, ...]]:
    """The pools of the overlay and of the BGP network. Raises BadInput."""
    overlay, underlay = daemon.networks(cluster, lambda pool: not pool.overlay)
    if not underlay:
        what = f"hybridnet {mode} finds no pool that is not `overlay`"
        raise BadInput(what, where="pools", remedy="give it a pool for the BGP network")
    if vlan := next((pool for pool in underlay if pool.vlan is not None), None):
        what = f"the pool {vlan.cidr} is VLAN {vlan.vlan}, and a node is in one underlay network only: here a BGP one"
        raise BadInput(what, where="pools", remedy="leave its `vlan` out, or take --mode vlan")
    return overlay, underlay


def wanted(
    cluster: Cluster,
    features: frozenset[str],
    pools: tuple[tuple[Pool, ...], tuple[Pool, ...]],
    belongs: Callable[[Node, Pool], bool],
    announced: Callable[[Node], Announced],
) -> Wanted:
    """Nodes, pods and speakers. `pools` are those of the overlay and of the BGP network; a node that `belongs` to the
    network of one forwards for it."""
    overlay, underlay = pools

    def subnets(node: Node) -> list[Subnet]:
        gateways = {one: ways(cluster, node).get(one.family) if belongs(node, one) else None for one in underlay}
        mine = [subnet(cluster, node, pool, belongs(node, pool)) for pool in underlay]
        return vxlan.subnets(node, overlay, gateways) + mine

    members = [node for node in cluster.nodes if any(belongs(node, pool) for pool in underlay)]
    speakers = routers(cluster, {node.name: announced(node) for node in members}, underlay)
    parts = [daemon.state(cluster, subnets), *([vxlan.tunnels(cluster, features, overlay)] if overlay else [])]
    several = len({pool.family for pool in underlay}) > 1
    notes = (BY_FRR, *((TWO_GATEWAYS,) if several else ()), *(vxlan.notes(features) if overlay else ()))
    return Wanted(merge(parts), tuple(speakers), min(node.mtu for node in cluster.nodes), notes)


def hosts(cluster: Cluster, pool: Pool) -> tuple[Node, ...]:
    """The nodes that have pods of the pool's network; every node while none has."""
    names = {pod.node for pod in cluster.pods if pod.network == pool.network}
    return tuple(node for node in cluster.nodes if node.name in names) or cluster.nodes


def tor(cluster: Cluster, node: Node) -> Speaker | None:
    """The router that the node's pods leave by: one with an AS number in its subnet, its gateway before others."""
    found = [one for one in cluster.routers if in_one_subnet(node.addresses, one.addresses)]
    return min(found, key=lambda one: not set(plain(one.addresses)) & set(node.gateways), default=None)


def must_have_tor(cluster: Cluster, node: Node, mode: str) -> Speaker:
    """Raises BadInput when the node has no BGP peer."""
    found = tor(cluster, node)
    if found is None:
        subnet = ip_interface(node.addresses[0]).network
        what = f"hybridnet {mode} has no BGP peer for {node.name}: no router with an AS number is in {subnet}"
        raise BadInput(what, where="router", remedy="give the router there an `asn`, or take --preset tor")
    return found


def ways(cluster: Cluster, node: Node) -> dict[int, str]:
    """The next hop of each IP version: the peer's address in the node's subnet."""
    peer = tor(cluster, node)
    return {family(theirs): theirs for _, theirs in in_one_subnet(node.addresses, peer.addresses)} if peer else {}


def subnet(cluster: Cluster, node: Node, pool: Pool, belongs: bool) -> Subnet:
    """A table with nothing but a default route, which the article calls 10001: even pods of the same subnet are beyond
    the ToR (ensureRoutesForBGPSubnet, pkg/daemon/route/utils.go). Raises BadInput when the ToR lacks the IP version."""
    if not belongs:
        return Subnet(pool.cidr, None)
    way = ways(cluster, node).get(pool.family)
    if way is None:
        what = f"{node.name} and its router share no IPv{pool.family} subnet, and the pool {pool.cidr} needs one"
        raise BadInput(what, where=f"nodes: {node.name}", remedy="give both an address there, or leave the pool out")
    return Subnet(pool.cidr, node.nic, (Route(DEFAULT[pool.family], dev=node.nic, via=way),))


def host_routes(cluster: Cluster, node: Node, pools: Collection[Pool]) -> tuple[str, ...]:
    """Those of the node's pods whose network is one of `pools`."""
    networks = {pool.network for pool in pools}
    pods = [pod for pod in cluster.pods_of(node.name) if pod.network in networks]
    return tuple(veth.host_prefix(address) for pod in pods for address in pod.addresses)


def routers(cluster: Cluster, announced: Mapping[str, Announced], pools: Sequence[Pool]) -> Iterator[Router]:
    """A speaker for each node that has something to announce, and for each router."""
    cidrs = tuple(pool.cidr for pool in pools)
    versions = {pool.family for pool in pools}
    for node in cluster.nodes:
        if node.name in announced:
            mine = announced[node.name]
            yield Router(
                node.name,
                ASN,
                plain(node.addresses)[0],
                tuple(_peers(node.addresses, cluster.routers, versions)),
                networks=(*mine.subnets, *mine.pods),
                no_export=() if mine.exported else mine.pods,
                pools=cidrs,
                kept_out=cidrs,
                timers=GOBGP,
            )
    for one in cluster.routers:
        others = [other for other in cluster.routers if other != one]
        below = [Speaker(node.name, node.addresses, ASN) for node in cluster.nodes if node.name in announced]
        peers = tuple(_peers(one.addresses, (*below, *others), versions))
        known = tuple(dict.fromkeys(_learned(cluster, one, announced)))
        identity = plain(one.addresses)[0]
        yield Router(one.netns, one.asn or 0, identity, peers, expects=known, pools=cidrs, timers=GOBGP)


def _peers(own: Sequence[str], others: Sequence[Speaker], versions: Collection[int]) -> Iterator[Peer]:
    """A session with each other in a subnet of ours, one for each IP version that has pods."""
    for one in others:
        for _, theirs in in_one_subnet(own, one.addresses):
            if family(theirs) in versions:
                yield Peer(theirs, one.asn or 0)


def _learned(cluster: Cluster, router: Speaker, announced: Mapping[str, Announced]) -> Iterator[str]:
    """Everything of the nodes below, and what is not kept from it of those below other routers that it hears of."""
    heard = _reachable(cluster, router)
    for node in cluster.nodes:
        if said := announced.get(node.name):
            if in_one_subnet(node.addresses, router.addresses):
                yield from (*said.subnets, *said.pods)
            elif any(in_one_subnet(node.addresses, one.addresses) for one in heard):
                yield from said.beyond


def _reachable(cluster: Cluster, router: Speaker) -> list[Speaker]:
    """The routers with which it is joined by sessions, directly or not, itself first."""
    found = [router]
    for one in found:
        found += [o for o in cluster.routers if o not in found and in_one_subnet(o.addresses, one.addresses)]
    return found
