from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import headers


@pytest.mark.parametrize(("name", "mtu"), headers.TRUTHS)
def test_known_truths_follow_from_header_sizes(name: str, mtu: int) -> None:
    assert round(headers.relative(headers.KNOWN[name], mtu), 4) == headers.TRUTHS[name, mtu]


def test_a_full_frame_without_encapsulation() -> None:
    assert headers.share(1500, 1500) == 1448 / 1538


@given(st.integers(1280, 9000), st.integers(0, 100))
def test_a_pod_mtu_below_the_room_costs_more_than_the_headers(mtu: int, inside: int) -> None:
    exact = headers.predicted(mtu, mtu - inside, inside, 0)
    assert exact == pytest.approx(headers.share(mtu, mtu - inside))
    assert headers.predicted(mtu, mtu - inside - 40, inside, 0) < exact


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([("Ethernet", 14), ("IPv4", 20), ("ICMP", 8)], ("none", 0, 0)),
        ([("Ethernet", 14), ("802.1Q", 4), ("IPv4", 20)], ("VLAN tag", 0, 4)),
        ([("Ethernet", 14), ("IPv4", 20), ("IPIP", 0), ("IPv4", 20), ("UDP", 8)], ("IPIP", 20, 0)),
        (
            [("Ethernet", 14), ("IPv4", 20), ("UDP", 8), ("VXLAN", 8), ("Ethernet", 14), ("IPv4", 20)],
            ("VXLAN", 50, 0),
        ),
        (
            [("Ethernet", 14), ("802.1Q", 4), ("IPv4", 20), ("UDP", 8), ("VXLAN", 8), ("Ethernet", 14), ("IPv4", 20)],
            ("VXLAN in VLAN tag", 50, 4),
        ),
    ],
)
def test_encapsulation_of_a_frame(layers: list[tuple[str, int]], wanted: tuple[str, int, int]) -> None:
    found = headers.seen(layers)
    assert (found.name, found.inside, found.outside) == wanted
