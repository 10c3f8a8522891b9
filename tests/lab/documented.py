"""Whether a lab's documented paths are the observed ones."""

from __future__ import annotations

from typing import Any

from paths import flat
from paths.documented import document
from paths.kinds import pair
from paths.verify import verify


def check_documented(lab: Any) -> None:
    """The flat network's rules; each kind of pair that the lab has in each family that pods have, there and back."""
    assert [f"IPv{one.family} {one.rule}: {one.said}" for one in flat.check(lab) if not one.agrees] == []
    verdicts = verify(lab)
    assert [f"{one.source} {one.kind} {one.way}: {one.observed}" for one in verdicts if not one.agrees] == []
    found = [
        (kind.replace("-", " "), family, way)
        for kind, path in document(lab.plugin, lab.mode).items()
        for family in (4, 6)
        if pair(lab.cluster, kind, family)
        for way in ("out", "back")
        if way == "out" or not path[-1].lost
    ]
    assert [(one.kind, one.family, one.way) for one in verdicts] == found
    assert {pool.family for pool in lab.cluster.pools} == {one.family for one in verdicts}
    assert len({one.kind for one in verdicts if not one.kind.startswith(("pod", "client", "own", "other"))}) >= 2
