"""hybridnet's overlay: policy routing into one VXLAN device a node, as hybridnet 0.8.9 does it.

The article says eth0.vxlan20; the device is named after the Network's netID, 4 in hybridnet's chart. The other modes
have this tunnel too where some of their pods are in an overlay network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cluster.model import Cluster, Node, Pod, Pool, plain
from kernel.state import (
    DEFAULT,
    Address,
    BroadcastRewrite,
    Fdb,
    Neighbour,
    Netns,
    Resolver,
    Route,
    State,
    Sysctl,
    merge,
)
from kernel.state import Vxlan as VxlanLink
from plugins import veth
from plugins.contract import Wanted
from plugins.hybridnet import daemon
from plugins.hybridnet.daemon import OVERHEAD, OVERLAY_MARK, TO_OVERLAY, Subnet
from plugins.hybridnet.ranges import excluded

NET_ID = 4
"""The overlay Network's netID in hybridnet's chart: the VNI."""
PORT = 8472
"""--vxlan-udp-port, default."""
REPLICATED_MAC = "ff:ff:ff:ff:ff:f1"
"""The FDB entry of this MAC has every VTEP as destination; tc turns broadcasts into it."""
ZERO_MAC = "00:00:00:00:00:00"
REACHABLE_MS = 5000
"""--vxlan-base-reachable-time, default, in milliseconds."""
NEEDS = frozenset({"vxlan", "app-solicit"})
"""Kernel features that the tunnel needs."""
REWRITE = frozenset({"prio", "u32", "pedit"})
NO_REWRITE = (
    "this kernel lacks prio or pedit, so broadcasts go through an all-zero FDB entry for each node, as hybridnet did "
    "before 0.8.6, and not through the entry of ff:ff:ff:ff:ff:f1"
)
RESOLVED_HERE = "podpath's own listener answers the kernel's app_solicit questions in the place of hybridnet-daemon"


class Vxlan:
    """hybridnet, mode vxlan."""

    plugin = "hybridnet"
    name = "vxlan"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "default"
    needs = daemon.NEEDS | NEEDS

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes and pods; no BGP."""
        mtu = min(node.mtu for node in cluster.nodes) - OVERHEAD
        alike = daemon.state(cluster, lambda node: subnets(node, cluster.pools, {}))
        return Wanted(merge((alike, tunnels(cluster, features, cluster.pools))), pod_mtu=mtu, notes=notes(features))


def device(node: Node) -> str:
    """The VXLAN device's name: <parent>.vxlan<netID> (pkg/daemon/utils/network.go)."""
    return f"{node.nic}.vxlan{NET_ID}"


def vtep(node: Node) -> str:
    """A node's tunnel address: its first IPv4 address, else its first."""
    addresses = plain(node.addresses)
    return next((address for address in addresses if not veth.six(address)), addresses[0])


def subnets(node: Node, overlay: Sequence[Pool], underlay: Mapping[Pool, str | None]) -> list[Subnet]:
    """The overlay's subnets. `underlay` are the other subnets of the cluster, and the gateway of each: an overlay pod's
    packet for a pod there goes through the tunnel too, one for an address there that no pod has does not. With
    autoNatOutgoing the table leads nowhere else: the rest falls through to main and is masqueraded."""
    return [Subnet(one.cidr, device(node), tuple(_to_underlay(node, one, underlay)), overlay=True) for one in overlay]


def _to_underlay(node: Node, overlay: Pool, underlay: Mapping[Pool, str | None]) -> Iterator[Route]:
    for pool, gateway in underlay.items():
        if pool.family == overlay.family:
            yield Route(pool.cidr, dev=device(node))
            yield from (Route(block, kind="throw") for block in excluded(pool, gateway))


def notes(features: frozenset[str]) -> tuple[str, ...]:
    """What is different from a real node."""
    return (RESOLVED_HERE,) if features >= REWRITE else (RESOLVED_HERE, NO_REWRITE)


def tunnels(cluster: Cluster, features: frozenset[str], overlay: Sequence[Pool]) -> State:
    """Every node's tunnel."""
    return State(tuple(node_side(cluster, node, overlay, features >= REWRITE) for node in cluster.nodes))


def node_side(cluster: Cluster, node: Node, overlay: Sequence[Pool], rewrite: bool) -> Netns:
    """The VXLAN device of one node and what leads into it and out of it."""
    pods, vxlan = cluster.pods_of(node.name), device(node)
    tunnel = VxlanLink(
        vxlan,
        mtu=node.mtu - OVERHEAD,
        mac=node.mac,
        vni=NET_ID,
        dev=node.nic,
        local=vtep(node),
        port=PORT,
        learning=True,
    )
    return Netns(
        node.name,
        links=(tunnel,),
        addresses=tuple(Address(vxlan, address, noprefixroute=True) for address in node.addresses),
        routes=tuple(_routes(vxlan, overlay)),
        neighbours=tuple(Neighbour(vxlan, address, proxy=True) for pod in pods for address in pod.addresses),
        fdb=tuple(_fdb(cluster, node, vxlan, rewrite)),
        sysctls=tuple(_sysctls(vxlan, pods)),
        rewrites=(BroadcastRewrite(vxlan, REPLICATED_MAC),) if rewrite else (),
        resolvers=(Resolver(vxlan, tuple(_answers(cluster, node))),),
    )


def _routes(vxlan: str, overlay: Sequence[Pool]) -> Iterator[Route]:
    """Table 40000: the overlay, but not what no pod of it has; 40001: replies of its pods to nodes."""
    for pool in overlay:
        yield Route(pool.cidr, dev=vxlan, table=TO_OVERLAY)
        yield from (Route(one, kind="throw", table=TO_OVERLAY) for one in excluded(pool, pool.gateway))
    yield from (Route(dst, dev=vxlan, table=OVERLAY_MARK) for dst in DEFAULT.values())


def _fdb(cluster: Cluster, node: Node, vxlan: str, rewrite: bool) -> Iterator[Fdb]:
    """Two entries for each other node: its own MAC, and the one of head-end replication."""
    for other in cluster.nodes:
        if other.name != node.name:
            yield Fdb(vxlan, other.mac, vtep(other))
            yield Fdb(vxlan, REPLICATED_MAC if rewrite else ZERO_MAC, vtep(other))


def _answers(cluster: Cluster, node: Node) -> Iterator[tuple[str, str]]:
    """Every remote pod and node is behind the MAC of its node."""
    for other in cluster.nodes:
        if other.name != node.name:
            yield from ((address, other.mac) for address in plain(other.addresses))
            yield from ((a, other.mac) for pod in cluster.pods_of(other.name) for a in pod.addresses)


def _sysctls(vxlan: str, pods: Sequence[Pod]) -> Iterator[Sysctl]:
    dev = vxlan.replace(".", "/")  # sysctl(8) writes a dot in a device's name as a slash
    for version in ("ipv4", "ipv6"):
        yield Sysctl(f"net.{version}.neigh.{dev}.app_solicit", "1")
        yield Sysctl(f"net.{version}.neigh.{dev}.base_reachable_time_ms", str(REACHABLE_MS))
    yield Sysctl(f"net.ipv6.conf.{dev}.accept_ra", "0")
    if any(daemon.speaks_six(pod) for pod in pods):
        yield Sysctl(f"net.ipv6.conf.{dev}.proxy_ndp", "1")
