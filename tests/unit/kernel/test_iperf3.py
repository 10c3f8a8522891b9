from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from kernel import iperf3
from kernel.errors import PodpathError

GOOD = {"end": {"sum_sent": {"bits_per_second": 2e9, "retransmits": 7}, "sum_received": {"bits_per_second": 1.5e9}}}
LISTENS = "print('-----'); print('Server listening on 5201', flush=True); import time; time.sleep(60)"


class Scripted:
    """In the place of Namespaces: a namespace's iperf3 is a line of Python."""

    def __init__(self, **programs: str) -> None:
        self.programs = programs
        self.asked: list[list[str]] = []

    def spawn(self, name: str, argv: list[str], **popen: Any) -> subprocess.Popen[str]:
        self.asked.append([name, *argv])
        return subprocess.Popen([sys.executable, "-c", self.programs[name]], **popen)


def test_it_reads_the_receivers_rate() -> None:
    assert iperf3.parse(json.dumps(GOOD)) == iperf3.Throughput(1.5e9, 2e9, 7)


def test_udp_has_no_sum_of_its_own_for_the_sender() -> None:
    udp = {"end": {"sum": {"bits_per_second": 1e7}, "sum_received": {"bits_per_second": 9e6}}}
    assert iperf3.parse(json.dumps(udp)) == iperf3.Throughput(9e6, 1e7, 0)


@pytest.mark.parametrize("text", ['{"error": "unable to connect: No route to host"}', "No route to host"])
def test_a_failed_client_is_a_message(text: str) -> None:
    with pytest.raises(PodpathError, match="iperf3 gave no result"):
        iperf3.parse(text)


def test_the_client_starts_once_the_server_listens() -> None:
    spaces = Scripted(a=f"print({json.dumps(GOOD)!r})", b=LISTENS)
    assert iperf3.measure(spaces, "a", "b", "10.0.0.2", 0.5).bits_per_second == 1.5e9
    assert spaces.asked[1][spaces.asked[1].index("-t") + 1] == "1"  # iperf3 takes no fractions
    assert [asked[:3] for asked in spaces.asked] == [["b", "iperf3", "-s"], ["a", "iperf3", "-c"]]


def test_a_server_that_stops_says_why() -> None:
    spaces = Scripted(a="", b="print('Address already in use')")
    with pytest.raises(PodpathError, match="Address already in use"):
        iperf3.measure(spaces, "a", "b", "10.0.0.2")
    assert len(spaces.asked) == 1


def test_a_silent_client_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iperf3, "SLACK_S", 0.3)
    spaces = Scripted(a="import time; time.sleep(60)", b=LISTENS)
    with pytest.raises(PodpathError, match="no answer in 1.3 s"):
        iperf3.measure(spaces, "a", "b", "10.0.0.2", 1)
