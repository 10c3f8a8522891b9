"""Where answers go: progress to standard error, results to standard output, in colour and as wide as can be read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from kernel.errors import BadInput

PIPE_WIDTH = 110
"""Columns when nobody looks: a trace's longest usual line."""

PICTURE_WIDTH = 110
"""Columns of the screen that `trace --screen` draws."""


def say(text: str) -> None:
    """One line of progress; on a terminal folded between words. That nobody reads it any more ends nothing."""
    if sys.stderr.isatty():
        width = max(shutil.get_terminal_size().columns - 5, 20)
        text = "\n    ".join(textwrap.wrap(text, width, break_on_hyphens=False))
    with contextlib.suppress(BrokenPipeError):
        print(f"  {text}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """A result for programs."""
    print(json.dumps(value, indent=2), flush=True)


def looks() -> dict[str, Any]:
    """How a lab is to render text for this process: `color` and `width`, as requests carry them.

    Colours only on a terminal that has them, and not under NO_COLOR (no-color.org)."""
    on_terminal = sys.stdout.isatty()
    colour = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size().columns if on_terminal or "COLUMNS" in os.environ else PIPE_WIDTH
    return {"color": colour, "width": max(width, 40)}


def writable(folder: Path, option: str) -> Path:
    """`folder`, made if need be, for the files of `option`. Raises BadInput: before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise BadInput(
            f"the folder {folder} cannot be made: {problem.strerror}", where=option, remedy="give another place"
        ) from None
    if not os.access(folder, os.W_OK):
        raise BadInput(f"the folder {folder} cannot be written to", where=option, remedy="give another place")
    return folder
