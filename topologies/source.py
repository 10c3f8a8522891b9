"""Reading a topology file so that every mistake is told with its line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from kernel.errors import BadInput
from topologies.checks import check
from topologies.spec import LabSpec

Loc = Sequence[int | str]


def read(path: Path) -> LabSpec:
    """The lab that a file states. Raises BadInput."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is no text"
        raise BadInput(f"the file cannot be read: {why}", where=str(path)) from None
    return parse(text, str(path))


def parse(text: str, name: str) -> LabSpec:
    """The same for a text; `name` is what messages call it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        tree = yaml.compose(text, loader)
        data = yaml.load(text, loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        what = f"this is no YAML: {getattr(problem, 'problem', None) or problem}"
        raise BadInput(
            what, where=f"{name}{line}", remedy="mend the line; a tab or a missing space is the usual cause"
        ) from None
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds a {type(data).__name__}"
        raise BadInput(
            f"a topology is a mapping, and this file {found}", where=name, remedy="start from `export --format schema`"
        )

    def where(loc: Loc) -> str:
        return f"{name}:{_line(tree, loc)}: {_dotted(loc)}" if loc else name

    _twice(tree, where)
    try:
        spec = LabSpec.model_validate(data)
    except ValidationError as problem:
        raise _first(problem, where) from None
    check(spec, where)
    return spec


def _line(node: Any, loc: Loc) -> int:
    """The line of the key or item at `loc`, or of the deepest part of it that is there."""
    line = node.start_mark.line
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == part), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1


def _twice(node: Any, where: Any, loc: tuple[int | str, ...] = ()) -> None:
    """A key twice in one mapping: YAML readers silently take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise BadInput(
                    f"the key {key.value!r} is here twice", where=where((*loc, key.value)), remedy="keep one"
                )
            seen.add(key.value)
            _twice(value, where, (*loc, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _twice(value, where, (*loc, number))


def _dotted(loc: Loc) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _first(problem: ValidationError, where: Any) -> BadInput:
    error = problem.errors()[0]
    loc = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        known = _fields(loc[:-1])
        close = difflib.get_close_matches(str(loc[-1]), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(known)}"
        return BadInput(f"unknown key {loc[-1]!r}", where=where(loc), remedy=hint)
    if error["type"] == "missing":
        return BadInput(f"{loc[-1]!r} is missing", where=where(loc[:-1]) if loc[:-1] else where(loc), remedy="add it")
    value = error.get("input")
    shown = f"{value!r}: " if isinstance(value, str | int | float) else ""
    text = str(error["msg"]).removeprefix("Value error, ")
    return BadInput(f"{shown}{text[0].lower()}{text[1:]}", where=where(loc), remedy="mend the value")


def _fields(loc: Loc) -> list[str]:
    """The keys that are known at a place."""
    model: type[BaseModel] = LabSpec
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            found = _model_in(model.model_fields[part].annotation)
            model = found or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := _model_in(inner):
            return found
    return None
