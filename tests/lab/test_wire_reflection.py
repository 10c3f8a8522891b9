"""Route reflection on the wire (RFC 4456): what FRR's reflectors say to whom, and what they keep to themselves.

    x ==== c1, c2, d  - rr1 - n1, n2        x: another AS. c1, c2: clients of rr1; c3: of rr2; d: of both.
                         |                  n1, n2: non-clients of rr1, as the reflectors are to each other.
    n3 - d, c3  ------- rr2                 n3 speaks with d alone, which reflects nothing.

BGP is the same on every kernel, and daemons are slow to start on the embedded one: this runs on the machine's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgp.daemons import Routers
from bgp.model import Peer, Router, Timers
from kernel import carrier
from kernel.engine import Engine
from kernel.namespaces import Namespaces
from kernel.state import Address, Bridge, Link, Netns, State, Veth
from paths.capture import Capture, Frame
from tests.lab import bgp_wire as bgp
from tests.lab import wire

pytestmark = pytest.mark.only("machine")
ADDRESSES = {"rr1": 2, "rr2": 1, "c1": 11, "c2": 12, "n1": 13, "n2": 14, "d": 16, "n3": 17, "c3": 18, "x": 20}
"""Last bytes. The order decides between paths (RR-09): rr2 has the lowest, n3 comes before c3."""
SESSIONS = {"rr1": ("c1", "c2", "d", "n1", "n2", "rr2"), "rr2": ("c3", "d"), "d": ("n3",), "c1": ("x",)}
CLIENTS = {"rr1": ("c1", "c2", "d"), "rr2": ("c3", "d")}
OWN = {"c1": (1, 9), "c2": (2,), "n1": (3,), "c3": (5, 8), "n3": (7, 8), "x": (30,)}
LEARNED = {
    "rr1": (1, 2, 3, 5, 8, 9, 30),
    "rr2": (1, 2, 5, 8, 9, 30),
    "c1": (2, 3, 5, 8, 30),
    "c2": (1, 3, 5, 8, 9, 30),
    "n1": (1, 2, 9, 30),
    "n2": (1, 2, 9, 30),
    "c3": (1, 2, 9, 30),
    "d": (1, 2, 3, 5, 7, 8, 9, 30),
    "n3": (),
    "x": (1, 2, 3, 5, 8, 9),
}
"""By RFC 4456, section 6; Routers.wait finds what is missing and what is too much."""


def address(name: str) -> str:
    return f"10.0.0.{ADDRESSES[name]}"


def prefix(number: int) -> str:
    return f"10.99.{number}.0/24"


def asn(name: str) -> int:
    return 65001 if name == "x" else 65000


def router(name: str) -> Router:
    others = [*SESSIONS.get(name, ()), *(one for one, peers in SESSIONS.items() if name in peers)]
    return Router(
        name,
        asn(name),
        address(name),
        tuple(Peer(address(one), asn(one), client=one in CLIENTS.get(name, ())) for one in others),
        networks=tuple(prefix(one) for one in OWN.get(name, ())),
        cluster_id=address(name) if name in CLIENTS else None,
        expects=tuple(prefix(one) for one in LEARNED[name]),
        pools=("10.99.0.0/16",),
        timers=Timers(connect_s=1),
    )


class World:
    """All on one bridge, whose ports see every message."""

    def __init__(self, folder: Path) -> None:
        self.namespaces = Namespaces()
        self.engine = Engine(self.namespaces)
        cables = tuple(Veth(name, master="br", peer_netns=name, peer=Link("eth0")) for name in ADDRESSES)
        hosts = (Netns(name, addresses=(Address("eth0", f"{address(name)}/24"),)) for name in ADDRESSES)
        self.engine.apply(State((Netns("lan", links=(Bridge("br"), *cables)), *hosts)))
        assert carrier.wait(self.namespaces, [("lan", name) for name in ADDRESSES], 5.0) == []
        self.routers = Routers(self.namespaces, folder)
        self.frames = self.changed()
        self.first = bgp.messages(self.frames)

    def changed(self, *others: Router) -> list[Frame]:
        """The frames that were seen while these routers, and the rest as above, came to what they expect."""
        by_name = {one.netns: one for one in others}
        with contextlib.closing(Capture(self.namespaces, ["lan"])) as capture:
            self.routers.start([by_name.get(name, router(name)) for name in ADDRESSES])
            capture.drain()
            self.routers.wait(20.0)
            capture.wait(0.1)
            assert not capture.lost()
            return [one for one in capture.frames if not one.outgoing and one.device != "br"]

    def close(self) -> None:
        self.routers.stop()
        self.engine.close()
        self.namespaces.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = World(Path(tmp_path_factory.mktemp("reflection")))
    yield found
    found.close()


def said(found: list[bgp.Message], source: str, target: str, number: int) -> bgp.Update:
    """The first announcement of a prefix by one to another."""
    heard = (bgp.update(one) for one in _between(found, source, target))
    return next(one for one in heard if prefix(number) in one.prefixes)


def _between(found: list[bgp.Message], source: str, target: str) -> list[bgp.Message]:
    ends = (address(source), address(target))
    return [one for one in found if one.kind == bgp.UPDATE and (one.source, one.target) == ends]


def told(found: list[bgp.Message], source: str, number: int, gone: bool = False) -> set[str]:
    """Whom a router told of a prefix, or that it is gone."""

    def heard(name: str) -> bool:
        updates = map(bgp.update, _between(found, source, name))
        return any(prefix(number) in (one.withdrawn if gone else one.prefixes) for one in updates)

    return {name for name in ADDRESSES if heard(name)}


@pytest.mark.case("RR-01", "RR-02", "RR-03")
def test_what_a_reflector_adds_and_what_it_leaves(world: World) -> None:
    first = said(world.first, "c1", "rr1", 1)
    assert bgp.unreflected(first) == []
    once, twice = said(world.first, "rr1", "c2", 1), said(world.first, "rr2", "c3", 1)
    assert bgp.reflected(once, address("c1"), [address("rr1")]) == []
    assert bgp.reflected(twice, address("c1"), [address("rr2"), address("rr1")]) == []
    assert bgp.unchanged(first, once) == bgp.unchanged(first, twice) == []
    assert first.attributes[bgp.NEXT_HOP][1][-1] == ADDRESSES["c1"]


@pytest.mark.case("RR-04", "RR-05", "RR-13")
def test_who_is_told_what(world: World) -> None:
    """What came by a client goes to all, what came by another only to clients; who reflects nothing tells nobody."""
    assert told(world.first, "rr1", 2) >= {"c1", "d", "n1", "n2", "rr2"}
    assert told(world.first, "rr1", 3) == {"c1", "c2", "d"}
    assert told(world.first, "rr1", 5) == {"c1", "c2", "d"}
    assert told(world.first, "n3", 7) == {"d"}
    assert told(world.first, "d", 7) == set() and _announced(world.first, "d") == set()


def _announced(found: list[bgp.Message], source: str) -> set[str]:
    updates = [bgp.update(one) for one in found if one.kind == bgp.UPDATE and one.source == address(source)]
    return {each for one in updates for each in one.prefixes}


@pytest.mark.case("RR-06", "RR-12")
def test_another_as_sees_neither_attribute(world: World) -> None:
    """Nor does its route have them before it is reflected."""
    inwards, reflected = said(world.first, "c1", "rr1", 30), said(world.first, "rr1", "c2", 30)
    assert bgp.unreflected(inwards) == []
    assert bgp.reflected(reflected, address("c1"), [address("rr1")]) == []
    assert bgp.unchanged(inwards, reflected) == []
    assert bgp.reflected(said(world.first, "rr1", "c1", 2), address("c2"), [address("rr1")]) == []
    assert bgp.unreflected(said(world.first, "c1", "x", 2)) == []


@pytest.mark.case("RR-07")
def test_ones_own_route_is_not_taken_back(world: World) -> None:
    """FRR sends it to the whole group of clients, the originator too."""
    assert "c1" in told(world.first, "rr1", 1)
    paths = world.routers.show("c1", f"show bgp ipv4 unicast {prefix(1)} json")["paths"]
    assert [path.get("sourced", False) for path in paths] == [True]


@pytest.mark.case("RR-09")
def test_which_path_is_the_better_one(world: World) -> None:
    """The originator stands for the router; then the shorter list of clusters wins. rr2's own identifier is lower."""
    shorter = _best(world, 9)
    assert (shorter["originatorId"], shorter["clusterList"]["list"]) == (address("c1"), [address("rr1")])
    assert _best(world, 8)["peer"]["peerId"] == address("n3"), "before c3's, whichever reflector passed that on"


