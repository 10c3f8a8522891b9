"""A screen as an SVG picture."""

from __future__ import annotations

import io
from pathlib import Path

from kernel.errors import BadInput


def save(path: Path, text: str, title: str, width: int) -> None:
    """Writes `text`, which has a terminal's colours in it, as an SVG of `width` columns. Raises BadInput."""
    from rich.console import Console
    from rich.text import Text

    screen = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="standard")
    screen.print(Text.from_ansi(text))
    try:
        screen.save_svg(str(path), title=title)
    except OSError as problem:
        raise BadInput(f"the picture cannot be written: {problem.strerror}", where=str(path)) from None
