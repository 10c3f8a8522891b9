"""Topology files as LabSpecs: values with units, links changed while a lab runs, what a topology needs, the schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml

from kernel.errors import BadInput
from topologies.source import as_text, parse
from topologies.spec import PRESET_FOLDER, PRESETS, SCHEMA, LabSpec, Shape, preset, schema

HEAD = """
name: t
pools: [{cidr: 10.1.0.0/24, block: 30}]
switches: [{name: s1}, {name: s2}]
links: [{ends: [s1, s2]}]
nodes: [{name: n1, switch: s1, addresses: [192.168.1.1/24]}]
router: {ports: [{switch: s1, addresses: [192.168.1.254/24]}, {switch: s1, addresses: [192.168.2.254/24]}]}
"""


def lab() -> LabSpec:
    return parse(HEAD, "t.yaml")


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("{bandwidth: 100 Mbit}", Shape(bandwidth=100_000_000)),
        ("{bandwidth: 1.5Gbit/s, delay: 5 ms}", Shape(bandwidth=1_500_000_000, delay=5000)),
        ("{bandwidth: 64000, delay: 250us, loss: 0.1%}", Shape(bandwidth=64_000, delay=250, loss=0.1)),
        ("{delay: 1s, loss: 100}", Shape(delay=1_000_000, loss=100.0)),
    ],
)
def test_a_link_s_values_with_and_without_units(text: str, shape: Shape) -> None:
    node = f"nodes: [{{name: n1, switch: s1, addresses: [192.168.1.1/24], link: {text}}}]"
    found = parse(HEAD.replace("nodes: [{name: n1, switch: s1, addresses: [192.168.1.1/24]}]", node), "t.yaml")
    assert found.nodes[0].link == shape


def test_addresses_are_kept_in_canonical_form() -> None:
    text = HEAD.replace("192.168.1.1/24]", '192.168.1.1/24, "FD00:0:0::0A/64"]')
    assert parse(text, "t.yaml").nodes[0].addresses == ("192.168.1.1/24", "fd00::a/64")


def test_a_link_is_changed_and_what_is_not_named_stays() -> None:
    changed = lab().with_link("s1", "n1", delay="5ms", mtu="1400").with_link("n1", "s1", bandwidth="10Mbit")
    assert changed.link_between("n1", "s1") == {"bandwidth": 10_000_000, "delay": 5000, "loss": 0.0, "mtu": 1400}
    assert changed.with_link("n1", "s1", bandwidth=None, delay=0, mtu=1500) == lab()
    assert changed.links == lab().links


def test_all_ports_of_a_router_on_one_switch_are_changed() -> None:
    router = lab().with_link("gw", "s1", loss="2%").router
    assert router and [port.link.loss for port in router.ports] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("ends", "values", "what"),
    [
        (("n1", "s2"), {"delay": "1ms"}, "no link between 'n1' and 's2'"),
        (("n1", "s1"), {"jitter": "1ms"}, "a link has no 'jitter'"),
        (("n1", "s1"), {"delay": "1"}, "'1' is no delay"),
        (("n1", "s1"), {"loss": "101%"}, "is too large"),
        (("n1", "s1"), {"bandwidth": "0Mbit"}, "is too small"),
    ],
)
def test_a_wrong_change_is_one_message(ends: tuple[str, str], values: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput) as caught:
        lab().with_link(*ends, **values)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("values", "needs"),
    [
        ({}, {"veth", "bridge"}),
        ({"bandwidth": "1Mbit"}, {"veth", "bridge", "tbf"}),
        ({"delay": "1ms"}, {"veth", "bridge", "netem"}),
        ({"loss": "1%"}, {"veth", "bridge", "netem"}),
        ({"mtu": 1400}, {"veth", "bridge"}),
    ],
)
def test_what_a_topology_needs_of_a_kernel(values: dict[str, Any], needs: set[str]) -> None:
    assert lab().with_link("s1", "s2", **values).needs == needs
    assert "vlan-filtering" in preset("vlans").needs and "vlan-filtering" not in lab().needs


def test_a_topology_is_the_same_as_a_file_again() -> None:
    for name in PRESETS:
        assert parse(as_text(preset(name)), name) == preset(name)


# -- the presets: what their names promise ---------------------------------------------------------------------


def test_the_default_lab_is_three_nodes_on_two_switches() -> None:
    spec = preset("default")
    assert [(node.name, node.switch) for node in spec.nodes] == [("node1", "s1"), ("node2", "s1"), ("node3", "s2")]
    assert spec.pods_per_node == 2 and spec.router and spec.client


def test_racks_have_a_subnet_each_and_no_link_but_the_router() -> None:
    spec = preset("two-rack")
    subnets = {node.switch: {address.rsplit(".", 1)[0] for address in node.addresses[:1]} for node in spec.nodes}
    assert subnets == {"tor1": {"192.168.1"}, "tor2": {"192.168.2"}} and not spec.links
    assert spec.router and spec.router.asn and {port.switch for port in spec.router.ports} == {"tor1", "tor2"}


def test_route_reflectors_share_a_cluster_id() -> None:
    reflectors = preset("route-reflectors").reflectors
    assert len(reflectors) == 2 and len({one.cluster_id for one in reflectors}) == 1


def test_vlans_have_access_ports_and_the_router_an_address_in_each() -> None:
    spec = preset("vlans")
    assert spec.router and {port.vlan for port in spec.router.ports} == {node.vlan for node in spec.nodes} == {10, 20}


# -- the schema ------------------------------------------------------------------------------------------------


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == json.loads(json.dumps(schema())), "run: python -m topologies.spec --schema"


def checked(data: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema()).iter_errors(data)]


def test_the_schema_is_one_and_takes_the_presets() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    for name in PRESETS:
        assert checked(yaml.safe_load((PRESET_FOLDER / f"{name}.yaml").read_text())) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodez": []},
        {"nodes": []},
        {"pods_per_node": "two"},
        {"switches": [{"name": "S1"}]},
        {"nodes": [{"name": "n1", "switch": "s1", "vlan": 4095}]},
        {"links": [{"ends": ["s1"]}]},
        {"links": [{"ends": ["s1", "s2"], "link": {"delay": "5 parsec"}}]},
        {"links": [{"ends": ["s1", "s2"], "link": {"loss": 101}}]},
        {"links": [{"ends": ["s1", "s2"], "link": {"bandwidth": 0}}]},
    ],
)
def test_the_schema_refuses_what_the_code_refuses(wrong: dict[str, Any]) -> None:
    data = yaml.safe_load(HEAD) | wrong
    assert checked(data) != []
    with pytest.raises(BadInput):
        parse(yaml.safe_dump(data), "t.yaml")


def test_the_schema_takes_links_with_units() -> None:
    link = {"ends": ["s1", "s2"], "link": {"bandwidth": "1.5 Gbit", "delay": "5ms", "loss": "0.5 %"}}
    data = yaml.safe_load(HEAD) | {"links": [link]}
    assert checked(data) == []
    assert parse(yaml.safe_dump(data), "t.yaml").links[0].link.delay == 5000
