from __future__ import annotations

from contextlib import nullcontext

import pytest

from bench import latency
from kernel.errors import PodpathError


class Here:
    """In the place of Namespaces: every namespace is this one."""

    def inside(self, name: str) -> nullcontext[None]:
        return nullcontext()


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_round_trips_over_loopback(proto: latency.Proto) -> None:
    seen = latency.measure(Here(), "a", "b", "127.0.0.1", proto, count=50)
    assert seen.count == 50
    assert 0 < seen.p50 <= seen.p90 <= seen.p99
    assert seen.first > 0


def test_an_address_that_is_not_there_is_a_message() -> None:
    with pytest.raises(PodpathError, match=r"no udp answer from 192\.0\.2\.1 \(b\) to a"):
        latency.measure(Here(), "a", "b", "192.0.2.1")
