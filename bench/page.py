"""The report as one HTML page: its data inside, its charts drawn by its own script, nothing fetched from anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).resolve().parent / "page.html"
PLACE = "@DATA@"


def text(report: Mapping[str, Any]) -> str:
    """The whole page; single samples are left to the JSON and CSV beside it."""
    kept = {name: part for name, part in report.items() if name != "samples"}
    kept["run"] = {**report["run"], "samples_done": len(report["samples"])}
    data = json.dumps(kept).replace("<", "\\u003c")  # no text in it can end the script element
    return TEMPLATE.read_text().replace(PLACE, data)
