"""calico's IPIP: between nodes a packet travels inside an IPv4 packet from node to node (IP protocol 4, RFC 2003).

tunl0 is the kernel's own fallback device. A route names the target's node as next hop, on-link on tunl0, and the
device takes the outer destination from it (felix/dataplane/linux/ipip_mgr.go). Since 3.33 felix programs these routes;
BGP announces blocks to others and puts none into a node's kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cluster.model import Cluster, Node
from kernel.state import Address, Netns, Route
from kernel.state import Ipip as IpipLink
from plugins.calico import bird, felix, firewall
from plugins.contract import Wanted
from plugins.nodes import node_ip

DEVICE = "tunl0"
OVERHEAD = 20
"""Bytes: one IPv4 header."""


class Ipip:
    """calico, mode ipip (ipipMode Always): encapsulated between any two nodes."""

    plugin = "calico"
    name = "ipip"
    families = (4,)
    lacks: Mapping[int, str] = {
        6: "an IPIP tunnel puts the message into an IPv4 message, and takes IPv4 messages only (article, chapter 4.1)"
    }
    preset = "default"
    needs = felix.NEEDS | {"ipip", "frr"}
    cross_subnet = False

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes with their tunnels, pods, and a BGP speaker a node."""
        del features
        felix.check(cluster)
        owned = felix.owners(cluster)
        hosts = [node_ip(node, 4) for node in cluster.nodes]

        def side(node: Node) -> Netns:
            tunnel = (firewall.ipip(DEVICE, hosts),)
            return felix.workloads(cluster, node, node.mtu - OVERHEAD).plus(
                Netns(
                    node.name,
                    links=(IpipLink(DEVICE, mtu=node.mtu - OVERHEAD),),
                    addresses=(Address(DEVICE, f"{felix.tunnel_address(cluster, node, 4)}/32"),),
                    routes=tuple(self._routes(cluster, node, owned)),
                    ipsets=tuple(firewall.sets(cluster, tunnel)),
                    filters=tuple(firewall.rules(cluster, tunnel)),
                )
            )

        mtu = min(node.mtu for node in cluster.nodes) - OVERHEAD
        routers = tuple(bird.routers(cluster, owned, by_felix=True))
        return Wanted(felix.whole(cluster, side), routers, mtu, (bird.BY_FRR, felix.NO_POLICY))

    def _routes(self, cluster: Cluster, node: Node, owned: felix.Owners) -> Iterator[Route]:
        for prefix, other in felix.remote(cluster, node, owned, 4):
            if self.cross_subnet and felix.same_subnet(node, other, 4):
                yield felix.direct(prefix, node, other)
            else:
                via, mtu = node_ip(other, 4), node.mtu - OVERHEAD
                yield Route(prefix, dev=DEVICE, via=via, proto=felix.FELIX, onlink=True, mtu=mtu)


class IpipCrossSubnet(Ipip):
    """calico, mode ipip-crosssubnet: encapsulated only towards nodes of other subnets."""

    name = "ipip-crosssubnet"
    preset = "two-rack"
    cross_subnet = True
