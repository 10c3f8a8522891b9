"""Figures of every documented path: nothing overlaps, every text has room, lines end at devices; SVG and Mermaid."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import pytest

from paths.figure import BADGE, LETTER, NAME, Box, Chip, Figure, bar_width, figure
from paths.mermaid import chart
from paths.model import Parting, Trace
from paths.scene import Scene
from paths.svg import picture
from paths.wires import Wires
from tests.unit.paths.made import kinds, made, traced
from tests.unit.paths.recorded import observation, planned

SVG = "{http://www.w3.org/2000/svg}"
ALL = [one for one in kinds() if one[2] == 4 or one[0].startswith("hybridnet")]
EVERY = pytest.mark.parametrize(("name", "kind", "family"), ALL, ids=lambda part: str(part))


def drawn(name: str, kind: str, family: int) -> tuple[Figure, Trace, Scene]:
    trace, scene = traced(name, kind, family), Scene(made(name).cluster, made(name).state)
    return figure(trace, scene), trace, scene


def apart(a: Chip | Box, b: Chip | Box) -> bool:
    return a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y


def inside(inner: Chip | Box, outer: Box) -> bool:
    right, bottom = inner.x + inner.width, inner.y + inner.height
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and right <= outer.x + outer.width
        and bottom <= outer.y + outer.height
    )


@EVERY
def test_nothing_overlaps(name: str, kind: str, family: int) -> None:
    found, trace, _ = drawn(name, kind, family)
    for a, b in combinations(found.chips, 2):
        assert apart(a, b), (a, b)
    for a, b in combinations(found.boxes, 2):
        assert apart(a, b) or inside(a, b) or inside(b, a), (a, b)
    for chip in found.chips:
        assert any(inside(chip, box) for box in found.boxes if box.title == chip.netns), chip
        assert all(apart(chip, box) or inside(chip, box) for box in found.boxes)
        assert chip.x >= 0 and chip.x + chip.width <= found.width and chip.y + chip.height <= found.height
    places = {(hop.seen.netns, hop.seen.device) for hop in (*trace.forward, *trace.back)}
    assert {(chip.netns, chip.device) for chip in found.chips} == places


@EVERY
def test_every_text_has_room_in_its_device(name: str, kind: str, family: int) -> None:
    for chip in drawn(name, kind, family)[0].chips:
        badges = BADGE * (len(chip.out) + len(chip.back))
        assert len(chip.device) * NAME + len(chip.led) * LETTER + badges <= chip.width
        assert all(bar_width(bar) <= chip.width for _, bar in chip.bars)


@EVERY
def test_lines_join_the_devices_of_the_way_and_cross_no_other(name: str, kind: str, family: int) -> None:
    found, trace, _ = drawn(name, kind, family)
    chips = {(chip.netns, chip.device): chip for chip in found.chips}
    for way, hops in (("out", trace.forward), ("back", trace.back)):
        places = [(hop.seen.netns, hop.seen.device) for hop in hops]
        ends = [(chips[a], chips[b]) for a, b in zip(places, places[1:], strict=False) if a != b]
        lines = [line for line in found.lines if line.way == way]
        assert len(lines) == len(ends)
        for line, (a, b) in zip(lines, ends, strict=True):
            assert touches(line.points[0], a) and touches(line.points[-1], b), (line, a, b)
            for other in chips.values():
                assert other in (a, b) or not any(
                    crosses(p, q, other) for p, q in zip(line.points, line.points[1:], strict=False)
                ), (line, other)


def touches(point: tuple[float, float], chip: Chip) -> bool:
    x, y = point
    upright = chip.x <= x <= chip.right and (abs(y - chip.y) < 0.01 or abs(y - chip.bottom) < 0.01)
    level = chip.y <= y <= chip.bottom and (abs(x - chip.x) < 0.01 or abs(x - chip.right) < 0.01)
    return upright or level


def crosses(p: tuple[float, float], q: tuple[float, float], chip: Chip) -> bool:
    """A line along an axis goes through a device."""
    (left, right), (top, bottom) = sorted((p[0], q[0])), sorted((p[1], q[1]))
    return left < chip.right and chip.x < right + 0.01 and top < chip.bottom and chip.y < bottom + 0.01


@EVERY
def test_the_svg_says_what_was_seen(name: str, kind: str, family: int) -> None:
    _, trace, scene = drawn(name, kind, family)
    root = ElementTree.fromstring(picture(trace, scene))
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    for hop in trace.forward:
        assert hop.seen.device in texts
    assert f"{trace.setting.plugin} {trace.setting.mode}: {trace.source} to {trace.target}" in texts
    numbers = [int(text) for text in texts if text.isdigit()]
    wanted = [n for hops in (trace.forward, trace.back) for n in range(1, len(hops) + 1)]
    assert sorted(numbers) == sorted(wanted), "each sighting has its number"
    markers = {marker.get("id") for marker in root.iter(f"{SVG}marker")}
    for line in root.iter(f"{SVG}polyline"):
        assert line.get("marker-end") == f"url(#{line.get('class')})" and line.get("class") in markers
    width, height = (float(root.get(side) or 0) for side in ("width", "height"))
    assert root.get("viewBox") == f"0 0 {width:.0f} {height:.0f}"


def test_headers_in_names_at_each_stage_of_a_recorded_way() -> None:
    name = "hybridnet-vxlan-cross-node"
    one = planned(name)
    scene = Scene(one.cluster, one.state)
    path = observation(name).ways(Wires(one.state))[0]["probe"].path
    near = [(a.netns, b.netns) for a, b in zip((path[0], *path), path, strict=False)]
    near[0] = ("pod1", "node1")
    bars = {
        seen.place: [text for _, text in scene.bar(seen.packet, names)] for seen, names in zip(path, near, strict=True)
    }
    inner = ["IP pod1>pod3", "ICMP"]
    assert bars["pod1:eth0"] == ["Eth pod1>node1", *inner], "the next hop's MAC is everybody's; node1 is near"
    assert bars["node1:eth0.vxlan4"] == ["Eth node1>node2", *inner]
    assert bars["s1:node2"] == ["Eth", "IP node1>node2", "UDP 8472", "VXLAN 4", "Eth", *inner]
    assert bars["pod3:eth0"] == ["Eth node2>pod3", *inner]


def test_a_lost_packet_ends_in_red_with_its_reason_and_what_was_expected() -> None:
    _, trace, scene = drawn("hybridnet-vxlan", "cross-node", 4)
    parting = Parting("out", 3, "node1:eth0 out, in VXLAN <4>", "nothing more")
    lost = replace(
        trace,
        forward=trace.forward[:3],
        back=(),
        place="node1:eth0.vxlan4",
        reason="eth0.vxlan4 has no FDB entry for 02:00:00:00:00:01",
        differences=("node1: lacks `bridge fdb replace ...`",),
        parting=parting,
        rtt_us=None,
        disposition="dropped",
    )
    root = ElementTree.fromstring(picture(lost, scene))
    died = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "chip died"]
    assert len(died) == 1
    texts = " ".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    for words in ("✘ node1:eth0.vxlan4", "has no FDB entry", "expected: node1:eth0 out, in VXLAN <4>", "not as wanted"):
        assert words in texts


@EVERY
def test_mermaid_has_each_device_once_and_an_arrow_for_each_step(name: str, kind: str, family: int) -> None:
    _, trace, scene = drawn(name, kind, family)
    text = chart(trace, scene)
    assert "flowchart LR" in text.splitlines()[3]
    assert text.count("subgraph") == len(re.findall(r"^ +end$", text, re.M))
    places = {(hop.seen.netns, hop.seen.device) for hop in (*trace.forward, *trace.back)}
    named = re.findall(r'^ +(ns_\w+)\["([^"]+)"\]$', text, re.M)
    assert len(named) == len(set(named)) == len(places)
    steps = sum(max(0, len(hops) - 1) for hops in (trace.forward, trace.back))
    assert len(re.findall(r"(?:-->|-\.->)\|", text)) == steps
    known = {name for name, _ in named}
    for a, b in re.findall(r'^  (\w+) (?:-->|-\.->)\|"[^"|]*"\| (\w+)$', text, re.M):
        assert {a, b} <= known
