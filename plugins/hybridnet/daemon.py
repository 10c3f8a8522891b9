"""What hybridnet-daemon puts on a node in every mode: policy routing, pods' veth pairs, sysctls, firewall.

A mode says of each subnet of pods which device its packets leave by and what its routing table holds; the rest is here.
The article says table 10001 for the first subnet; the real daemon takes the first empty table from 10000 on
(pkg/daemon/route/utils.go), and so does this.

Left alone are the daemon's net.ipv4.neigh.default.gc_thresh* and net.ipv6.route.*: they are the machine's, or not a
user namespace's to set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cluster.model import Cluster, Node, Pod, Pool, family, host_veth, plain
from kernel.errors import BadInput
from kernel.state import Address, Neighbour, Netns, Route, Rule, State, Sysctl, merge
from plugins import veth
from plugins.hybridnet import firewall

LOCAL_DIRECT, TO_OVERLAY, OVERLAY_MARK, FIRST_SUBNET = 39999, 40000, 40001, 10000
"""Routing tables (pkg/daemon/config/config.go, pkg/daemon/route/utils.go)."""
NAT_MARKS = 0x4040
"""kube-proxy's masquerade mark and hybridnet's full-NAT mark: marked packets skip the subnet tables."""
REPLY_MARK = 0x20
OVERHEAD = 50
"""Bytes that VXLAN adds: Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348)."""
FAMILIES: tuple[Literal[4, 6], ...] = (4, 6)
NEEDS = frozenset({"veth", "policy-routing", "policy-routing-v6", "proxy-neigh", "iptables", "ipset"})
"""Kernel features that every mode needs."""


@dataclass(frozen=True)
class Subnet:
    """A subnet of pods as one node sees it. Its pods' packets leave by `dev` (None on a node outside its network), led
    by `routes`, which fill its table; the table's number is given here."""

    cidr: str
    dev: str | None
    routes: tuple[Route, ...] = ()
    overlay: bool = False

    @property
    def family(self) -> int:
        """4 or 6."""
        return family(self.cidr)


def networks(cluster: Cluster, underlay: Callable[[Pool], bool]) -> tuple[tuple[Pool, ...], tuple[Pool, ...]]:
    """The pools of the overlay network and those that are `underlay`. Raises BadInput for a network that is both."""
    found: tuple[list[Pool], list[Pool]] = ([], [])
    kinds: dict[str, bool] = {}
    for pool in cluster.pools:
        kind = underlay(pool)
        if kinds.setdefault(pool.network, kind) != kind:
            what = f"network {pool.network!r} is part overlay, part underlay"
            raise BadInput(what, where="pools", remedy="make its pools alike, or give them networks of their own")
        found[kind].append(pool)
    return tuple(found[False]), tuple(found[True])


def state(cluster: Cluster, subnets: Callable[[Node], Sequence[Subnet]]) -> State:
    """Nodes and pods, as far as all modes are alike; `subnets` gives those of the whole cluster as a node sees them,
    the overlay's first."""
    parts = [node_side(cluster, node, subnets(node)) for node in cluster.nodes]
    lengths = {(pool.network, pool.family): pool.cidr.partition("/")[2] for pool in cluster.pools}
    parts += [_pod_side(pod, lengths) for pod in cluster.pods]
    return merge(State((part,)) for part in parts)


def host_end(pod: Pod) -> str:
    """The name of a pod's host end."""
    return host_veth("hybr", pod.namespace, pod.name)


def node_side(cluster: Cluster, node: Node, subnets: Sequence[Subnet]) -> Netns:
    """One node."""
    pods = cluster.pods_of(node.name)
    overlay = {subnet.cidr for subnet in subnets if subnet.overlay}
    tunnelled = {pool.network for pool in cluster.pools if pool.cidr in overlay}
    rules, routes = policy(subnets)
    facts = [_facts(cluster, node, subnets, version) for version in FAMILIES]
    return Netns(
        node.name,
        links=tuple(
            veth.pair(host_end(pod), pod, node.mtu - (OVERHEAD if pod.network in tunnelled else 0)) for pod in pods
        ),
        routes=(*_to_pods(pods), *routes),
        rules=rules,
        neighbours=tuple(Neighbour(host_end(pod), veth.NEXT_HOP_6, proxy=True) for pod in pods if speaks_six(pod)),
        sysctls=tuple(_sysctls(node, pods)),
        ipsets=tuple(one for known in facts for one in firewall.sets(known)),
        filters=tuple(one for known in facts for one in firewall.rules(known)),
    )


