"""The report as Markdown, for a CI job's step summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench import words
from bench.checks import FAIL, WARN
from bench.plan import AGAIN

Report = Mapping[str, Any]
MARKS = {"pass": "✓", "fail": "✗", "warning": "⚠", "unknown": "?"}


def text(report: Report) -> str:
    """The whole of it."""
    return "\n".join([*_head(report), *_tables(report), *_checks(report), *_published(report), *_rest(report)]) + "\n"


def _head(report: Report) -> Iterator[str]:
    run, failed = report["run"], [one for one in report["checks"] if one["result"] == FAIL]
    yield "### podpath bench: overlay against underlay"
    yield ""
    state = (
        "complete" if run["complete"] else f"cut short: {len(report['samples'])} of {run['samples_planned']} samples"
    )
    verdict = f"{len(failed)} checks failed" if failed else "no check failed"
    yield f"**{verdict}**, {state}. {words.machine(report['machine'])}; seed {run['plan']['seed']}."
    yield ""
    yield f"{report['machine'].get('caveat', '')}"


def _tables(report: Report) -> Iterator[str]:
    """A table for each setting and metric: medians, ratio to raw, rank; bold where told apart."""
    for setting, what in report["run"]["settings"].items():
        mine = [row for row in report["rows"] if row["setting"] == setting and row["mode"] != AGAIN]
        if not mine:
            continue
        yield from ("", f"#### {setting}: {what}", "")
        floors = {row["metric"]: row["noise"] for row in mine if row["noise"] is not None}
        said = ", ".join(f"{metric} ±{floor:.1%}" for metric, floor in floors.items())
        yield f"Smallest difference this run could see (raw against raw): {said or 'unknown'}."
        yield from (
            "",
            "| metric | scenario | mode | median | x raw [95 %] | rank | verdict |",
            "|---|---|---|--:|--:|--:|---|",
        )
        yield from (_row(row) for row in mine)


def _row(row: Mapping[str, Any]) -> str:
    ratio = words.ratio(row["against_raw"], 3)
    told = f"**{ratio}**" if row["verdict"] in ("better", "worse") else ratio
    rank = row["rank"] if row["rank"] is not None else ""
    middle = words.amount(row["median"], row["unit"])
    return f"| {row['metric']} | {row['scenario']} | {row['mode']} | {middle} | {told} | {rank} | {row['verdict']} |"


def _checks(report: Report) -> Iterator[str]:
    if not report["checks"]:
        return
    yield from (
        "",
        "#### Checks",
        "",
        "| | check | tier | what was seen | source of the truth |",
        "|---|---|--:|---|---|",
    )
    for one in report["checks"]:
        yield f"| {MARKS[one['result']]} | {one['name']} | {one['tier']} | {one['text']} | {one['source']} |"


def _published(report: Report) -> Iterator[str]:
    if not report["published"]:
        return
    yield from ("", "#### Beside published ratios", "", "| | mode | metric | here | published | grade | source |")
    yield "|---|---|---|--:|--:|---|---|"
    for one in report["published"]:
        mark = MARKS["pass" if one["inside"] else WARN]
        why = f" ({one['why']})" if one["why"] else ""
        band = f"{one['low']} to {one['high']}"
        yield (
            f"| {mark} | {one['mode']} | {one['metric']} | {one['ratio']:.2f} | {band} | {one['grade']} "
            f"| {one['source']}{why} |"
        )


def _rest(report: Report) -> Iterator[str]:
    yield from ("", "<details><summary>Labs, failures, how it was measured</summary>", "")
    for one in report["facts"]:
        on = " ".join(name for name, value in one["offloads"].items() if value) or "none"
        yield (
            f"- {one['mode']} (links {one['mtu']}): pod MTU {one['pod_mtu']}, {one['encapsulation']} on the wire, "
            f"offloads {on}, qdisc {' '.join(one['qdisc'])}, bridge-nf-call-iptables {one['bridge_nf_call_iptables']}"
        )
    for one in report["failures"]:
        place = " ".join(str(one[name]) for name in ("mode", "setting", "scenario", "probe", "round") if name in one)
        yield f"- not measured: {place}: {one['why']}"
    yield from (f"- {one['mode']} in {one['setting']}: {one['text']}" for one in report["notes"])
    yield f"- {report['run']['method']}"
    modes = ",".join(report["run"]["plan"]["modes"])
    yield f"- `run_topology.py bench --modes {modes} --seed {report['run']['plan']['seed']}`"
    yield from ("", "</details>")
