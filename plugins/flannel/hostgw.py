"""flannel's host-gw: for each other node a plain route to its subnet by way of the node itself.

Nodes must be in one subnet: a router between them knows nothing of pods (pkg/backend/hostgw).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_interface

from cluster.model import Cluster, Node
from kernel.errors import BadInput
from kernel.state import Netns, Route
from plugins.contract import Wanted
from plugins.flannel import bridge
from plugins.nodes import node_ip


class HostGw:
    """flannel, mode host-gw."""

    plugin = "flannel"
    name = "host-gw"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "node-subnets"
    needs = bridge.NEEDS
    first_pod = bridge.FIRST_POD

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes with routes to each other's pods, and pods. Raises BadInput for nodes in several subnets."""
        del features
        _one_subnet(cluster)
        subnets = bridge.subnets(cluster)

        def backend(node: Node) -> Netns:
            routes = (
                Route(str(subnet), dev=node.nic, via=node_ip(other, subnet.version))
                for own in subnets[node.name]
                for subnet, other in bridge.remote(subnets, cluster, node, own.version)
            )
            return Netns(node.name, routes=tuple(routes))

        state = bridge.whole(cluster, lambda node: node.mtu, backend)
        return Wanted(state, pod_mtu=min(node.mtu for node in cluster.nodes))


def _one_subnet(cluster: Cluster) -> None:
    networks = {str(ip_interface(node.addresses[0]).network) for node in cluster.nodes}
    if len(networks) > 1:
        what = f"the nodes are in {' and '.join(sorted(networks))}, and host-gw's next hops must be neighbours"
        raise BadInput(what, where="nodes", remedy="choose flannel vxlan, or put the nodes into one subnet")
