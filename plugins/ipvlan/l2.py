"""ipvlan in L2 mode by itself: every pod of a node has the node's MAC, and a frame finds its pod by the IP address.

As the CNI project's reference plugin (plugins/main/ipvlan) with `mode: l2`, its default. Switches see one MAC a node,
so port security and MAC tables do not care about pods; otherwise a pod is a host of the physical network.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.model import Cluster, Pod
from kernel.state import Ipvlan, Netns
from plugins import physical
from plugins.contract import Wanted


class L2:
    """ipvlan, mode l2."""

    plugin = "ipvlan"
    name = "l2"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "flat"
    needs = frozenset({"ipvlan"})

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Sub-interfaces on the nodes where pods are in tagged VLANs; the rest is in the pods."""
        del features
        return physical.by_themselves(cluster, "ipvlan l2", pod_side)


def pod_side(cluster: Cluster, pod: Pod) -> Netns:
    """eth0 with the parent's MAC, the address, and the default route by the subnet's router."""
    node = cluster.node(pod.node)
    parent = physical.sub_interface(node, physical.vid_of(cluster, pod))
    nic = Ipvlan(physical.POD_NIC, mtu=node.mtu, dev=parent, dev_netns=node.name, mode="l2")
    return Netns(pod.name, links=(nic,)).plus(physical.pod_side(cluster, pod))
