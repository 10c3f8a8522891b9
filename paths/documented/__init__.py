"""The documented path of each mode as data: PLUGIN-MODE.yaml, a list of stages for each kind of pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel.errors import BadInput

FOLDER = Path(__file__).resolve().parent
TABLES = {"main": 254, "local": 255}


@dataclass(frozen=True)
class Stage:
    """One device that the packet must be seen on. `at` is a role (source, near, far, target); `device` a name with
    wildcards; `table` the routing table that must have led out; `tunnel` an encapsulation, "none", or unstated.
    A `wire` stage stands for all that lies between two nodes."""

    at: str = ""
    device: str = ""
    direction: str = ""
    table: int | None = None
    tunnel: str | None = None
    port: int | None = None
    wire: bool = False
    article: str = ""
    fact: str = ""

    def __str__(self) -> str:
        if self.wire:
            return "switches and routers" + (f", {self.tunnel} unchanged" if self.tunnel not in (None, "none") else "")
        table = f", led by table {self.table}" if self.table is not None else ""
        tunnel = {None: "", "none": ", not encapsulated"}.get(self.tunnel, f", in {self.tunnel}")
        return f"{self.at}: {self.device} {self.direction}{table}{tunnel}"


def stages(plugin: str, mode: str, same_node: bool) -> tuple[Stage, ...]:
    """The documented path. Raises BadInput when none is written down for this mode."""
    import yaml

    file = FOLDER / f"{plugin}-{mode}.yaml"
    if not file.exists():
        raise BadInput(f"no documented path of {plugin} {mode}", where=str(FOLDER), remedy=f"write {file.name}")
    data = yaml.safe_load(file.read_text())["same-node" if same_node else "cross-node"]
    return tuple(_stage(item) for item in data)


def _stage(item: dict[str, object]) -> Stage:
    table = item.get("table")
    number = TABLES.get(str(table), table)
    return Stage(**{**item, "table": number})  # type: ignore[arg-type]
