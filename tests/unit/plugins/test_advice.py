"""The article's chapter 2.5, statement by statement, and every combination of wishes."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import pytest

from plugins.advice import STATEMENTS, TRUNKED, TUNNELS, Advice, Wishes, advise
from plugins.registry import MODES, mode
from topologies.spec import preset

NAMES = [one.name for one in fields(Wishes)]


def asked(*names: str) -> Advice:
    return advise(Wishes(**dict.fromkeys(names, True)))


def first(found: Advice) -> list[str]:
    """The modes that meet as much as the best."""
    best = len(found.options[0].meets)
    return [one.mode for one in found.options if len(one.meets) == best]


@pytest.mark.parametrize(
    ("wishes", "modes", "quoted"),
    [
        (("least_invasive", "dual_stack"), ["hybridnet-vxlan"], "hybridnet vxlan solution can be selected"),
        (("least_invasive",), ["calico-ipip", "calico-vxlan"], "you can choose calico IPIP or calico vxlan"),
        (("underlay_bgp", "same_subnet"), ["calico-bgp"], "in the same network segment, the calico BGP solution"),
        (("underlay_bgp",), ["hybridnet-bgp"], "in a different network segment, you can choose the hybridnet bgp"),
        (("underlay_bgp", "same_subnet", "dual_stack"), ["calico-bgp"], "supports dual stack"),
        (("underlay_bgp", "dual_stack"), ["hybridnet-bgp"], "supports dual stack"),
        (("low_latency",), ["macvlan-bridge", "ipvlan-l2", "bifrost-macvlan"], "macvlan and ipvlan l2"),
        (("public_cloud",), ["terway-ipvlan", "ipvlan-l3", *TUNNELS], "choose the terway solution, or other ipvlan l3"),
        ((), ["hybridnet-vxlan", "hybridnet-vlan", "hybridnet-bgp"], "meet all scenarios, such as hybridnet"),
    ],
)
def test_the_article_s_statements(wishes: tuple[str, ...], modes: list[str], quoted: str) -> None:
    found = asked(*wishes)
    assert first(found) == modes == [one.mode for one in found.options]
    assert all(quoted in one.article[0] for one in found.options)
    assert found.unmet == () and found.excluded == ()


@pytest.mark.parametrize("values", list(product((False, True), repeat=len(NAMES))), ids=lambda v: f"{v}")
def test_every_combination(values: tuple[bool, ...]) -> None:
    wishes = Wishes(**dict(zip(NAMES, values, strict=True)))
    found = advise(wishes)
    proposed = {name for one in STATEMENTS if one.applies(wishes) for name in one.modes}
    assert proposed, "there is a statement for everybody"
    assert {one.mode for one in found.options} | {name for name, _ in found.excluded} == proposed <= set(MODES)
    assert [len(one.meets) for one in found.options] == sorted((len(one.meets) for one in found.options), reverse=True)
    for one in found.options:
        plugin, _, name = one.mode.partition("-")
        assert not wishes.dual_stack or 6 in mode(plugin, name).families
        assert not wishes.no_trunk or one.mode not in TRUNKED
        assert not wishes.least_invasive or one.mode in TUNNELS
        assert set(one.meets) <= set(wishes.named) and one.article and one.evidence
    best = set(found.options[0].meets) if found.options else set()
    assert set(found.unmet) == set(wishes.named) - best - {"same_subnet"}


def test_what_is_taken_out_has_a_reason() -> None:
    found = asked("public_cloud", "dual_stack")
    assert dict(found.excluded)["calico-ipip"].startswith("it carries no IPv6: ")
    found = asked("low_latency", "no_trunk")
    assert "802.1Q trunks" in dict(found.excluded)["bifrost-macvlan"]
    found = asked("low_latency", "least_invasive", "dual_stack")
    assert found.unmet == ("low_latency",)
    assert [one.mode for one in found.options] == ["hybridnet-vxlan"]


def test_trunked_modes_are_those_whose_own_lab_has_trunks() -> None:
    for name in {name for one in STATEMENTS for name in one.modes}:
        nodes = preset(mode(*name.split("-", 1)).preset).nodes
        assert any(node.trunk for node in nodes) == (name in TRUNKED)


def test_json_is_plain() -> None:
    one = asked("least_invasive", "dual_stack").to_json()["options"][0]
    assert one["mode"] == "hybridnet-vxlan"
    commands = [item["command"] for item in one["evidence"]]
    assert commands[0] == "python run_topology.py demo --plugin hybridnet --mode vxlan"
    assert any(command.endswith("trace pod1 pod3 -6") for command in commands)
