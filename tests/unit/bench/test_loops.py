from __future__ import annotations

import struct
from contextlib import nullcontext

import pytest

from bench import loops, usage
from bench.latency import spread
from tests.unit.bench.samples import sample


class Here:
    """In the place of Namespaces: every namespace is this one."""

    def inside(self, name: str) -> nullcontext[None]:
        return nullcontext()


def test_datagrams_and_connections_over_loopback() -> None:
    assert loops.datagrams(Here(), "a", "b", "127.0.0.1", 64, 0.02) > 1000
    assert loops.connections(Here(), "a", "b", "127.0.0.1", 0.02) > 100


def test_an_echo_request_sums_up_to_nothing() -> None:
    packet = loops.echo(7, 65537)
    words = struct.unpack(f"!{len(packet) // 2}H", packet)
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF  # RFC 1071
    assert struct.unpack_from("!HH", packet, 4) == (7, 1)


def test_a_histogram_keeps_every_sample_and_its_slot() -> None:
    found = spread([9.9, 10.0, 10.1, 1000.0])
    assert sum(count for _, count in found) == 4
    assert [count for bound, count in found if bound == 10.0] == [2]


def test_a_kernels_process_is_charged_in_proportion() -> None:
    line = sample("calico-bgp", "tcp_1", 1, tcp_1=1e9, tcp_cpu_per_gb=2.0)
    line["more"] = {"cpu_s": {"user": 0.5, "system": 0.5, "idle": 9.0}}
    found = usage.charged(line, [(9.0, 0.0), (11.0, 4.0), (13.0, 8.0)])
    assert found["more"]["machine_cpu_s"] == 4.0
    assert found["values"] == {"tcp_1": 1e9, "tcp_cpu_per_gb": 8.0}
    assert usage.charged(line, [(9.0, 0.0)]) == line


def test_between_points_it_is_a_straight_line() -> None:
    assert usage.between([(0.0, 0.0), (10.0, 5.0)], 2.0, 4.0) == pytest.approx(1.0)
    assert usage.between([(0.0, 0.0), (10.0, 5.0)], -1.0, 4.0) is None
