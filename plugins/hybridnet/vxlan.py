"""hybridnet's overlay: policy routing into one VXLAN device a node, as hybridnet 0.8.9 does it.

The article says eth0.vxlan20 and table 10001; the device is named after the Network's netID, 4 in hybridnet's chart,
and the real daemon takes the first empty table from 10000 on (pkg/daemon/route/utils.go). So does this.

Left alone are the daemon's net.ipv4.neigh.default.gc_thresh* and net.ipv6.route.*: they are the machine's, or not a
user namespace's to set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_interface
from typing import Literal

from cluster.model import Cluster, Node, Pod, host_veth
from kernel.state import (
    Address,
    BroadcastRewrite,
    Fdb,
    Neighbour,
    Netns,
    Resolver,
    Route,
    Rule,
    State,
    Sysctl,
    merge,
)
from kernel.state import Vxlan as VxlanLink
from plugins import veth
from plugins.contract import Wanted
from plugins.hybridnet import firewall

NET_ID = 4
"""The overlay Network's netID in hybridnet's chart: the VNI."""
PORT = 8472
"""--vxlan-udp-port, default."""
OVERHEAD = 50
"""Bytes: Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348)."""
LOCAL_DIRECT, TO_OVERLAY, OVERLAY_MARK, FIRST_SUBNET = 39999, 40000, 40001, 10000
"""Routing tables (pkg/daemon/config/config.go)."""
NAT_MARKS = 0x4040
"""kube-proxy's masquerade mark and hybridnet's full-NAT mark: marked packets skip the subnet tables."""
REPLY_MARK = 0x20
REPLICATED_MAC = "ff:ff:ff:ff:ff:f1"
"""The FDB entry of this MAC has every VTEP as destination; tc turns broadcasts into it."""
ZERO_MAC = "00:00:00:00:00:00"
REACHABLE_MS = 5000
"""--vxlan-base-reachable-time, default, in milliseconds."""
REWRITE = frozenset({"prio", "u32", "pedit"})
NO_REWRITE = (
    "this kernel lacks prio or pedit, so broadcasts go through an all-zero FDB entry for each node, as hybridnet did "
    "before 0.8.6, and not through the entry of ff:ff:ff:ff:ff:f1"
)
RESOLVED_HERE = "podpath's own listener answers the kernel's app_solicit questions in the place of hybridnet-daemon"
FAMILIES: tuple[Literal[4, 6], ...] = (4, 6)


class Vxlan:
    """hybridnet, mode vxlan."""

    plugin = "hybridnet"
    name = "vxlan"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "default"
    needs = frozenset(
        {"veth", "vxlan", "policy-routing", "policy-routing-v6", "proxy-neigh", "app-solicit", "iptables", "ipset"}
    )

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes and pods; no BGP."""
        rewrite = features >= REWRITE
        mtu = min(node.mtu for node in cluster.nodes) - OVERHEAD
        parts = [State((node_side(cluster, node, rewrite),)) for node in cluster.nodes]
        parts += [State((_pod_side(cluster, pod),)) for pod in cluster.pods]
        notes = (RESOLVED_HERE,) if rewrite else (RESOLVED_HERE, NO_REWRITE)
        return Wanted(merge(parts), pod_mtu=mtu, notes=notes)


def device(node: Node) -> str:
    """The VXLAN device's name: <parent>.vxlan<netID> (pkg/daemon/utils/network.go)."""
    return f"{node.nic}.vxlan{NET_ID}"


def host_end(pod: Pod) -> str:
    """The name of a pod's host end."""
    return host_veth("hybr", pod.namespace, pod.name)


def vtep(node: Node) -> str:
    """A node's tunnel address: its first IPv4 address, else its first."""
    plain = [str(ip_interface(address).ip) for address in node.addresses]
    return next((address for address in plain if not veth.six(address)), plain[0])


def node_side(cluster: Cluster, node: Node, rewrite: bool) -> Netns:
    """All that hybridnet-daemon puts on one node."""
    pods = cluster.pods_of(node.name)
    vxlan, pod_ips = device(node), [address for pod in pods for address in pod.addresses]
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
    overlay = [pool.cidr for pool in cluster.pools]
    return Netns(
        node.name,
        links=(tunnel, *(veth.pair(host_end(pod), pod, node.mtu - OVERHEAD) for pod in pods)),
        addresses=tuple(Address(vxlan, address, noprefixroute=True) for address in node.addresses),
        routes=tuple(_routes(vxlan, overlay, pods)),
        rules=tuple(_rules(overlay)),
        neighbours=tuple(_proxies(vxlan, pods)),
        fdb=tuple(_fdb(cluster, node, vxlan, rewrite)),
        sysctls=tuple(_sysctls(node, vxlan, pods)),
        ipsets=tuple(
            one for f in FAMILIES for one in firewall.sets(f, _of(f, overlay), _node_ips(cluster, f), _of(f, pod_ips))
        ),
        filters=tuple(one for f in FAMILIES for one in firewall.rules(f, vxlan, _of(f, overlay), _own_ips(node, f))),
        rewrites=(BroadcastRewrite(vxlan, REPLICATED_MAC),) if rewrite else (),
        resolvers=(Resolver(vxlan, tuple(_answers(cluster, node))),),
    )


