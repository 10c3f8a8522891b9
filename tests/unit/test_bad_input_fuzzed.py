"""Whatever a topology file holds, it is a lab or one BadInput; and a lab can be planned or is refused in words."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.lab import plan
from kernel.errors import BadInput, PodpathError
from kernel.features import FEATURES
from plugins.registry import MODES
from topologies.source import parse, read
from topologies.spec import PRESET_FOLDER, PRESETS, LabSpec, from_json

TREES: list[Any] = [yaml.safe_load((PRESET_FOLDER / f"{name}.yaml").read_text()) for name in PRESETS]
KEYS = sorted({key for tree in TREES for key in tree} | set(LabSpec.model_fields) | {"vlan", "trunk", "mtu", "link"})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["10.244.0.0/16", "fd00::/64", "192.168.1.1/24", "fe80::1%eth0/64", "node1", "s1", "gw", "1 ms"])
    | st.sampled_from(["node1", "pod1", "lo", "0.0.0.0/0", "::/0", "::1", "255.255.255.255", "1e9 Mbit", "gw-0"])
    | st.sampled_from([0, 1, 4094, 4095, 1280, 1279, 68, 65535, 2**32, -1])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
)
FUZZED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a tree of lists and mappings."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [(*at, key) for key, _ in inner] + [one for key, value in inner for one in places(value, (*at, key))]


NAMES = st.sampled_from(["node1", "node2", "s1", "s2", "gw", "gw-0", "client", "pod1", "rr1", "lo", "a" * 16, "web"])
HOSTS = ["192.168.1.1", "192.168.1.254", "10.244.0.1", "203.0.113.1", "10.0.0.9", "fd00:192:168:1::1", "fd00:10:244::9"]
LENGTHS = st.sampled_from([8, 16, 24, 26, 30, 31, 32])
ADDRESSES = st.sampled_from(HOSTS)
CIDRS = st.builds("{}/{}".format, ADDRESSES, LENGTHS | st.sampled_from([64, 112, 126, 127, 128]))
NETWORKS = st.sampled_from(
    ["10.244.0.0/16", "10.244.0.0/28", "192.168.0.0/16", "10.0.0.0/8", "fd00:10:244::/64", "fd00::/8", "10.9.9.9/32"]
)
SHAPES = st.fixed_dictionaries(
    {},
    optional={"bandwidth": st.sampled_from(["1 Mbit", 1]), "delay": st.sampled_from(["1 ms", 0]), "loss": st.just(1)},
)
MTUS = st.sampled_from([68, 576, 1279, 1280, 1400, 1500, 9000, 65535])
VLANS = st.sampled_from([1, 10, 20, 4094])
PORT = {"switch": NAMES, "addresses": st.lists(CIDRS, max_size=3), "mtu": MTUS, "vlan": VLANS, "link": SHAPES}
PORT |= {"trunk": st.lists(VLANS, max_size=3), "mac": st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:02"])}
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    **PORT,
    "name": NAMES,
    "node": NAMES,
    "namespace": NAMES,
    "network": NAMES,
    "ends": st.lists(NAMES, min_size=2, max_size=2),
    "cidr": NETWORKS,
    "service_cidrs": st.lists(NETWORKS, max_size=2),
    "block": st.integers(1, 128),
    "pods": st.lists(st.fixed_dictionaries({"name": NAMES, "node": NAMES}), max_size=3) | st.integers(0, 9),
    "pods_per_node": st.integers(0, 40),
    "gateway": st.lists(ADDRESSES, max_size=2) | ADDRESSES,
    "start": ADDRESSES,
    "end": ADDRESSES,
    "exclude": st.lists(ADDRESSES, max_size=2),
    "router": st.lists(CIDRS, max_size=2),
    "asn": st.sampled_from([1, 64512, 2**32 - 1]),
    "cluster_id": ADDRESSES,
    "families": st.sampled_from([[4], [6], [4, 6]]),
    "overlay": st.booleans(),
    "nodes": st.lists(st.fixed_dictionaries({"name": NAMES, **PORT}), min_size=1, max_size=3),
    "switches": st.lists(st.fixed_dictionaries({"name": NAMES}), min_size=1, max_size=3),
    "links": st.lists(st.fixed_dictionaries({"ends": st.lists(NAMES, min_size=2, max_size=2)}), max_size=3),
    "pools": st.lists(st.fixed_dictionaries({"cidr": NETWORKS}), min_size=1, max_size=3),
}
"""Values of the right kind for each key, good ones and bad ones."""


@st.composite
def changed(draw: st.DrawFn) -> str:
    """A preset with one to four places replaced (by any value, or by one of the right kind), removed or added."""
    tree = copy.deepcopy(draw(st.sampled_from(TREES)))
    for _ in range(draw(st.integers(1, 4))):
        *way, last = draw(st.sampled_from(places(tree)))
        holder = tree
        for key in way:
            holder = holder[key]
        kind = draw(st.sampled_from(["plausible"] * 6 + ["add"] * 6 + ["remove", "double", "any"]))
        if kind == "remove":
            del holder[last]
        elif kind == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        elif kind == "add" and isinstance(holder, dict):
            key = draw(st.sampled_from(sorted(PLAUSIBLE)))
            holder[key] = copy.deepcopy(draw(PLAUSIBLE[key]))
        elif kind == "any":
            holder[last] = draw(SCALARS | VALUES)
        elif last in PLAUSIBLE:
            holder[last] = copy.deepcopy(draw(PLAUSIBLE[last]))
        elif isinstance(last, int) and way and isinstance(holder[last], str):
            holder[last] = draw(CIDRS if "/" in holder[last] else NAMES)
        if not places(tree):
            break
    return yaml.safe_dump(tree)


def judged(text: str) -> LabSpec | None:
    """The lab, or None after a BadInput that says what and where."""
    try:
        return parse(text, "lab.yaml")
    except BadInput as problem:
        assert problem.what and problem.where.startswith("lab.yaml") and problem.remedy
        assert "\n" not in problem.what
        return None


@FUZZED
@given(st.text())
def test_any_text(text: str) -> None:
    judged(text)


@FUZZED
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "lab.yaml"
    path.write_bytes(data)
    with pytest.raises(BadInput):
        read(path)


@FUZZED
@given(VALUES)
def test_any_tree(tree: Any) -> None:
    judged(yaml.safe_dump(tree))


@settings(FUZZED, max_examples=200)
@given(changed())
def test_a_preset_changed_at_random_is_refused_in_words_or_can_be_planned(text: str) -> None:
    spec = judged(text)
    if spec is None or sum(node.pods or 0 for node in spec.nodes) > 50 or spec.pods_per_node > 50:
        return
    assert from_json(spec.model_dump_json()) == spec
    for key in MODES:
        plugin, _, mode = key.partition("-")
        try:
            state = plan(spec, plugin, mode, frozenset(FEATURES)).state
        except PodpathError:
            continue
        devices = [(ns.name, link.name) for ns in state.namespaces for link in ns.links]
        assert len(set(devices)) == len(devices)
        assert all(len(device) <= 15 for _, device in devices)


def test_presets_themselves_are_labs() -> None:
    for name in PRESETS:
        assert read(Path(PRESET_FOLDER / f"{name}.yaml")).nodes
