"""bifrost: pods on macvlans over VLAN sub-interfaces, and a veth pair beside, for node and service addresses.

As the public code has it (github.com/harmonycloud/Bifrost, last commit of 2020), which differs from the article in
names only. The article's eth0-10 is eth0-vlan-10 there, and its veth0 is veth1.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface

from cluster.model import Cluster, Node, Pod, host_veth
from kernel.state import Link, Macvlan, Netns, Route, State, Sysctl, Veth, merge
from plugins import physical, veth
from plugins.contract import Wanted

SERVICE_NIC = "veth1"
"""The pod's end of the pair (pkg/utils/network_linux.go); the article's "veth0"."""
SERVICE_MTU = 1500
"""Bytes; the public code has it as a constant."""
FORWARDS = Sysctl("net.ipv4.ip_forward", "1")
"""As kubeadm demands of a node: a service's answers come in by the NIC and go on to the pair."""
SNAT = (
    "services need SNAT on the node (kube-proxy's masquerade-all, or a cluster CIDR without the pods' subnets): a "
    "backend would answer an unchanged pod address over layer 2, past the node that translated the service's address"
)
NO_PROXY_IN_PODS = (
    "pods have neither proxy_arp on eth0 nor ip_forward, which the public code sets: with both, each pod answers the "
    "physical network's ARP requests for its node and for services"
)
ALL_NODE_ADDRESSES = (
    "a pod reaches each address of its node by the pair, where the public code routes the first one only: traffic to "
    "another one would be lost, since a macvlan does not reach its own parent"
)
NAMED_BY_HASH = "bifr is followed by a hash of namespace and pod, where a container id follows on a real node"


class OnVlan:
    """bifrost, mode macvlan."""

    plugin = "bifrost"
    name = "macvlan"
    families = (4,)
    lacks = {6: "the article's table says no for bifrost, and its public code says todo"}
    preset = "trunks"
    needs = frozenset({"veth", "macvlan"})

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes and pods; the switches carry everything else, and the subnets' router routes between VLANs."""
        del features
        physical.check(cluster, "bifrost macvlan")
        parts = [State((_node_side(cluster, node),)) for node in cluster.nodes]
        parts += [State((_pod_side(cluster, pod),)) for pod in cluster.pods]
        mtu = min(node.mtu for node in cluster.nodes)
        return Wanted(merge(parts), pod_mtu=mtu, notes=(SNAT, NO_PROXY_IN_PODS, ALL_NODE_ADDRESSES, NAMED_BY_HASH))


def vlan_device(node: Node, vid: int) -> str:
    """The sub-interface under the pods of a VLAN: <master>-vlan-<id> (pkg/vlan/vlan.go), the article's "eth0-10"."""
    return f"{node.nic}-vlan-{vid}" if vid else node.nic


def host_end(pod: Pod) -> str:
    """The node's end of a pod's service pair: the article's "bifrXXX"."""
    return host_veth("bifr", pod.namespace, pod.name)


def _node_side(cluster: Cluster, node: Node) -> Netns:
    """Sub-interfaces, service pairs, and the way by them to the node's own pods."""
    pods = cluster.pods_of(node.name)
    return Netns(
        node.name,
        links=(*physical.vlan_links(cluster, node, vlan_device), *(_service_pair(pod) for pod in pods)),
        routes=tuple(
            Route(veth.host_prefix(address), dev=host_end(pod), scope="link")
            for pod in pods
            for address in pod.addresses
        ),
        sysctls=(FORWARDS, *(one for pod in pods for one in _host_sysctls(host_end(pod)))),
    )


def _service_pair(pod: Pod) -> Veth:
    """Neither end has an address: the kernel answers and asks with those of other devices."""
    peer = Link(SERVICE_NIC, mtu=SERVICE_MTU)
    return Veth(host_end(pod), mtu=SERVICE_MTU, mac=veth.HOST_MAC, peer_netns=pod.name, peer=peer)


def _host_sysctls(name: str) -> Iterator[Sysctl]:
    """The node answers for 169.254.1.1, at once, and forwards."""
    yield Sysctl(f"net.ipv4.conf.{name}.proxy_arp", "1")
    yield Sysctl(f"net.ipv4.neigh.{name}.proxy_delay", "0")
    yield Sysctl(f"net.ipv4.conf.{name}.forwarding", "1")


def _pod_side(cluster: Cluster, pod: Pod) -> Netns:
    """eth0 for all but the node and services, which are behind 169.254.1.1 on the pair."""
    node = cluster.node(pod.node)
    parent = vlan_device(node, physical.vid_of(cluster, pod))
    nic = Macvlan(veth.POD_NIC, mtu=node.mtu, mac=pod.mac, dev=parent, dev_netns=node.name, mode="bridge")
    behind = (*cluster.service_cidrs, *(f"{ip_interface(address).ip}/32" for address in node.addresses))
    routes = [Route(f"{veth.NEXT_HOP}/32", dev=SERVICE_NIC, scope="link")]
    routes += [Route(prefix, dev=SERVICE_NIC, via=veth.NEXT_HOP) for prefix in behind]
    return physical.pod_side(cluster, pod).plus(Netns(pod.name, links=(nic,), routes=tuple(routes)))
