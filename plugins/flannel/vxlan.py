"""flannel's VXLAN: for each other node one route, one permanent neighbour and one forwarding entry (RFC 7348).

A remote subnet's first address is its node's tunnel address, so its route goes by way of that address on flannel.1;
the neighbour gives its MAC, and the forwarding entry its node (pkg/backend/vxlan).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from cluster.model import Cluster, Node
from kernel.state import Address, Fdb, Neighbour, Netns, Route, Sysctl
from kernel.state import Vxlan as VxlanLink
from plugins.contract import Wanted
from plugins.flannel import bridge
from plugins.nodes import node_ip

VNI = 1
PORT = 8472
"""The kernel's default, which flannel leaves alone."""
OVERHEAD = 50
"""Bytes; in IPv6 the tunnel adds 70, and flannel takes off 50 all the same (pkg/backend/vxlan/device.go)."""
HEADROOM = {4: 50, 6: 70}
"""What a VXLAN device must leave of its NIC's MTU: asked for more, the kernel gives it that (net/vxlan.h)."""
DEVICES = {4: f"flannel.{VNI}", 6: f"flannel-v6.{VNI}"}


class Vxlan:
    """flannel, mode vxlan."""

    plugin = "flannel"
    name = "vxlan"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "node-subnets"
    needs = bridge.NEEDS | {"vxlan"}
    first_pod = bridge.FIRST_POD

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes with their tunnels, and pods."""
        del features
        subnets = bridge.subnets(cluster)
        state = bridge.whole(
            cluster,
            lambda node: node.mtu - OVERHEAD,
            lambda node: _tunnels(cluster, node, subnets),
        )
        return Wanted(state, pod_mtu=min(node.mtu for node in cluster.nodes) - OVERHEAD)


def _tunnels(cluster: Cluster, node: Node, subnets: bridge.Subnets) -> Netns:
    """A device for each family of the node's subnets, and what leads to the other nodes."""
    parts: dict[str, list[Any]] = {n: [] for n in ("links", "addresses", "routes", "neighbours", "fdb", "sysctls")}
    for own in subnets[node.name]:
        version, device = own.version, DEVICES[own.version]
        local, mtu = node_ip(node, version), node.mtu - HEADROOM[version]
        parts["links"].append(
            VxlanLink(device, mtu=mtu, mac=_mac(node, device), vni=VNI, dev=node.nic, local=local, port=PORT)
        )
        parts["addresses"].append(Address(device, f"{own[0]}/{own.max_prefixlen}"))
        parts["sysctls"].append(Sysctl(f"net.ipv6.conf.{device.replace('.', '/')}.accept_ra", "0"))
        for subnet, other in bridge.remote(subnets, cluster, node, version):
            far, mac = str(subnet[0]), _mac(other, device)
            parts["routes"].append(Route(str(subnet), dev=device, via=far, onlink=True))
            parts["neighbours"].append(Neighbour(device, far, mac))
            parts["fdb"].append(Fdb(device, mac, node_ip(other, version)))
    return Netns(node.name, **{name: tuple(items) for name, items in parts.items()})


def _mac(node: Node, device: str) -> str:
    """flannel draws a random one and keeps it; here it follows from the name."""
    return "02:" + hashlib.sha1(f"{node.name}/{device}".encode()).digest()[:5].hex(":")
