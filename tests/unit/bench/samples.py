"""Lines of a run, made up: what the run on the chosen kernel would have written."""

from __future__ import annotations

from typing import Any

from bench.plan import AGAIN, RAW, Plan

PLAN = Plan((RAW, "calico-bgp", "hybridnet-vxlan"), probes=("tcp_1", "udp_rr"), rounds=5, rate_bps=10**9)
MACHINE = {"kernel": "6.1.0", "place": "host", "cpu": "test", "cpus": 2, "firewall": "iptables-nft", "caveat": "veth"}
SLOTS = [[10.0, 5], [20.0, 5]]


def sample(mode: str, probe: str, number: int, setting: str = "unlimited", **values: float) -> dict[str, Any]:
    scenario = RAW if mode in (RAW, AGAIN) else "pod-cross"
    head = {"kind": "sample", "setting": setting, "mode": mode, "scenario": scenario, "probe": probe, "round": number}
    return head | {"began": 10.0 * number, "ended": 10.0 * number + 2, "values": values, "more": {"slots": SLOTS}}


def facts(mode: str, encapsulation: str, inside: int) -> dict[str, Any]:
    more = {"devices": 5, "offloads": {"gso": True}, "qdisc": ["noqueue"], "bridge_nf_call_iptables": None}
    sizes = {"mtu": 1500, "link_mtu": 1500, "pod_mtu": 1500 - inside, "inside": inside, "outside": 0}
    return {"kind": "facts", "mode": mode, "encapsulation": encapsulation, **sizes, **more}


def lines(vxlan_goodput: float = 0.9655, rounds: int = 5) -> list[dict[str, Any]]:
    """A run in which calico BGP is as fast as raw, and hybridnet VXLAN takes twice the time."""
    found: list[dict[str, Any]] = [{"kind": "machine", **MACHINE}]
    found += [facts(RAW, "none", 0), facts("calico-bgp", "none", 0), facts("hybridnet-vxlan", "VXLAN", 50)]
    for number in range(1, rounds + 1):
        wave = 1 + number / 100
        for mode, speed, trip in (
            (RAW, 1, 1),
            (AGAIN, 1.001, 1.002),
            ("calico-bgp", 1, 1),
            ("hybridnet-vxlan", 0.5, 2),
        ):
            drift = 1 + 0.001 * (number % 3)
            found.append(sample(mode, "tcp_1", number, tcp_1=9e9 * speed * wave * drift))
            found.append(sample(mode, "udp_rr", number, udp_rr_p50=20 * trip * wave * drift))
            share = {"hybridnet-vxlan": vxlan_goodput}.get(mode, 1.0) * 941.5e6
            found.append(sample(mode, "tcp_1", number, "shaped-1500", tcp_1=share))
    return found
