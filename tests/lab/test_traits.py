"""What `compare` observes of a lab is what the lab is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from console.compare import FIXED, fixed_pod, with_pod
from paths.traits import Traits, observe


@pytest.fixture
def traits(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Traits]:
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    plugin, mode, name = request.param
    pod: dict[str, Any] = fixed_pod(preset(name))
    folder = tmp_path_factory.mktemp("lab")
    with Lab(plan(with_pod(preset(name), pod), plugin, mode, features()), folder) as lab:
        lab.up()
        yield observe(lab, name, (), (FIXED, pod["addresses"][0]), "")


@pytest.mark.parametrize("traits", [("hybridnet", "vxlan", "default")], indirect=True)
def test_an_overlay(traits: Traits) -> None:
    assert (traits.families, traits.tunnel, traits.tagged, traits.switched) == ((4, 6), "VXLAN", False, False)
    assert traits.routed and not traits.speaks_bgp
    assert (traits.device, traits.exits, traits.ranges) == ("veth pair", ("SNAT",), ())
    assert traits.fixed == "10.244.0.125"
    assert traits.blocks[0] == "10.244.0.0/26 of node1"
    assert (traits.source, traits.target) == ("pod1", "pod3")


@pytest.mark.only("embedded")
@pytest.mark.parametrize("traits", [("bifrost", "macvlan", "trunks")], indirect=True)
def test_an_underlay_of_layer_2(traits: Traits) -> None:
    assert (traits.families, traits.tunnel, traits.tagged) == ((4,), "", True)
    assert traits.switched and not traits.routed and not traits.speaks_bgp
    assert (traits.device, traits.exits, traits.blocks) == ("macvlan subinterface", ("podIP",), ())
    assert traits.fixed == "10.0.0.200"
