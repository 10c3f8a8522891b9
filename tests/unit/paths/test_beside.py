"""Two modes' traces aligned: what stands together, what differs, and what is chance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from paths.beside import Pair, align, shown
from paths.model import Trace
from paths.paint import Paint
from tests.unit.paths.made import made, traced

CALICO, HYBRIDNET = "calico-bgp", "hybridnet-vxlan"


def json_of(trace: Trace) -> dict[str, Any]:
    return trace.to_json()


def out(first: str, second: str, kind: str = "cross-node") -> list[Pair]:
    ways = [json_of(traced(name, kind, 4))["forward"] for name in (first, second)]
    return align(ways[0], ways[1], (made(first).state, made(second).state))


def places(pairs: list[Pair]) -> list[tuple[str, bool, bool, bool]]:
    return [(f"{p.netns}: {p.role} {p.direction}", p.first is not None, p.second is not None, p.same) for p in pairs]


def test_an_underlay_and_a_tunnel_aligned_by_what_devices_are_for() -> None:
    assert places(out(CALICO, HYBRIDNET)) == [
        ("pod1: eth0 out", True, True, True),
        ("node1: pod1's host end in", True, True, True),
        ("node1: tunnel device out", False, True, False),
        ("node1: eth0 out", True, True, False),
        ("s1: node1 in", True, True, False),
        ("s1: node2 out", True, True, False),
        ("node2: eth0 in", True, True, False),
        ("node2: tunnel device in", False, True, False),
        ("node2: pod3's host end out", True, True, False),
        ("pod3: eth0 in", True, True, True),
    ]


def test_two_tunnels_stand_together_under_whatever_name() -> None:
    pairs = out("calico-ipip", "calico-vxlan")
    assert all(pair.first and pair.second for pair in pairs)
    tunnel = next(pair for pair in pairs if pair.role == "tunnel device")
    assert tunnel.first and tunnel.second
    assert (tunnel.first["device"], tunnel.second["device"]) == ("tunl0", "vxlan.calico")


def test_a_mode_beside_itself_differs_nowhere_whatever_the_time_and_the_state_of_neighbours() -> None:
    trace = traced(HYBRIDNET, "cross-node", 4)
    first, second = (
        replace(
            trace,
            forward=tuple(
                replace(
                    hop,
                    seen=replace(hop.seen, time_ns=hop.seen.time_ns * factor),
                    why=(*hop.why, f"neighbour 10.0.0.1 is 02:00:00:00:00:01 ({state})"),
                )
                for hop in trace.forward
            ),
        )
        for factor, state in ((1, "REACHABLE"), (3, "DELAY"))
    )
    state = made(HYBRIDNET).state
    pairs = align(json_of(first)["forward"], json_of(second)["forward"], (state, state))
    assert len(pairs) == 10 and all(pair.same for pair in pairs)


def test_only_what_differs_is_shown_and_passing_on_in_one_line() -> None:
    traces = tuple(json_of(traced(name, "cross-node", 4)) for name in (CALICO, HYBRIDNET))
    text = shown((CALICO, HYBRIDNET), (traces[0], traces[1]), [out(CALICO, HYBRIDNET), []], Paint(False), 100)
    lines = text.splitlines()
    assert "out   3 of 10 devices alike" in lines
    assert "  s1: node1 in, s1: node2 out, node2: eth0 in: as before" in lines
    assert not any("pod1: eth0" in line for line in lines), "it is the same in both"
    assert any(line.startswith("    + rule 2, table 40000: 10.244.0.0/16 dev eth0.vxlan4") for line in lines)
    assert any(line.startswith("    - table main: 10.244.0.64/26 via 192.168.1.2 dev eth0") for line in lines)
    assert all(len(line) <= 100 for line in lines)


def test_json_says_both_sides_of_each_device() -> None:
    alone = out(CALICO, HYBRIDNET)[2].to_json()
    assert alone["first"] is None and alone["second"]["device"] == "eth0.vxlan4" and alone["same"] is False
