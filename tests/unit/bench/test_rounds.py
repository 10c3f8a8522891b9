from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import cost, rounds
from bench.cost import Clock
from bench.plan import AGAIN, RAW, Plan
from bench.rounds import LINES, Run, as_lines, key, paired, read_lines
from kernel.errors import PodpathError

PLAN = Plan((RAW, "calico-bgp"), settings=("unlimited",), probes=("tcp_1",), rounds=4, rate_bps=1)
STAT = "cpu  10 1 20 300 4 5 6 7 0 0\ncpu0 1 1 1\nctxt 1234\nbtime 1\n"


class Worker:
    """In the place of a lab's process."""

    def __init__(self, name: str, asked: list[tuple[str, float]], fails: list[str]) -> None:
        self.name, self.asked, self.fails = name, asked, fails

    def put(self, one: Any) -> list[str]:
        return ["no delay"] if self.name == RAW else []

    def measure(self, probe: str, scenario: str, budget: Any) -> dict[str, Any]:
        self.asked.append((self.name, budget.seconds))
        if self.name in self.fails:
            self.fails.remove(self.name)
            raise PodpathError("iperf3 gave no result: it hung")
        return {"values": {"tcp_1": 100.0}, "more": {}}


class Crew:
    """In the place of all of them."""

    def __init__(self, names: Any, asked: list[tuple[str, float]], fails: list[str]) -> None:
        self.workers = {name: Worker(name, asked, fails) for name in names}

    def ready(self) -> Any:
        return {name: {"pod_mtu": 1500} for name in self.workers}, {}

    names = property(lambda self: list(self.workers))

    def __getitem__(self, name: str) -> Worker:
        return self.workers[name]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def carry_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def run(plan: Plan, before: Any = (), fails: Any = ()) -> tuple[list[dict[str, Any]], list[tuple[str, float]]]:
        asked: list[tuple[str, float]] = []
        left = list(fails)
        monkeypatch.setattr(rounds, "Crew", lambda names, mtu, make: Crew(names, asked, left))
        monkeypatch.setattr(rounds, "machine", lambda: {"kernel": "6.1"})
        monkeypatch.setattr(cost, "background", lambda: 0.0)
        (tmp_path / LINES).write_text(as_lines(before))
        Run(plan, lambda *_: None, tmp_path, before).all()  # type: ignore[arg-type,return-value]
        return read_lines(tmp_path / LINES), asked

    return run


def test_rounds_go_over_all_modes_and_the_warm_up_is_dropped(carry_out: Any) -> None:
    lines, asked = carry_out(PLAN)
    samples = [line for line in lines if line["kind"] == "sample"]
    assert len(samples) == PLAN.total() == 12
    assert len(asked) == 15
    for number in range(5):
        assert {name for name, _ in asked[3 * number : 3 * number + 3]} == {RAW, AGAIN, "calico-bgp"}
    assert {seconds for _, seconds in asked[:3]} == {1}
    assert lines[-1] == {"kind": "end"}
    assert [line["text"] for line in lines if line["kind"] == "note"] == ["no delay"]


def test_it_goes_on_where_it_was_cut_off(carry_out: Any) -> None:
    lines, _ = carry_out(PLAN)
    cut = [line for line in lines if line["kind"] != "end"][:7]
    again, _ = carry_out(PLAN, cut)
    samples = [line for line in again if line["kind"] == "sample"]
    assert len({key(line) for line in samples}) == len(samples) == PLAN.total()


def test_a_sample_that_fails_is_named_and_tried_once_more(carry_out: Any) -> None:
    lines, asked = carry_out(PLAN, fails=["calico-bgp"] * 4)  # the warm-up's two, and both of round 1
    failures = [line for line in lines if line["kind"] == "failure"]
    assert [(one["mode"], one["round"], one["attempt"]) for one in failures] == [
        ("calico-bgp", 1, 1),
        ("calico-bgp", 1, 2),
    ]
    missing = [
        line for line in lines if line["kind"] == "sample" and line["mode"] == "calico-bgp" and line["round"] == 1
    ]
    assert missing == []


def test_it_stops_when_it_is_precise_enough(carry_out: Any) -> None:
    lines, _ = carry_out(Plan(**{**PLAN.__dict__, "precision": 0.02}))
    assert max(line["round"] for line in lines if line["kind"] == "sample") == 3


def test_ratios_are_taken_round_by_round() -> None:
    found = paired({1: 2.0, 2: 40.0, 3: 600.0, 9: 1.0}, {1: 1.0, 2: 20.0, 3: 300.0})
    assert found is not None
    assert (found.low, found.median, found.high, found.n) == (2, 2, 2, 3)
    assert paired({1: 1.0}, {2: 1.0}) is None


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    (tmp_path / LINES).write_text('{"kind": "end"}\n{"kind": "sam')
    assert read_lines(tmp_path / LINES) == [{"kind": "end"}]


def test_costs_count_interrupts_and_leave_out_the_background() -> None:
    cpu, switches = cost.parse(STAT, 100)
    assert (cpu["softirq"], cpu["idle"], switches) == (0.06, 3.0, 1234)
    start = Clock({kind: 0.0 for kind in cpu}, 0, 0.0)
    spent = cost.between(start, Clock(cpu, switches, 2.0), idle_busy=0.01)
    assert spent.busy == pytest.approx((10 + 1 + 20 + 5 + 6) / 100 - 0.02)


def test_bytes_sent_by_a_device() -> None:
    text = "Inter-| Receive | Transmit\n face |bytes\n  eth0: 1 2 0 0 0 0 0 0 900 7 0 0 0 0 0 0\n"
    assert cost.parse_sent(text, "eth0") == (900, 7)
