"""What README, the Vagrantfile and the Makefile say is so."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from console.commands import COMMANDS
from console.parser import arguments
from kernel.places import KERNELS
from plugins.registry import MODES

HOME = Path(__file__).resolve().parents[3]
README = (HOME / "README.md").read_text()
ROOMS = ("console", "bench", "paths", "plugins", "bgp", "topologies", "cluster", "kernel", "tests")


def rows(title: str) -> list[str]:
    """The first cells of the table under a title."""
    part = README.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", part, re.MULTILINE)


def test_every_command_and_kernel_is_in_its_table() -> None:
    assert set(rows("Commands")) == set(COMMANDS), "README.md has a table of commands"
    assert rows("Three kernels") == list(KERNELS)


def test_the_rooms_are_there() -> None:
    named = re.findall(r"`(\w+)/`", README.partition("## Where things are")[2])
    assert tuple(named[: len(ROOMS)]) == ROOMS
    assert all((HOME / room).is_dir() for room in ROOMS)


def test_links_and_files_that_are_named_exist() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    paths = re.findall(r"`((?:plugins|paths|scripts|docs)/[\w./-]+)`", README)
    assert links and paths
    for name in {*links, *paths} - {"paths/documented/PLUGIN-MODE.yaml"}:
        assert (HOME / name).exists(), name


def test_command_lines_parse() -> None:
    lines = re.findall(r"^    (?:sudo )?(?:python )?run_topology\.py(.*?)(?:  +#.*)?$", README, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        chosen = arguments(line.split())
        if getattr(chosen, "mode", None):
            assert f"{chosen.plugin}-{chosen.mode}" in MODES


def test_make_targets_exist() -> None:
    makefile = (HOME / "Makefile").read_text()
    for target in re.findall(r"^    make ([\w-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_vagrant_machine_is_set_up_by_the_one_script() -> None:
    text = (HOME / "Vagrantfile").read_text()
    (provision,) = re.findall(r"^ *config\.vm\.provision (.*)$", text, re.MULTILINE)
    assert provision == '"shell", inline: "/vagrant/scripts/setup"'
    code = re.sub(r'"[^"]*"|#.*', "", text)
    assert len(re.findall(r"\bdo\b", code)) == len(re.findall(r"\bend\b", code))
    if ruby := shutil.which("ruby"):
        done = subprocess.run([ruby, "-c", HOME / "Vagrantfile"], capture_output=True, text=True)
        assert done.stdout == "Syntax OK\n", done.stderr


def test_scripts_are_sound_shell() -> None:
    for name in ("scripts/setup", ".ci/run"):
        done = subprocess.run(["bash", "-n", HOME / name], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["README.md", "docs/ARCHITECTURE.md", "docs/TOPOLOGIES.md"])
def test_pages_have_no_trailing_blanks(name: str) -> None:
    assert [line for line in (HOME / name).read_text().splitlines() if line != line.rstrip()] == []
