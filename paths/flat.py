"""Asks a lab what the flat network's rules (paths.rules) are judged by, and judges them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_interface
from itertools import permutations

from cluster.model import Cluster, Node, Pod, family
from paths.containers import two_containers
from paths.documented import Ways, ways
from paths.lab import Lab
from paths.reach import WAIT_S, Call, exchange
from paths.rules import PODS, Finding, Observed, Pair, arrives, judge

HOPELESS_S = 0.5
"""How long an answer is waited for that is documented not to come, seconds."""


def check(lab: Lab, progress: Callable[[str], None] = lambda _: None) -> list[Finding]:
    """The rules in each family that pods have. Raises BadInput when the mode has no document."""
    return [finding for _, found in by_family(lab, progress) for finding in found]


def by_family(lab: Lab, progress: Callable[[str], None] = lambda _: None) -> Iterator[tuple[int, list[Finding]]]:
    """The same family by family. What two containers of one pod share is in the first."""
    documents = ways(lab.plugin, lab.mode)
    first = True
    for version in (4, 6):
        if any(family(address) == version for pod in lab.cluster.pods for address in pod.addresses):
            progress(f"the flat network's rules, IPv{version}")
            yield version, judge(observe(lab, version, documents, with_containers=first), documents)
            first = False


def observe(lab: Lab, version: int, documents: Mapping[str, Ways], *, with_containers: bool = True) -> Observed:
    """Every ordered pair of pods, and every pod with every node both ways; with two containers of the first pod."""
    asked = list(_calls(lab.cluster, version))
    likely = [one for one in asked if arrives(one[0], documents)]
    unlikely = [one for one in asked if not arrives(one[0], documents)]
    heard = exchange(lab.namespaces, [call for _, call in likely], WAIT_S)
    heard += exchange(lab.namespaces, [call for _, call in unlikely], HOPELESS_S)
    pod = lab.cluster.pods[0].name
    return Observed(
        version,
        tuple(Pair(kind, one) for (kind, _), one in zip((*likely, *unlikely), heard, strict=True)),
        {one.name: _addresses(lab, one.name, version) for one in lab.cluster.pods if _of(one, version)},
        {node.name: _addresses(lab, node.name, version) for node in lab.cluster.nodes},
        {one.name: one.node for one in lab.cluster.pods},
        two_containers(lab.namespaces, pod) if with_containers else (),
        pod,
    )


def _calls(cluster: Cluster, version: int) -> Iterator[tuple[str, Call]]:
    pods = [(pod, address) for pod in cluster.pods if (address := _of(pod, version))]
    nodes = [(node, address) for node in cluster.nodes if (address := _of(node, version))]
    for (a, _), (b, address) in permutations(pods, 2):
        yield PODS, Call(a.name, b.name, address)
    for pod, pod_address in pods:
        for node, node_address in nodes:
            whose = "own" if pod.node == node.name else "other"
            yield f"pod-to-{whose}-node", Call(pod.name, node.name, node_address)
            yield f"{whose}-node-to-pod", Call(node.name, pod.name, pod_address)


def _of(one: Pod | Node, version: int) -> str | None:
    return next((str(ip_interface(text).ip) for text in one.addresses if family(text) == version), None)


def _addresses(lab: Lab, name: str, version: int) -> tuple[str, ...]:
    """What the kernel has on the devices of a namespace."""
    found = (ip_interface(one.address) for one in lab.engine.read(name).addresses)
    return tuple(dict.fromkeys(str(one.ip) for one in found if one.version == version and not one.ip.is_loopback))
