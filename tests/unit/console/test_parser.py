"""Every command's arguments, its help page, and what `run` makes of what a command raises."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import pytest

from console import parser
from console.commands import COMMANDS, build
from kernel.errors import BadInput

LEAST: dict[str, tuple[str, ...]] = {"exec": ("pod1", "--", "true"), "shape": ("a", "b"), "trace": ("pod1", "pod3")}
"""What a command cannot do without."""
EVERY = pytest.mark.parametrize("name", COMMANDS)


@EVERY
def test_a_command_needs_no_more_than_this_and_its_work_is_there(name: str) -> None:
    chosen = parser.arguments([name, *LEAST.get(name, ())])
    module, _, function = chosen.work.partition(":")
    assert chosen.command == name
    assert callable(getattr(importlib.import_module(module), function))


@EVERY
def test_help_has_examples_and_statuses_and_fits_80_columns(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        parser.arguments([name, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "examples:\n  run_topology.py " in text and "exit status:" in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


@EVERY
def test_examples_of_a_help_page_parse(name: str) -> None:
    import shlex

    page = parser.arguments([name, *LEAST.get(name, ())]).parser.epilog
    lines = [line.split("#")[0] for line in page.splitlines() if line.startswith("  run_topology.py ")]
    assert lines
    for line in lines:
        words = shlex.split(line.split("<")[0].split(">")[0])
        assert parser.arguments(words[1:]).command == name


def test_defaults() -> None:
    up = parser.arguments([])
    assert (up.command, up.file, up.preset, up.plugin, up.mode, up.kernel) == ("up", None, None, None, None, "auto")
    assert (up.name, up.detach, up.dry_run, up.json) == (None, False, False, False)
    trace = parser.arguments(["trace", "a", "b"])
    assert (trace.probe, trace.family, trace.size, trace.timeout) == ("icmp", 4, None, 2.0)
    bench = parser.arguments(["bench"])
    assert (bench.seconds, bench.rounds, bench.json, bench.precision) == (None, None, None, None)
    assert parser.arguments(["bench", "--precision", "2%"]).precision == 0.02


def test_options_alone_mean_up() -> None:
    chosen = parser.arguments(["--plugin", "calico", "-d"])
    assert (chosen.command, chosen.plugin, chosen.detach) == ("up", "calico", True)


def test_exec_leaves_the_commands_own_options_alone() -> None:
    chosen = parser.arguments(["exec", "--name", "x", "pod1", "--", "ping", "-c", "3", "--name", "y"])
    words = [word for word in chosen.argv if word != "--"]  # Python 3.11 gives the dashes to the name before them
    assert (chosen.name, chosen.netns, words) == ("x", "pod1", ["ping", "-c", "3", "--name", "y"])


def test_numbers_keep_their_kind() -> None:
    chosen = parser.arguments(["trace", "a", "b", "--size", "9", "--timeout", "1.5", "-6"])
    assert (chosen.size, chosen.timeout, chosen.family) == (9, 1.5, 6)
    assert isinstance(chosen.size, int)


@pytest.mark.parametrize("text", ["nan", "-inf", "1e9", "601", "0.001"])
def test_a_number_out_of_range(text: str) -> None:
    with pytest.raises(BadInput) as told:
        parser.arguments(["trace", "a", "b", "--timeout", text])
    assert told.value.where == "--timeout"


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (BadInput("it is wrong", where="here", remedy="mend it"), 2, "error: here: it is wrong\n  -> mend it\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_what_a_command_raises_becomes_a_status(
    raised: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from console import look

    def work(_arguments: Any) -> int:
        raise raised

    monkeypatch.setattr(look, "doctor", work)
    monkeypatch.setattr(parser.os, "dup2", lambda *_: None)
    assert parser.run(["doctor"]) == status
    assert capfd.readouterr().err == said


def test_a_mistake_of_ours_is_told_apart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from console import look

    monkeypatch.setattr(look, "doctor", lambda _arguments: 1 // 0)
    assert parser.run(["doctor"]) == parser.INTERNAL_STATUS
    said = capsys.readouterr().err
    assert "please report" in said and "ZeroDivisionError" in said


def test_schema_needs_no_lab_and_no_kernel(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from kernel import places

    monkeypatch.setattr(places, "choose", lambda *_: pytest.fail("no kernel is needed"))
    assert parser.run(["export", "--format", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "LabSpec"


def test_every_option_has_a_meaning() -> None:
    commands: Any = next(action for action in build()._actions if action.dest == "command")
    silent = [
        f"{name} {action.option_strings}"
        for name, one in commands.choices.items()
        for action in one._actions
        if action.option_strings and not action.help
    ]
    assert silent == []
    assert sys.modules["console.commands"].__doc__
