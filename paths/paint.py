"""Text for a terminal: colours of the sixteen that every palette has, and wrapping with a hanging indent."""

from __future__ import annotations

import re
import textwrap

CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "magenta": "35", "cyan": "36"}
"""SGR parameters (ECMA-48). Not among them: yellow and white, which a light background swallows, and dark blue."""
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Paint:
    """Colours text, or leaves it alone."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, text: str, *styles: str) -> str:
        """`text` in the styles of CODES."""
        if not (self.color and styles and text):
            return text
        return f"\x1b[{';'.join(CODES[style] for style in styles)}m{text}\x1b[0m"


def plain(text: str) -> str:
    """Without colours."""
    return _ESCAPE.sub("", text)


def wrapped(text: str, width: int, indent: int) -> list[str]:
    """Lines of at most `width` columns; all but the first are indented. Words stay whole, however long."""
    hanging = " " * indent
    return textwrap.wrap(
        text, max(width, 20), subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )
