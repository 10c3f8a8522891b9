"""How BGP grows: a full mesh against two route reflectors, for 4 to 64 routers on one switch, with real FRR.

    python -m bench.convergence --sizes 4,8,16,32,64 [--rounds 3] [--kernel host] [--json FILE]

Each run is on a kernel of its own place (kernel.places), so runs share nothing. Measured: seconds from the daemons'
start until the last route is in the last kernel; until every other kernel has dropped what a node announced whose link
failed (its peers hear nothing any more: hold time 3 s and restart time 1 s); until a prefix that is new after a
reflector's death has reached every node; sessions, messages, memory and CPU time of all daemons after the cold start.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import document, words
from bench.speakers import RESULT
from bench.stats import median, slope
from kernel import places
from kernel.errors import PodpathError
from kernel.places import HOME, KERNELS

DESIGNS = ("mesh", "reflectors")
FIGURES = ("cold_s", "link_down_s", "reflector_death_s", "sessions", "messages", "memory_mib", "cpu_s")
LARGEST = 64
Run = dict[str, Any]


def one(kernel: str, size: int, design: str) -> Run:
    """One run; the reason under "error" if it failed."""
    runs = HOME / "runs"
    runs.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bgp-", dir=runs))
    try:
        argv = [sys.executable, "-m", "bench.speakers", str(size), design]
        status = places.launch(kernel, folder.name, argv, folder).wait()
        if not (folder / RESULT).exists():
            return {"size": size, "design": design, "error": f"exit status {status}; its messages are above"}
        found: Run = json.loads((folder / RESULT).read_text())
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rows(runs: Sequence[Run]) -> list[Run]:
    """Medians over the rounds, a row for each size and design."""
    found = []
    for size, design in dict.fromkeys((run["size"], run["design"]) for run in runs):
        mine = [run for run in runs if (run["size"], run["design"]) == (size, design) and "error" not in run]
        values = {name: [run[name] for run in mine if name in run] for name in FIGURES}
        middle = {name: median(kept) if kept else None for name, kept in values.items()}
        found.append({"size": size, "design": design, "rounds": len(mine), **middle})
    return found


def exponents(found: Sequence[Run]) -> list[Run]:
    """For each design and figure the exponent b of its growth as size to the power b, fitted over the logarithms.

    >>> exponents([{"size": n, "design": "mesh", "sessions": n * n} for n in (4, 8)])
    [{'design': 'mesh', 'figure': 'sessions', 'exponent': 2.0}]
    """
    fitted = []
    for design in dict.fromkeys(row["design"] for row in found):
        for figure in FIGURES:
            points = [
                (log(row["size"]), log(row[figure])) for row in found if row["design"] == design and row.get(figure)
            ]
            if len(points) > 1:
                xs, ys = zip(*points, strict=True)
                fitted.append({"design": design, "figure": figure, "exponent": round(slope(xs, ys), 2)})
    return fitted


def expected_sessions(size: int, design: str) -> int:
    """N(N-1)/2 in a mesh; N to each of two reflectors and one between these (RFC 4456)."""
    return size * (size - 1) // 2 if design == "mesh" else 2 * size + 1


def show(found: Sequence[Run], console: Console) -> None:
    """The table, and the exponents under it."""
    table = Table(title="BGP, medians", title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("design", "N", "cold s", "link s", "reflector s", "sessions", "messages", "MiB", "CPU s"):
        table.add_column(name, justify="left" if name == "design" else "right")
    for row in found:
        figures = ["-" if row[name] is None else words.three(row[name]) for name in FIGURES]
        table.add_row(row["design"], str(row["size"]), *figures)
    console.print(table)
    for design in DESIGNS:
        said = [f"{x['figure']} N^{x['exponent']:.2f}" for x in exponents(found) if x["design"] == design]
        if said:
            console.print(f"{design}: {', '.join(said)}", highlight=False)


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 4,8") from None
    if not all(3 <= size <= LARGEST for size in sizes):
        raise argparse.ArgumentTypeError(f"each size is to be from 3 to {LARGEST}")
    return sizes


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; status 1 if a run failed or sessions are not as many as the design says, 2 for mistakes."""
    parser = argparse.ArgumentParser(prog="python -m bench.convergence", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=_sizes, default=[4, 8, 16], help="routers, such as 4,8,16,32,64")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each size and design")
    parser.add_argument("--kernel", choices=("auto", *KERNELS), default="auto", help="where (default: auto)")
    parser.add_argument("--json", type=Path, help="write every run there")
    chosen = parser.parse_args(argv)
    console, runs = Console(), []
    try:
        kernel, _ = places.choose(chosen.kernel, frozenset({"veth", "bridge", "frr"}), "BGP")
        for _ in range(chosen.rounds):
            for size in chosen.sizes:
                runs += [one(kernel, size, design) for design in DESIGNS]
        found = rows(runs)
        if chosen.json:
            document.write(chosen.json, json.dumps({"runs": runs, "rows": found, "growth": exponents(found)}, indent=1))
    except PodpathError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    show(found, console)
    wrong = [run for run in runs if run.get("sessions") != expected_sessions(run["size"], run["design"])]
    for run in wrong:
        why = run.get("error", f"{run.get('sessions')} sessions")
        console.print(f"{run['design']} of {run['size']}: {why}", style="red")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
