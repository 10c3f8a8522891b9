"""calico's VXLAN: between nodes a packet travels in UDP to port 4789 (RFC 7348), without learning and without BGP.

Each node's tunnel address and MAC are known beforehand, so a remote block has a route by way of its node's tunnel
address, that address a permanent neighbour, and that MAC a forwarding entry; nothing is ever flooded
(felix/dataplane/linux/vxlan_mgr.go, felix/vxlanfdb). A device for each family: IPv6 packets travel between the nodes'
IPv6 addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cluster.model import Cluster, Node
from kernel.state import Address, Fdb, Neighbour, Netns, Route
from kernel.state import Vxlan as VxlanLink
from plugins.calico import felix, firewall
from plugins.contract import Wanted
from plugins.nodes import node_ip

VNI, PORT = 4096, 4789
"""vxlanVNI and vxlanPort, defaults."""
BOOT = 3
"""Protocol of tunnel routes (FelixConfiguration.deviceRouteProtocol)."""
NO_BGP = "no BGP: with VXLAN felix takes all routes from the datastore (CALICO_NETWORKING_BACKEND=vxlan)"


@dataclass(frozen=True)
class Device:
    """The tunnel device of one family, and the bytes that it adds to a packet."""

    family: Literal[4, 6]
    name: str
    overhead: int


DEVICES = (Device(4, "vxlan.calico", 50), Device(6, "vxlan-v6.calico", 70))
"""Ethernet 14, IPv4 20 or IPv6 40, UDP 8, VXLAN 8 (felix/dataplane/linux/dataplanedefs)."""


class Vxlan:
    """calico, mode vxlan (vxlanMode Always): encapsulated between any two nodes."""

    plugin = "calico"
    name = "vxlan"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "default"
    needs = felix.NEEDS | {"vxlan"}
    cross_subnet = False

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes with their tunnels, and pods. A pod's MTU leaves room for the largest of the overheads."""
        del features
        felix.check(cluster)
        owned = felix.owners(cluster)
        devices = [one for one in DEVICES if any(pool.family == one.family for pool in cluster.pools)]
        room = max(device.overhead for device in devices)

        def side(node: Node) -> Netns:
            tunnels = [firewall.vxlan(d.name, d.family, PORT, _others(cluster, node, d.family)) for d in devices]
            chains = Netns(
                node.name,
                ipsets=tuple(firewall.sets(cluster, tunnels)),
                filters=tuple(firewall.rules(cluster, tunnels)),
            )
            whole = felix.workloads(cluster, node, node.mtu - room).plus(chains)
            for device in devices:
                whole = whole.plus(self._tunnel(cluster, node, device, owned))
            return whole

        mtu = min(node.mtu for node in cluster.nodes) - room
        return Wanted(felix.whole(cluster, side), pod_mtu=mtu, notes=(NO_BGP, felix.NO_POLICY))

    def _tunnel(self, cluster: Cluster, node: Node, device: Device, owned: felix.Owners) -> Netns:
        """One device with its peers, and the routes into it and beside it."""
        version, others = device.family, [other for other in cluster.nodes if other.name != node.name]
        own = felix.tunnel_address(cluster, node, version)
        link = VxlanLink(
            device.name,
            mtu=node.mtu - device.overhead,
            mac=felix.vtep_mac(node, version),
            vni=VNI,
            dev=node.nic,
            local=node_ip(node, version),
            port=PORT,
        )
        return Netns(
            node.name,
            links=(link,),
            addresses=(Address(device.name, f"{own}/{32 if version == 4 else 128}"),),
            routes=tuple(self._routes(cluster, node, device, owned)),
            neighbours=tuple(
                Neighbour(device.name, felix.tunnel_address(cluster, other, version), felix.vtep_mac(other, version))
                for other in others
            ),
            fdb=tuple(Fdb(device.name, felix.vtep_mac(other, version), node_ip(other, version)) for other in others),
        )

    def _routes(self, cluster: Cluster, node: Node, device: Device, owned: felix.Owners) -> Iterator[Route]:
        for prefix, other in felix.remote(cluster, node, owned, device.family):
            if self.cross_subnet and felix.same_subnet(node, other, device.family):
                yield felix.direct(prefix, node, other)
            else:
                via, mtu = felix.tunnel_address(cluster, other, device.family), node.mtu - device.overhead
                yield Route(prefix, dev=device.name, via=via, proto=BOOT, onlink=True, mtu=mtu)


class VxlanCrossSubnet(Vxlan):
    """calico, mode vxlan-crosssubnet: encapsulated only towards nodes of other subnets."""

    name = "vxlan-crosssubnet"
    preset = "two-rack"
    cross_subnet = True


def _others(cluster: Cluster, node: Node, version: int) -> list[str]:
    return [node_ip(other, version) for other in cluster.nodes if other.name != node.name]
