"""What `run_topology.py bench` calls.

Outside, `run` starts the same command once more on the chosen kernel, with `--inside`; there `inside`
measures and leaves its result in the shared run folder.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import pods, report
from bench.pods import LabFactory
from kernel.errors import BadInput, PodpathError

RESULT = "bench.json"
HOME = Path(__file__).resolve().parent.parent


def run(
    modes: Sequence[str],
    kernel: str,
    json_path: str | None = None,
    seconds: float = 3.0,
    rounds: int = 3,
) -> int:
    """Measures `modes` on `kernel`, which is started for it, and shows the table; status 1 if a mode could not be
    measured."""
    result = _on(kernel, modes, seconds, rounds)
    report.show_pods(result)
    if json_path:
        report.write(Path(json_path), result)
    return 1 if any("error" in row for row in result["medians"]) else 0


def inside(modes: Sequence[str], seconds: float, rounds: int, folder: Path, make_lab: LabFactory) -> int:
    """The part that runs on the chosen kernel: measures, and leaves RESULT in `folder`."""
    result = pods.run(make_lab, modes, seconds, rounds)
    report.write(folder / RESULT, result | {"machine": report.machine()})
    return 0


def check(modes: Sequence[str], seconds: float, rounds: int) -> None:
    """Raises BadInput for what cannot be measured."""
    if not modes:
        raise BadInput("no mode to measure", where="--modes", remedy="name one, such as raw,hybridnet-vxlan")
    for mode in modes:
        if mode != pods.RAW:
            pods.split(mode)
    if seconds <= 0 or rounds < 1:
        raise BadInput("a benchmark needs time and at least one round", where="--seconds, --rounds")


def _on(kernel: str, modes: Sequence[str], seconds: float, rounds: int) -> dict[str, Any]:
    from kernel.places import launch

    runs = HOME / "runs"
    runs.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=runs))
    argv = [sys.executable, str(HOME / "run_topology.py"), "bench", "--inside", str(folder), "--modes", ",".join(modes)]
    argv += ["--seconds", f"{seconds:g}", "--rounds", str(rounds)]
    process = launch(kernel, folder.name, argv, folder)
    status = process.wait()
    try:
        result: dict[str, Any] = json.loads((folder / RESULT).read_text())
    except FileNotFoundError:
        raise PodpathError(f"the benchmark left no result (exit status {status})", where=str(folder)) from None
    return result
