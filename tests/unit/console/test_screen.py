"""Colours, widths and pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from console import picture, screen
from kernel.errors import BadInput


@pytest.mark.parametrize(
    ("terminal", "environment", "colour"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colours(terminal: bool, environment: dict[str, str], colour: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert screen.looks()["color"] is colour


def test_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert screen.looks()["width"] == screen.PIPE_WIDTH
    monkeypatch.setenv("COLUMNS", "72")
    assert screen.looks()["width"] == 72
    monkeypatch.setenv("COLUMNS", "3")
    assert screen.looks()["width"] == 40


def test_picture_is_an_svg_with_the_screens_text_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "trace.svg"
    picture.save(path, "\x1b[1;32manswered\x1b[0m in 9 µs → done", "trace a b", 60)
    root = ElementTree.parse(path).getroot()
    text = "".join(root.itertext()).replace("\xa0", " ")
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "answered" in text and "in 9 µs → done" in text and "trace a b" in text and "\x1b" not in text
    assert path.read_text().count("fill: #") > 1


def test_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        picture.save(tmp_path, "text", "title", 60)


def test_a_folder_for_results_is_made_or_refused_before_the_work(tmp_path: Path) -> None:
    assert screen.writable(tmp_path / "a" / "b", "--report").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(BadInput) as told:
        screen.writable(tmp_path / "file" / "x", "--report")
    assert (told.value.where, told.value.remedy) == ("--report", "give another place")
