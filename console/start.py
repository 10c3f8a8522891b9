"""From arguments to a lab: which topology, which mode, which kernel, and its first process."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.client import CONTROL, call
from kernel import places
from kernel.errors import BadInput, LabBusy, meant
from kernel.places import Process
from topologies.spec import LabSpec

if TYPE_CHECKING:
    from cluster.lab import Plan
    from plugins.contract import Mode

PROGRAM = places.HOME / "run_topology.py"
DEFAULT_MODE = "hybridnet-vxlan"
DOWN_S = 10.0
"""How long the lab's processes may take to end, seconds."""


@dataclass(frozen=True)
class Choice:
    """What lab is asked for; `source` is the topology's file, `named` what messages call it."""

    spec: LabSpec
    plugin: str
    mode: str
    source: Path
    named: str

    def far_pods(self) -> tuple[str, str]:
        """A pod, and one on another node (the first again when there is only one node)."""
        from cluster.plan import cluster_of

        pods = cluster_of(self.spec).pods
        return pods[0].name, next((pod.name for pod in pods if pod.node != pods[0].node), pods[-1].name)

    def request(self, name: str) -> dict[str, str]:
        """As the lab's server takes it."""
        return {"request": name, "spec": self.spec.model_dump_json(), "plugin": self.plugin, "mode": self.mode}


def choice(arguments: argparse.Namespace) -> Choice:
    """The topology and mode of `--file`, `--preset`, `--plugin` and `--mode`. Raises BadInput."""
    from topologies import spec as specs

    if not arguments.file:
        plugin, mode = _mode(arguments.plugin, arguments.mode, (None, None))
        name = arguments.preset or _find(plugin, mode).preset
        return Choice(specs.preset(name), plugin, mode, specs.PRESET_FOLDER / f"{name}.yaml", f"--preset {name}")
    path = Path(arguments.file)
    spec = specs.load(path)
    try:
        return Choice(spec, *_mode(arguments.plugin, arguments.mode, (spec.plugin, spec.mode)), path, str(path))
    except BadInput as problem:
        option = problem.where.removeprefix("--")
        if getattr(arguments, option):
            raise
        raise BadInput(problem.what, where=f"{path}: {option}", remedy=problem.remedy) from None


def _mode(plugin: str | None, mode: str | None, stated: tuple[str | None, str | None]) -> tuple[str, str]:
    """Plugin and mode as asked for, else as the file states, else the default; a plugin's first mode is its own."""
    from plugins.registry import MODES, parted

    if (plugin, mode, stated[0]) == (None, None, None):
        plugin, mode = parted(DEFAULT_MODE)
    plugin = plugin or stated[0] or parted(DEFAULT_MODE)[0]
    if mode is None:
        first = next((name for of, name in map(parted, MODES) if of == plugin), "")
        mode = (stated[1] if plugin == stated[0] else None) or first
    _find(plugin, mode)
    return plugin, mode


def choose_kernel(wish: str, chosen: Choice, *, prompt: bool = False) -> tuple[str, str]:
    """The kernel to run on and why. Raises BadInput, MissingTool, MissingFeature and NotPermitted."""
    needs = _find(chosen.plugin, chosen.mode).needs | chosen.spec.needs | ({"mininet"} if prompt else set())
    return places.choose(wish, needs, f"{chosen.plugin} {chosen.mode} on {chosen.spec.name!r}")


def plan_for(chosen: Choice, kernel: str) -> Plan:
    """All that the lab will be, with nothing built. Raises what is wrong with the choice on that kernel; where a
    topology does not fit its mode, the message names the topology."""
    from cluster.lab import plan

    try:
        return plan(chosen.spec, chosen.plugin, chosen.mode, places.features_of(kernel))
    except BadInput as problem:
        if problem.where.startswith("--"):
            raise
        place = f"{chosen.named}: {problem.where}" if problem.where else chosen.named
        raise BadInput(problem.what, where=place, remedy=problem.remedy) from None


def _find(plugin: str, mode: str) -> Mode:
    from plugins.registry import mode as find

    return find(plugin, mode)


def running_folder(name: str | None) -> Path:
    """The run folder of the running lab `name`, or of the only one. Raises LabBusy and BadInput."""
    if inside := os.environ.get(CONTROL):  # the prompt's own commands
        return Path(inside)
    running = places.running()
    if name is None and len(running) > 1:
        raise BadInput(f"several labs run: {', '.join(running)}", where="--name", remedy=f"such as --name {running[0]}")
    if name is None and not running:
        raise LabBusy("no lab is running", remedy="start one with `run_topology.py up`")
    if name is not None and name not in running:
        remedy = meant(name, running) if running else "start one with `run_topology.py up`"
        raise LabBusy(f"no lab named {name!r} is running", where="--name", remedy=remedy)
    return places.run_folder(name or running[0])


@dataclass
class Started:
    """A lab that this process started: its first process and what `up` said of it."""

    folder: Path
    process: Process
    summary: dict[str, Any]

    def down(self) -> None:
        """Ends it and removes its run folder."""
        end(self.folder)


def start(chosen: Choice, kernel: str, name: str, detach: bool, said: Callable[[str], None]) -> Started:
    """A new lab, up. When that fails, nothing of it is left and the lab's own error is raised."""
    folder = places.run_folder(name)
    if kernel == "embedded":
        said("booting")
    argv, process = [sys.executable, str(PROGRAM), "serve"], None
    try:
        process = places.launch(kernel, name, argv, folder, detach=detach, listen=folder / places.SOCKET)
        summary = call(folder, chosen.request("up"), said)
    except BaseException:
        if process:
            with places.until_gone(folder, DOWN_S):
                process.kill()
                process.wait()
        places.tidy(folder)
        raise
    return Started(folder, process, summary | {"kernel": kernel, "lab": name})


def end(folder: Path) -> None:
    """Takes a lab down: asks it to end, waits for its processes, and removes its run folder."""
    try:
        with places.until_gone(folder, DOWN_S):
            call(folder, {"request": "down"})
    finally:
        places.tidy(folder)
