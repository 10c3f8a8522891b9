"""The lab's first process, as kernel.places starts it: the server, with what the rooms above add to it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cluster import session
from cluster.channel import Channel
from cluster.lab import Lab
from cluster.server import Server, answer, listeners

if TYPE_CHECKING:
    from paths.model import Trace


def serve(_arguments: argparse.Namespace) -> int:
    """Serves until `down`."""
    jobs = {
        "inspect": answer(_inspect),
        "trace": answer(_trace),
        "verify": _verify,
        "mtu": answer(_mtu),
        "prompt": _prompt,
    }
    Server(listeners(), jobs, _preload).serve()
    return 0


def _preload() -> None:
    """Imports what the first trace or prompt would otherwise wait for (a second on the embedded kernel)."""
    import paths.show
    import paths.trace
    import paths.verdicts  # noqa: F401
    import topologies.cli  # noqa: F401


def _inspect(lab: Lab, request: Mapping[str, Any]) -> Any:
    from console.facts import of_lab, of_namespace

    netns = request.get("netns")
    if netns is None:
        return of_lab(lab)
    lab.must_have(netns)
    return of_namespace(lab, netns)


def _trace(lab: Lab, request: Mapping[str, Any]) -> Any:
    from base64 import b64encode

    from paths.observe import observe
    from paths.pcap import files
    from paths.show import tree
    from paths.trace import tell

    lab.must_carry(request["options"].get("family", 4), request["source"], request["target"])
    seen = observe(lab, request["source"], request["target"], **request["options"])
    told = tell(lab, seen)
    captures = {name: b64encode(data).decode() for name, data in files(seen.frames).items()} if request["pcap"] else {}
    return {
        "trace": told.to_json(),
        "delivered": told.delivered,
        "text": tree(told, request["color"], request["width"]),
        "forms": {form: _formed(lab, told, form) for form in request["forms"]},
        "captures": captures,
    }


def _formed(lab: Lab, told: Trace, form: str) -> str:
    """A trace as a figure, as a Mermaid chart, or as a screen to be drawn."""
    if form == "screen":
        from console.screen import PICTURE_WIDTH
        from paths.show import tree

        return tree(told, True, PICTURE_WIDTH)
    from paths import mermaid, svg
    from paths.scene import Scene

    scene = Scene(lab.cluster, lab.state)
    return svg.picture(told, scene) if form == "svg" else mermaid.chart(told, scene)


def _verify(lab: Lab, channel: Channel, request: Mapping[str, Any]) -> None:
    from paths import findings, flat, verdicts
    from paths.verify import verify

    def progress(text: str) -> None:
        channel.send({"progress": text})

    looks = request["color"], request["width"]
    paths, rules = verify(lab, progress), flat.check(lab, progress)
    answers = {"paths": [one.to_json() for one in paths], "rules": [one.to_json() for one in rules]}
    agree = all(one.agrees for one in paths) and all(one.agrees for one in rules)
    text = f"{verdicts.table(paths, *looks)}\n\n{findings.listed(rules, *looks)}"
    channel.send({"done": {"verdicts": answers, "agree": agree, "text": text}})


def _mtu(lab: Lab, request: Mapping[str, Any]) -> Any:
    from paths.mtu import budgets

    del request
    return [one.to_json() for one in budgets(lab)]


def _prompt(lab: Lab, channel: Channel, request: Mapping[str, Any]) -> None:
    from console.prompt import prompt

    session.function(channel, request, lambda: prompt(lab))
