"""What a network plugin is: a pure function from the cluster to wanted kernel state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bgp.model import Router
from cluster.model import Cluster
from kernel.state import State


@dataclass(frozen=True)
class Wanted:
    """What a mode wants: kernel state of nodes and pods, BGP routers, and the pods' MTU in bytes."""

    state: State
    routers: tuple[Router, ...] = ()
    pod_mtu: int = 1500
    notes: tuple[str, ...] = ()
    """One sentence for each thing done differently here than on a real node, and why."""


class Mode(Protocol):
    """One mode of a plugin, the class of `plugins/<plugin>/<mode>.py`."""

    plugin: str
    name: str
    families: tuple[int, ...]
    """IP versions that pods can have: 4, 6."""
    lacks: Mapping[int, str]
    """Why it carries no other: a reason for each IP version that `families` has not."""
    preset: str
    """The topology that shows it, taken when none is asked for."""
    needs: frozenset[str]
    """Names of kernel features (kernel.features.FEATURES) without which the mode cannot run."""

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """The whole wanted state of `cluster`. `features` are those the kernel has.

        Raises BadInput when the topology does not fit the mode (no trunk, no BGP peer, ...)."""
        ...


@runtime_checkable
class HasGateways(Protocol):
    """A mode whose nodes have an address in each of their blocks: pods' addresses begin after it."""

    first_pod: int
    """The lowest number within a block that a pod may have; 1 in other modes."""
