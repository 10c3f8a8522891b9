"""What `run_topology.py bench` calls.

Outside, `run` starts the same command once more on the chosen kernel, with `--inside`; there `inside` measures and
writes line by line into the shared run folder. Outside those lines are followed, and become the report.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import checks, document, outputs
from bench.plan import Plan
from bench.rounds import LINES, Run, as_lines, read_lines
from bench.settings import GBIT
from bench.sites import LabFactory
from bench.usage import Usage
from kernel.errors import BadInput, PodpathError
from kernel.places import scratch

PLAN, BEFORE, REPORT = "plan.json", "before.jsonl", "bench.json"
"""The run's plan and the lines that it goes on from; the report. LINES is made by the run, which on the embedded
kernel is another user."""
HOME = Path(__file__).resolve().parent.parent
LOOK_S = 0.1
"""How often the run's lines are looked at, and the embedded kernel's CPU time; seconds. A file in a guest kernel's
file system announces nothing."""
Followed = Callable[[Sequence[Mapping[str, Any]]], None]


def run(plan: Plan, kernel: str, folder: Path, resume: bool, followed: Followed) -> tuple[document.Report, bool]:
    """Carries the plan out on `kernel` and writes the report into `folder`; Ctrl-C leaves what is done. Returns the
    report and whether it was interrupted. Raises BadInput for a folder that does not fit."""
    before = _before(plan, folder) if resume else _fresh(folder)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with scratch("bench") as shared:
        (shared / PLAN).write_text(json.dumps(plan.to_json()))
        (shared / BEFORE).write_text(as_lines(before))
        interrupted, status, usage = _launched(kernel, shared, followed)
        lines = [*before, *usage.joined(read_lines(shared / LINES))]
    report = document.made(plan, lines, started)
    if not interrupted and not report["run"]["complete"] and not report["samples"]:
        raise PodpathError(f"the benchmark left no result (exit status {status})", where=kernel)
    document.write(folder / LINES, as_lines(lines))
    outputs.write_all(folder, report)
    return report, interrupted


def _launched(kernel: str, shared: Path, followed: Followed) -> tuple[bool, int, Usage]:
    from kernel.places import launch

    argv = [sys.executable, str(HOME / "run_topology.py"), "bench", "--inside", str(shared)]
    process = launch(kernel, shared.name, argv, shared)
    usage = Usage(process.pid if kernel == "embedded" else None)
    seen = -1
    try:
        while process.poll() is None:
            usage.look()
            size = (shared / LINES).stat().st_size if (shared / LINES).exists() else 0
            if size != seen:
                seen = size
                followed(read_lines(shared / LINES))
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        process.kill()
        process.wait()
        return True, 130, usage
    followed(read_lines(shared / LINES))
    return False, process.wait(), usage


def _fresh(folder: Path) -> list[dict[str, Any]]:
    if (folder / REPORT).exists():
        what = "there is a report already"
        raise BadInput(what, where=str(folder), remedy="name another folder, or go on with it: --resume")
    return []


def _before(plan: Plan, folder: Path) -> list[dict[str, Any]]:
    """The lines of the run to go on with, without its end. Raises BadInput when it was another one."""
    old = document.read(folder / REPORT)
    if Plan.from_json(old["run"]["plan"]) != plan:
        raise BadInput(
            "the run in it had another plan", where=str(folder), remedy="repeat its options, or leave --resume out"
        )
    return [line for line in read_lines(folder / LINES) if line["kind"] not in ("end", "machine")]


def planned(folder: Path) -> Plan:
    """The plan of the report in `folder`, for --resume. Raises BadInput."""
    return Plan.from_json(document.read(folder / REPORT)["run"]["plan"])


def inside(folder: Path, make_lab: LabFactory) -> int:
    """The part that runs on the chosen kernel."""
    plan = Plan.from_json(json.loads((folder / PLAN).read_text()))
    Run(plan, make_lab, folder, read_lines(folder / BEFORE)).all()
    return 0


def rate_for(plan: Plan, kernel: str) -> Plan:
    """With a bit rate that the kernel can fill packet by packet, where none was asked for: the embedded one has a
    single slow processor, and a quick run is for any machine. What headers cost does not depend on it."""
    usual = EMBEDDED_RATE if kernel == "embedded" else QUICK_RATE if plan.profile == "quick" else GBIT
    return plan if plan.rate_bps else replace(plan, rate_bps=usual)


def default_folder() -> Path:
    """Where a report goes for which no folder was named: one of its own in runs/."""
    return HOME / "runs" / time.strftime("bench-%Y%m%d-%H%M%S")


QUICK_RATE = 200 * 10**6
EMBEDDED_RATE = 50 * 10**6
"""Bits a second."""


def status(report: Mapping[str, Any]) -> int:
    """The exit status of a run: 0, 1 a hard check failed, 2 no valid measurement."""
    return checks.status(report)
