"""The flat network's rules, judged from observations written by hand: what holds, what is documented not to, what is
otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paths.containers import Container
from paths.documented import ways
from paths.findings import listed
from paths.paint import plain
from paths.reach import Call, Heard
from paths.rules import PODS, RULES, Finding, Observed, Pair, judge

POD1, POD2, NODE1, NODE2 = "10.244.0.1", "10.244.0.65", "192.168.1.1", "192.168.1.2"
ADDRESS = {"pod1": POD1, "pod2": POD2, "node1": NODE1, "node2": NODE2}
CONTAINERS = (
    Container(41, 7, ((1, "lo"), (2, "eth0")), "02:00:00:00:00:01", "from the caller"),
    Container(41, 8, ((1, "lo"), (2, "eth0")), "02:00:00:00:00:01", "from the listener"),
)


def pair(kind: str, source: str, target: str, seen: str | None = None, answered: bool = True) -> Pair:
    own = ADDRESS[source]
    heard = Heard(Call(source, target, ADDRESS[target]), own, own if seen is None else seen, answered)
    return Pair(kind, heard)


def observed(*other: Pair) -> Observed:
    """All as the article has it, but for `other`, which take the place of their like."""
    pairs = {
        ("pod1", "pod2"): PODS,
        ("pod2", "pod1"): PODS,
        ("pod1", "node1"): "pod-to-own-node",
        ("node1", "pod1"): "own-node-to-pod",
        ("pod1", "node2"): "pod-to-other-node",
        ("node2", "pod1"): "other-node-to-pod",
    }
    found = {ends: pair(kind, *ends) for ends, kind in pairs.items()}
    found |= {(one.heard.call.source, one.heard.call.target): one for one in other}
    return Observed(
        4,
        tuple(found.values()),
        {"pod1": (POD1,), "pod2": (POD2,)},
        {"node1": (NODE1,), "node2": (NODE2,)},
        {"pod1": "node1", "pod2": "node2"},
        CONTAINERS,
        "pod1",
    )


def judged(mode: str, *other: Pair) -> dict[str, Finding]:
    names = ("pods", "nodes", "containers", "inside")
    found = judge(observed(*other), ways(*mode.split("-", 1)))
    return dict(zip(names, found, strict=True))


def test_each_rule_says_what_it_does_and_quotes_the_article() -> None:
    for rule in RULES:
        assert rule.__doc__ and rule.name and rule.article
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_where_all_is_as_the_article_has_it() -> None:
    found = judged("hybridnet-bgp")
    assert all(one.holds and one.agrees and one.said == () for one in found.values())
    assert [one.tried for one in found.values()] == [2, 4, 2, 2]


def test_nat_between_pods_is_seen() -> None:
    found = judged("hybridnet-bgp", pair(PODS, "pod1", "pod2", seen=NODE1))
    assert not found["pods"].agrees
    assert found["pods"].said == (f"pod1 -> pod2: seen as {NODE1}, which has {POD1}",)
    assert found["inside"].said == (f"pod1 has {POD1} and others see {NODE1}",)


def test_silence_is_no_access() -> None:
    found = judged("hybridnet-bgp", pair("other-node-to-pod", "node2", "pod1", seen="", answered=False))
    assert found["nodes"].said == ("node2 -> pod1: no answer",)
    assert not found["nodes"].agrees
    assert found["pods"].holds


def test_nat_to_other_nodes_is_documented_in_calico_and_only_with_the_own_node_s_address() -> None:
    translated = judged("calico-bgp", pair("pod-to-other-node", "pod1", "node2", seen=NODE1))["nodes"]
    assert (translated.holds, translated.agrees) == (False, True)
    assert "natOutgoing" in translated.said[0]
    for seen in (POD1, NODE2):
        assert not judged("calico-bgp", pair("pod-to-other-node", "pod1", "node2", seen=seen))["nodes"].agrees
    assert not judged("hybridnet-bgp", pair("pod-to-other-node", "pod1", "node2", seen=NODE1))["nodes"].agrees


def test_a_macvlan_is_apart_from_its_own_node_and_an_answer_would_be_news() -> None:
    apart = [
        pair("pod-to-own-node", "pod1", "node1", seen="", answered=False),
        pair("own-node-to-pod", "node1", "pod1", seen="", answered=False),
    ]
    found = judged("macvlan-bridge", *apart)["nodes"]
    assert (found.holds, found.agrees) == (False, True)
    assert "drivers/net/macvlan.c" in found.said[0]
    assert not judged("macvlan-bridge", apart[0])["nodes"].agrees


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": 42}, "its containers differ in network: 41 and 42"),
        ({"mac": "02:00:00:00:00:02"}, "its containers differ in mac"),
        ({"interfaces": ((1, "lo"),)}, "its containers differ in interfaces"),
        ({"mounts": 7}, "share a mount namespace"),
        ({"heard": ""}, "heard 'from the caller' and ''"),
    ],
)
def test_two_containers_that_are_not_of_one_pod(change: dict[str, object], said: str) -> None:
    one, other = CONTAINERS
    strange = replace(observed(), containers=(one, replace(other, **change)))  # type: ignore[arg-type]
    found = judge(strange, ways("hybridnet", "bgp"))[2]
    assert not found.agrees
    assert said in found.said[0]


def test_the_screen_tells_the_three_outcomes_apart() -> None:
    found = judged("calico-bgp", pair("pod-to-other-node", "pod1", "node2", seen=NODE1), pair(PODS, "pod1", "pod2", ""))
    lines = listed(list(found.values())).splitlines()
    assert [line[0] for line in lines[1:] if not line.startswith(" ")] == ["✘", "○", "✔", "✘"]
    assert plain(listed(list(found.values()), color=True)).splitlines() == lines
