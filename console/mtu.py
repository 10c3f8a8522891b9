"""The command mtu: what each layer takes of a link's MTU, in the running lab or in one that is brought up for it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cluster.client import call
from console import start
from console.screen import print_json, say
from kernel import places
from topologies.spec import LabSpec, from_json

OWN = ("file", "preset", "plugin", "mode", "link_mtu")
"""Options that ask for a lab of its own."""


def mtu(arguments: argparse.Namespace) -> int:
    """Status 1 where a probe does not end as the budget says."""
    if any(getattr(arguments, name) for name in OWN):
        found = _own(arguments)
    else:
        found = call(start.running_folder(arguments.name), {"request": "mtu"})
    if arguments.json:
        print_json(found)
    else:
        print("\n\n".join("\n".join(lines(one)) for one in found))
    return 0 if found and all(one["holds"] for one in found) else 1


def _own(arguments: argparse.Namespace) -> Any:
    chosen = start.choice(arguments)
    if arguments.link_mtu:
        chosen = replace(chosen, spec=with_links(chosen.spec, int(arguments.link_mtu)))
    kernel, why = start.choose_kernel(arguments.kernel, chosen)
    start.plan_for(chosen, kernel)
    say(f"bringing up {chosen.plugin} {chosen.mode} on the {kernel} kernel: {why}")
    lab = start.start(chosen, kernel, f"mtu-{places.unique()}", False, say)
    try:
        return call(lab.folder, {"request": "mtu"})
    finally:
        lab.down()


def with_links(spec: LabSpec, mtu: int) -> LabSpec:
    """The topology with this MTU on every link."""
    return from_json(json.dumps(_with(spec.model_dump(mode="json"), mtu)))


def _with(part: Any, mtu: int) -> Any:
    if isinstance(part, dict):
        return {key: mtu if key == "mtu" else _with(value, mtu) for key, value in part.items()}
    return [_with(one, mtu) for one in part] if isinstance(part, list) else part


def lines(one: Mapping[str, Any]) -> Iterator[str]:
    """The budget as a table, and what came of the two probes."""
    yield f"{one['source']} → {one['target']}, IPv{one['family']}: the mode gives pods an MTU of {one['pod_mtu']}"
    width = max(len(row["layer"]) for row in one["layers"])
    yield f"  {'layer':<{width}}  bytes   left"
    for row in one["layers"]:
        yield f"  {row['layer']:<{width}}  {row['bytes'] or '':>5}  {row['left']:>5}"
    if one["limit"] < one["pod_mtu"]:
        yield f"  {one['tightest']} takes less than pods may send: longer packets get an error from there"
    yield from _tried(one["fits"], one["too_long"], one["tightest"])


def _tried(fits: Mapping[str, Any], longer: Mapping[str, Any], tightest: str) -> Sequence[str]:
    passed = "passes" if fits["passed"] else f"does not pass: {_end(fits)}"
    refused = f"passes in fragments, past {tightest}" if longer["passed"] else _end(longer)
    return [f"  {fits['size']} bytes, don't-fragment: {passed}", f"  {longer['size']} bytes: {refused}"]


def _end(tried: Mapping[str, Any]) -> str:
    """Where it ended and why; the source's own refusal says where by itself."""
    place, reason = tried["place"], tried["reason"]
    return str(reason) if reason.startswith(place) else f"{place}: {reason}"
