"""A topology file in Python: a file for `mn --custom`, or any that defines one Topo.

`FILE.py` is enough where the file has one topology; else `FILE.py:NAME`. Arguments follow the name as Mininet's
`--topo` takes them: `FILE.py:NAME,2,delay=5ms`.
"""

from __future__ import annotations

import re
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernel.errors import BadInput, meant
from topologies.spec import LabSpec

NAMED = re.compile(r"(?P<path>.*\.py)(?::(?P<wish>.*))?", re.DOTALL)


def is_python(path: Path) -> bool:
    """It is the path of a Python file, with or without a topology's name behind it."""
    return NAMED.fullmatch(str(path)) is not None


def read(path: Path) -> LabSpec:
    """The lab that the file's topology describes. Raises BadInput with the line that went wrong."""
    from mininet.util import splitArgs

    from topologies.from_topo import spec_of

    found = NAMED.fullmatch(str(path))
    assert found is not None
    file, wish = found["path"], found["wish"] or ""
    with _mistakes_of(file):
        topos = _topos(runpy.run_path(file, run_name=Path(file).stem))
    name, arguments, options = splitArgs(wish) if wish else ("", (), {})
    if not name and len(topos) != 1:
        what = f"the file has {len(topos)} topologies" if topos else "the file has no topology"
        remedy = f"say which: {file}:{next(iter(topos))}" if topos else "define a subclass of LabTopo, or `topos`"
        raise BadInput(what, where=file, remedy=remedy)
    name = name or next(iter(topos))
    if name not in topos:
        raise BadInput(f"there is no topology {name!r}", where=file, remedy=meant(name, topos))
    with _mistakes_of(file):
        topo = topos[name](*arguments, **options)
    try:
        return spec_of(topo, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))
    except BadInput as problem:
        raise BadInput(problem.what, where=f"{file}: {problem.where}", remedy=problem.remedy) from None


def _topos(names: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """What the file calls `topos`, else the Topo classes that it defines itself."""
    from mininet.topo import Topo

    stated = names.get("topos")
    if isinstance(stated, dict):
        return dict(stated)
    own = names.get("__name__")
    classes = (one for one in names.values() if isinstance(one, type) and issubclass(one, Topo))
    return {one.__name__.lower(): one for one in classes if one.__module__ == own}


@contextmanager
def _mistakes_of(file: str) -> Iterator[None]:
    """What the file's own code raises is a mistake in the file. Its folder is where it imports from."""
    before = list(sys.path)
    sys.path.insert(0, str(Path(file).resolve().parent))
    try:
        yield
    except BadInput:
        raise
    except SyntaxError as problem:
        where = f"{problem.filename}:{problem.lineno}"
        raise BadInput(f"this is no Python: {problem.msg}", where=where, remedy="mend the line") from None
    except (Exception, SystemExit) as problem:
        if isinstance(problem, OSError) and problem.filename == file:
            what = f"the file cannot be read: {problem.strerror}"
            raise BadInput(what, where=file, remedy="give the path of a topology file, or use --preset") from None
        lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == file]
        where = f"{file}:{lines[-1]}" if lines else file
        raise BadInput(f"{type(problem).__name__}: {problem}", where=where, remedy="mend the line") from None
    finally:
        sys.path[:] = before
