"""verify --all: which modes, which kernels, its exit status and its report, with outcomes that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from console import inkernel, survey
from console.parser import run
from paths.survey import Outcome
from plugins.registry import MODES


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Each mode's lab is said to agree, but for calico-bgp's; returns which modes were asked of which kernel."""
    seen: dict[str, list[str]] = {}

    def ran(kernel: str, argv: list[str]) -> Any:
        seen[kernel] = argv[argv.index("--modes") + 1].split(",")
        return [Outcome(n, "default", kernel, "same node", 4, n != "calico-bgp", 0.1).to_json() for n in seen[kernel]]

    monkeypatch.setattr(inkernel, "run", ran)
    monkeypatch.setattr(
        survey.places, "choose", lambda wish, needs, _: ("embedded" if "vlan" in needs else "host", "made up")
    )
    return seen


def test_every_mode_once_on_a_kernel_that_can_do_it(asked: dict[str, list[str]], capsys: Any) -> None:
    assert run(["verify", "--all"]) == 1
    assert sorted(asked["host"] + asked["embedded"]) == sorted(MODES)
    assert "bifrost-macvlan" in asked["embedded"] and "calico-bgp" in asked["host"]
    said = capsys.readouterr().out
    assert f"{len(MODES) - 1} of {len(MODES)} scenarios of {len(MODES)} modes are as documented" in said


def test_status_json_and_report(asked: dict[str, list[str]], capsys: Any, tmp_path: Path) -> None:
    report = tmp_path / "new" / "report.xml"
    options = ["--modes", "flannel-vxlan, calico-bgp", "--json", "--junit", str(report)]
    assert run(["verify", "--all", *options]) == 1
    found = json.loads(capsys.readouterr().out)["outcomes"]
    assert [(one["mode"], one["agrees"]) for one in found] == [("calico-bgp", False), ("flannel-vxlan", True)]
    assert ElementTree.parse(report).getroot().get("failures") == "1"
    assert run(["verify", "--all", "--modes", "flannel-vxlan"]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--all", "--modes", "calico-bpg"], "--modes: there is no mode 'calico-bpg'\n  -> did you mean 'calico-bgp'?"),
        (["--all", "--modes", ","], "--modes: no mode is named"),
        (["--modes", "calico-bgp"], "--modes: the running lab has one mode\n  -> add --all to verify every mode"),
        (["--junit", "x.xml"], "--junit: the running lab has one mode"),
        (["--all", "--junit", "/proc/no/x.xml"], "--junit /proc/no/x.xml: the report cannot be written"),
    ],
)
def test_mistakes_are_one_message_and_nothing_runs(
    options: list[str], said: str, asked: dict[str, list[str]], capsys: Any
) -> None:
    assert run(["verify", *options]) == 2
    assert said in capsys.readouterr().err and not asked
