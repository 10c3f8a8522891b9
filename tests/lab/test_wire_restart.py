"""Graceful restart on the wire (RFC 4724, RFC 8538): h helps s, an FRR that is killed and comes back, and m, a speaker
made by hand; p is another client of h and must hear nothing of it while routes are kept.

BGP is the same on every kernel, and daemons are slow to start on the embedded one: this runs on the machine's own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgp.daemons import STATE, Routers
from bgp.model import Peer, Router, Timers
from bgp.render import bgpd_conf
from kernel import carrier
from kernel.engine import Engine
from kernel.namespaces import Namespaces
from kernel.state import Address, Bridge, Link, Netns, State, Veth
from paths.capture import Capture
from tests.lab import bgp_wire as bgp
from tests.lab.bgp_speaker import ADMINISTRATIVE_RESET, CEASE, HARD_RESET, Speaker, restarts
from tests.lab.frames import ping

pytestmark = pytest.mark.only("machine")
ADDRESSES = {"h": "10.0.0.1", "s": "10.0.0.11", "p": "10.0.0.12", "m": "10.0.0.13"}
ONE, TWO, BEHIND_S = "10.99.1.0/24", "10.99.2.0/24", "10.99.1.1"
MINE, ALSO = "10.99.41.0/24", "10.99.42.0/24"
"""What s and what m announce."""
RESTART_S = 60
KEPT = {bgp.IPV4_UNICAST: True}
Test = Callable[[list[bgp.Message]], bool]


def router(name: str) -> Router:
    return Router(
        name,
        65000,
        ADDRESSES[name],
        tuple(Peer(ADDRESSES[one], 65000, client=True) for one in ("s", "p", "m")) if name == "h" else (HELPER,),
        networks=(ONE, TWO) if name == "s" else (),
        cluster_id=ADDRESSES["h"] if name == "h" else None,
        expects=() if name == "s" else (ONE, TWO),
        pools=("10.99.0.0/16",),
        timers=Timers(connect_s=1, restart_s=RESTART_S),
    )


HELPER = Peer(ADDRESSES["h"], 65000)


class Watch:
    """The messages on the bridge from the moment that it is made."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._capture = Capture(namespaces, ["lan"])

    def messages(self) -> list[bgp.Message]:
        self._capture.drain()
        return bgp.messages(one for one in self._capture.frames if not one.outgoing and one.device != "br")

    def until(self, what: str, test: Test, deadline_s: float = 15.0) -> list[bgp.Message]:
        """Waits for what `test` sees in them."""
        end = time.monotonic() + deadline_s
        while not test(found := self.messages()):
            assert time.monotonic() < end, f"no {what} within {deadline_s:g} s"
            self._capture.wait(0.2)
        return found

    def close(self) -> None:
        self._capture.close()


