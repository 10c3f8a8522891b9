"""The documented path of each mode as data: PLUGIN-MODE.yaml, a list of stages for each kind of pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel.errors import BadInput

FOLDER = Path(__file__).resolve().parent
TABLES = {"main": 254, "local": 255}


@dataclass(frozen=True)
class Stage:
    """One device that the packet must be seen on. `at` is a role (source, near, far, target); `device` a name with
    wildcards; `table` the routing table that must have led out; `tunnel` an encapsulation, "none", or unstated;
    `tagged` whether it bears an 802.1Q tag. A `wire` stage stands for all that lies between two nodes."""

    at: str = ""
    device: str = ""
    direction: str = ""
    table: int | None = None
    tunnel: str | None = None
    port: int | None = None
    tagged: bool | None = None
    wire: bool = False
    article: str = ""
    fact: str = ""

    def __str__(self) -> str:
        if self.wire:
            return "switches and routers" + (f", {self.tunnel} unchanged" if self.tunnel not in (None, "none") else "")
        table = f", led by table {self.table}" if self.table is not None else ""
        tunnel = {None: "", "none": ", not encapsulated"}.get(self.tunnel, f", in {self.tunnel}")
        tagged = {None: "", True: ", tagged", False: ", untagged"}[self.tagged]
        return f"{self.at}: {self.device} {self.direction}{table}{tunnel}{tagged}"


def document(plugin: str, mode: str) -> dict[str, tuple[Stage, ...]]:
    """The documented path of each kind of pair (paths.kinds). Raises BadInput when none is written down."""
    data = _read(f"{plugin}-{mode}")
    return {kind: tuple(_stage(item) for item in _stages(value)) for kind, value in data.items()}


def _read(name: str) -> dict[str, Any]:
    import yaml

    file = FOLDER / f"{name}.yaml"
    if not file.exists():
        raise BadInput(f"no documented path of {name}", where=str(FOLDER), remedy=f"write {file.name}")
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def _stages(value: Any) -> Any:
    """The stages themselves, or those of another document that takes the same way: "PLUGIN-MODE kind"."""
    if isinstance(value, str):
        name, _, kind = value.partition(" ")
        return _stages(_read(name)[kind])
    return value


def _stage(item: dict[str, object]) -> Stage:
    table = item.get("table")
    number = TABLES.get(str(table), table)
    return Stage(**{**item, "table": number})  # type: ignore[arg-type]
