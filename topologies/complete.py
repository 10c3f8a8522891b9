"""What Tab offers at the prompt."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from typing import Any

SHAPES = ("bandwidth=", "delay=", "loss=", "mtu=")
HIDDEN = ("dpctl", "gterm", "x", "wait", "EOF", "xterm")
"""Mininet's commands that a lab has no use for."""


class Completer:
    """The words for one place of a command line of `cli`, a LabCLI. Each ends in a space if its argument does."""

    def __init__(self, cli: Any) -> None:
        self.cli, self.net = cli, cli.mn

    @staticmethod
    def commands(cli: Any) -> list[str]:
        """Every command that is of use."""
        names = (name[3:] for name in cli.get_names() if name.startswith("do_"))
        return sorted(name for name in names if name not in HIDDEN)

    def first(self, text: str) -> list[str]:
        """The first word."""
        return self._fitting(text, [*self.commands(self.cli), *self.net])

    def further(self, text: str, before: Sequence[str]) -> list[str]:
        """A later word; `before` are those in front of it."""
        command = before[0]
        if command in ("time", "noecho"):
            return self.further(text, before[1:]) if len(before) > 1 else self.first(text)
        if command in ("source", "sh") or text.startswith(("/", "~", ".")):
            return glob.glob(glob.escape(text) + "*")
        if command in self.cli.verbs:
            return self._fitting(text, [*self.cli.verbs[command].words, *self.net])
        if command in ("py", "px"):
            return [name for name in ("net", *self.net) if name.startswith(text)]
        return self._fitting(text, self._arguments(command, list(before[1:])))

    def _arguments(self, command: str, given: list[str]) -> list[str]:
        """What may follow `given`."""
        place = len(given)
        if command in ("link", "shape") and place == 1:
            pods = {pod.name for pod in self.net.pods} if command == "shape" else set()
            return [name for name in self._neighbours(given[0]) if name not in pods]
        if command == "link" and place == 2:
            return ["up", "down"]
        if command == "shape" and place >= 2:
            return [word for word in SHAPES if not any(one.startswith(word) for one in given)]
        if command == "switch":
            return ["start", "stop"] if place else [switch.name for switch in self.net.switches]
        if command == "iperfudp" and place == 0:
            return ["10M", "100M", "1G"]
        return list(self.net)

    def _neighbours(self, name: str) -> list[str]:
        """The nodes at the other ends of a node's links."""
        ends = [(link.intf1.node.name, link.intf2.node.name) for link in self.net.links]
        return sorted({b if a == name else a for a, b in ends if name in (a, b)})

    @staticmethod
    def _fitting(text: str, words: Sequence[str]) -> list[str]:
        return [word if word.endswith("=") else f"{word} " for word in words if word.startswith(text)]
