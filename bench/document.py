"""The report as one JSON document: made of a run's lines, written, read back and checked. Its schema is
report.schema.json; `schema` in it counts up whenever a reader of older reports would misread a newer one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import checks, published, summary
from bench.metrics import METRICS
from bench.plan import SCENARIOS, Plan
from kernel.errors import BadInput, PodpathError

SCHEMA = 1
SCHEMA_FILE = Path(__file__).resolve().parent / "report.schema.json"
PARTS = ("run", "machine", "facts", "metrics", "samples", "rows", "ties", "spreads", "checks", "published", "failures")
METHOD = (
    "request/response and datagram loops run in one Python thread for both ends: no wake-up of another process is in "
    "them, four system calls are; `overhead` in each sample is the same loop over loopback. iperf3 has a process at "
    "each end. CPU time is of the whole kernel (on the embedded one: of the process that is the kernel), less what it "
    "spent idle just before; where that was over 0.2 CPUs the cost is left out. A round measures every mode before "
    "the next probe, in shuffled order; the first round is dropped."
)
KEYS = ("setting", "metric", "scenario", "mode")
Report = dict[str, Any]


def made(plan: Plan, lines: Sequence[Mapping[str, Any]], started: str) -> Report:
    """The report of what these lines say, whole or not."""
    samples = [_sample(line) for line in lines if line["kind"] == "sample"]
    rows = sorted(summary.rows(samples, plan.seed), key=lambda row: _place(plan, row))
    report: Report = {
        "schema": SCHEMA,
        "run": {
            "started": started,
            "plan": plan.to_json(),
            "samples_planned": plan.total(),
            "complete": any(line["kind"] == "end" for line in lines),
            "method": METHOD,
            "scenarios": {"raw": "two namespaces and the same links, no rules", **SCENARIOS},
            "settings": {name: plan.setting(name).what for name in plan.settings},
        },
        "machine": next((_without(line) for line in lines if line["kind"] == "machine"), {}),
        "facts": _facts(lines),
        "metrics": {name: {"unit": m.unit, "better": m.better, "what": m.what} for name, m in METRICS.items()},
        "samples": samples,
        "rows": rows,
        "ties": summary.ties(rows, samples, plan.seed),
        "spreads": summary.spreads(samples),
        "notes": [_without(line) for line in lines if line["kind"] == "note"],
        "failures": [_without(line) for line in lines if line["kind"] == "failure"],
    }
    report["published"] = published.compared(report)
    report["checks"] = [*checks.all_checks(report)]
    return report


def _place(plan: Plan, row: Mapping[str, Any]) -> tuple[int, ...]:
    """Where a row stands: settings and modes as the plan names them, the baselines first."""
    metrics, scenarios = list(METRICS), ["raw", *SCENARIOS]
    places = plan.settings, metrics, scenarios, plan.labs
    return tuple(list(names).index(row[key]) for names, key in zip(places, KEYS, strict=True))


def _without(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "kind"}


def _sample(line: Mapping[str, Any]) -> dict[str, Any]:
    return _without(line)


def _facts(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One for each mode and MTU; of a resumed run the last."""
    return list({(line["mode"], line["mtu"]): _without(line) for line in lines if line["kind"] == "facts"}.values())


def write(path: Path, text: str) -> None:
    """Writes a file of a report, or PodpathError (a full disk, no such folder)."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_name(path.name + ".part")
        whole.write_text(text)
        whole.replace(path)
    except OSError as problem:
        raise PodpathError(f"the report cannot be written: {problem.strerror}", where=str(path)) from None


def dumped(report: Mapping[str, Any]) -> str:
    """As the file holds it."""
    return json.dumps(report, indent=1) + "\n"


def read(path: Path) -> Report:
    """A report. Raises BadInput for what is none, is cut short, or has another schema version."""
    try:
        report: Report = json.loads(path.read_text())
    except OSError as problem:
        raise BadInput(f"it cannot be read: {problem.strerror}", where=str(path), remedy="name a bench.json") from None
    except ValueError as problem:
        what = f"it is no whole report: {problem}"
        raise BadInput(what, where=str(path), remedy="make it again, or `bench --resume` in its folder") from None
    if not isinstance(report, dict) or "schema" not in report:
        raise BadInput("it is no report of bench", where=str(path), remedy="name a bench.json")
    if report["schema"] != SCHEMA:
        what = f"it has schema version {report['schema']}, and this program reads {SCHEMA}"
        raise BadInput(what, where=str(path), remedy="make it again with this program")
    if missing := [part for part in PARTS if part not in report]:
        raise BadInput(f"it is cut short: no {missing[0]!r}", where=str(path), remedy="make it again")
    return report
