"""BIRD's part, which FRR plays here: who peers with whom, what is announced, what gets into the kernel.

A session for each family, as BIRD and BIRD6 have them (confd/pkg/backends/calico/bgp_processor.go). confd makes the end
with the lesser address passive; here both dial, since a passive FRR costs a second at the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface

from bgp.model import Peer, Router
from cluster.model import Cluster, Node, Speaker, family, in_one_subnet
from plugins.calico.felix import Owners

ASN = 64512
"""BGPConfiguration's default."""
BY_FRR = (
    "FRR is in BIRD's place: learned routes carry `proto bgp` and metric 20 where BIRD's carry `proto bird`, and felix "
    "makes the blackholes that would be BIRD's"
)


def routers(cluster: Cluster, owned: Owners, *, by_felix: bool = False) -> Iterator[Router]:
    """A speaker for each node, reflector and router of another AS: a full mesh of nodes, or with reflectors sessions
    to those only. With `by_felix` felix programs the routes between nodes, and BGP's are kept out of their kernels
    (BGPConfiguration.programClusterRoutes, EnabledNoEncapOnly)."""
    pools = tuple(pool.cidr for pool in cluster.pools)
    kept_out = pools if by_felix else ()
    everything = tuple(prefix for node in cluster.nodes for prefix in owned[node.name])
    for node in cluster.nodes:
        yield Router(
            node.name,
            ASN,
            str(ip_interface(node.addresses[0]).ip),
            tuple(peer for peer in _node_peers(cluster, node) if family(peer.address) in _families(cluster)),
            networks=owned[node.name],
            expects=() if by_felix else tuple(one for one in everything if one not in owned[node.name]),
            pools=pools,
            kept_out=kept_out,
        )
    for one in (*cluster.reflectors, *cluster.routers):
        peers = _reflector_peers(cluster, one) if one.asn is None else _foreign_peers(cluster, one)
        yield Router(
            one.netns,
            one.asn or ASN,
            str(ip_interface(one.addresses[0]).ip),
            tuple(peer for peer in peers if family(peer.address) in _families(cluster)),
            cluster_id=one.cluster_id,
            expects=() if one.asn is None and by_felix else everything,
            pools=pools,
            kept_out=kept_out if one.asn is None else (),
        )


def unheard(cluster: Cluster) -> tuple[str, ...]:
    """A note when un-encapsulated packets must pass a router that knows no way to pods."""
    subnets = {str(ip_interface(node.addresses[0]).network) for node in cluster.nodes}
    if len(subnets) == 1 or cluster.routers:
        return ()
    return (
        "nodes are in several subnets and the router between them speaks no BGP: it drops pods' packets, as a real one "
        "would; give the router an AS number",
    )


def _families(cluster: Cluster) -> set[int]:
    return {pool.family for pool in cluster.pools}


def _node_peers(cluster: Cluster, node: Node) -> Iterator[Peer]:
    """The reflectors, or every other node; and the routers in the node's own subnets. A router is told own blocks only,
    as a BGPFilter on `source: RemotePeers` does: told all by everybody it may choose one node as its way to another's
    block, and that node sends the packets back."""
    fellows: tuple[Node, ...] = tuple(other for other in cluster.nodes if other.name != node.name)
    for one in cluster.reflectors or fellows:
        yield from (Peer(_ip(theirs), ASN) for theirs in one.addresses if _speaks(node, theirs))
    for router in cluster.routers:
        shared = in_one_subnet(node.addresses, router.addresses)
        yield from (Peer(theirs, router.asn or ASN, own_only=True) for _, theirs in shared)


def _reflector_peers(cluster: Cluster, reflector: Speaker) -> tuple[Peer, ...]:
    """Nodes are its clients (RFC 4456); reflectors of one cluster are plain peers of each other."""
    clients = [
        Peer(_ip(theirs), ASN, client=True)
        for node in cluster.nodes
        for theirs in node.addresses
        if family(theirs) in {family(mine) for mine in reflector.addresses}
    ]
    others = [one for one in cluster.reflectors if one != reflector]
    return (*clients, *(Peer(_ip(theirs), ASN) for one in others for theirs in one.addresses))


def _foreign_peers(cluster: Cluster, router: Speaker) -> tuple[Peer, ...]:
    """The nodes in its subnets, and the routers there: racks learn of each other through them."""
    nodes = [Peer(mine, ASN) for node in cluster.nodes for mine, _ in in_one_subnet(node.addresses, router.addresses)]
    others = [one for one in cluster.routers if one != router]
    routers = [Peer(it, one.asn or ASN) for one in others for it, _ in in_one_subnet(one.addresses, router.addresses)]
    return (*nodes, *routers)


def _speaks(node: Node, address: str) -> bool:
    return any(family(own) == family(address) for own in node.addresses)


def _ip(cidr: str) -> str:
    return str(ip_interface(cidr).ip)
