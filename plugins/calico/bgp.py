"""calico without encapsulation: host routes to pods, and blocks announced by BGP.

A packet leaves by the route of its target's block, next hop the target's node; every router between nodes must know
the way to pods too.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.model import Cluster, Node
from kernel.state import Netns
from plugins.calico import bird, felix, firewall
from plugins.contract import Wanted


class Bgp:
    """calico, mode bgp (ipipMode and vxlanMode Never)."""

    plugin = "calico"
    name = "bgp"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "default"
    needs = felix.NEEDS | {"frr"}

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes, pods and a BGP speaker a node."""
        del features
        felix.check(cluster)
        owned = felix.owners(cluster)

        def side(node: Node) -> Netns:
            chains = Netns(node.name, ipsets=tuple(firewall.sets(cluster)), filters=tuple(firewall.rules(cluster)))
            return felix.workloads(cluster, node, node.mtu).plus(chains)

        notes = (bird.BY_FRR, felix.NO_POLICY, *bird.unheard(cluster))
        mtu = min(node.mtu for node in cluster.nodes)
        return Wanted(felix.whole(cluster, side), tuple(bird.routers(cluster, owned)), mtu, notes)
