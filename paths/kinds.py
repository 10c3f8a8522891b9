"""Which two ends a documented path is about.

Of two pods its name says in what they agree and in what they differ: `same-node`, `cross-node`,
`cross-node-other-subnet`, ... Of a pod and somebody else it says who: `pod-to-own-node`, `client-to-pod`, ... (AROUND).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface

from cluster.model import Cluster, Pod, family
from kernel.errors import BadInput

SAME, OTHER = ("same",), ("cross", "other")


@dataclass(frozen=True)
class End:
    """One end of a path: a namespace, and the node that it is on or is; "" for the client."""

    name: str
    node: str = ""


def _subnet(cluster: Cluster, pod: Pod, version: int) -> str | None:
    """That of the pod's node."""
    addresses = (ip_interface(address) for address in cluster.node(pod.node).addresses)
    return next((str(one.network) for one in addresses if one.version == version), None)


def _vlan(cluster: Cluster, pod: Pod, version: int) -> str:
    address = next(address for address in pod.addresses if family(address) == version)
    return str(cluster.pool_of(address).vlan)


def vlan(cluster: Cluster, end: End, version: int) -> int | None:
    """The VLAN that an end's address is in, 0 untagged; None for one that is no pod, or whose pool has none."""
    pod = next((pod for pod in cluster.pods if pod.name == end.name), None)
    address = next((one for one in pod.addresses if family(one) == version), None) if pod else None
    return cluster.pool_of(address).vlan if address else None


ATTRIBUTES: dict[str, Callable[[Cluster, Pod, int], str | None]] = {
    "node": lambda _cluster, pod, _version: pod.node,
    "subnet": _subnet,
    "vlan": _vlan,
    "network": lambda _cluster, pod, _version: pod.network,
}
"""What the second word of each pair of words means."""


def backwards(kind: str) -> str:
    """The kind of the answer's way: a pair of pods has one for both ways."""
    source, found, target = kind.partition("-to-")
    return f"{target}-to-{source}" if found else kind


def pair(cluster: Cluster, kind: str, version: int) -> tuple[End, End] | None:
    """The first two ends of that kind that both have an address of family `version`, 4 or 6. Raises BadInput for a
    name that is no kind."""
    pods = [pod for pod in cluster.pods if _has(pod.addresses, version)]
    if kind in AROUND:
        found = AROUND[kind]
        return next(found(cluster, pods, version), None)
    wanted = _parsed(kind)
    looks = {pod.name: {name: ATTRIBUTES[name](cluster, pod, version) for name, _ in wanted} for pod in pods}
    for a in pods:
        for b in pods:
            agree = ((looks[a.name][name] == looks[b.name][name]) == same for name, same in wanted)
            if a.name != b.name and all(agree):
                return End(a.name, a.node), End(b.name, b.node)
    return None


def _has(addresses: Sequence[str], version: int) -> bool:
    return any(family(address) == version for address in addresses)


def _parsed(kind: str) -> list[tuple[str, bool]]:
    words = kind.split("-")
    found = [(name, how in SAME) for how, name in zip(words[::2], words[1::2], strict=False)]
    if len(words) % 2 or not all(
        n in ATTRIBUTES and h in SAME + OTHER for h, n in zip(words[::2], words[1::2], strict=True)
    ):
        remedy = f"join pairs of words: same or other, and one of {', '.join(ATTRIBUTES)}; or {', '.join(AROUND)}"
        raise BadInput(f"{kind!r} is no kind of pair", where="paths/documented", remedy=remedy)
    return found


# -- a pod and somebody else -----------------------------------------------------------------------------

Ends = Iterator[tuple[End, End]]
Pods = Sequence[Pod]


def _own_node(cluster: Cluster, pods: Pods, version: int) -> Ends:
    for pod in pods:
        if _has(cluster.node(pod.node).addresses, version):
            yield End(pod.name, pod.node), End(pod.node, pod.node)


def _other_node(cluster: Cluster, pods: Pods, version: int) -> Ends:
    for pod in pods:
        for node in cluster.nodes:
            if node.name != pod.node and _has(node.addresses, version):
                yield End(pod.name, pod.node), End(node.name, node.name)


def _client(cluster: Cluster, pods: Pods, version: int) -> Ends:
    if (client := cluster.client) and _has(client.addresses, version):
        yield from ((End(pod.name, pod.node), End(client.netns)) for pod in pods)


def _turned(ends: Callable[[Cluster, Pods, int], Ends]) -> Callable[[Cluster, Pods, int], Ends]:
    return lambda *arguments: ((b, a) for a, b in ends(*arguments))


def _peered(cluster: Cluster, pods: Pods, version: int) -> Ends:
    return _turned(_client)(cluster, pods if cluster.routers else (), version)


def _unpeered(cluster: Cluster, pods: Pods, version: int) -> Ends:
    return _turned(_client)(cluster, () if cluster.routers else pods, version)


AROUND: dict[str, Callable[[Cluster, Pods, int], Ends]] = {
    "pod-to-own-node": _own_node,
    "own-node-to-pod": _turned(_own_node),
    "pod-to-other-node": _other_node,
    "other-node-to-pod": _turned(_other_node),
    "pod-to-client": _client,
    "client-to-pod": _turned(_client),
    "client-to-announced-pod": _peered,
    "client-to-unannounced-pod": _unpeered,
}
"""Pairs of a pod with a node or the client outside. A pod is announced where a router of the lab speaks BGP."""
