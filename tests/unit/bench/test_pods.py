from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bench import pods, report
from cluster.model import Cluster, Node, Pod
from kernel.errors import BadInput, MissingFeature

TIMES = {"count": 10, "first": 90.0, "p50": 20.0, "p90": 30.0, "p99": 40.0}


def cluster(*places: str) -> Cluster:
    nodes = tuple(Node(name, "eth0", "02:00:00:00:00:01", ("192.0.2.1/24",)) for name in dict.fromkeys(places))
    made = tuple(Pod(f"web-{i}", node, "02:00:00:00:01:00", (f"10.0.0.{i}",)) for i, node in enumerate(places))
    return Cluster(nodes, made, (), ())


def result(mode: str, rate: float, p50: float) -> dict[str, Any]:
    times = TIMES | {"p50": p50}
    return {
        "mode": mode,
        "bits_per_second": rate,
        "retransmits": 0,
        "mtu": 1500,
        "overhead": 9.0,
        "udp": times,
        "tcp": times,
    }


def test_modes_are_plugin_dash_mode() -> None:
    assert pods.split("calico-vxlan-cross") == ("calico", "vxlan-cross")
    for wrong in ("calico", "-bgp", "calico-"):
        with pytest.raises(BadInput):
            pods.split(wrong)


def test_the_pair_is_on_two_nodes() -> None:
    source, target = pods.far_pods(cluster("n1", "n1", "n2"))
    assert (source.name, target.name) == ("web-0", "web-2")
    with pytest.raises(BadInput, match="different nodes"):
        pods.far_pods(cluster("n1", "n1"))


def test_rounds_are_interleaved_and_a_mode_that_cannot_run_keeps_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    @contextmanager
    def make_lab(plugin: str, mode: str) -> Iterator[Any]:
        asked.append((plugin, mode))
        if mode == "ipip":
            raise MissingFeature("no ipip here")
        yield SimpleNamespace(namespaces=None, cluster=cluster("n1", "n2"))

    monkeypatch.setattr(pods, "mtu", lambda namespaces, name: 1450)
    monkeypatch.setattr(pods, "measure", lambda ends, seconds: result("", 1e9, 20.0) | {"mode": "calico-bgp"})
    done = pods.run(make_lab, ["calico-bgp", "calico-ipip"], 1.0, 2)
    assert asked == [("calico", "bgp"), ("calico", "ipip")] * 2
    good, bad = done["medians"]
    assert (good["rounds"], bad["rounds"], bad["error"]) == (2, 0, "no ipip here")


def test_ratios_are_against_raw() -> None:
    runs = [result("calico-bgp", 4e9, 30.0), result("raw", 8e9, 20.0)]
    mode, base = pods.medians(runs)
    assert (mode["throughput_against_raw"], mode["latency_against_raw"]) == (0.5, 1.5)
    assert base["throughput_against_raw"] == 1.0
    assert pods.medians(runs[:1])[0]["throughput_against_raw"] is None


def test_the_table_shows_figures_and_failures() -> None:
    rows = pods.medians([result("raw", 8e9, 20.0), {"mode": "calico-ipip", "error": "no ipip here"}])
    page = io.StringIO()
    report.show_pods({"rounds": 1, "medians": rows}, Console(file=page, width=160))
    assert "8.00" in page.getvalue()
    assert "calico-ipip failed: no ipip here" in page.getvalue()
