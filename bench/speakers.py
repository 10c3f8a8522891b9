"""One BGP measurement: N routers on one switch, in a full mesh or with two route reflectors, in this process's own
namespaces. Run by bench.convergence through kernel.places; it leaves RESULT in the run folder."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bgp.converge import wait
from bgp.daemons import Routers
from bgp.model import Peer, Router, Timers
from kernel.engine import Engine
from kernel.namespaces import Namespaces
from kernel.state import Address, Bridge, Link, Netns, State, Veth

RESULT = "convergence.json"
SWITCH, AS, POOL = "bgp-sw", 64512, "10.244.0.0/16"
CLUSTER = "1.0.0.1"
TIMERS = Timers(keepalive_s=1, hold_s=3, connect_s=1, restart_s=1)
"""The shortest that RFC 4271 (section 4.2) allows: a peer that falls silent is missed after 3 s. Its routes are kept
for restart_s more (RFC 4724): with calico's 120 s that would be all there is to measure."""
DEADLINE_S, SESSIONS_S = 180.0, 30.0
"""For routes, and for sessions that carry none; seconds."""
ESTABLISHED = "Established"
REFLECTORS = 2


def names(size: int, design: str) -> tuple[list[str], list[str]]:
    """Nodes and reflectors."""
    return [f"n{i}" for i in range(size)], [f"rr{i}" for i in range(REFLECTORS if design == "reflectors" else 0)]


def address(number: int) -> str:
    """Of the speaker with that number, in 10.254.0.0/16."""
    return f"10.254.{(number + 1) >> 8}.{(number + 1) & 255}"


def prefix(number: int) -> str:
    """What the node with that number announces."""
    return f"10.244.{number}.0/24"


def routers(size: int, design: str) -> list[Router]:
    """All speakers; every one is to have all nodes' prefixes but its own."""
    nodes, reflectors = names(size, design)
    every = [prefix(number) for number in range(size)]
    found = []
    for number, name in enumerate([*nodes, *reflectors]):
        mine = (prefix(number),) if number < size else ()
        reflects = number >= size
        others = range(size, size + len(reflectors)) if reflectors and not reflects else range(size + len(reflectors))
        peers = tuple(Peer(address(other), AS, reflects and other < size) for other in others if other != number)
        expected = tuple(one for one in every if one not in mine)
        cluster_id = CLUSTER if reflects else None
        found.append(Router(name, AS, address(number), peers, mine, cluster_id, expected, (POOL,), timers=TIMERS))
    return found


def state(speakers: Sequence[Router], down: frozenset[str] = frozenset()) -> State:
    """A switch and a link to each; those of `down` carry nothing."""
    hosts = []
    for one in speakers:
        peer = Link(one.netns, master=SWITCH, up=one.netns not in down)
        veth = Veth("eth0", peer_netns=SWITCH, peer=peer)
        hosts.append(Netns(one.netns, links=(veth,), addresses=(Address("eth0", f"{one.router_id}/16"),)))
    return State((Netns(SWITCH, links=(Bridge(SWITCH),)), *hosts))


def without(speakers: Sequence[Router], gone: str) -> list[Router]:
    """What is to be reached once speaker `gone` is not."""
    lost = {one for router in speakers if router.netns == gone for one in router.networks}
    kept = [router for router in speakers if router.netns != gone]
    return [replace(one, expects=tuple(x for x in one.expects if x not in lost)) for one in kept]


def measure(size: int, design: str, folder: Path) -> dict[str, Any]:
    """Cold start, what it cost, a reflector's death, a link's failure; seconds, MiB."""
    speakers = routers(size, design)
    namespaces = Namespaces()
    engine, running = Engine(namespaces), Routers(namespaces, folder)
    try:
        engine.apply(state(speakers))
        before = time.monotonic()
        running.start(speakers)
        running.wait(DEADLINE_S)
        found: dict[str, Any] = {"size": size, "design": design, "cold_s": time.monotonic() - before}
        found |= _cost(running, speakers)
        if design == "reflectors":
            found["reflector_death_s"] = _death(running, speakers)
        engine.apply(state(speakers, frozenset({"n0"})))
        alive = without(_alive(speakers, design), "n0")
        found["link_down_s"] = wait(alive, namespaces, DEADLINE_S)
        return found
    finally:
        running.stop()
        engine.close()
        namespaces.close()


def _alive(speakers: Sequence[Router], design: str) -> list[Router]:
    return [one for one in speakers if design == "mesh" or one.netns != "rr0"]


def _death(running: Routers, speakers: Sequence[Router]) -> float:
    """Seconds from a reflector's death until a prefix that is new then has reached every node by the other one."""
    running.kill("rr0", ("zebra", "bgpd"))
    fresh = f"10.244.{len(speakers)}.0/24"
    left = _alive(speakers, "reflectors")
    running.start([_with_fresh(one, fresh) for one in left])
    took = running.wait(DEADLINE_S)
    running.start(left)
    running.wait(DEADLINE_S)
    return took


def _with_fresh(one: Router, fresh: str) -> Router:
    if one.netns == "n0":
        return replace(one, networks=(*one.networks, fresh))
    return replace(one, expects=(*one.expects, fresh))


def _cost(running: Routers, speakers: Sequence[Router]) -> dict[str, Any]:
    """Sessions and messages as bgpd counts them, memory and CPU time of all daemons."""
    peers = _peers(running, speakers)
    pids = [pid for daemons in running.pids.values() for pid in daemons.values()]
    return {
        "sessions": sum(one["state"] == ESTABLISHED for one in peers) // 2,
        "messages": sum(one["msgSent"] for one in peers),
        "memory_mib": sum(_resident_mib(pid) for pid in pids),
        "cpu_s": sum(_cpu_s(pid) for pid in pids),
    }


def _peers(running: Routers, speakers: Sequence[Router]) -> list[dict[str, Any]]:
    """Every speaker's view of each of its sessions, once all are established or the deadline is over: the one between
    the reflectors carries no route that anybody waits for, and bgpd announces no session by an event of the kernel."""
    deadline = time.monotonic() + SESSIONS_S
    while True:
        answers = [running.show(one.netns, "show bgp ipv4 unicast summary json") for one in speakers]
        found = [peer for answer in answers for peer in answer["peers"].values()]
        if all(peer["state"] == ESTABLISHED for peer in found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _resident_mib(pid: int) -> float:
    """proc_pid_statm(5), second field: pages."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_s(pid: int) -> float:
    """proc_pid_stat(5), fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    run_folder = Path(os.environ["PODPATH_RUN"])
    (run_folder / RESULT).write_text(json.dumps(measure(int(sys.argv[1]), sys.argv[2], run_folder)))
