"""Which pods there are, on which node and in which network. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topologies.spec import LabSpec, PodSpec, PoolSpec


def networks(spec: LabSpec) -> tuple[str, ...]:
    """The networks that pools make up, in the order of the pools."""
    return tuple(dict.fromkeys(pool.network for pool in spec.pools))


def placed(spec: LabSpec) -> Iterator[PodSpec]:
    """Every pod with its network: the stated ones, then each node's unnamed ones, which go round the networks."""
    from topologies.spec import PodSpec

    known = networks(spec)
    names = {one.name for part in (spec.pods, spec.nodes, spec.switches, spec.reflectors) for one in part}
    names |= {one.name for one in (*spec.routers, spec.client) if one}
    for pod in spec.pods:
        yield pod if pod.network else pod.model_copy(update={"network": known[0]})
    number = 0
    for node in spec.nodes:
        count = spec.pods_per_node if node.pods is None else node.pods
        for _, network in zip(range(count), cycle(known), strict=False):
            number += 1
            while (name := f"pod{number}") in names:
                number += 1
            yield PodSpec(name=name, node=node.name, network=network)


def pods_in(spec: LabSpec, network: str) -> Counter[str]:
    """How many pods of a network each node has."""
    return Counter(pod.node for pod in placed(spec) if pod.network == network)


def block_room(pool: PoolSpec) -> int:
    """How many pods a block takes; its first and last address stay free, as a subnet's do."""
    size = 2 ** ((128 if ":" in pool.cidr else 32) - pool.block_length)
    return int(size - 2 if size > 2 else size)
