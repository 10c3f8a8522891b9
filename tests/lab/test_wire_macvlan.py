"""macvlan's modes by themselves (drivers/net/macvlan.c): who reaches whom, with a switch that sends frames back and one
that does not. c1 and c2 are children of eth0 in `node`; `ext` is a station on the wire."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from kernel import carrier
from kernel.engine import Engine
from kernel.errors import PodpathError
from kernel.namespaces import Namespaces
from kernel.state import Address, Bridge, Link, Macvlan, Netns, State, Veth
from tests.lab.frames import ping

ADDRESSES = {"node": "192.0.2.1", "c1": "192.0.2.11", "c2": "192.0.2.12", "ext": "192.0.2.20"}


class World:
    def __init__(self, mode: Any, children: tuple[str, ...] = ("c1", "c2")) -> None:
        self.namespaces = Namespaces()
        self.engine = Engine(self.namespaces)
        cables = tuple(Veth(name, master="br", peer_netns=name, peer=Link("eth0")) for name in ("node", "ext"))
        hosts = (Netns(name, addresses=(_address(name),)) for name in ("node", "ext"))
        pods = (
            Netns(name, links=(Macvlan("eth0", dev="eth0", dev_netns="node", mode=mode),), addresses=(_address(name),))
            for name in children
        )
        self.engine.apply(State((Netns("lan", links=(Bridge("br"), *cables)), *hosts, *pods)))
        assert carrier.wait(self.namespaces, [("lan", "node"), ("lan", "ext")], 5.0) == []

    def reaches(self, source: str, target: str) -> bool:
        """ARP asks once a second, and three times."""
        return ping(self, source, ADDRESSES[target], timeout_s=3.0) is not None

    def silent(self, source: str, target: str) -> bool:
        return ping(self, source, ADDRESSES[target], timeout_s=0.25) is None

    def close(self) -> None:
        self.engine.close()
        self.namespaces.close()


def _address(name: str) -> Address:
    return Address("eth0", f"{ADDRESSES[name]}/24")


@contextlib.contextmanager
def world(*args: Any) -> Iterator[World]:
    with contextlib.closing(World(*args)) as found:
        yield found


@pytest.mark.parametrize("mode", ["private", "vepa"])
def test_who_reaches_whom(mode: str) -> None:
    """Never the parent, always the wire; a sibling only as vepa's frames come back from a reflecting port."""
    with world(mode) as lab:
        assert lab.reaches("c1", "ext") and lab.reaches("ext", "c2")
        assert lab.silent("c1", "node") and lab.silent("node", "c1") and lab.silent("c1", "c2")
        assert lab.namespaces.run("lan", ["bridge", "link", "set", "dev", "node", "hairpin", "on"]).returncode == 0
        assert lab.silent("c1", "c2") if mode == "private" else lab.reaches("c1", "c2")


def test_passthru_has_one_child_with_its_parents_mac() -> None:
    with world("passthru", ("c1",)) as lab:
        node, child = (
            next(link.mac for link in lab.engine.read(name).links if link.name == "eth0") for name in ("node", "c1")
        )
        assert node == child
        assert lab.reaches("c1", "ext") and lab.silent("c1", "node")
    with pytest.raises(PodpathError, match="Invalid argument|passthru"), world("passthru"):
        pass
