"""The map of the room: every module is on it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import paths


def test_every_module_is_on_the_map() -> None:
    folder = Path(paths.__file__).parent
    there = {one.stem for one in folder.glob("*.py")} - {"__init__", "lab"} | {"documented"}
    lines = re.findall(r"^    (\w+(?:, \w+)*)   ", paths.__doc__ or "", re.M)
    named = {name for line in lines for name in line.split(", ")}
    assert named == there