class World:
    def __init__(self, folder: Path, *names: str) -> None:
        self.namespaces = Namespaces()
        self.engine = Engine(self.namespaces)
        cables = tuple(Veth(name, master="br", peer_netns=name, peer=Link("eth0")) for name in ADDRESSES)
        behind = {"s": (Address("eth0", f"{BEHIND_S}/32"),)}
        hosts = (
            Netns(name, addresses=(Address("eth0", f"{address}/24"), *behind.get(name, ())))
            for name, address in ADDRESSES.items()
        )
        self.engine.apply(State((Netns("lan", links=(Bridge("br"), *cables)), *hosts)))
        assert carrier.wait(self.namespaces, [("lan", name) for name in ADDRESSES], 5.0) == []
        self.routers = Routers(self.namespaces, folder)
        with self.watching() as watch:
            routers = [router(name) for name in names]
            self.routers.start([one if "s" in names else replace(one, expects=()) for one in routers])
            self.routers.wait(15.0)
            self.first = watch.until("End-of-RIB", lambda found: all(ended(found, one, "h") for one in names[1:]))

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watch]:
        with contextlib.closing(Watch(self.namespaces)) as watch:
            yield watch

    def path(self, prefix: str) -> dict[str, Any]:
        """h's path to a prefix, empty without one."""
        found = self.routers.show("h", f"show bgp ipv4 unicast {prefix} json").get("paths", [])
        return found[0] if found else {}

    def configure(self, configuration: str) -> None:
        """What s's bgpd reads when it starts the next time."""
        (STATE / "s" / "bgpd.conf").write_text(configuration)

    def restarted(self, configuration: str = "") -> None:
        """s anew; returns when it has said all."""
        self.routers.kill("s")
        self.configure(configuration or bgpd_conf(router("s")))
        with self.watching() as watch:
            self.routers.revive("s")
            watch.until("End-of-RIB of s", lambda found: ended(found, "s", "h"))
        self.until(f"fresh path to {ONE}", lambda: bool(self.path(ONE)) and not self.path(ONE).get("stale"))

    def until(self, what: str, test: Callable[[], bool], deadline_s: float = 15.0) -> None:
        end = time.monotonic() + deadline_s
        while not test():
            assert time.monotonic() < end, f"no {what} within {deadline_s:g} s"
            time.sleep(0.02)  # FRR announces nothing of its tables to us

    def speaker(self, capability: bytes | None, hold_s: int = 0) -> Speaker:
        """m's session, which h too takes for established."""
        made = Speaker(self, "m", ADDRESSES["m"], ADDRESSES["h"], capability, hold_s)
        self.until("session of m", lambda: self.session("m") == "Established")
        return made

    def heard(self, *prefixes: str) -> None:
        """Returns when p has these; only what was announced to it can be withdrawn."""
        there = "show bgp ipv4 unicast json"
        self.until("path at p", lambda: set(prefixes) <= self.routers.show("p", there)["routes"].keys())

    def session(self, name: str) -> str:
        """h's state of it."""
        peers = self.routers.show("h", "show bgp ipv4 unicast summary json")["peers"]
        return str(peers[ADDRESSES[name]]["state"])

    def close(self) -> None:
        self.routers.stop()
        self.engine.close()
        self.namespaces.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = World(Path(tmp_path_factory.mktemp("restart")), "h", "s", "p")
    yield found
    found.close()


def between(found: list[bgp.Message], source: str, target: str, kind: int) -> list[bgp.Message]:
    ends = (ADDRESSES[source], ADDRESSES[target])
    return [one for one in found if one.kind == kind and (one.source, one.target) == ends]


def ended(found: list[bgp.Message], source: str, target: str) -> bool:
    return any(bgp.end_of_rib(one) for one in between(found, source, target, bgp.UPDATE))


def withdrawn(found: list[bgp.Message]) -> set[str]:
    """What h took back from p."""
    return {each for one in between(found, "h", "p", bgp.UPDATE) for each in bgp.update(one).withdrawn}


def gone(*prefixes: str) -> Test:
    return lambda found: withdrawn(found) >= set(prefixes)


@pytest.mark.case("GR-01", "GR-02")
def test_a_first_start(world: World) -> None:
    """bgpd sets R for the restart time after it starts, whether or not it ran before (bgp_open.c, t_startup).
    End-of-RIB comes once, but bgpd 8.4 may say it before its announcements, against RFC 4724, section 4.1."""
    opened = between(world.first, "s", "h", bgp.OPEN)
    assert opened and all(bgp.restart(one, True, RESTART_S, KEPT) == [] for one in opened)
    said = between(world.first, "s", "h", bgp.UPDATE)
    ends = [one for one in said if bgp.end_of_rib(one) == bgp.IPV4_UNICAST]
    assert [one.raw.hex() for one in ends] == ["ff" * 16 + "00170200000000"]
    assert {each for one in said for each in bgp.update(one).prefixes} == {ONE, TWO}