def _of(family: int, addresses: list[str]) -> list[str]:
    return [address for address in addresses if veth.six(address) == (family == 6)]


def _own_ips(node: Node, family: int) -> list[str]:
    return _of(family, [str(ip_interface(address).ip) for address in node.addresses])


def _node_ips(cluster: Cluster, family: int) -> list[str]:
    return [address for node in cluster.nodes for address in _own_ips(node, family)]


def _routes(vxlan: str, overlay: list[str], pods: tuple[Pod, ...]) -> Iterator[Route]:
    """Table 39999: local pods; 40000: the overlay; 40001: replies. The subnet tables stay empty: with
    autoNatOutgoing what is not overlay falls through to main and is masqueraded."""
    for pod in pods:
        yield from (Route(veth.host_prefix(a), dev=host_end(pod), table=LOCAL_DIRECT) for a in pod.addresses)
    yield from (Route(cidr, dev=vxlan, table=TO_OVERLAY) for cidr in overlay)
    yield Route("0.0.0.0/0", dev=vxlan, table=OVERLAY_MARK)
    yield Route("::/0", dev=vxlan, table=OVERLAY_MARK)


def _rules(overlay: list[str]) -> Iterator[Rule]:
    """The same three in each family, then one for each subnet; priorities are the lowest free ones after 0. An overlay
    subnet's table stays empty, so the next one finds the same table empty and shares it (findEmptyRouteTable)."""
    for family in FAMILIES:
        yield Rule(1, LOCAL_DIRECT, family)
        yield Rule(2, TO_OVERLAY, family)
        yield Rule(3, OVERLAY_MARK, family, fwmark=REPLY_MARK, fwmask=REPLY_MARK)
        for number, cidr in enumerate(_of(family, overlay)):
            yield Rule(4 + number, FIRST_SUBNET, family, src=cidr, fwmark=0, fwmask=NAT_MARKS)


def _proxies(vxlan: str, pods: tuple[Pod, ...]) -> Iterator[Neighbour]:
    """The node answers for its pods on the tunnel, and for the IPv6 next hop on each host end."""
    for pod in pods:
        yield from (Neighbour(vxlan, address, proxy=True) for address in pod.addresses)
        if any(veth.six(address) for address in pod.addresses):
            yield Neighbour(host_end(pod), veth.NEXT_HOP_6, proxy=True)


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
            yield from ((str(ip_interface(address).ip), other.mac) for address in other.addresses)
            yield from ((a, other.mac) for pod in cluster.pods_of(other.name) for a in pod.addresses)


def _sysctls(node: Node, vxlan: str, pods: tuple[Pod, ...]) -> Iterator[Sysctl]:
    yield from veth.FORWARDING
    yield from (Sysctl(f"net.ipv4.conf.{dev}.rp_filter", "0") for dev in ("all", "default", "lo", node.nic))
    yield Sysctl("net.ipv4.conf.all.arp_filter", "0")
    # sysctl(8) writes a dot in a device's name as a slash
    dev = vxlan.replace(".", "/")
    for version in ("ipv4", "ipv6"):
        yield Sysctl(f"net.{version}.neigh.{dev}.app_solicit", "1")
        yield Sysctl(f"net.{version}.neigh.{dev}.base_reachable_time_ms", str(REACHABLE_MS))
    yield Sysctl(f"net.ipv6.conf.{dev}.accept_ra", "0")
    if any(veth.six(address) for pod in pods for address in pod.addresses):
        yield Sysctl(f"net.ipv6.conf.{dev}.proxy_ndp", "1")
    for pod in pods:
        name = host_end(pod)
        yield from veth.host_sysctls(name, pod)
        yield Sysctl(f"net.ipv4.conf.{name}.rp_filter", "0")


def _pod_side(cluster: Cluster, pod: Pod) -> Netns:
    """The address has the subnet's length but brings no connected route: all traffic goes through the host."""
    lengths = {veth.six(pool.cidr): pool.cidr.partition("/")[2] for pool in cluster.pools}
    addresses = tuple(
        Address(veth.POD_NIC, f"{address}/{lengths[veth.six(address)]}", noprefixroute=True)
        for address in pod.addresses
    )
    return veth.pod_side(pod, addresses)
