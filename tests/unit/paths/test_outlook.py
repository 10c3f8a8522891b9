"""Predictions as text and JSON, of labs that are never built."""

from __future__ import annotations

import json

import jsonschema
import pytest

from kernel.errors import BadInput
from paths.outlook import Outlook, outlook, tree
from tests.unit.paths.made import made
from tests.unit.paths.test_schema import SCHEMA


def of(name: str, source: str, target: str, family: int = 4) -> Outlook:
    one = made(name)
    plugin, _, mode = name.partition("-")
    return outlook((plugin, mode), (one.state, one.wanted.routers), (source, target), family)


def test_a_tree_of_both_ways() -> None:
    lines = tree(of("calico-ipip", "pod1", "pod3"), width=80).splitlines()
    assert lines[0] == "pod1 → pod3   10.244.0.1 → 10.244.0.65"
    assert lines[-1] == "✔ it will be answered"
    encapsulated = next(line for line in lines if "encapsulated" in line)
    assert encapsulated.split()[2:] == ["→", "eth0", "encapsulated", "10.244.0.1", ">", "10.244.0.65,", "in", "IPIP"]
    assert all(len(line) <= 80 for line in lines)
    assert [line for line in lines if line.startswith("└─ ")] == ["└─ pod3", "└─ pod1"]


def test_a_packet_that_will_be_lost_has_no_way_back() -> None:
    found = of("calico-bgp", "client", "pod1")
    assert found.lost.startswith("gw has no way to 10.244.0.1") and not found.back.steps
    assert "✘ gw has no way" in tree(found) and "back" not in tree(found).splitlines()


def test_an_address_that_nobody_has_and_a_name_that_nobody_has() -> None:
    assert "nobody answers there for 10.244.0.99" in of("hybridnet-vxlan", "pod1", "10.244.0.99").lost
    with pytest.raises(BadInput, match="the lab has no 'pod99'"):
        of("hybridnet-vxlan", "pod1", "pod99")


def test_steps_in_json_are_those_of_a_trace() -> None:
    told = json.loads(json.dumps(of("hybridnet-vxlan", "pod1", "pod3", 6).to_json()))
    steps = {"$ref": "#/$defs/expected", "$defs": SCHEMA["$defs"]}
    for way in ("expected_forward", "expected_return"):
        jsonschema.validate(told[way], steps)
    assert [step["netns"] for step in told["expected_forward"]][0::9] == ["pod1", "pod3"]