def policy(subnets: Sequence[Subnet]) -> tuple[tuple[Rule, ...], tuple[Route, ...]]:
    """The same three rules in each family, then one for each subnet that this node forwards for; priorities are the
    lowest free ones after 0. A subnet takes the first table that is empty (findEmptyRouteTable), so those of an overlay
    beside no underlay, which stay empty, share one."""
    rules: list[Rule] = []
    routes: list[Route] = []
    for version in FAMILIES:
        rules.append(Rule(1, LOCAL_DIRECT, version))
        rules.append(Rule(2, TO_OVERLAY, version))
        rules.append(Rule(3, OVERLAY_MARK, version, fwmark=REPLY_MARK, fwmask=REPLY_MARK))
        table, mine = FIRST_SUBNET, [one for one in subnets if one.dev and one.family == version]
        for number, subnet in enumerate(mine):
            rules.append(Rule(4 + number, table, version, src=subnet.cidr, fwmark=0, fwmask=NAT_MARKS))
            routes += [replace(route, table=table) for route in subnet.routes]
            table += bool(subnet.routes)
    return tuple(rules), tuple(routes)


def speaks_six(pod: Pod) -> bool:
    """The pod has an IPv6 address."""
    return any(veth.six(address) for address in pod.addresses)


def _to_pods(pods: Sequence[Pod]) -> Iterator[Route]:
    """Table 39999: every pod of this node by its host end, whatever its network."""
    for pod in pods:
        yield from (Route(veth.host_prefix(a), dev=host_end(pod), table=LOCAL_DIRECT) for a in pod.addresses)


def _sysctls(node: Node, pods: Sequence[Pod]) -> Iterator[Sysctl]:
    yield from veth.FORWARDING
    yield from (Sysctl(f"net.ipv4.conf.{dev}.rp_filter", "0") for dev in ("all", "default", "lo", node.nic))
    yield Sysctl("net.ipv4.conf.all.arp_filter", "0")
    for pod in pods:
        name = host_end(pod)
        yield from veth.host_sysctls(name, pod)
        yield Sysctl(f"net.ipv4.conf.{name}.rp_filter", "0")


def _facts(cluster: Cluster, node: Node, subnets: Sequence[Subnet], version: Literal[4, 6]) -> firewall.Facts:
    """What the node's firewall is made of. Without an overlay a node tells the others none of its addresses."""

    def of(addresses: Sequence[str]) -> tuple[str, ...]:
        return tuple(address for address in addresses if family(address) == version)

    mine = [subnet for subnet in subnets if subnet.family == version]
    tunnel = next((subnet.dev for subnet in subnets if subnet.overlay), None)
    return firewall.Facts(
        family=version,
        vxlan=tunnel,
        overlay=tuple(one.cidr for one in mine if one.overlay),
        underlay=tuple(one.cidr for one in mine if not one.overlay),
        local_underlay=tuple(one.cidr for one in mine if not one.overlay and one.dev),
        guarded=tuple(dict.fromkeys(one.dev for one in mine if not one.overlay and one.dev)),
        node_ips=tuple(a for one in cluster.nodes for a in of(plain(one.addresses))) if tunnel else (),
        own_ips=of(plain(node.addresses)) if tunnel else (),
        pod_ips=tuple(a for pod in cluster.pods_of(node.name) for a in of(pod.addresses)),
    )


def _pod_side(pod: Pod, lengths: Mapping[tuple[str, int], str]) -> Netns:
    """The address has the subnet's length but brings no connected route: all traffic goes through the host."""
    texts = [f"{address}/{lengths[pod.network, family(address)]}" for address in pod.addresses]
    return veth.pod_side(pod, tuple(Address(veth.POD_NIC, text, noprefixroute=True) for text in texts))
