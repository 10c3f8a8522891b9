"""The doctor's verdicts from features that are given, and its view; no kernel is asked."""

from __future__ import annotations

import json

import pytest

from console import views
from kernel import doctor, features, places
from kernel.doctor import examine
from kernel.errors import NotPermitted

EVERYTHING = dict.fromkeys(features.FEATURES, "")
NO_VLAN = EVERYTHING | {"vlan": "the kernel has no device type vlan"}
MODES = [("plain", frozenset({"veth"})), ("tagged", frozenset({"veth", "vlan"}))]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """Root's machine without VLAN devices: what each kernel has, and what cannot be used."""
    kernels = {"host": NO_VLAN, "user": NO_VLAN, "embedded": EVERYTHING}
    monkeypatch.setattr(places, "usable", lambda: dict.fromkeys(kernels, ""))
    monkeypatch.setattr(features, "probe_apart", lambda kernel: kernels[kernel])
    monkeypatch.setattr(features, "of_embedded", lambda: kernels["embedded"])
    return kernels


def test_auto_takes_the_first_kernel_that_has_all(machine: dict[str, dict[str, str]]) -> None:
    report = examine(MODES)
    assert [(mode.name, mode.auto) for mode in report.modes] == [("plain", "host"), ("tagged", "embedded")]
    assert report.modes[1].kernels == {"host": "lacks vlan", "user": "lacks vlan", "embedded": ""}
    assert report.healthy


def test_a_missing_feature_has_its_remedy(machine: dict[str, dict[str, str]]) -> None:
    report = examine(MODES)
    assert report.remedy("vlan") == "use --kernel embedded"
    assert report.remedy("veth") == ""


def test_a_mode_that_runs_nowhere_is_no_health(machine: dict[str, dict[str, str]]) -> None:
    machine["embedded"] = NO_VLAN
    report = examine(MODES)
    assert report.modes[1].auto is None
    assert not report.healthy


def test_a_kernel_that_refuses_to_be_tried_says_why(
    machine: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(kernel: str) -> dict[str, str]:
        raise NotPermitted(f"no {kernel}")

    monkeypatch.setattr(features, "probe_apart", refuse)
    report = examine(MODES)
    assert [kernel.why_not for kernel in report.kernels] == ["no host", "no user", ""]
    assert report.modes[0].auto == "embedded"


def test_json_holds_every_feature_of_every_usable_kernel(machine: dict[str, dict[str, str]]) -> None:
    plain = json.loads(json.dumps(examine(MODES).to_json()))
    assert [one["name"] for one in plain["features"]] == list(features.FEATURES)
    assert all(set(one["lacks"]) == {"host", "user", "embedded"} for one in plain["features"])


def test_the_view_names_what_is_missing_and_where(
    machine: dict[str, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    views.doctor(examine(MODES))
    said = capsys.readouterr().out
    assert "vlan (host, user): the kernel has no device type vlan; use --kernel embedded" in said


def test_every_purpose_and_remedy_is_said() -> None:
    assert all(one.purpose and one.remedy for one in features.FEATURES.values())


def test_the_guest_is_booted_only_when_asked(
    machine: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_in_guest", lambda: NO_VLAN)
    assert examine(MODES).kernels[2].how == doctor.KNOWN
    deep = examine(MODES, deep=True)
    assert deep.kernels[2].how == doctor.BOOTED
    assert deep.modes[1].auto is None
