"""Named checks of a report, in tiers: facts and shaped goodput fail hard (0, 1), published figures only warn (2).

Each states where its truth comes from. "unknown" is what the run could not show, and never a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench import headers
from bench.plan import AGAIN, GOODPUT, RAW, WIRE
from bench.settings import SETTINGS

Check = dict[str, Any]
PASS, FAIL, WARN, UNKNOWN = "pass", "fail", "warning", "unknown"
GATE = 0.005
"""Shaped goodput may differ from the prediction by this share (benchmarks' tier 1)."""
FILLED = 0.97
"""A link that the baseline fills to less than this of what it can carry shows the machine, not the headers."""
Report = Mapping[str, Any]


def all_checks(report: Report) -> list[Check]:
    """Every check that the report's parts allow."""
    return [*encapsulations(report), *shaped(report), *fewest_devices(report), *same_node(report)]


def _check(name: str, tier: int, result: str, text: str, source: str) -> Check:
    return {"name": name, "tier": tier, "result": result, "text": text, "source": source}


def encapsulations(report: Report) -> Iterator[Check]:
    """Tier 0: what a pod's full packet becomes on the wire fits the link, and the pod's MTU leaves room for exactly
    the headers that were seen (more where a mode also has other paths)."""
    for one in report["facts"]:
        if one["mode"] in (RAW, AGAIN):
            continue
        room = one["link_mtu"] - one["pod_mtu"]
        text = (
            f"{one['encapsulation']} on the wire, {one['inside']} bytes; pod MTU {one['pod_mtu']} of {one['link_mtu']}"
        )
        result = PASS if room >= one["inside"] else FAIL
        yield _check(f"headers-fit {one['mode']} {one['mtu']}", 0, result, text, headers.SOURCE)


def shaped(report: Report) -> Iterator[Check]:
    """Tier 1: goodput over no encapsulation on a shaped link is what header sizes predict."""
    for name, mtu in ((name, one.mtu) for name, one in SETTINGS.items() if one.rate_bps):
        base = _row(report, name, RAW, RAW)
        if base is None:
            continue
        possible = report["run"]["plan"]["rate_bps"] * headers.share(mtu, mtu)
        if base["median"] < FILLED * possible:
            text = (
                f"raw reached {base['median'] / 1e6:.0f} of {possible / 1e6:.0f} Mbit/s: not full; try a lower --rate"
            )
            yield _check(f"link-filled {name}", 1, UNKNOWN, text, headers.SOURCE)
            continue
        yield from _goodputs(report, name, mtu)


def _goodputs(report: Report, name: str, mtu: int) -> Iterator[Check]:
    for one in report["facts"]:
        row = _row(report, name, one["mode"], WIRE)
        if one["mtu"] != mtu or row is None or row["against_raw"] is None:
            continue
        wanted, got = predicted(one), row["against_raw"]["median"]
        known = headers.TRUTHS.get((one["encapsulation"], mtu))
        truth = f"; known truth for {one['encapsulation']}: {known:.4f}" if known else ""
        text = f"{got:.4f} measured, {wanted:.4f} predicted{truth}"
        result = goodput_result(row["against_raw"], wanted)
        if result == UNKNOWN:
            text += "; the machine, not the link, may have been the limit: try a lower --rate or more rounds"
        yield _check(f"goodput {one['mode']} {name}", 1, result, text, headers.SOURCE)


def goodput_result(got: Mapping[str, float], wanted: float) -> str:
    """The median within GATE passes; an interval that is wholly beyond it fails, but for a link that was not filled.

    >>> goodput_result({"low": 0.9640, "median": 0.9650, "high": 0.9660}, 0.9655)
    'pass'
    >>> goodput_result({"low": 0.9840, "median": 0.9850, "high": 0.9860}, 0.9655)
    'fail'
    >>> goodput_result({"low": 0.50, "median": 0.60, "high": 0.70}, 0.9655)
    'unknown'
    """
    if abs(got["median"] - wanted) <= GATE * wanted:
        return PASS
    beyond = got["low"] > wanted * (1 + GATE) or got["high"] < wanted * (1 - GATE)
    return FAIL if beyond and got["median"] >= FILLED * wanted else UNKNOWN


def predicted(facts: Mapping[str, Any]) -> float:
    """Goodput over that without encapsulation, from a mode's facts.

    >>> round(predicted({"link_mtu": 1500, "pod_mtu": 1450, "inside": 50, "outside": 0}), 4)
    0.9655
    """
    mtu = facts["link_mtu"]
    return headers.predicted(mtu, facts["pod_mtu"], facts["inside"], facts["outside"]) / headers.share(mtu, mtu)


def fewest_devices(report: Report) -> Iterator[Check]:
    """Tier 0: a packet of a macvlan or ipvlan pod passes the fewest devices."""
    seen = {one["mode"]: one["devices"] for one in report["facts"] if one["devices"] is not None}
    flat = {mode: count for mode, count in seen.items() if mode.startswith(("macvlan", "ipvlan"))}
    others = {mode: count for mode, count in seen.items() if mode not in flat}
    if not flat or not others:
        return
    worst, best = max(flat.values()), min(others.values())
    text = "; ".join(f"{mode} {count}" for mode, count in sorted(seen.items(), key=lambda item: item[1]))
    source = "the article, chapter 3: a macvlan device is on the parent's wire itself"
    yield _check("macvlan-fewest-devices", 0, PASS if worst <= best else FAIL, text, source)


def same_node(report: Report) -> Iterator[Check]:
    """Tier 2: on one node no packet meets the tunnel, so modes of one plugin do not differ there."""
    by_plugin: dict[str, list[str]] = {}
    for tie in report["ties"]:
        if tie["scenario"] == "pod-same" and tie["setting"] == "unlimited" and tie["metric"] == "udp_rr_p50":
            a, b = tie["modes"]
            if a.partition("-")[0] == b.partition("-")[0]:
                by_plugin.setdefault(a.partition("-")[0], []).append(f"{a} = {b}")
    wanted: dict[str, list[str]] = {}
    for row in report["rows"]:
        if (row["scenario"], row["setting"], row["metric"]) == ("pod-same", "unlimited", "udp_rr_p50"):
            wanted.setdefault(row["mode"].partition("-")[0], []).append(row["mode"])
    source = "the article, chapters 2 and 3: a node's own pods are reached without encapsulation"
    for plugin, modes in wanted.items():
        pairs = len(modes) * (len(modes) - 1) // 2
        if pairs:
            found = by_plugin.get(plugin, [])
            text = f"{len(found)} of {pairs} pairs of modes not told apart on one node"
            yield _check(f"same-node {plugin}", 2, PASS if len(found) == pairs else WARN, text, source)


def _row(report: Report, setting: str, mode: str, scenario: str) -> Mapping[str, Any] | None:
    for row in report["rows"]:
        if (row["setting"], row["metric"], row["mode"], row["scenario"]) == (setting, GOODPUT, mode, scenario):
            found: Mapping[str, Any] = row
            return found
    return None


def status(report: Report) -> int:
    """0; 1 when a hard check failed; 2 when there is no valid measurement."""
    modes: Sequence[str] = [row["mode"] for row in report["rows"] if row["mode"] not in (RAW, AGAIN)]
    if not modes and any(mode != RAW for mode in report["run"]["plan"]["modes"]):
        return 2
    if not report["rows"]:
        return 2
    return 1 if any(one["result"] == FAIL and one["tier"] < 2 for one in report["checks"]) else 0
