"""The command advise: modes that fit, the article's statement behind each, and what shows it."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from dataclasses import fields

from console.screen import looks, print_json
from plugins.advice import Advice, Option, Wishes
from plugins.advice import advise as decide


def advise(arguments: argparse.Namespace) -> int:
    """Status 1 when no mode is left."""
    found = decide(Wishes(**{one.name: getattr(arguments, one.name) for one in fields(Wishes)}))
    if arguments.json:
        print_json(found.to_json())
    else:
        print("\n".join(_lines(found, min(looks()["width"], 100))))
    return 0 if found.options else 1


def _lines(found: Advice, width: int) -> Iterator[str]:
    for number, one in enumerate(found.options):
        yield from _option(one, number, width)
        yield ""
    if not found.options:
        yield "no mode is left"
    for name, reason in found.excluded:
        yield from _folded(f"not {_spoken(name)}: {reason}", width)
    if found.unmet:
        said = ", ".join(f"--{wish.replace('_', '-')}" for wish in found.unmet)
        yield from _folded(f"the article names no single mode for all of it; the first does not meet {said}", width)


def _option(one: Option, number: int, width: int) -> Iterator[str]:
    meets = ", ".join(wish.replace("_", " ") for wish in one.meets)
    yield f"{number + 1}. {_spoken(one.mode)}" + (f"  ({meets})" if meets else "")
    for statement in one.article:
        yield from _folded(f'   article 2.5: "{statement}"', width, 6)
    for claim, command in one.evidence:
        yield f"   evidence: {claim}"
        yield f"       {command}"


def _spoken(name: str) -> str:
    return name.replace("-", " ", 1)


def _folded(text: str, width: int, indent: int = 2) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=" " * indent, break_on_hyphens=False)
