"""Which pairs of pods a documented path is about. Its name says in what the two agree and in what they differ:
`same-node`, `cross-node`, `cross-node-other-subnet`, ..."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_interface

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


def pair(cluster: Cluster, kind: str, version: int) -> tuple[Pod, Pod] | None:
    """The first two pods of that kind that both have an address of family `version`, 4 or 6. Raises BadInput for a
    name that is no kind."""
    wanted = _parsed(kind)
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
        remedy = f"join pairs of words: same or other, and one of {', '.join(ATTRIBUTES)}"
        raise BadInput(f"{kind!r} is no kind of pair", where="paths/documented", remedy=remedy)
    return found
