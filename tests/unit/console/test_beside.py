"""trace --diff and --predict: which topology, which kernels, and mistakes; the labs themselves are made up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from console import beside, inkernel
from console.parser import run
from tests.unit.paths.made import traced


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], str]]:
    """What was run: kernel, modes and topology. IPIP needs the embedded kernel here."""
    seen: list[tuple[str, list[str], str]] = []

    def ran(kernel: str, argv: list[str]) -> list[Any]:
        job = json.loads(argv[argv.index("--job") + 1])
        seen.append((kernel, job["modes"], json.loads(job["spec"])["name"]))
        return [traced(name, "cross-node", 4).to_json() for name in job["modes"]]

    monkeypatch.setattr(inkernel, "run", ran)
    monkeypatch.setattr(beside.places, "features_of", lambda _: frozenset(_everything()))
    monkeypatch.setattr(
        beside.places, "choose", lambda wish, needs, _: ("embedded" if "ipip" in needs else "host", "made up")
    )
    return seen


def _everything() -> list[str]:
    from kernel.features import FEATURES

    return list(FEATURES)


def test_one_start_a_kernel(started: list[Any], capsys: Any) -> None:
    assert run(["trace", "pod1", "pod3", "--diff", "calico-bgp", "hybridnet-vxlan"]) == 0
    assert started == [("host", ["calico-bgp", "hybridnet-vxlan"], "default")]
    assert "out   3 of 10 devices alike" in capsys.readouterr().out
    assert run(["trace", "pod1", "pod3", "--diff", "calico-ipip", "calico-vxlan", "--json"]) == 0
    assert [one[0] for one in started[1:]] == ["embedded", "host"]
    told = json.loads(capsys.readouterr().out)
    assert told["modes"] == ["calico-ipip", "calico-vxlan"] and told["topology"] == "default"
    assert len(told["forward"]) == len(told["return"]) == 10


def test_a_topology_that_fits_both(started: list[Any], capsys: Any) -> None:
    assert run(["trace", "pod1", "pod3", "--diff", "calico-vxlan-crosssubnet", "calico-bgp"]) == 0
    assert started == [("host", ["calico-vxlan-crosssubnet", "calico-bgp"], "two-rack")], "the first mode's own"
    assert run(["trace", "pod1", "pod3", "--diff", "calico-bgp", "hybridnet-vlan"]) == 2
    assert "--diff: neither default nor trunks is a topology for both modes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--diff", "calico-bpg", "calico-ipip"],
            "--diff: there is no mode 'calico-bpg'\n  -> did you mean 'calico-bgp'?",
        ),
        (["--diff", "calico-bgp"], "expected 2 arguments"),
        (["--diff", "calico-bgp", "calico-ipip", "--predict"], "not allowed with argument"),
        (["--mode", "bgp"], "--mode: the running lab has its own topology and mode"),
        (["--preset", "trunks"], "--preset: the running lab has its own topology and mode"),
    ],
)
def test_mistakes_are_one_message_and_nothing_runs(
    options: list[str], said: str, started: list[Any], capsys: Any
) -> None:
    assert run(["trace", "pod1", "pod3", *options]) == 2
    assert said in capsys.readouterr().err and not started


def test_names_are_checked_before_a_lab_is_brought_up(started: list[Any], capsys: Any) -> None:
    assert run(["trace", "pod1", "pod99", "--diff", "calico-bgp", "hybridnet-vxlan"]) == 2
    assert "the lab has no 'pod99'" in capsys.readouterr().err and not started


def test_a_prediction_needs_no_lab(capsys: Any) -> None:
    options = ["--plugin", "calico", "--mode", "ipip", "--kernel", "embedded"]
    assert run(["trace", "pod1", "pod3", "--predict", *options]) == 0
    assert "✔ it will be answered" in capsys.readouterr().out
    assert run(["trace", "client", "pod1", "--predict", "--json", *options]) == 1
    assert json.loads(capsys.readouterr().out)["lost"].startswith("gw has no way")
