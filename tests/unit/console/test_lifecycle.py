"""What up, down, exec and demo ask of a lab, and what they make of its answers; the lab is a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from console import lifecycle, start
from console.parser import run
from kernel import places
from kernel.errors import KernelRefused

SUMMARY = {"seconds": 0.5, "nodes": 3, "pods": 6, "made": 9, "removed": 0, "converged_s": 0.2, "notes": ["one thing"]}
Script = dict[str, Any]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Script], list[dict[str, Any]]]:
    """`lab(answers)`: a lab named default seems to run and answers so; gives the list of requests that come."""

    def make(answers: Script) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def call(_folder: Path, request: dict[str, Any], _said: object = None) -> Any:
            asked.append(dict(request))
            answer = answers[request["request"]]
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setenv("PODPATH_RUN_ROOT", str(tmp_path))
        monkeypatch.delenv("PODPATH_CONTROL", raising=False)
        monkeypatch.setattr(places, "running", lambda: ["default"])
        monkeypatch.setattr(places, "kernel_of", lambda _folder: "user")
        for module in (lifecycle, start):
            monkeypatch.setattr(module, "call", call)
        return asked

    return make


def test_up_on_a_running_lab_asks_it_to_change(
    lab: Callable[[Script], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = lab({"up": SUMMARY})
    assert run(["up", "--detach", "--plugin", "calico", "--mode", "bgp"]) == 0
    (request,) = asked
    assert (request["plugin"], request["mode"], json.loads(request["spec"])["name"]) == ("calico", "bgp", "default")
    said = capsys.readouterr()
    assert said.out == ""
    assert (
        said.err == "  up in 0.50 s: 3 nodes, 6 pods (9 made, 0 removed), BGP converged in 0.20 s\n  note: one thing\n"
    )


def test_up_as_json_is_nothing_else_on_standard_output(
    lab: Callable[[Script], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    lab({"up": SUMMARY})
    assert run(["up", "--detach", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == SUMMARY | {"kernel": "user", "lab": "default"}


@pytest.mark.parametrize(("steps", "said"), [([], "nothing to do\n"), (["ip link add a", "ip link del b"], None)])
def test_dry_run_of_a_change(
    steps: list[str],
    said: str | None,
    lab: Callable[[Script], list[dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = lab({"plan": steps})
    assert run(["up", "--dry-run"]) == 0
    assert capsys.readouterr().out == (said or "\n".join(steps) + "\n")
    assert [request["request"] for request in asked] == ["plan"]


def test_a_change_that_the_kernel_refuses_is_one_message(
    lab: Callable[[Script], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    lab({"up": KernelRefused("the kernel refused it", where="namespace node1")})
    assert run(["up", "--detach"]) == 2
    assert capsys.readouterr().err == "error: namespace node1: the kernel refused it\n"


def test_down(lab: Callable[[Script], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]) -> None:
    asked = lab({"down": None})
    assert run(["down", "--json"]) == 0
    assert asked == [{"request": "down"}]
    assert json.loads(capsys.readouterr().out)["lab"] == "default"


@pytest.mark.parametrize(("agree", "delivered", "status"), [(True, True, 0), (False, True, 1), (True, False, 1)])
def test_demo_says_no_when_a_path_differs_or_a_packet_is_lost(
    agree: bool,
    delivered: bool,
    status: int,
    lab: Callable[[Script], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verified = {"verdicts": [], "agree": agree, "text": "table"}
    lab({"verify": verified, "trace": {"trace": {}, "delivered": delivered, "text": "tree"}})
    ended = []
    started = SimpleNamespace(folder=tmp_path, summary=SUMMARY, down=lambda: ended.append(True))
    monkeypatch.setattr(start, "choose_kernel", lambda *_, **__: ("user", "because"))
    monkeypatch.setattr(start, "plan_for", lambda *_: None)
    monkeypatch.setattr(start, "start", lambda *_: started)
    assert run(["demo"]) == status
    assert capsys.readouterr().out == "table\n\ntree\n"
    assert ended == [True]


def test_demo_ends_its_lab_when_something_fails(
    lab: Callable[[Script], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab({"verify": KernelRefused("no")})
    ended = []
    started = SimpleNamespace(folder=tmp_path, summary=SUMMARY, down=lambda: ended.append(True))
    monkeypatch.setattr(start, "choose_kernel", lambda *_, **__: ("user", "because"))
    monkeypatch.setattr(start, "plan_for", lambda *_: None)
    monkeypatch.setattr(start, "start", lambda *_: started)
    assert run(["demo"]) == 2
    assert ended == [True]


@pytest.mark.parametrize(
    "argv", [["exec", "pod1"], ["exec", "pod1", "--"], ["exec", "pod1", "--name", "x", "--", "ls"]]
)
def test_exec_without_a_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 2
    assert capsys.readouterr().err.startswith("error: exec: ")
