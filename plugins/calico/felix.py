"""Felix's part that all modes share: pods' veths, host routes, blocks, and who owns which address.

Facts: calico 3.33 and later; the files named are of the calico repository.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_interface, ip_network

from cluster.model import Cluster, Node, Pod, family, host_veth
from kernel.errors import BadInput
from kernel.state import Address, Neighbour, Netns, Route, State, Sysctl, merge
from plugins import veth
from plugins.nodes import node_ip

NEEDS = frozenset({"veth", "proxy-neigh", "iptables", "ipset"})
FELIX = 80
"""Route protocol of what felix programs through its block and tunnel managers (DefaultRouteProto)."""
NORMAL_PRIORITY = 1024
"""Metric of local IPv4 workload routes since 3.32; the kernel gives IPv6 routes the same by itself."""
NO_POLICY = (
    "felix's chains for policies and floating IPs are not made: without a NetworkPolicy the former accept everything, "
    "and the latter are empty"
)
Owners = Mapping[str, tuple[str, ...]]
"""Node -> what it owns: its blocks, then single addresses that its pods borrow from others' blocks."""


def check(cluster: Cluster) -> None:
    """Raises BadInput for pools that calico has no use for, or that nodes cannot carry."""
    if strange := next((pool for pool in cluster.pools if pool.vlan is not None), None):
        what = f"the pool {strange.cidr} is a subnet of the physical network, and calico's pools are none"
        raise BadInput(what, where="pools", remedy="leave its `vlan` out, or choose hybridnet vlan or bifrost")
    for node in cluster.nodes:
        for version in {pool.family for pool in cluster.pools}:
            node_ip(node, version)


def whole(cluster: Cluster, side: Callable[[Node], Netns]) -> State:
    """All nodes, each with what its `side` says, and all pods."""
    nodes = [State((side(node),)) for node in cluster.nodes]
    return merge((*nodes, *(State((_pod_side(pod),)) for pod in cluster.pods)))


def host_end(pod: Pod) -> str:
    """The name of a pod's host end (libcalico-go, workload_endpoint_default.go)."""
    return host_veth("cali", pod.namespace, pod.name)


def workloads(cluster: Cluster, node: Node, mtu: int) -> Netns:
    """A node's pods and blocks; `mtu` is the pods'."""
    pods = cluster.pods_of(node.name)
    return Netns(
        node.name,
        links=tuple(veth.pair(host_end(pod), pod, mtu) for pod in pods),
        routes=(*_to_pods(pods), *_guards(cluster, node)),
        neighbours=tuple(_neighbours(pods)),
        sysctls=(*veth.FORWARDING, *(one for pod in pods for one in _sysctls(pod))),
    )


def _to_pods(pods: tuple[Pod, ...]) -> Iterator[Route]:
    for pod in pods:
        for address in pod.addresses:
            dst = veth.host_prefix(address)
            if veth.six(address):
                yield Route(dst, dev=host_end(pod))
            else:
                yield Route(dst, dev=host_end(pod), scope="link", metric=NORMAL_PRIORITY)


def _guards(cluster: Cluster, node: Node) -> Iterator[Route]:
    """A blackhole for the rest of each block, so that a packet for an address which nobody has is dropped here and
    does not wander back along the default route. A block of one address has none (routeIsLocalBlock)."""
    for block in cluster.blocks:
        if block.node == node.name and ip_network(block.cidr).num_addresses > 1:
            yield Route(block.cidr, kind="blackhole", proto=FELIX)


def _neighbours(pods: tuple[Pod, ...]) -> Iterator[Neighbour]:
    """IPv4 only (routetable, WithStaticARPEntries)."""
    for pod in pods:
        yield from (Neighbour(host_end(pod), one, pod.mac) for one in pod.addresses if not veth.six(one))


def _sysctls(pod: Pod) -> Iterator[Sysctl]:
    """configureSysctls; rp_filter is the namespace's default already, as configureInterface wants it."""
    name = host_end(pod)
    yield from veth.host_sysctls(name, pod)
    if any(veth.six(address) for address in pod.addresses):
        yield Sysctl(f"net.ipv6.conf.{name}.accept_dad", "0")
    yield Sysctl(f"net.ipv6.conf.{name}.accept_ra", "0")


def _pod_side(pod: Pod) -> Netns:
    """Host addresses; a pod does not forward (configureContainerSysctls)."""
    side = veth.pod_side(pod, tuple(Address(veth.POD_NIC, veth.host_prefix(address)) for address in pod.addresses))
    keys = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
    return side.plus(Netns(pod.name, sysctls=tuple(Sysctl(keys[family(one)], "0") for one in pod.addresses)))


# -- who owns which address ------------------------------------------------------------------------------


def owners(cluster: Cluster) -> Owners:
    """Each node's blocks and borrowed addresses. A pod with an address of another node's block has borrowed it: the
    single address is announced, and the longest prefix wins (libcalico-go/lib/ipam, AutoAssign without strictAffinity).
    """
    found: dict[str, tuple[str, ...]] = {}
    for node in cluster.nodes:
        blocks = [ip_network(block.cidr) for block in cluster.blocks if block.node == node.name]
        addresses = [address for pod in cluster.pods_of(node.name) for address in pod.addresses]
        strange = [one for one in addresses if not any(ip_address(one) in block for block in blocks)]
        found[node.name] = (*map(str, blocks), *map(veth.host_prefix, strange))
    return found


def remote(cluster: Cluster, node: Node, owned: Owners, version: int) -> Iterator[tuple[str, Node]]:
    """Every prefix that another node owns, with that node."""
    for other in cluster.nodes:
        if other.name != node.name:
            yield from ((prefix, other) for prefix in owned[other.name] if family(prefix) == version)


def same_subnet(node: Node, other: Node, version: int) -> bool:
    """The other node's address is inside this node's own subnet (felix/calc/l3_route_resolver.go)."""
    own = next(ip_interface(address).network for address in node.addresses if family(address) == version)
    return ip_address(node_ip(other, version)) in own


def direct(prefix: str, node: Node, other: Node) -> Route:
    """A remote prefix without encapsulation: by way of the other node's address (noEncapRoute)."""
    return Route(prefix, dev=node.nic, via=node_ip(other, family(prefix)), proto=FELIX, onlink=True)


def tunnel_address(cluster: Cluster, node: Node, version: int) -> str:
    """A node's tunnel address: its first allocation, so the first address of its first block
    (node/pkg/allocateip/allocateip.go). One that a pod has been given by hand is passed over."""
    taken = {address for pod in cluster.pods for address in pod.addresses}
    blocks = (ip_network(b.cidr) for b in cluster.blocks if b.node == node.name and family(b.cidr) == version)
    for block in blocks:
        if free := next((str(one) for one in block if str(one) not in taken), None):
            return free
    what = f"node {node.name!r} has no address left for its tunnel"
    raise BadInput(what, where="pools", remedy="make the pool's blocks larger")


def vtep_mac(node: Node, version: int) -> str:
    """66 and the first five bytes of the SHA-1 of the node's name (felix/calc/vxlan_resolver.go).

    >>> vtep_mac(Node("node1", "eth0", "", ()), 4)
    '66:f9:37:c3:7e:94'
    """
    name = node.name if version == 4 else f"{node.name}-v6"
    return "66:" + hashlib.sha1(name.encode()).digest()[:5].hex(":")
