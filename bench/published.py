"""Published ratios beside the measured ones. Outside their band is a warning with its likely reason, never an edit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.plan import WIRE

FILE = Path(__file__).resolve().parent / "published.yaml"
FLAT = ("macvlan", "ipvlan", "bifrost")
"""Plugins whose pods are on the wire themselves, whatever the wire's tag."""
WHY = {
    "tcp_1": "segments of up to 64 KiB cross veth whole, so a packet's cost is paid once in 44 packets; published "
    "figures are of NICs, of MTU 1500 to 9000 and of another kernel",
    "udp_rr_p50": "both ends are one thread here, so no wake-up of a process and no NIC interrupt is in the baseline: "
    "what a mode adds weighs more",
    "tcp_cpu_per_gb": "published figures include a NIC's interrupts and its driver in the baseline",
}


def bands() -> list[dict[str, Any]]:
    """The file's entries."""
    import yaml

    found: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())
    return found


def mechanism(facts: Mapping[str, Any]) -> str:
    """Which entries a mode is to be held against."""
    return "macvlan" if facts["mode"].startswith(FLAT) else facts["encapsulation"].partition(" in ")[0]


def compared(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each measured ratio for which there are published ones, in the setting `unlimited` between two nodes' pods. Its
    interval, widened by the noise floor, must meet the band."""
    kinds = {one["mode"]: mechanism(one) for one in report["facts"]}
    known = {(one["mechanism"], one["metric"]): one for one in bands()}
    found = []
    for row in report["rows"]:
        band = known.get((kinds.get(row["mode"], ""), row["metric"]))
        if band is None or row["against_raw"] is None or (row["setting"], row["scenario"]) != ("unlimited", WIRE):
            continue
        floor = 1 + (row["noise"] or 0.0)
        low, high = row["against_raw"]["low"] / floor, row["against_raw"]["high"] * floor
        inside = low <= band["high"] and high >= band["low"]
        more = {"mode": row["mode"], "ratio": row["against_raw"]["median"], "inside": inside}
        found.append({**band, **more, "why": "" if inside else WHY[row["metric"]]})
    return found