@pytest.mark.case("GR-01", "GR-03", "GR-04", "GR-11")
def test_killed_and_back_in_time(world: World) -> None:
    """No word at its end; what it does not announce again goes at its End-of-RIB, the rest was there all the time."""
    with world.watching() as watch:
        world.routers.kill("s")
        world.until("stale path", lambda: bool(world.path(ONE).get("stale")))
        found = watch.messages()
        assert between(found, "s", "h", bgp.NOTIFICATION) == []
        assert ping(world, "p", BEHIND_S) is not None, "the data path"
        world.configure(bgpd_conf(replace(router("s"), networks=(ONE,))))
        world.routers.revive("s")
        found = watch.until(f"withdrawal of {TWO}", gone(TWO))
    assert withdrawn(found) == {TWO}
    assert bgp.restart(between(found, "s", "h", bgp.OPEN)[-1], True, RESTART_S, KEPT) == []
    end = next(one for one in between(found, "s", "h", bgp.UPDATE) if bgp.end_of_rib(one))
    late = next(one for one in between(found, "h", "p", bgp.UPDATE) if TWO in bgp.update(one).withdrawn)
    assert end.time_ns < late.time_ns
    world.restarted()


@pytest.mark.case("GR-05")
def test_not_back_in_time(world: World) -> None:
    world.restarted(bgpd_conf(replace(router("s"), timers=Timers(connect_s=1, restart_s=2))))
    with world.watching() as watch:
        killed = time.time_ns()
        world.routers.kill("s")
        found = watch.until("withdrawal", gone(ONE, TWO))
    late = next(one for one in between(found, "h", "p", bgp.UPDATE) if ONE in bgp.update(one).withdrawn)
    assert 1.9e9 < late.time_ns - killed < 4e9
    world.restarted()


@pytest.mark.case("GR-11")
def test_without_it_packets_are_lost(world: World) -> None:
    """The same end of the same daemon, and its neighbour has no route any more."""
    lines = bgpd_conf(router("s")).splitlines(keepends=True)
    world.restarted(
        "".join(one for one in lines if "graceful-restart" not in one).replace(
            " coalesce-time 0\n", " coalesce-time 0\n bgp graceful-restart-disable\n"
        )
    )
    world.until("data path", lambda: _reaches(world, "p", BEHIND_S))
    with world.watching() as watch:
        world.routers.kill("s")
        watch.until("withdrawal", gone(ONE, TWO))
    world.until("dead data path", lambda: not _reaches(world, "p", BEHIND_S))
    world.restarted()
    world.until("data path", lambda: _reaches(world, "p", BEHIND_S))


def _reaches(world: World, source: str, target: str) -> bool:
    try:
        return ping(world, source, target, timeout_s=0.1) is not None
    except OSError:  # no route
        return False


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[World]:
    """h and p, and no s: of what a test leaves behind in h, the next one sees nothing."""
    found = World(tmp_path, "h", "p")
    yield found
    found.close()


def crashed(alone: World, capability: bytes, *prefixes: str) -> None:
    """m announces these and all that it has, and is gone; its routes are stale."""
    speaker = alone.speaker(capability)
    speaker.announce(*prefixes)
    speaker.end_of_rib()
    alone.heard(*prefixes)
    speaker.crash()
    alone.until("stale path of m", lambda: all(alone.path(one).get("stale") for one in prefixes))


@pytest.mark.case("GR-04", "GR-06")
@pytest.mark.parametrize(
    ("capability", "kept"),
    [
        (restarts(RESTART_S), True),
        (restarts(RESTART_S, kept=False), False),
        (restarts(RESTART_S, families=False), False),
        (None, False),
    ],
    ids=["F set", "F clear", "family missing", "capability missing"],
)
def test_what_the_new_open_promises(alone: World, capability: bytes | None, kept: bool) -> None:
    """Without the promise stale routes go at once; with it at End-of-RIB, and not before."""
    crashed(alone, restarts(RESTART_S), MINE, ALSO)
    with alone.watching() as watch:
        speaker = alone.speaker(capability)
        if kept:
            speaker.announce(MINE)
            alone.until("fresh path", lambda: not alone.path(MINE).get("stale"))
            assert alone.path(ALSO).get("stale") and withdrawn(watch.messages()) == set()
            speaker.end_of_rib()
            found = watch.until(f"withdrawal of {ALSO}", gone(ALSO))
            assert withdrawn(found) == {ALSO}
        else:
            watch.until("withdrawal", gone(MINE, ALSO), deadline_s=5.0)
        speaker.crash()


