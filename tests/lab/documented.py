"""Whether a lab's documented paths are the observed ones."""

from __future__ import annotations

from typing import Any

from paths.documented import document
from paths.verify import verify


def check_documented(lab: Any) -> None:
    """Each kind of pair in each family that pods have, there and back."""
    verdicts = verify(lab)
    assert [f"{one.source} {one.kind} {one.way}: {one.observed}" for one in verdicts if not one.agrees] == []
    families = {pool.family for pool in lab.cluster.pools}
    kinds = {kind.replace("-", " ") for kind in document(lab.plugin, lab.mode)}
    assert {(one.kind, one.family) for one in verdicts} == {(kind, family) for kind in kinds for family in families}
    assert len(verdicts) == 2 * len(kinds) * len(families)
