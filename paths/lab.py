"""What a trace needs of a lab; cluster.lab.Lab has it, and a test may bring its own."""

from __future__ import annotations

from typing import Protocol

from bgp.model import Router
from cluster.model import Cluster
from kernel.engine import Engine
from kernel.namespaces import Namespaces
from kernel.state import State


class Wanted(Protocol):
    """What the mode wants beside kernel state."""

    @property
    def routers(self) -> tuple[Router, ...]: ...
    @property
    def pod_mtu(self) -> int: ...


class Lab(Protocol):
    """A running lab."""

    @property
    def namespaces(self) -> Namespaces: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def cluster(self) -> Cluster: ...
    @property
    def state(self) -> State: ...
    @property
    def wanted(self) -> Wanted: ...
    @property
    def plugin(self) -> str: ...
    @property
    def mode(self) -> str: ...
