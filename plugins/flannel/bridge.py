"""What all of flannel's backends share: a subnet and a bridge for each node, pods on the bridge, masquerading.

The bridge is the CNI plugin `bridge`'s, which flannel's own delegates to (isDefaultGateway, hairpinMode); subnets,
chains and routes are flanneld's. Files named are of github.com/flannel-io/flannel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from cluster.model import Cluster, Node, Pod, family, host_veth
from kernel.errors import BadInput
from kernel.state import DEFAULT, Address, Bridge, FilterRule, Link, Netns, Route, State, Sysctl, Veth, merge
from plugins.veth import FORWARDING, POD_NIC

Network = IPv4Network | IPv6Network
Subnets = Mapping[str, tuple[Network, ...]]
"""Node -> its subnet in each family."""
BRIDGE = "cni0"
NEEDS = frozenset({"veth", "bridge", "iptables"})
GATEWAY, FIRST_POD = 1, 2
"""Numbers within a subnet: the bridge's address and the first pod's (CNI's host-local)."""
KUBE_PROXY = "0x4000/0x4000"
"""kube-proxy's masquerade mark (pkg/trafficmngr/trafficmngr.go)."""
MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}


def subnets(cluster: Cluster) -> Subnets:
    """Raises BadInput where flannel could not give each node one subnet, or a pod has the bridge's address."""
    found: dict[str, tuple[Network, ...]] = {}
    for node in cluster.nodes:
        mine = tuple(ip_network(block.cidr) for block in cluster.blocks if block.node == node.name)
        if len({network.version for network in mine}) < len(mine) or any(
            pool.vlan is not None for pool in cluster.pools
        ):
            what = f"node {node.name!r} would have several subnets of one family, and flannel gives it one"
            raise BadInput(
                what, where="pools", remedy="state one pool of each family, with blocks that hold a node's pods"
            )
        found[node.name] = mine
    for pod in cluster.pods:
        for network in found[pod.node]:
            if str(network[GATEWAY]) in pod.addresses:
                what = f"pod {pod.name!r} has {network[GATEWAY]}, which is the address of {pod.node}'s bridge"
                raise BadInput(what, where="pods", remedy="give it another address")
    return found


def whole(cluster: Cluster, mtu: Callable[[Node], int], backend: Callable[[Node], Netns]) -> State:
    """All nodes with what their backend adds, and all pods; `mtu` gives a node's pods'."""
    given = subnets(cluster)
    parts = [node_side(cluster, node, given[node.name], mtu(node)).plus(backend(node)) for node in cluster.nodes]
    parts += [_pod_side(cluster, pod, given[pod.node]) for pod in cluster.pods]
    return merge(State((part,)) for part in parts)


def host_end(pod: Pod) -> str:
    """The name of a pod's host end; CNI's is `veth` and eight random hex digits."""
    return host_veth("veth", pod.namespace, pod.name)[:12]


def node_side(cluster: Cluster, node: Node, mine: tuple[Network, ...], mtu: int) -> Netns:
    """The bridge with its pods, and the chains."""
    pods = cluster.pods_of(node.name)
    return Netns(
        node.name,
        links=(Bridge(BRIDGE, mtu=mtu), *(_pair(pod, mtu) for pod in pods)),
        addresses=tuple(Address(BRIDGE, f"{network[GATEWAY]}/{network.prefixlen}") for network in mine),
        sysctls=FORWARDING,
        filters=tuple(rule for network in mine for rule in _rules(cluster, network)),
    )


def _pair(pod: Pod, mtu: int) -> Veth:
    peer = Link(POD_NIC, mtu=mtu, mac=pod.mac)
    return Veth(host_end(pod), mtu=mtu, master=BRIDGE, peer_netns=pod.name, peer=peer)


def _pod_side(cluster: Cluster, pod: Pod, mine: tuple[Network, ...]) -> Netns:
    """On the bridge's subnet; everything else, the rest of the cluster by name, goes by way of the bridge."""
    addresses, routes = [], []
    for address in pod.addresses:
        network = next(one for one in mine if one.version == family(address))
        gateway, pool = str(network[GATEWAY]), cluster.pool_of(address)
        addresses.append(Address(POD_NIC, f"{address}/{network.prefixlen}"))
        routes += [Route(dst, dev=POD_NIC, via=gateway) for dst in (pool.cidr, DEFAULT[network.version])]
    sysctls = tuple(Sysctl(f"net.ipv6.conf.{POD_NIC}.accept_dad", "0") for one in pod.addresses if family(one) == 6)
    return Netns(pod.name, addresses=tuple(addresses), routes=tuple(routes), sysctls=sysctls)


def remote(given: Subnets, cluster: Cluster, node: Node, version: int) -> Iterator[tuple[Network, Node]]:
    """The other nodes' subnets of one family."""
    for other in cluster.nodes:
        if other.name != node.name:
            yield from ((network, other) for network in given[other.name] if network.version == version)


def _rules(cluster: Cluster, mine: Network) -> Iterator[FilterRule]:
    """Nothing is translated within the cluster, what leaves it is, and so is what enters it from the node itself
    (masqRules, forwardRules in pkg/trafficmngr/iptables/iptables.go)."""
    version: Literal[4, 6] = 4 if mine.version == 4 else 6
    pods, whole_cluster = str(mine), next(pool.cidr for pool in cluster.pools if pool.family == version)

    def nat(*args: str) -> FilterRule:
        return FilterRule(version, "nat", "FLANNEL-POSTRTG", args)

    yield FilterRule(version, "nat", "POSTROUTING", ("-j", "FLANNEL-POSTRTG"))
    yield nat("-m", "mark", "--mark", KUBE_PROXY, "-j", "RETURN")
    yield nat("-s", pods, "-d", whole_cluster, "-j", "RETURN")
    yield nat("-s", whole_cluster, "-d", pods, "-j", "RETURN")
    yield nat("!", "-s", whole_cluster, "-d", pods, "-j", "RETURN")
    yield nat("-s", whole_cluster, "!", "-d", MULTICAST[version], "-j", "MASQUERADE", "--random-fully")
    yield nat("!", "-s", whole_cluster, "-d", whole_cluster, "-j", "MASQUERADE", "--random-fully")
    yield FilterRule(version, "filter", "FORWARD", ("-j", "FLANNEL-FWD"))
    yield FilterRule(version, "filter", "FLANNEL-FWD", ("-s", whole_cluster, "-j", "ACCEPT"))
    yield FilterRule(version, "filter", "FLANNEL-FWD", ("-d", whole_cluster, "-j", "ACCEPT"))
