"""Which pairs a documented path is about. Of two pods its name says in what they agree and in what they differ:
`same-node`, `cross-node`, `cross-node-other-subnet`, ...; of a pod and a node, which node it is and which way it goes:
`pod-to-own-node`, `own-node-to-pod`, ..."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Protocol

from cluster.model import Cluster, Pod, family
from kernel.errors import BadInput

SAME, OTHER = ("same",), ("cross", "other")


def _subnet(cluster: Cluster, pod: Pod, version: int) -> str | None:
    """That of the pod's node."""
    addresses = (ip_interface(address) for address in cluster.node(pod.node).addresses)
    return next((str(one.network) for one in addresses if one.version == version), None)


def _vlan(cluster: Cluster, pod: Pod, version: int) -> str:
    address = next(address for address in pod.addresses if family(address) == version)
    return str(cluster.pool_of(address).vlan)


ATTRIBUTES: dict[str, Callable[[Cluster, Pod, int], str | None]] = {
    "node": lambda _cluster, pod, _version: pod.node,
    "subnet": _subnet,
    "vlan": _vlan,
    "network": lambda _cluster, pod, _version: pod.network,
}
"""What the second word of each pair of words means."""


class End(Protocol):
    """A pod, or a node, which is on itself."""

    @property
    def name(self) -> str: ...
    @property
    def node(self) -> str: ...


@dataclass(frozen=True)
class Host:
    """A node as an end."""

    name: str

    @property
    def node(self) -> str:
        return self.name


NODES = {"own-node": True, "other-node": False}
"""Which node a pod's path leads to or comes from: its own, or another one."""


def backwards(kind: str) -> str:
    """The kind of the answer's way: a pair of pods has one for both ways."""
    source, found, target = kind.partition("-to-")
    return f"{target}-to-{source}" if found else kind


def pair(cluster: Cluster, kind: str, version: int) -> tuple[End, End] | None:
    """The first pair of that kind of which both have an address of family `version`, 4 or 6. Raises BadInput for a
    name that is no kind."""
    source, _, target = kind.partition("-to-")
    if source == "pod" and target in NODES:
        return _with_node(cluster, NODES[target], version)
    if target == "pod" and source in NODES:
        ends = _with_node(cluster, NODES[source], version)
        return ends and ends[::-1]
    return _of_pods(cluster, _parsed(kind), version)


def _with_node(cluster: Cluster, own: bool, version: int) -> tuple[End, End] | None:
    """The first pod, and its own or another node."""
    pods = [pod for pod in cluster.pods if any(family(address) == version for address in pod.addresses)]
    nodes = [node for node in cluster.nodes if any(family(address) == version for address in node.addresses)]
    found = ((pod, Host(node.name)) for pod in pods for node in nodes if (pod.node == node.name) == own)
    return next(found, None)


def _of_pods(cluster: Cluster, wanted: list[tuple[str, bool]], version: int) -> tuple[End, End] | None:
    pods = [pod for pod in cluster.pods if any(family(address) == version for address in pod.addresses)]
    looks = {pod.name: {name: ATTRIBUTES[name](cluster, pod, version) for name, _ in wanted} for pod in pods}
    for a in pods:
        for b in pods:
            agree = ((looks[a.name][name] == looks[b.name][name]) == same for name, same in wanted)
            if a.name != b.name and all(agree):
                return a, b
    return None


def _parsed(kind: str) -> list[tuple[str, bool]]:
    words = kind.split("-")
    found = [(name, how in SAME) for how, name in zip(words[::2], words[1::2], strict=False)]
    if len(words) % 2 or not all(
        n in ATTRIBUTES and h in SAME + OTHER for h, n in zip(words[::2], words[1::2], strict=True)
    ):
        remedy = f"join pairs of words: same or other, and one of {', '.join(ATTRIBUTES)}; or say pod-to-own-node"
        raise BadInput(f"{kind!r} is no kind of pair", where="paths/documented", remedy=remedy)
    return found