def _best(world: World, number: int) -> dict[str, dict[str, object]]:
    paths = world.routers.show("d", f"show bgp ipv4 unicast {prefix(number)} json")["paths"]
    assert len(paths) > 1
    found: dict[str, dict[str, object]] = next(path for path in paths if path.get("bestpath", {}).get("overall"))
    return found


@pytest.mark.case("GR-12")
def test_transport(world: World) -> None:
    """iBGP's messages may go far, eBGP's not beyond the link (RFC 4271 says nothing; FRR's defaults)."""
    for one, other, ttl in (("c1", "rr1", 255), ("rr2", "c3", 255), ("c1", "x", 1), ("x", "c1", 1)):
        heads = [wire.packet(frame.raw) for frame in wire.between(world.frames, address(one), address(other))]
        sent = [head for head in heads if head and head.protocol == 6 and bgp.MARKER in head.payload]
        assert sent and {head.ttl for head in sent} == {ttl}, (one, other)
        assert all(b"\0\xb3" in (head.payload[:2], head.payload[2:4]) for head in sent)


@pytest.mark.case("RR-10")
def test_a_withdrawal_reaches_all(world: World) -> None:
    without = [_without(router(name), 1) for name in ADDRESSES]
    seen = bgp.messages(world.changed(*without))
    assert told(seen, "rr1", 1, gone=True) >= {"c2", "d", "n1", "n2", "rr2"}
    assert told(seen, "rr2", 1, gone=True) >= {"c3"} and told(seen, "c1", 1, gone=True) == {"rr1", "x"}
    world.changed()


def _without(one: Router, number: int) -> Router:
    gone = prefix(number)
    networks, expects = (tuple(each for each in some if each != gone) for some in (one.networks, one.expects))
    return replace(one, networks=networks, expects=expects)


@pytest.mark.case("RR-08")
def test_reflectors_with_one_cluster_id_take_nothing_from_each_other(world: World) -> None:
    """The UPDATE is on the wire, and in no table: two reflectors that are alike are no chain."""
    lost = {"rr1": (5, 8), "c1": (5, 8), "c2": (5, 8), "x": (5, 8), "rr2": (1, 2, 9, 30), "c3": (1, 2, 9, 30)}
    changed = []
    for name, numbers in lost.items():
        one = router(name)
        for number in numbers:
            one = replace(one, expects=tuple(each for each in one.expects if each != prefix(number)))
        changed.append(replace(one, cluster_id=address("rr1")) if name == "rr2" else one)
    seen = bgp.messages(world.changed(*changed))
    assert bgp.reflected(said(seen, "rr1", "rr2", 1), address("c1"), [address("rr1")]) == []
    world.changed()
