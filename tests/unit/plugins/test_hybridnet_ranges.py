"""Which blocks of a subnet stay out of hybridnet's tunnel."""

from __future__ import annotations

from ipaddress import ip_network

from cluster.model import Pool
from plugins.hybridnet.ranges import excluded


def pool(cidr: str, start: str | None = None, end: str | None = None, exclude: tuple[str, ...] = ()) -> Pool:
    return Pool(cidr, 26, vlan=10, start=start, end=end, exclude=exclude)


def test_bounds_gateway_and_excluded_addresses_become_aligned_blocks() -> None:
    found = excluded(pool("10.0.0.0/24", "10.0.0.16", "10.0.0.191", ("10.0.0.20",)), "10.0.0.1")
    assert found == ("10.0.0.0/28", "10.0.0.20/32", "10.0.0.192/26")


def test_without_bounds_only_gateway_and_excluded_addresses() -> None:
    assert excluded(pool("10.0.0.0/24", exclude=("10.0.0.9",)), "10.0.0.1") == ("10.0.0.1/32", "10.0.0.9/32")
    assert excluded(pool("10.0.0.0/24"), None) == ()


def test_one_bound_leaves_the_other_side_open() -> None:
    assert excluded(pool("10.0.0.0/30", start="10.0.0.2"), None) == ("10.0.0.0/31",)
    assert excluded(pool("10.0.0.0/30", end="10.0.0.2"), None) == ("10.0.0.3/32",)


def test_ipv6_and_a_gateway_outside_the_subnet() -> None:
    """A BGP peer is excluded wherever it is."""
    found = excluded(pool("fd00:0:0:10::/64", "fd00:0:0:10::10", "fd00:0:0:10::ffff"), "fd00::1")
    assert found[0] == "fd00::1/128"
    assert found[1:3] == ("fd00:0:0:10::/124", "fd00::10:0:0:1:0/112")
    covered = sum(ip_network(block).num_addresses for block in found[1:])
    assert covered == 2**64 - (0x10000 - 0x10)
