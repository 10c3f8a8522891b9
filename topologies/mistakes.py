"""What pydantic finds wrong in a topology, in words of ours: what, where, and what the field takes instead."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from kernel.errors import BadInput, meant
from topologies.checks import Loc, Where
from topologies.spec import LabSpec

JUDGEMENTS = {
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
    "less_than_equal": "is too large",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "is not allowed",
    "literal_error": "is not allowed",
    "too_short": "has too few items",
    "too_long": "has too many items",
}
"""Kinds of pydantic's errors; every other one is about the type."""
UNKNOWN = ("extra_forbidden", "invalid_key")
LONGEST_SHOWN = 40


def first(problem: ValidationError, where: Where) -> BadInput:
    """The first mistake as ours. `where` makes text of a place in the topology.

    An unknown key goes first: it is the misspelt one of those that are then missing.
    """
    errors = problem.errors(include_url=False)
    error = next((one for one in errors if one["type"] in UNKNOWN), errors[0])
    loc, kind = tuple(error["loc"]), error["type"]
    if kind in UNKNOWN:
        known = list(_model_at(loc[:-1]).model_fields)
        return BadInput(f"unknown key {loc[-1]!r}", where=where(loc), remedy=meant(str(loc[-1]), known))
    if kind == "missing":
        what = f"{loc[-1]!r} is missing" if isinstance(loc[-1], str) else "an item is missing"
        return BadInput(what, where=where(loc[:-1]), remedy=_advice(loc))
    if error.get("input") in (None, ""):
        return BadInput("nothing is given", where=where(loc), remedy=_advice(loc))
    judgement = str(error["ctx"]["error"]) if kind == "value_error" else JUDGEMENTS.get(kind, "is of the wrong kind")
    return BadInput(f"{_shown(error.get('input'))} {judgement}", where=where(loc), remedy=_advice(loc))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list | tuple):
        return "the mapping" if isinstance(value, dict) else "the list"
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _advice(loc: Loc) -> str:
    """What the field at `loc` takes."""
    model: type[BaseModel] = LabSpec
    text = "what `export --format schema` says"
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            info = model.model_fields[part]
            inner = _model_in(info.annotation)
            keys = f"mapping with {', '.join(inner.model_fields)}" if inner else ""
            several = f"list, each item a {keys}" if getattr(info.annotation, "__origin__", None) is tuple else keys
            text = _described(info) or (f"a {several}" if inner else text)
            model = inner or model
    return f"give {text}"


def _described(info: Any) -> str:
    """The description of a field, or of what it holds."""
    if isinstance(info, FieldInfo):
        return info.description or _described(info.annotation)
    for note in getattr(info, "__metadata__", ()):
        if isinstance(note, FieldInfo) and note.description:
            return note.description
    texts = (_described(inner) for inner in getattr(info, "__args__", ()))
    return next((text for text in texts if text), "")


def _model_at(loc: Loc) -> type[BaseModel]:
    """The model whose fields are the keys at a place."""
    model: type[BaseModel] = LabSpec
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := _model_in(inner):
            return found
    return None
