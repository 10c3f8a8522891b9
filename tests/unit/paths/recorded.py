"""The recorded traces of tests/fixtures/traces (tests/fixtures/record.py says how they were made)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from cluster.lab import Plan, plan
from paths.capture import Frame
from paths.observe import Observation
from paths.probes import PROBES
from topologies.spec import preset

FOLDER = Path(__file__).resolve().parents[2] / "fixtures/traces"
NAMES = sorted(file.stem for file in FOLDER.glob("*.txt"))


def lines(name: str) -> list[str]:
    return (FOLDER / f"{name}.txt").read_text().splitlines()


def header(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lines(name)[0])
    return found


@cache
def planned(name: str) -> Plan:
    """What the lab was made of: the same topology and mode give the same state, whatever the machine."""
    data = header(name)
    return plan(preset(data["preset"]), *data["mode"].split("-", 1), frozenset(data["features"]))


def frames(name: str) -> list[Frame]:
    found = []
    for line in lines(name)[1:]:
        time_ns, netns, device, way, flags, data = line.split(" ")
        text, zeros = data.split("+")
        raw = bytes.fromhex(text) + bytes(int(zeros))
        found.append(Frame(netns, device, way == "out", int(time_ns), raw, "o" in flags, "b" in flags))
    return found


def observation(name: str) -> Observation:
    """As it was made then."""
    data = header(name)
    probe = PROBES[data["probe"]](tuple(data["addresses"]))
    probe.token = bytes.fromhex(data["token"])
    if data["port"]:
        probe.port = data["port"]  # type: ignore[attr-defined]
    answered = 1.0 if data["answered"] else None
    return Observation(data["source"], data["target"], data["owner"], probe, frames(name), answered)
