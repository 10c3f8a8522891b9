"""The tree: one line a device, whole words at any width, colours only where they are wanted."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from paths.model import Hop, Parting, Trace
from paths.paint import plain, wrapped
from paths.show import headers, tree
from tests.unit.paths.made import kinds, traced

DEVICE = re.compile(r"^(?:│  |   ) ?(\d+) [→←] (\S+) +(\d+) B +(-?\d+) µs  ([a-z ]+?)(?:  .*)?$")
ALL = [one for one in kinds() if one[1].startswith(("same", "cross"))]


def whole() -> Trace:
    return traced("hybridnet-vxlan", "cross-node", 4)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("name", "kind", "family"), ALL)
def test_a_line_a_device_in_every_mode(name: str, kind: str, family: int, width: int) -> None:
    trace = traced(name, kind, family)
    lines = tree(trace, width=width).splitlines()
    assert all(len(line) <= width for line in lines), max(lines, key=len)
    found = [match for line in lines if (match := DEVICE.match(line))]
    hops = (*trace.forward, *trace.back)
    assert [match[2] for match in found] == [hop.seen.device for hop in hops]
    assert [match[5].strip() for match in found] == [hop.action for hop in hops]
    numbers = [n for way in (trace.forward, trace.back) for n in range(1, len(way) + 1)]
    assert [int(match[1]) for match in found] == numbers


def test_namespaces_are_branches_and_the_last_one_closes() -> None:
    trace = whole()
    lines = tree(trace).splitlines()
    branches = [line for line in lines if line.startswith(("├─ ", "└─ "))]
    assert branches[:5] == ["├─ pod1", "├─ node1", "├─ s1", "├─ node2", "└─ pod3"]
    assert lines[0] == "pod1 → pod3   ICMP, 10.244.0.1 → 10.244.0.65"
    assert lines[1] == "hybridnet vxlan on the host kernel, Linux 6.1.0"
    assert lines[-1] == "✔ answered in 250 µs, on the way that the wanted state predicts"


def test_headers_stand_where_they_are_new() -> None:
    texts = list(headers(whole().forward))
    assert texts[0].startswith("10.244.0.1 > 10.244.0.65") and texts[1] == ""
    assert "VXLAN" in texts[3] and texts[4] == texts[5] == texts[6] == ""


def test_where_it_died_and_what_was_expected_stand_in_the_tree() -> None:
    trace = whole()
    expected = "node1:eth0 out, in VXLAN, 10.244.0.1 > 10.244.0.65: table main: 192.168.1.0/24 dev eth0"
    lost = replace(
        trace,
        forward=trace.forward[:3],
        back=(),
        disposition="dropped",
        place="node1:eth0.vxlan4",
        reason="eth0.vxlan4 has no FDB entry for 02:00:00:00:00:01",
        evidence=("gw (192.168.1.254) sent ICMP: network unreachable",),
        differences=tuple(f"node1: lacks `thing {number}`" for number in range(9)),
        parting=Parting("out", 3, expected, "nothing more"),
        notes=("a copy also went to gw",),
    )
    lines = tree(lost, width=80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    after = next(n for n, line in enumerate(lines) if "eth0.vxlan4 " in line)
    assert any(line.lstrip("│ ").startswith("✘ expected next: node1:eth0 out, in VXLAN") for line in lines[after:])
    end = lines.index("✘ dropped at node1:eth0.vxlan4")
    assert lines[end + 1 : end + 3] == [
        "  eth0.vxlan4 has no FDB entry for 02:00:00:00:00:01",
        "  gw (192.168.1.254) sent ICMP: network unreachable",
    ]
    assert lines[end + 3] == "  not as wanted:" and lines[end + 10] == "    and 3 more"
    assert lines[-1] == "note: a copy also went to gw"


def test_a_packet_that_left_nowhere() -> None:
    trace = replace(whole(), forward=(), back=(), disposition="dropped", place="pod1", reason="eth0 is down")
    assert tree(trace).splitlines()[-2:] == ["✘ dropped at pod1", "  eth0 is down"]


def test_colours_change_nothing_but_the_colour() -> None:
    trace = whole()
    coloured = tree(trace, color=True, width=80)
    assert "\x1b[" not in tree(trace, width=80)
    assert plain(coloured) == tree(trace, width=80)
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:33|37|34|93|97)m", coloured), "a light background swallows these"


def test_words_stay_whole_however_narrow() -> None:
    text = "neighbour fd00:10:244:1234:5678::abcd is 02:bb:70:e9:49:16 (REACHABLE)"
    lines = list(wrapped(text, 30, 2))
    assert " ".join(line.strip() for line in lines) == text
    assert "fd00:10:244:1234:5678::abcd" in "\n".join(lines)


def test_a_hop_between_the_same_headers_says_nothing_twice() -> None:
    first = whole().forward[0]
    again = Hop(first.seen, "arrives")
    assert list(headers((first, again, again)))[1:] == ["", ""]
