"""bench measures for real: a mode against the links alone, with what a captured packet carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bench import document
from bench.convergence import expected_sessions
from bench.plan import AGAIN, RAW, Plan
from bench.rounds import LINES, Run, read_lines
from bench.speakers import TIMERS, measure
from console.measure import factory

SHORT: dict[str, Any] = {"seconds": 1.0, "trips": 100, "rounds": 1, "rate_bps": 50 * 10**6, "omit_s": 0}


def test_a_mode_and_the_links_alone(tmp_path: Path) -> None:
    plan = Plan(
        (RAW, "hybridnet-vxlan"),
        settings=("no-offload", "shaped-1500"),
        probes=("udp_rr", "udp_64", "connect", "ping"),
        **SHORT,
    )
    Run(plan, factory(tmp_path), tmp_path).all()
    report = document.made(plan, read_lines(tmp_path / LINES), "")
    jsonschema.validate(json.loads(document.dumped(report)), json.loads(document.SCHEMA_FILE.read_text()))
    assert report["run"]["complete"]
    assert report["failures"] == []
    assert len(report["samples"]) == plan.total()
    facts = {one["mode"]: one for one in report["facts"]}
    assert {mode: (one["encapsulation"], one["pod_mtu"]) for mode, one in facts.items()} == {
        RAW: ("none", 1500),
        AGAIN: ("none", 1500),
        "hybridnet-vxlan": ("VXLAN", 1450),
    }
    rows = {(row["mode"], row["metric"], row["setting"]): row for row in report["rows"]}
    for mode in (RAW, "hybridnet-vxlan"):  # 50 Mbit/s were asked for, and GSO was off
        assert 10e6 < rows[mode, "tcp_1", "shaped-1500"]["median"] < 50e6
        assert rows[mode, "udp_rr_p50", "no-offload"]["median"] > 0
    assert rows["hybridnet-vxlan", "wire_per_payload", "shaped-1500"]["median"] > 1.05


@pytest.mark.only("machine")
def test_two_reflectors_one_of_which_dies_and_a_link_that_fails(tmp_path: Path) -> None:
    found = measure(3, "reflectors", tmp_path)
    assert found["sessions"] == expected_sessions(3, "reflectors")
    assert found["link_down_s"] > TIMERS.hold_s - TIMERS.keepalive_s
    assert found["reflector_death_s"] < TIMERS.hold_s  # the other one has what is new: nobody waits for a timer
    assert found["messages"] > 2 * found["sessions"]
    assert found["memory_mib"] > 0
