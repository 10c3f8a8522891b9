"""Which addresses of a subnet no pod has, as blocks: hybridnet keeps packets for them out of the tunnel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network, summarize_address_range

from cluster.model import Pool


@cache
def excluded(pool: Pool, gateway: str | None) -> tuple[str, ...]:
    """What is outside `start`..`end` where either is stated, the excluded addresses and the gateway, in the fewest
    aligned blocks (FindSubnetExcludeIPBlocks, pkg/daemon/utils/ip_range.go). A subnet without bounds has only the last
    two: even addresses that no pod can have are then looked for in the tunnel."""
    blocks: list[IPv4Network | IPv6Network] = list(_outside(pool))
    blocks += [ip_network(one) for one in (*pool.exclude, *((gateway,) if gateway else ()))]
    return tuple(str(block) for block in collapse_addresses(blocks))  # type: ignore[type-var]


def _outside(pool: Pool) -> Iterator[IPv4Network | IPv6Network]:
    network = ip_network(pool.cidr)
    first, last = int(network[0]), int(network[-1])
    start, end = (int(ip_address(one)) if one else None for one in (pool.start, pool.end))
    for low, high in ((first, (start or first) - 1), ((end or last) + 1, last)):
        if low <= high:
            yield from summarize_address_range(network[low - first], network[high - first])
