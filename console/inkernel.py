"""Work that brings labs up by itself: the same command once more as first process on another kernel."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console.start import PROGRAM
from kernel.errors import PodpathError
from kernel.places import launch, scratch

RESULT = "result.json"


def run(kernel: str, argv: Sequence[str]) -> Any:
    """Runs `run_topology.py ARGV --inside FOLDER` on `kernel` and returns what it left there (`leave`). What it says
    comes out here. Raises PodpathError when it left nothing, and what kernel.places.launch raises."""
    with scratch(argv[0]) as folder:
        process = launch(kernel, folder.name, [sys.executable, str(PROGRAM), *argv, "--inside", str(folder)], folder)
        try:
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if not (folder / RESULT).exists():
            raise PodpathError(f"{argv[0]} left no result (exit status {status})", where=f"the {kernel} kernel")
        return json.loads((folder / RESULT).read_text())


def leave(folder: str, result: Any) -> int:
    """The inner side: hands the result out."""
    (Path(folder) / RESULT).write_text(json.dumps(result))
    return 0
