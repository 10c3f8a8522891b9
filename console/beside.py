"""The command trace without a running lab: --diff traces one pair of ends in two modes, each in a lab of its own, and
shows what differs; --predict builds nothing and says where a packet will go."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.lab import Lab, Plan, features, plan
from console import inkernel, start
from console.screen import looks, print_json, say
from kernel import places
from kernel.errors import BadInput, meant
from paths.beside import align, shown
from paths.observe import ends
from paths.paint import Paint
from plugins.registry import MODES, parted
from plugins.registry import mode as find
from topologies.spec import LabSpec, load, preset

FALLBACK = "default"
"""The topology when neither mode's own fits both."""


def beside(arguments: argparse.Namespace) -> int:
    """Status 1 when one of the two was not answered."""
    first, second = (_known(name) for name in arguments.diff)
    if arguments.inside:
        return inkernel.leave(arguments.inside, list(_traced(arguments)))
    name, spec = _topology(arguments, (first, second))
    plans: dict[str, tuple[str, Plan]] = {}
    for mode in (first, second):
        plugin, which = parted(mode)
        kernel, why = places.choose(arguments.kernel, find(plugin, which).needs | spec.needs, mode.replace("-", " ", 1))
        say(f"{mode} on the {kernel} kernel: {why}")
        plans[mode] = kernel, plan(spec, plugin, which, places.features_of(kernel))
        ends(plans[mode][1].state, arguments.source, arguments.target, arguments.family)  # both are there
    found = _run(arguments, plans, name)
    traces = found[first], found[second]
    states = plans[first][1].state, plans[second][1].state
    ways = [align(traces[0][key], traces[1][key], states) for key in ("forward", "return")]
    if arguments.json:
        pairs = {key: [one.to_json() for one in way] for key, way in zip(("forward", "return"), ways, strict=True)}
        print_json({"modes": [first, second], "topology": name, "traces": traces, **pairs})
    else:
        how = looks()
        print(shown((first, second), traces, ways, Paint(how["color"]), how["width"]))
    return 0 if all(one["disposition"] == "replied" for one in traces) else 1


def predict(arguments: argparse.Namespace) -> int:
    """Status 1 when the packet, or its answer, will be lost."""
    from paths.outlook import outlook, tree

    chosen = start.choice(arguments)
    kernel, _ = start.choose_kernel(arguments.kernel, chosen)
    planned = start.plan_for(chosen, kernel)
    made, pair = (planned.state, planned.wanted.routers), (arguments.source, arguments.target)
    found = outlook((chosen.plugin, chosen.mode), made, pair, arguments.family, arguments.probe)
    if arguments.json:
        print_json(found.to_json())
    else:
        how = looks()
        print(tree(found, how["color"], how["width"]))
    return 1 if found.lost else 0


def _known(name: str) -> str:
    if name not in MODES:
        raise BadInput(f"there is no mode {name!r}", where="--diff", remedy=meant(name, list(MODES)))
    return name


def _topology(arguments: argparse.Namespace, modes: Sequence[str]) -> tuple[str, LabSpec]:
    """The one asked for, else the first of the modes' own and the default one that fits both. Raises BadInput."""
    if arguments.file:
        return arguments.file, load(Path(arguments.file))
    if arguments.preset:
        return arguments.preset, preset(arguments.preset)
    own = [find(*parted(name)).preset for name in modes]
    for name in dict.fromkeys((*own, FALLBACK)):
        if all(_fits(preset(name), mode) for mode in modes):
            return name, preset(name)
    what = f"neither {' nor '.join(dict.fromkeys((*own, FALLBACK)))} is a topology for both modes"
    raise BadInput(what, where="--diff", remedy="give one with --preset or --file")


def _fits(spec: LabSpec, name: str) -> bool:
    """The mode can be planned on that topology, by a kernel that has everything."""
    plugin, which = parted(name)
    try:
        plan(spec, plugin, which, places.features_of("embedded"))
    except BadInput:
        return False
    return True


def _run(arguments: argparse.Namespace, plans: Mapping[str, tuple[str, Plan]], name: str) -> dict[str, Any]:
    """The two traces by mode; one start of a kernel for both where it is the same one."""
    found: dict[str, Any] = {}
    for kernel in dict.fromkeys(kernel for kernel, _ in plans.values()):
        mine = [mode for mode, (where, _) in plans.items() if where == kernel]
        options = {"probe": arguments.probe, "family": arguments.family, "timeout_s": arguments.timeout}
        options |= {"size": arguments.size} if arguments.size is not None else {}
        job = {"spec": plans[mine[0]][1].spec.model_dump_json(), "modes": mine, "options": options}
        argv = ["trace", arguments.source, arguments.target, "--diff", *arguments.diff, "--job", json.dumps(job)]
        found |= dict(zip(mine, inkernel.run(kernel, argv), strict=True))
    return found


def _traced(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """On the kernel: each mode's lab, and the second trace in it, when neighbours are known."""
    from paths.trace import trace
    from topologies.spec import from_json

    job = json.loads(arguments.job)
    for name in job["modes"]:
        say(f"{name}: bringing the lab up")
        plugin, which = parted(name)
        planned = plan(from_json(job["spec"]), plugin, which, features())
        with tempfile.TemporaryDirectory() as folder, Lab(planned, Path(folder)) as lab:
            lab.up()
            lab.must_carry(job["options"]["family"], arguments.source, arguments.target)
            trace(lab, arguments.source, arguments.target, **job["options"])
            yield trace(lab, arguments.source, arguments.target, **job["options"]).to_json()
