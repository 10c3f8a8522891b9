"""FRR's daemons as a lab keeps them: what is said when they do not come up, die or do not converge."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgp import daemons
from bgp.daemons import Routers
from bgp.model import Peer, Router
from kernel.engine import Engine
from kernel.errors import BadInput, NotConverged
from kernel.namespaces import Namespaces
from kernel.state import Address, Link, Netns, State, Veth

POOL = "10.99.0.0/16"
ONE = Router("left", 65000, "10.0.0.1", (Peer("10.0.0.2", 65000),), networks=("10.99.1.0/24",), pools=(POOL,))
TWO = Router("right", 65000, "10.0.0.2", (Peer("10.0.0.1", 65000),), expects=("10.99.1.0/24",), pools=(POOL,))


@pytest.fixture
def routers(tmp_path: Path) -> Iterator[Routers]:
    """Two namespaces with a wire between them, and no router in them yet."""
    namespaces = Namespaces()
    engine = Engine(namespaces)
    wire = Veth("eth0", peer_netns="right", peer=Link("eth0"))
    left = Netns("left", links=(wire,), addresses=(Address("eth0", "10.0.0.1/24"),))
    engine.apply(State((left, Netns("right", addresses=(Address("eth0", "10.0.0.2/24"),)))))
    routers = Routers(namespaces, tmp_path)
    yield routers
    routers.stop()
    engine.close()
    namespaces.close()


def running(name: str) -> list[str]:
    """The command lines of processes of router `name`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it ended meanwhile
            continue
        if "-N" in words and words[words.index("-N") + 1] == name:
            found.append(" ".join(words))
    return found


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_that_is_taken(routers: Routers, family: int, address: str) -> None:
    with routers._namespaces.inside("left"), socket.create_server((address, 179), family=family):
        with pytest.raises(BadInput, match="port 179 of 'left' is taken") as told:
            routers.start([ONE, TWO])
        assert "exec left" in told.value.remedy
        assert running("left") == running("right") == []
    routers.start([ONE, TWO])
    assert routers.wait(10.0) < 10.0


def test_a_route_arrives_and_goes(routers: Routers) -> None:
    routers.start([ONE, TWO])
    assert routers.wait(10.0) < 10.0
    pids = routers.pids
    routers.start([replace(ONE, networks=()), replace(TWO, expects=())])
    assert routers.wait(10.0) < 10.0
    assert routers.pids == pids


def test_what_did_not_arrive_is_named(routers: Routers) -> None:
    routers.start([ONE, replace(TWO, expects=("10.99.7.0/24",))])
    with pytest.raises(NotConverged) as late:
        routers.wait(0.5)
    assert "within 0.5 s" in late.value.what
    assert "right lacks 10.99.7.0/24" in late.value.what


def test_a_daemon_that_dies_ends_the_waiting_with_its_last_words(routers: Routers) -> None:
    routers.start([ONE, replace(TWO, expects=("10.99.7.0/24",))])
    os.kill(routers.pids["left"]["bgpd"], signal.SIGKILL)
    begun = time.monotonic()
    with pytest.raises(NotConverged) as died:
        routers.wait(30.0)
    assert time.monotonic() - begun < 5.0
    assert died.value.where == "router left"
    assert "bgpd ended with status -9" in died.value.what
    assert "BGP: " in died.value.what


@pytest.mark.parametrize("daemon", ["zebra", "bgpd"])
def test_a_daemon_that_does_not_come_up_leaves_none_behind(
    routers: Routers, daemon: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "frr-broken"
    broken.mkdir()
    for name in ("zebra", "bgpd"):
        (broken / name).symlink_to(daemons.FRR / name)
    (broken / daemon).unlink()
    (broken / daemon).write_text("#!/bin/sh\necho no more memory\nexit 3\n")
    (broken / daemon).chmod(0o755)
    monkeypatch.setattr(daemons, "FRR", broken)
    with pytest.raises(NotConverged) as failed:
        routers.start([ONE, TWO])
    assert f"{daemon} ended with status 3; it said last: no more memory" in failed.value.what
    assert failed.value.where in ("router left", "router right")  # whichever is noticed first
    assert routers.pids == {}
    assert running("left") == running("right") == []


def test_asking_a_router_that_is_none(routers: Routers) -> None:
    routers.start([ONE])
    with pytest.raises(BadInput, match="'right' runs no router"):
        routers.show("right", "show bgp summary json")
    answer: dict[str, Any] = routers.show("left", "show bgp ipv4 unicast json")
    assert list(answer["routes"]) == ["10.99.1.0/24"]


def test_a_refused_command_is_told_with_the_daemons_words(routers: Routers) -> None:
    routers.start([ONE])
    with pytest.raises(NotConverged, match="refused 'show me the money'"):
        routers.show("left", "show me the money")
