"""macvlan in bridge mode by itself: a pod is a host of the physical network, its node cannot reach it.

As the CNI project's reference plugin (plugins/main/macvlan) with `mode: bridge`, its default. A frame for the parent's
own MAC goes out by the wire, where nothing returns it (drivers/net/macvlan.c): so node and own pods do not reach each
other, which bifrost's service pair mends.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.model import Cluster, Pod
from kernel.state import Macvlan, Netns
from plugins import physical
from plugins.contract import Wanted


class Bridge:
    """macvlan, mode bridge."""

    plugin = "macvlan"
    name = "bridge"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "flat"
    needs = frozenset({"macvlan"})

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Sub-interfaces on the nodes where pods are in tagged VLANs; the rest is in the pods."""
        del features
        return physical.by_themselves(cluster, "macvlan bridge", _pod_side)


def _pod_side(cluster: Cluster, pod: Pod) -> Netns:
    """eth0 with a MAC of its own on the node's wire; it tells the network of its address (arp_notify)."""
    node = cluster.node(pod.node)
    parent = physical.sub_interface(node, physical.vid_of(cluster, pod))
    nic = Macvlan(physical.POD_NIC, mtu=node.mtu, mac=pod.mac, dev=parent, dev_netns=node.name, mode="bridge")
    return Netns(pod.name, links=(nic,)).plus(physical.pod_side(cluster, pod))
