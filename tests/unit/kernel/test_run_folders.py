"""A lab's run folder: whose it is, and what happens to the folder of a lab that was killed."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from kernel import places
from kernel.errors import BadInput, LabBusy


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PODPATH_RUN_ROOT", str(tmp_path))
    return tmp_path


def test_a_folder_lives_as_long_as_its_lock_is_held(root: Path) -> None:
    with places.locked(root / "a"):
        assert places.running() == ["a"]
        with pytest.raises(LabBusy, match="a lab named 'a' runs already"), places.locked(root / "a"):
            pass
    assert places.running() == []
    with places.locked(root / "a"):  # taken over
        assert places.alive(root / "a")


def test_looking_does_not_make_a_lab_seem_alive(root: Path) -> None:
    (root / "a").mkdir()
    lock = (root / "a" / places.LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)  # as another process that looks right now
    assert not places.alive(root / "a")
    threading.Timer(places.LOOK_S / 4, lock.close).start()
    with places.locked(root / "a"):
        assert places.alive(root / "a")


def test_sweep_takes_the_dead_and_spares_the_living_and_the_strange(root: Path) -> None:
    for name in ("dead", "strange"):
        (root / name / "frr").mkdir(parents=True)
    (root / "dead" / places.LOCK).touch()
    with places.locked(root / "living"):
        places.sweep()
        assert sorted(path.name for path in root.iterdir()) == ["living", "strange"]
    places.sweep()
    assert [path.name for path in root.iterdir()] == ["strange"]


def test_sweep_without_a_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODPATH_RUN_ROOT", str(tmp_path / "nowhere"))
    places.sweep()
    assert places.running() == []


def test_a_folder_that_cannot_be_made(root: Path) -> None:
    (root / "file").write_text("")
    with pytest.raises(BadInput) as told, places.locked(root / "file" / "a"):
        pass
    assert "PODPATH_RUN_ROOT" in told.value.remedy


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("PODPATH_RUN_ROOT", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(places.os, "geteuid", lambda: 4242)
    monkeypatch.setattr(places.Path, "home", nowhere)
    with pytest.raises(BadInput, match="this user has no home"):
        places.root()
