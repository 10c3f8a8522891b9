"""The arrows between rooms point down, as docs/ARCHITECTURE.md's table says, and the command line starts light."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
BY_REGISTRY = ("plugins.registry", "plugins.contract")
"""What "plugins (by registry)" opens: the registry, and the type of what it gives."""
HEAVY = ("mininet", "pydantic", "rich", "yaml", "pyroute2", "matplotlib")


def table(text: str) -> dict[str, tuple[str, ...]]:
    """Room -> modules it may import, prefixes of dotted names, out of the page's table."""
    rooms: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        name = re.fullmatch(r"`(\w+)(?:/|\.py)`", cells[0])
        if not (line.startswith("|") and name and len(cells) == 3):
            continue
        allowed: list[str] = []
        for word in cells[2].split(","):
            module, _, condition = word.strip().strip("`").partition(" ")
            if condition.strip("()") == "by registry":
                allowed += BY_REGISTRY
            elif (module, condition) != ("nothing", "of ours"):
                allowed.append(module)
        rooms[name.group(1)] = tuple(allowed)
    return rooms


PAGE = (HOME / "docs/ARCHITECTURE.md").read_text()
ROOMS = table(PAGE)


def imports(source: str, package: str) -> list[tuple[int, str]]:
    """Every module that `source` imports, wherever in it, with the line; `package` resolves relative ones."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{stem}.{alias.name}") for alias in node.names]
    return found


def forbidden(room: str, source: str, package: str) -> list[str]:
    """The imports in `source` that the table does not allow to `room`."""
    allowed = ROOMS[room]
    if "everything" in allowed:
        return []
    bad = []
    for line, module in imports(source, package):
        top = module.split(".")[0]
        if top == room or top not in ROOMS:
            continue
        if not any(module == prefix or module.startswith(prefix + ".") for prefix in allowed):
            bad.append(f"line {line}: {module}")
    return bad


def files() -> list[Path]:
    return sorted(path for room in ROOMS if (HOME / room).is_dir() for path in (HOME / room).rglob("*.py"))


def test_the_table_names_every_room() -> None:
    assert {"kernel", "cluster", "plugins", "bgp", "topologies", "paths", "bench", "run_topology"} <= set(ROOMS)
    assert ROOMS["kernel"] == ()
    assert ROOMS["run_topology"] == ("everything",)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(HOME)))
def test_arrows_point_down(path: Path) -> None:
    place = path.relative_to(HOME)
    package = ".".join(place.parts[:-1])
    assert forbidden(place.parts[0], path.read_text(), package) == []


@pytest.mark.parametrize(
    ("room", "source", "count"),
    [
        ("kernel", "import cluster.model", 1),
        ("kernel", "from . import errors", 0),
        ("kernel", "def f():\n    from paths.trace import trace", 1),
        ("plugins", "from kernel.state import State", 0),
        ("plugins", "from kernel.engine import Engine", 1),
        ("plugins", "from plugins.contract import Mode", 0),
        ("cluster", "from plugins.registry import mode", 0),
        ("cluster", "from plugins.calico.bgp import Bgp", 1),
    ],
)
def test_the_check_itself(room: str, source: str, count: int) -> None:
    assert len(forbidden(room, source, room)) == count


def test_every_seam_of_the_page_is_there() -> None:
    seams = PAGE.partition("## Seams\n")[2].partition("\n## ")[0]
    stated = re.findall(rf"(?<![\w.])((?:{'|'.join(ROOMS)})\.\w+)(?:\.(\w+))?", seams)
    assert len(stated) > 30
    gone = [f"{room}.{name}" for room, name in stated if name and not hasattr(importlib.import_module(room), name)]
    assert gone == []
    assert [room for room, name in stated if not name and find_spec(room) is None] == []


def test_help_imports_nothing_heavy() -> None:
    program = HOME / "run_topology.py"
    code = (
        "import json, runpy, sys\n"
        f"sys.argv = [{str(program)!r}, '--help']\n"
        f"sys.path.insert(0, {str(HOME)!r})\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in HEAVY if name in loaded] == []
