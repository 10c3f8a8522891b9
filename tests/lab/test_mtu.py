"""MTU budgets on running labs: the limit passes, a byte more dies in the place that the budget names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.mtu import with_links
from paths.mtu import budget, budgets

LINKS = pytest.mark.parametrize("link", [1500, 9000])


def check(folder: Path, plugin: str, mode: str, link: int, taken: dict[int, int]) -> None:
    """`taken` are the bytes that the mode takes of a link, by family."""
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    with Lab(plan(with_links(preset("one-switch"), link), plugin, mode, features()), folder) as lab:
        lab.up()
        found = budgets(lab)
    assert [one.family for one in found] == list(taken)
    for one in found:
        assert one.holds, f"{one.fits} {one.too_long}"
        assert one.limit == one.wanted == link - taken[one.family]
        assert one.tightest.place == f"{one.source}:eth0"
        assert "Message too long" in one.too_long.reason


@pytest.mark.only("machine")
@LINKS
@pytest.mark.parametrize(
    ("plugin", "mode", "taken"),
    [("hybridnet", "vxlan", {4: 50, 6: 50}), ("calico", "vxlan", {4: 70, 6: 70}), ("calico", "bgp", {4: 0, 6: 0})],
)
def test_the_limit_and_a_byte_more(tmp_path: Path, plugin: str, mode: str, link: int, taken: dict[int, int]) -> None:
    check(tmp_path, plugin, mode, link, taken)


@pytest.mark.only("embedded")
@LINKS
def test_the_limit_and_a_byte_more_in_ipip(tmp_path: Path, link: int) -> None:
    check(tmp_path, "calico", "ipip", link, {4: 20})


@pytest.mark.only("machine")
@pytest.mark.parametrize("family", [4, 6])
def test_a_narrow_link_on_the_way_refuses_and_is_named(make_lab: Callable[..., Any], family: int) -> None:
    """A smaller MTU than the mode knew of: the node refuses, and tells the pod."""
    lab = make_lab("calico", "bgp")
    lab.namespaces.run("node1", ["ip", "link", "set", "eth0", "mtu", "1400"]).check_returncode()
    one = budget(lab, "pod1", "pod3", family)
    assert (one.wanted, one.limit, one.tightest.place) == (1500, 1400, "node1:eth0")
    assert one.holds, f"{one.fits} {one.too_long}"
    assert "eth0 takes 1400" in one.too_long.reason


@pytest.mark.only("machine")
def test_a_narrow_link_under_a_tunnel_fragments_what_the_tunnel_sends(lab: Any) -> None:
    """VXLAN's outer packets may be fragmented (ip-link(8), `df unset`): so the budget does not hold."""
    lab.namespaces.run("node1", ["ip", "link", "set", "eth0", "mtu", "1400"]).check_returncode()
    one = budget(lab, "pod1", "pod3", 4)
    assert (one.limit, one.tightest.place) == (1350, "node1:eth0")
    assert one.too_long.passed and not one.holds
