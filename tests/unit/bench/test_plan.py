from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrics import PROBES
from bench.plan import AGAIN, FULL, QUICK, RAW, Plan, Subject, checked, split
from bench.raw import LEFT, state
from bench.settings import SETTINGS, commands, far_end, setting
from bench.sites import far_pods
from kernel.errors import BadInput
from plugins.registry import MODES


def test_modes_are_plugin_dash_mode() -> None:
    assert split("calico-vxlan-cross") == ("calico", "vxlan-cross")
    for wrong in ("calico", "-bgp", "calico-"):
        with pytest.raises(BadInput):
            split(wrong)


def test_all_is_every_mode_of_the_registry_and_the_baseline() -> None:
    assert checked(Plan(("all",))).modes == (RAW, *MODES)


def test_the_baseline_is_measured_twice() -> None:
    plan = Plan((RAW, "calico-bgp"))
    assert plan.labs == (RAW, AGAIN, "calico-bgp")
    assert Subject(AGAIN, RAW) in plan.subjects(setting("unlimited"), plan.labs)


def test_shaped_links_have_goodput_between_nodes_only() -> None:
    plan = Plan((RAW, "calico-bgp"), scenarios=("pod-cross", "pod-same"))
    one = setting("shaped-1500")
    assert plan.probes_of(one) == ("tcp_1",)
    assert Subject("calico-bgp", "pod-same") not in plan.subjects(one, plan.labs)


@given(st.integers(0, 2**31), st.integers(0, 20))
def test_the_order_is_the_seeds_and_another_each_round(seed: int, number: int) -> None:
    plan, one = Plan((RAW,), seed=seed), setting("unlimited")
    subjects = [Subject(str(index), "pod-cross") for index in range(30)]
    first = plan.order(one, number, "tcp_1", subjects)
    assert first == plan.order(one, number, "tcp_1", subjects)
    assert sorted(first, key=subjects.index) == subjects
    assert first != plan.order(one, number + 1, "tcp_1", subjects)


def test_settings_of_one_mtu_share_their_labs() -> None:
    groups = dict(Plan((RAW,), settings=tuple(SETTINGS)).groups())
    assert [one.name for one in groups[9000]] == ["shaped-9000"]
    assert len(groups[1500]) == len(SETTINGS) - 1


def test_a_plan_survives_json_and_the_profiles_name_what_there_is() -> None:
    plan = Plan((RAW, "calico-bgp"), precision=0.02, **FULL)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert set(FULL["probes"]) == set(PROBES)
    assert set(QUICK["probes"]) <= set(PROBES)


def test_a_warm_up_is_as_short_as_can_be() -> None:
    plan = Plan((RAW,), seconds=5)
    assert plan.budget(setting("unlimited"), True, 0).seconds == 1
    assert plan.budget(setting("unlimited"), False, 0).seconds == 5


def test_a_shaped_port_counts_what_the_wire_has_and_the_tag() -> None:
    plan = Plan((RAW,), rate_bps=10**8)
    first, second = commands("node2", plan.setting("shaped-1500"), 4, True)
    assert "stab overhead 28 " in first
    assert "rate 100000000bit" in first
    assert "netem delay 1000us" in second
    assert len(commands("node2", plan.setting("shaped-1500"), 0, False)) == 1


def test_the_far_end_of_a_link() -> None:
    assert far_end(state(), (LEFT, "eth0")) == ("raw-s0", LEFT)
    assert far_end(state(), ("raw-s0", LEFT)) == (LEFT, "eth0")
    with pytest.raises(KeyError):
        far_end(state(), (LEFT, "eth7"))


def test_the_two_pods_are_on_two_nodes_and_close() -> None:
    from cluster.plan import cluster_of
    from topologies.spec import preset

    for name in ("default", "two-rack"):
        source, target = far_pods(cluster_of(preset(name)), 4)
        assert source.node != target.node
        assert source.node + target.node == "node1node2"
    with pytest.raises(BadInput, match="different nodes"):
        far_pods(replace(cluster_of(preset("default")), pods=()), 4)