@pytest.mark.case("GR-07")
@pytest.mark.parametrize(
    ("notified", "subcode", "kept"),
    [(True, ADMINISTRATIVE_RESET, True), (True, HARD_RESET, False), (False, ADMINISTRATIVE_RESET, False)],
    ids=["N bit", "hard reset", "no N bit"],
)
def test_a_notification(alone: World, notified: bool, subcode: int, kept: bool) -> None:
    with alone.watching() as watch:
        speaker = alone.speaker(restarts(RESTART_S, notified=notified))
        speaker.announce(MINE)
        alone.heard(MINE)
        speaker.notify(CEASE, subcode)
        if kept:
            alone.until("stale path", lambda: bool(alone.path(MINE).get("stale")))
            assert withdrawn(watch.messages()) == set()
        else:
            watch.until("withdrawal", gone(MINE), deadline_s=5.0)


@pytest.mark.case("GR-08")
@pytest.mark.parametrize("notified", [True, False], ids=["N bit", "no N bit"])
def test_the_hold_timer(alone: World, notified: bool) -> None:
    """h's own NOTIFICATION; by RFC 4724 the routes go with it, by RFC 8538 they stay."""
    with alone.watching() as watch:
        speaker = alone.speaker(restarts(RESTART_S, notified=notified), hold_s=3)
        speaker.announce(MINE)
        alone.heard(MINE)
        found = watch.until("hold timer", lambda found: bool(between(found, "h", "m", bgp.NOTIFICATION)))
        assert between(found, "h", "m", bgp.NOTIFICATION)[0].body[:2] == b"\4\0"
        if notified:
            alone.until("stale path", lambda: bool(alone.path(MINE).get("stale")))
            assert withdrawn(watch.messages()) == set()
        else:
            watch.until("withdrawal", gone(MINE), deadline_s=5.0)
        speaker.crash()


@pytest.mark.case("GR-09")
def test_a_second_failure_before_the_end(alone: World) -> None:
    crashed(alone, restarts(RESTART_S), MINE, ALSO)
    with alone.watching() as watch:
        speaker = alone.speaker(restarts(RESTART_S))
        speaker.announce(MINE)
        alone.until("fresh path", lambda: not alone.path(MINE).get("stale"))
        speaker.crash()
        found = watch.until(f"withdrawal of {ALSO}", gone(ALSO), deadline_s=5.0)
        assert withdrawn(found) == {ALSO} and alone.path(MINE).get("stale")


def announced(found: list[bgp.Message]) -> set[str]:
    """What h told p."""
    return {each for one in between(found, "h", "p", bgp.UPDATE) for each in bgp.update(one).prefixes}


@pytest.mark.case("GR-10")
def test_the_restarting_side_waits_for_its_neighbours_to_end(alone: World) -> None:
    """h restarts; p is told nothing until m, which does not restart as well, has said all."""
    with alone.watching() as watch:
        alone.routers.kill("h")
        alone.routers.revive("h")
        speaker = alone.speaker(restarts(RESTART_S, again=False))
        speaker.announce(MINE)
        watch.until("End-of-RIB of p", lambda found: ended(found, "p", "h"))
        with pytest.raises(AssertionError, match="no announcement within 1 s"):
            watch.until("announcement", lambda found: MINE in announced(found), deadline_s=1.0)
        speaker.end_of_rib()
        watch.until("announcement", lambda found: MINE in announced(found))
