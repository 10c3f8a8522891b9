"""ipvlan in L3 mode by itself: the node routes for its pods without their packets entering its stack from below.

As the CNI project's reference plugin (plugins/main/ipvlan) with `mode: l3`. A pod's packets leave by the routing table
of the parent's namespace; what comes in for a pod is handed to it by its address (kernel: networking/ipvlan.rst). There
is no ARP and no broadcast in the pods, so pods are in prefixes of their own, one or more a node, and whoever is outside
needs routes to them: the nodes have them here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_interface

from cluster.model import Cluster, Node, Pod, family
from kernel.errors import BadInput
from kernel.state import DEFAULT, Address, Ipvlan, Netns, Route, State, merge
from plugins import physical, veth
from plugins.contract import Wanted

STATIC = 4
"""RTPROT_STATIC: routes that an administrator puts there."""
ROUTES_BY_HAND = (
    "each node has a static route to every other node's prefixes, where an administrator or a cloud's route table "
    "would have put them; the router has none, so what is outside reaches no pod"
)


class L3:
    """ipvlan, mode l3."""

    plugin = "ipvlan"
    name = "l3"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "default"
    needs = frozenset({"ipvlan"})

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Routes on the nodes; devices in the pods."""
        del features
        _check(cluster)
        parts = [State((Netns(node.name, routes=tuple(_routes(cluster, node))),)) for node in cluster.nodes]
        parts += [State((_pod_side(cluster.node(pod.node), pod),)) for pod in cluster.pods]
        mtu = min(node.mtu for node in cluster.nodes)
        return Wanted(merge(parts), pod_mtu=mtu, notes=(ROUTES_BY_HAND, physical.NODE_APART))


def _check(cluster: Cluster) -> None:
    """Raises BadInput when prefixes cannot be routed from node to node."""
    for pool in cluster.pools:
        if pool.vlan is not None:
            what = f"ipvlan l3 routes prefixes to nodes, and the pool {pool.cidr} is one subnet of the physical network"
            remedy = "leave the pool's `vlan` out, or use ipvlan l2"
            raise BadInput(what, where="pools", remedy=remedy)
    subnets = {str(ip_interface(node.addresses[0]).network) for node in cluster.nodes}
    if len(subnets) > 1:
        between = ", ".join(sorted(subnets))
        what = f"the nodes are in {between}, and the router between them knows no way to the pods of ipvlan l3"
        raise BadInput(what, where="nodes", remedy="put the nodes into one subnet")


def _routes(cluster: Cluster, node: Node) -> Iterator[Route]:
    """The other nodes' prefixes by their addresses: pods' packets take these too."""
    for block in cluster.blocks:
        owner = cluster.node(block.node)
        for address in owner.addresses:
            if owner != node and family(address) == family(block.cidr):
                yield Route(block.cidr, dev=node.nic, via=str(ip_interface(address).ip), proto=STATIC)


def _pod_side(node: Node, pod: Pod) -> Netns:
    """A host's address, and everything by the device: it resolves no next hop (L3 mode sets IFF_NOARP)."""
    nic = Ipvlan(physical.POD_NIC, mtu=node.mtu, dev=node.nic, dev_netns=node.name, mode="l3")
    return Netns(
        pod.name,
        links=(nic,),
        addresses=tuple(Address(physical.POD_NIC, veth.host_prefix(address)) for address in pod.addresses),
        routes=tuple(Route(DEFAULT[family(address)], dev=physical.POD_NIC, scope="link") for address in pod.addresses),
    )
