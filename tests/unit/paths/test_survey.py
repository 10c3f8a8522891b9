"""Outcomes of `verify --all` as lines, JSON and JUnit."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from paths.model import DROPPED, Setting, Trace
from paths.paint import Paint
from paths.rules import Finding
from paths.survey import BRING_UP, Outcome, junit, line, of_rules, of_scenario, summary
from paths.verify import Scenario, Verdict

WHERE = ("calico-bgp", "default", "host")
GOOD = Outcome(*WHERE, "cross node", 6, True, 0.25, "pod1 → pod3")
BAD = Outcome(
    *WHERE, "same node", 4, False, 1.5, "pod1 → pod2", ("out: documented a <b>; observed c & d", "why\x1b[0m")
)
DEAD = Outcome("bifrost-macvlan", "trunks", "embedded", BRING_UP, 0, False, 2.0, "", ("zebra of 'node1' ended",))


def verdict(way: str, agrees: bool) -> Verdict:
    lost = Trace(
        Setting("calico", "bgp", ""),
        "pod1",
        "pod3",
        ("a", "b"),
        "icmp",
        4,
        DROPPED,
        (),
        (),
        place="node1:eth0",
        reason="it is down",
        differences=("node1: eth0 is down",),
    )
    return Verdict("pod1", "pod3", 4, way, "cross node", agrees, (), lost, "" if agrees else "x", "" if agrees else "y")


def test_a_scenario_tells_of_the_way_that_differs_only() -> None:
    whole = Scenario("cross node", 4, "pod1", "pod3", 0.5, (verdict("out", True), verdict("back", True)))
    assert of_scenario(WHERE, whole) == Outcome(*WHERE, "cross node", 4, True, 0.5, "pod1 → pod3")
    broken = Scenario("cross node", 4, "pod1", "pod3", 0.5, (verdict("out", True), verdict("back", False)))
    assert of_scenario(WHERE, broken).said == (
        "back: documented x; observed y",
        "back: node1:eth0: it is down",
        "not as wanted: node1: eth0 is down",
    )


def test_rules_agree_when_each_is_as_documented() -> None:
    kept = Finding("pod to pod without NAT", "", 4, True, True, 12, ())
    other = Finding("node to pod without NAT", "", 4, False, False, 12, ("node1 -> pod1: no answer",))
    assert of_rules(WHERE, 4, [kept], 0.1).agrees
    assert of_rules(WHERE, 4, [kept, other], 0.1).said == ("node to pod without NAT: node1 -> pod1: no answer",)


def test_a_line_an_outcome_and_what_is_otherwise_below() -> None:
    assert (
        line(GOOD, Paint(False), 15, 80) == "✔ calico-bgp       cross node                  IPv6   0.25 s  pod1 → pod3"
    )
    first, *rest = line(BAD, Paint(False), 15, 40).splitlines()
    assert first.startswith("✘ calico-bgp       same node") and rest[0].strip() == "out: documented a <b>; observed c"
    assert all(len(text) <= 40 for text in rest)
    assert "\x1b[32m✔" in line(GOOD, Paint(True), 15, 80)


def test_the_summary_counts_scenarios_and_not_labs() -> None:
    assert summary([GOOD, BAD, DEAD], 125.4) == (
        "1 of 2 scenarios of 2 modes are as documented, on the host and embedded kernel, in 2 min 5 s"
    )
    assert summary([GOOD], 3.21) == "1 of 1 scenarios of 1 mode are as documented, on the host kernel, in 3.2 s"


def test_json_there_and_back() -> None:
    for one in (GOOD, BAD, DEAD):
        assert Outcome.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_junit_has_a_suite_a_mode_and_a_case_a_scenario() -> None:
    root = ElementTree.fromstring(junit([GOOD, BAD, DEAD]))
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "3", "1", "1")
    assert [suite.get("name") for suite in root] == ["calico-bgp", "bifrost-macvlan"]
    good, bad = root[0]
    assert (good.get("classname"), good.get("name"), good.get("time")) == (
        "podpath.calico-bgp",
        "cross node, IPv6",
        "0.250",
    )
    assert len(good) == 0
    (failure,) = bad
    assert failure.tag == "failure" and failure.get("message") == "out: documented a <b>; observed c & d"
    assert failure.text == "out: documented a <b>; observed c & d\nwhy[0m", "no control characters"
    (error,) = root[1][0]
    assert error.tag == "error" and root[1][0].get("name") == BRING_UP
