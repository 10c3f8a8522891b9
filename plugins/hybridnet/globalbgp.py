"""hybridnet's GlobalBGP mode: one subnet for pods below every ToR, since the host routes of pods go everywhere.

A packet leaves as in BGP mode, by a default route through the node's own ToR; but nodes announce no subnet, and their
pods' host routes without NO_EXPORT, so that the ToRs pass them on. A node can have such pods when it has a BGP peer.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.model import Cluster, Node, Pool
from plugins.contract import Wanted
from plugins.hybridnet import peering
from plugins.hybridnet.peering import Announced


class GlobalBgp:
    """hybridnet, mode globalbgp."""

    plugin = "hybridnet"
    name = "globalbgp"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "leaf-spine"
    needs = peering.NEEDS

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes, pods, and a BGP speaker for each node and router. Raises BadInput for a pod on a node that has no
        peer."""
        pools = peering.networks(cluster, self.name)
        for node in (node for pool in pools[1] for node in peering.hosts(cluster, pool)):
            peering.must_have_tor(cluster, node, self.name)

        def belongs(node: Node, _pool: Pool) -> bool:
            return peering.tor(cluster, node) is not None

        def announced(node: Node) -> Announced:
            return Announced((), peering.host_routes(cluster, node, pools[1]), exported=True)

        return peering.wanted(cluster, features, pools, belongs, announced)
