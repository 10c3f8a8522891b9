"""How long it takes to bring hosts up: podpath's engine, stock Mininet and `ip -batch` side by side.

    python -m bench.bringup --sizes 10,50,200,1000 [--rounds 3] [--full] [--json FILE]

Each run is a process of its own in fresh network, mount and pid namespaces (plus a user namespace when
started without root), so runs share nothing and the machine's interfaces are not touched. Rounds are
interleaved, so a slow minute of the machine hits every tool; the table shows medians.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.builders import BUILDERS, LARGEST_SWITCH
from bench.stats import median, ratio

MININET_LIMIT = 200
"""Mininet takes minutes beyond this many hosts; `--full` runs it all the same."""
FIGURES = ("up_s", "forks", "process_kib", "kernel_kib", "down_s", "gone_s")
AGAINST = {"up_s": "against_podpath", "down_s": "down_against_podpath", "gone_s": "gone_against_podpath"}
"""Figures that are compared with podpath's at the same size, and what the comparison is called."""
RUN_DEADLINE_S = 900
Run = dict[str, Any]


def isolated(argv: Sequence[str], root: bool) -> list[str]:
    """`argv` as first process in namespaces of its own."""
    flags = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    return ["unshare", *([] if root else ["--user", "--map-root-user"]), *flags, "--", *argv]


def one(tool: str, size: int) -> Run:
    """One run in a child process; the reason under "error" if it failed."""
    argv = isolated([sys.executable, "-m", "bench.builders", tool, str(size)], os.geteuid() == 0)
    base = {"tool": tool, "size": size}
    home = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(argv, cwd=home, capture_output=True, text=True, timeout=RUN_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        return base | {"error": f"not done after {RUN_DEADLINE_S} s"}
    except FileNotFoundError:
        return base | {"error": "unshare is missing; run scripts/setup"}
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return base | {"error": said[-1]}
    figures: Run = json.loads(done.stdout.strip().splitlines()[-1])
    return base | figures


def jobs(sizes: Iterable[int], rounds: int, full: bool, tools: Sequence[str]) -> list[tuple[str, int]]:
    """The runs in order: for every size the tools in turn, round after round."""
    return [
        (tool, size)
        for size in sizes
        for _ in range(rounds)
        for tool in tools
        if full or tool != "mininet" or size <= MININET_LIMIT
    ]


def summary(runs: Sequence[Run]) -> list[Run]:
    """One row a tool and size: medians over its rounds, and its times up and down against podpath's."""
    rows: list[Run] = []
    for tool, size in dict.fromkeys((run["tool"], run["size"]) for run in runs):
        mine = [run for run in runs if (run["tool"], run["size"]) == (tool, size)]
        good = [run for run in mine if "error" not in run]
        row: Run = {"tool": tool, "size": size, "rounds": len(good)}
        for figure in FIGURES:
            values = [run[figure] for run in good if run.get(figure) is not None]
            row[figure] = median(values) if values else None
        if len(good) < len(mine):
            row["error"] = next(run["error"] for run in mine if "error" in run)
        rows.append(row)
    base = {row["size"]: row for row in rows if row["tool"] == "podpath"}
    for row in rows:
        ours = base.get(row["size"], {})
        for figure, against in AGAINST.items():
            known = row[figure] is not None and ours.get(figure)
            row[against] = ratio(row[figure], ours[figure]) if known else None
    return rows


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 10,50") from None
    for size in sizes:
        if not 2 <= size <= LARGEST_SWITCH:
            raise argparse.ArgumentTypeError(f"{size} is not in 2..{LARGEST_SWITCH}: a Linux bridge takes 1023 ports")
    return sizes


def _tools(text: str) -> list[str]:
    tools = text.split(",")
    for tool in tools:
        if tool not in BUILDERS:
            raise argparse.ArgumentTypeError(f"{tool!r} is not one of {', '.join(BUILDERS)}")
    return tools


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; status 1 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.bringup", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=_sizes, default=[10, 50, 200], help="hosts, such as 10,50,200,1000")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each tool and size")
    parser.add_argument("--tools", type=_tools, default=list(BUILDERS), help=f"of {','.join(BUILDERS)}")
    parser.add_argument("--full", action="store_true", help=f"Mininet beyond {MININET_LIMIT} hosts too")
    parser.add_argument("--json", type=Path, help="write every run and the medians to this file")
    args = parser.parse_args(argv)
    runs = []
    for tool, size in jobs(args.sizes, args.rounds, args.full, args.tools):
        run = one(tool, size)
        runs.append(run)
        print(f"{tool} {size}: {run.get('error') or format(run['up_s'], '.3f') + ' s'}", file=sys.stderr)
    rows = summary(runs)

    from bench import report

    report.show_bringup(rows)
    if args.json:
        report.write(args.json, {"machine": report.machine(), "medians": rows, "runs": runs})
    return 1 if any("error" in run for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
