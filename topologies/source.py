"""Reading a topology file so that every mistake is told with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kernel.errors import BadInput
from topologies.checks import Loc, Where
from topologies.spec import LabSpec, checked

LARGEST = 1 << 20
"""Bytes of a topology file; the largest lab that comes to mind has a hundredth of that."""
DEEPEST = 20
"""Levels of nesting; a topology has six."""
MOST_NODES = 100_000
"""Values in a file, those behind an alias counted each time: a few lines of aliases can stand for billions."""
USUAL_CAUSE = "mend the line; a tab or a missing space or bracket is the usual cause"
START = "start from a preset: `export --format yaml --preset default`"


def read(path: Path) -> LabSpec:
    """The lab that a file states. Raises BadInput."""
    remedy = "give the path of a topology file, or use --preset"
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise BadInput(f"the file is larger than {LARGEST >> 20} MiB", where=str(path), remedy=remedy)
        return parse(data.decode("utf-8-sig"), str(path))
    except OSError as problem:
        raise BadInput(f"the file cannot be read: {problem.strerror}", where=str(path), remedy=remedy) from None
    except (UnicodeDecodeError, ValueError) as problem:
        raise BadInput(f"the file is no text: {problem}", where=str(path), remedy=remedy) from None


def as_text(spec: LabSpec) -> str:
    """A topology file that states this lab."""
    data = spec.model_dump(mode="json", exclude_defaults=True)
    return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=None, allow_unicode=True))


def parse(text: str, name: str) -> LabSpec:
    """The same for a text; `name` is what messages call it."""
    try:
        _shallow(text, name)
        tree, data = _loaded(text, name)
    except yaml.YAMLError as problem:
        raise _no_yaml(problem, name) from None
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds a {'list' if isinstance(data, list) else 'single value'}"
        raise BadInput(f"a topology is a mapping, and this file {found}", where=name, remedy=START)

    def where(loc: Loc) -> str:
        return f"{name}:{_line(tree, loc)}: {_dotted(loc)}" if loc else name

    return checked(data, where)


def _shallow(text: str, name: str) -> None:
    """Raises BadInput for a nesting that would exhaust the stack of what comes next."""
    depth = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise BadInput(f"lists and mappings are nested deeper than {DEEPEST}", where=name, remedy=START)


def _loaded(text: str, name: str) -> tuple[Any, Any]:
    """The tree with its lines, and the values. Raises BadInput and yaml.YAMLError."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        tree = loader.get_single_node()
        if tree is None:
            return None, None
        _once(tree, lambda loc: f"{name}:{_line(tree, loc)}: {_dotted(loc)}")
        return tree, loader.construct_document(tree)
    except (ValueError, OverflowError) as problem:  # a date such as 2024-13-40, a number of five thousand digits
        raise BadInput(f"a value cannot be read: {problem}", where=name, remedy="put it in quotes") from None
    finally:
        loader.dispose()


def _no_yaml(problem: yaml.YAMLError, name: str) -> BadInput:
    mark = getattr(problem, "problem_mark", None)
    line = f":{mark.line + 1}" if mark else ""
    why = getattr(problem, "problem", None) or getattr(problem, "reason", None) or problem
    return BadInput(f"this is no YAML: {why}", where=f"{name}{line}", remedy=USUAL_CAUSE)


def _line(node: Any, loc: Loc) -> int:
    """The line of the key or item at `loc`, or of the deepest part of it that is there."""
    line = node.start_mark.line
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1


def _once(tree: Any, where: Where) -> None:
    """Raises BadInput for a key twice in one mapping (YAML readers silently take the last), for a key that is no
    plain value, and for aliases that hold themselves or grow beyond measure."""
    waiting: list[tuple[Any, tuple[int | str, ...]]] = [(tree, ())]
    count = 0
    while waiting:
        node, loc = waiting.pop()
        count += 1
        if count > MOST_NODES or len(loc) > DEEPEST:
            raise BadInput(
                "an alias (*) stands for itself or for too much", where=where(loc[:1]), remedy="write it out"
            )
        if isinstance(node, yaml.SequenceNode):
            waiting += [(value, (*loc, number)) for number, value in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    place = where((*loc, ""))
                    raise BadInput("a key is a list or a mapping", where=place, remedy="use a plain word as key")
                if key.value in seen:
                    what = f"the key {key.value!r} is here twice"
                    raise BadInput(what, where=where((*loc, key.value)), remedy="keep one")
                seen.add(key.value)
                waiting.append((value, (*loc, key.value)))


def _dotted(loc: Loc) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")
