"""From the words of a command line to the work: arguments, mistakes in them, exit statuses."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import re
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kernel.errors import BadInput, PodpathError, meant

PROGRAM = "run_topology.py"
USAGE_STATUS, INTERNAL_STATUS, INTERRUPTED_STATUS = 2, 70, 130
"""A mistake of the user's or the machine's; of ours (EX_SOFTWARE, sysexits.h); Ctrl-C, as shells say it."""


class Help(argparse.RawDescriptionHelpFormatter):
    """argparse's, without breaking names such as two-rack at their dash."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """Raises BadInput for wrong arguments, so that they look like every other mistake."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=Help, allow_abbrev=False, **options)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """As argparse's; after a `-6` it still takes the -1 of `--timeout -1` for a value."""
        action = super().add_argument(*names, **options)
        self._has_negative_number_optionals.clear()
        return action

    def error(self, message: str) -> Any:
        where = self.prog.removeprefix(PROGRAM).strip() or "arguments"
        if found := re.fullmatch(r"argument (?:\S+/)?(\S+): (.*)", message, re.DOTALL):
            where, message = found.groups()
        elif missing := re.fullmatch(r"the following arguments are required: (.*)", message):
            message = f"{missing[1]} is missing"
        raise BadInput(message, where=where, remedy=f"see `{self.prog} --help`")


@dataclass(frozen=True)
class OneOf:
    """The value of an option that takes one of a few words."""

    option: str
    words: tuple[str, ...]

    def __call__(self, text: str) -> str:
        if text not in self.words:
            raise BadInput(f"{text!r} is not known", where=self.option, remedy=meant(text, self.words))
        return text

    @property
    def metavar(self) -> str:
        """For help pages."""
        return "{" + ",".join(self.words) + "}"


@dataclass(frozen=True)
class Number:
    """The value of an option that takes a number from `least` to `most`; `kind` is int or float."""

    option: str
    kind: type[int] | type[float]
    least: float
    most: float
    unit: str

    def __call__(self, text: str) -> float:
        wanted = f"give a {'whole ' if self.kind is int else ''}number of {self.unit} from {self.least} to {self.most}"
        try:
            value = self.kind(text)
        except ValueError:
            raise BadInput(f"{text!r} is no number", where=self.option, remedy=wanted) from None
        if math.isnan(value) or not self.least <= value <= self.most:
            raise BadInput(f"{text} is out of range", where=self.option, remedy=wanted)
        return value


def percent(option: str) -> Callable[[str], float]:
    """The value of an option that takes a share written as 5%; it becomes 0.05."""

    def read(text: str) -> float:
        return Number(option, float, 0.01, 1000, "percent, such as 5%")(text.removesuffix("%")) / 100

    return read


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed arguments; no command means `up`. Raises BadInput; `--help` ends the process as argparse does it."""
    from console.commands import COMMANDS, build

    parser = build()
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["up", *argv]
    if argv[0] not in (*COMMANDS, "serve", "-h", "--help"):
        raise BadInput(f"there is no command {argv[0]!r}", where=PROGRAM, remedy=meant(argv[0], COMMANDS))
    chosen, unknown = parser.parse_known_args(argv)
    if unknown:
        raise _unknown(chosen.command, chosen.parser, unknown[0])
    return chosen


def _unknown(command: str, parser: argparse.ArgumentParser, word: str) -> BadInput:
    from console.commands import COMMANDS

    if word in COMMANDS:
        remedy = f"the command comes first: {PROGRAM} {word} ..."
        return BadInput(f"the command {word!r} comes after options", where="arguments", remedy=remedy)
    if not word.startswith("-"):
        return BadInput(f"{word!r} is one word too many", where=command, remedy=f"see `{parser.prog} --help`")
    known = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    return BadInput(f"there is no option {word}", where=command, remedy=meant(word, known))


def run(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit status; every PodpathError is one message and status 2."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # some modules do not bear it while they are imported
    try:
        chosen = arguments(argv)
        module, _, name = chosen.work.partition(":")
        work: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), name)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        status = work(chosen)
        sys.stdout.flush()
        return status
    except PodpathError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return USAGE_STATUS
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED_STATUS
    except BrokenPipeError:  # `... | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        print(f"error: a mistake in podpath itself, please report it:\n{traceback.format_exc()}", file=sys.stderr)
        return INTERNAL_STATUS
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
