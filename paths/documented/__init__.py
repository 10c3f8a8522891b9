"""The documented path of each mode as data: PLUGIN-MODE.yaml, a list of stages for each kind of pair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kernel.errors import BadInput
from paths.kinds import backwards

FOLDER = Path(__file__).resolve().parent
TABLES = {"main": 254, "local": 255}


@dataclass(frozen=True)
class Stage:
    """One device that the packet must be seen on. `at` is a role (source, near, far, target); `device` a name with
    wildcards; `table` the routing table that must have led out; `tunnel` an encapsulation, "none", or unstated;
    `tagged` whether it bears an 802.1Q tag; `src` the role whose address the packet must have as its source there.
    A `wire` stage stands for all that lies between two nodes; `lost` is the last one of a packet that arrives nowhere;
    an `of_vlan` one is passed over where the pod on its side is in an untagged subnet."""

    at: str = ""
    device: str = ""
    direction: str = ""
    table: int | None = None
    tunnel: str | None = None
    port: int | None = None
    tagged: bool | None = None
    src: str | None = None
    wire: bool = False
    lost: bool = False
    of_vlan: bool = False
    article: str = ""
    fact: str = ""

    def __str__(self) -> str:
        if self.lost:
            return "no further"
        if self.wire:
            return "switches and routers" + (f", {self.tunnel} unchanged" if self.tunnel not in (None, "none") else "")
        table = f", led by table {self.table}" if self.table is not None else ""
        tunnel = {None: "", "none": ", not encapsulated"}.get(self.tunnel, f", in {self.tunnel}")
        tagged = {None: "", True: ", tagged", False: ", untagged"}[self.tagged]
        source = f", from {self.src}'s address" if self.src else ""
        return f"{self.at}: {self.device} {self.direction}{table}{tunnel}{tagged}{source}"


@dataclass(frozen=True)
class Ways:
    """A packet's documented way, and its answer's, whose `source` is who answers."""

    out: tuple[Stage, ...]
    back: tuple[Stage, ...]


def document(plugin: str, mode: str) -> dict[str, tuple[Stage, ...]]:
    """The documented path of each kind of pair (paths.kinds). Raises BadInput when none is written down."""
    return {kind: way.out for kind, way in ways(plugin, mode).items()}


def ways(plugin: str, mode: str) -> dict[str, Ways]:
    """The same with the answers' ways: as written down, else the path of the opposite kind, else the same path."""
    data = {kind: _stages(value) for kind, value in _read(f"{plugin}-{mode}").items()}
    return {kind: Ways(out, back or data.get(backwards(kind), (out, ()))[0]) for kind, (out, back) in data.items()}


@cache
def _read(name: str) -> dict[str, Any]:
    """The file as it stands, by libyaml where that is there: the other reader takes a quarter of a second."""
    import yaml

    file = FOLDER / f"{name}.yaml"
    if not file.exists():
        raise BadInput(f"no documented path of {name}", where=str(FOLDER), remedy=f"write {file.name}")
    found: dict[str, Any] = yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


def _stages(value: Any) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
    """A list of stages; or two of them, `out` and `back`; or those of another document that takes the same way:
    "PLUGIN-MODE kind"."""
    if isinstance(value, str):
        name, _, kind = value.partition(" ")
        return _stages(_read(name)[kind])
    out, back = (value["out"], value["back"]) if isinstance(value, dict) else (value, ())
    return tuple(map(_stage, out)), tuple(map(_stage, back))


def _stage(item: dict[str, object]) -> Stage:
    table = item.get("table")
    number = TABLES.get(str(table), table)
    return Stage(**{**item, "table": number})  # type: ignore[arg-type]
