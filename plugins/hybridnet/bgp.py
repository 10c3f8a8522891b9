"""hybridnet's BGP mode: pods are behind their node, and the switch above knows which.

A pod's packet leaves by the table of its subnet, which has nothing but a default route through the switch (10.0.0.1 in
the article). The switch learned by BGP from each node the subnet as a whole and, marked NO_EXPORT so that they go no
further, the host routes of the node's pods. A pool without a VLAN is a Subnet of the BGP Network of one ToR; pools with
`overlay` are an overlay network beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.model import Cluster, Node, Pool
from kernel.errors import BadInput
from plugins.contract import Wanted
from plugins.hybridnet import peering
from plugins.hybridnet.peering import Announced


class Bgp:
    """hybridnet, mode bgp."""

    plugin = "hybridnet"
    name = "bgp"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "tor"
    needs = peering.NEEDS

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes, pods, and a BGP speaker for each node and router. Raises BadInput for a node without a peer, and for a
        network whose pods are below several ToRs."""
        pools = peering.networks(cluster, self.name)
        homes = {pool: _home(cluster, pool) for pool in pools[1]}

        def belongs(node: Node, pool: Pool) -> bool:
            above = peering.tor(cluster, node)
            return above is not None and above.netns == homes[pool]

        def announced(node: Node) -> Announced:
            mine = [pool for pool in homes if belongs(node, pool)]
            return Announced(
                tuple(pool.cidr for pool in mine), peering.host_routes(cluster, node, mine), exported=False
            )

        return peering.wanted(cluster, features, pools, belongs, announced)


def _home(cluster: Cluster, pool: Pool) -> str:
    """The ToR below which the network is: that of its pods."""
    nodes = peering.hosts(cluster, pool)
    above = {peering.must_have_tor(cluster, node, Bgp.name).netns: node.name for node in nodes}
    if len(above) > 1:
        spread = " and ".join(f"{node} below {router}" for router, node in above.items())
        what = f"network {pool.network!r} has pods on {spread}: host routes stay on their own ToR in hybridnet bgp"
        raise BadInput(what, where="pods", remedy="give each ToR a network of its own, or take --mode globalbgp")
    return next(iter(above))
