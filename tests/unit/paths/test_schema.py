"""trace.schema.json: what traces of every mode print is valid, and what they must not print is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from paths.model import Parting
from tests.unit.paths.made import kinds, traced

SCHEMA: dict[str, Any] = json.loads((Path(__file__).resolve().parents[3] / "paths/trace.schema.json").read_text())


def printed(name: str, kind: str, family: int) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps(traced(name, kind, family).to_json()))
    return told


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("name", "kind", "family"), [one for one in kinds() if one[1].startswith(("same", "cross"))])
def test_traces_of_every_mode_are_valid(name: str, kind: str, family: int) -> None:
    jsonschema.validate(printed(name, kind, family), SCHEMA)


def test_names_are_all_there_is() -> None:
    told = printed("calico-bgp", "cross-node", 4)
    assert set(told) == set(SCHEMA["properties"]) == set(SCHEMA["required"])
    for part in ({**told, "more": 1}, {**told, "family": 5}, {k: v for k, v in told.items() if k != "place"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(part, SCHEMA)


def test_a_parting_is_valid() -> None:
    told = printed("calico-bgp", "cross-node", 4)
    jsonschema.validate({**told, "parting": Parting("out", 2, "a", "b").to_json()}, SCHEMA)
