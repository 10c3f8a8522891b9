from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from bench import compare, document, screen
from bench.plan import RAW
from kernel.errors import BadInput
from tests.unit.bench.samples import MACHINE, PLAN, sample


def report(trip: float, rounds: int = 8, slow_day: float = 1.0, **machine: Any) -> document.Report:
    lines: list[dict[str, Any]] = [{"kind": "machine", **MACHINE, **machine}]
    for number in range(1, rounds + 1):
        wave = slow_day * (1 + 0.01 * (number % 4))
        lines.append(sample(RAW, "udp_rr", number, udp_rr_p50=20 * wave))
        noise = 1 + 0.002 * number
        lines.append(sample("calico-bgp", "udp_rr", number, udp_rr_p50=trip * wave * noise))
    return document.made(PLAN, lines, "")


def verdict(base: document.Report, head: document.Report, **options: Any) -> tuple[str, int]:
    found = compare.compared(base, head, 0.05, **options)
    return found["rows"][0]["verdict"], compare.status(found)


def test_worse_by_more_than_the_limit_fails() -> None:
    assert verdict(report(25), report(30)) == ("worse", 1)
    assert verdict(report(30), report(25)) == ("better", 0)


def test_the_same_twice_and_less_than_the_limit_pass() -> None:
    assert verdict(report(25), report(25)) == ("no difference seen", 0)
    assert verdict(report(25), report(25.5)) == ("no difference seen", 0)


def test_a_slow_day_is_no_regression() -> None:
    assert verdict(report(25), report(25, slow_day=3)) == ("no difference seen", 0)


def test_too_few_rounds_are_inconclusive_never_a_pass() -> None:
    assert verdict(report(25, rounds=2), report(30, rounds=2)) == ("inconclusive", 0)


def test_higher_is_better_for_throughput() -> None:
    def made(rate: float) -> document.Report:
        shares = {RAW: 1.0, "calico-bgp": rate}
        lines = [sample(m, "tcp_1", n, tcp_1=1e9 * share) for n in range(1, 9) for m, share in shares.items()]
        return document.made(PLAN, lines, "")

    assert verdict(made(0.9), made(0.5)) == ("worse", 1)


def test_other_machines_are_refused_unless_forced() -> None:
    base, head = report(25), report(25, kernel="6.8.0")
    with pytest.raises(BadInput, match=r"kernel is '6\.1\.0' and '6\.8\.0'"):
        compare.compared(base, head, 0.05)
    found = compare.compared(base, head, 0.05, force=True)
    assert found["notes"] == ["kernel is '6.1.0' and '6.8.0'"]


def test_nothing_in_common_is_no_answer() -> None:
    assert (
        compare.status(compare.compared(report(25), document.made(PLAN, [{"kind": "machine", **MACHINE}], ""), 0.05))
        == 2
    )


def test_what_is_worse_is_shown() -> None:
    out = io.StringIO()
    screen.show_comparison(compare.compared(report(25), report(30), 0.05), 0.05, Console(file=out, width=80))
    assert "calico-bgp pod-cross" in out.getvalue()
    assert "1 worse; worse by more than 5% fails" in out.getvalue()
