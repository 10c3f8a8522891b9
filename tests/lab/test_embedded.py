"""The embedded kernel from outside: started inside a lab of the machine's kernel, which its processes cannot leave."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel import embedded, inside, places
from kernel.errors import LabBusy, MissingTool, NotConverged, NotPermitted

pytestmark = pytest.mark.only("machine")
GONE_S = 5.0
"""How long a killed guest's processes may take to end, seconds."""
SERVER = """
import hashlib, os, socket, threading
def serve(sock):
    data = b"".join(iter(lambda: sock.recv(1 << 16), b""))  # until the client has said all
    sock.sendall(hashlib.sha256(data).hexdigest().encode() + data)
    sock.close()
numbers = os.environ["PODPATH_LISTEN_FD"].split(",")
sock = socket.socket(fileno=int(numbers[0]))
while True:
    threading.Thread(target=serve, args=(sock.accept()[0],)).start()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A run folder in which, soon afterwards, no lab lives."""
    yield tmp_path
    places.wait_gone(tmp_path, GONE_S)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """The same where anybody may come to, as without mounts of its own the guest kernel's user must."""
    with tempfile.TemporaryDirectory(dir="/run") as name:
        yield Path(name)
        places.wait_gone(Path(name), GONE_S)


def launch(folder: Path, *argv: str, listen: bool = False) -> places.Process:
    return places.launch("embedded", "nested", argv, folder, listen=folder / places.SOCKET if listen else None)


def guests() -> list[str]:
    """The processes of guest kernels that this lab sees: those of its own process namespace."""
    found = subprocess.run(["ps", "-eo", "pid,stat,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if embedded.PROGRAM in line and "<defunct>" not in line]


def gone() -> bool:
    deadline = time.monotonic() + GONE_S
    while guests() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not guests()


def test_output_and_exit_status_come_back(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script = 'uname -r; echo "$PODPATH_KERNEL $PODPATH_RUN" >&2; id -u; echo kept > "$PODPATH_RUN/file"; exit 7'
    shm = os.listdir("/dev/shm")
    assert launch(folder, "sh", "-c", script).wait() == 7
    out, err = capfd.readouterr()
    release, user = out.split()
    assert Path(embedded.ROOT, release).is_dir()
    assert (user, err.split()) == ("0", ["embedded", str(folder)])
    assert (folder / "file").read_text() == "kept\n"
    assert os.listdir("/dev/shm") == shm
    assert gone()


def talk(folder: Path, number: int) -> tuple[str, str]:
    """Sends a little or two megabytes, ends its half, reads all; returns the sum that the server found and that of
    the echo."""
    data = os.urandom(1 << 16) * (0 if number % 5 else 32) + bytes([number])
    with socket.socket(socket.AF_UNIX) as sock, places.short(folder) as path:
        sock.connect(f"{path}/{places.SOCKET}")
        with concurrent.futures.ThreadPoolExecutor(1) as reader:
            answer = reader.submit(lambda: b"".join(iter(lambda: sock.recv(1 << 16), b"")))
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            said = answer.result(60)
    assert hashlib.sha256(data).hexdigest() == said[:64].decode()
    return said[:64].decode(), hashlib.sha256(said[64:]).hexdigest()


def test_connections_at_once_are_whole_and_half_close(folder: Path) -> None:
    process = launch(folder, sys.executable, "-c", SERVER, listen=True)
    try:
        with pytest.raises(LabBusy):
            launch(folder, "true")
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            for found, echoed in pool.map(lambda number: talk(folder, number), range(30)):
                assert found == echoed
    finally:
        process.kill()
        process.wait()


def forbidden(_flags: int) -> None:
    raise NotPermitted("no namespaces")


@pytest.mark.parametrize(
    ("namespaces", "whom"), [(True, "relay"), (True, "kernel"), (False, "kernel"), (False, "keeper")]
)
def test_killed_it_leaves_nothing(
    open_folder: Path,
    namespaces: bool,
    whom: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = open_folder
    if not namespaces:
        monkeypatch.setattr(inside, "unshare", forbidden)
    process = launch(folder, "sh", "-c", "while true; do :; done & sleep 100")
    relay = places.holder(folder)
    assert relay is not None and guests()
    children = Path(f"/proc/{relay}/task/{relay}/children").read_text().split()
    os.kill({"relay": relay, "kernel": int(children[0]), "keeper": process.pid}[whom], signal.SIGKILL)
    assert process.wait() == (1 if whom == "kernel" else 128 + 9)
    assert gone()
    places.wait_gone(folder, GONE_S)
    assert ("the guest kernel ended by itself" in capfd.readouterr().err) == (whom == "kernel")


def test_it_dies_with_its_caller(folder: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(places.HOME)!r})\n"
        "from pathlib import Path\nfrom kernel import places\n"
        f"places.launch('embedded', 'nested', ['sleep', '100'], Path({str(folder)!r}))\n"
        "print('up', flush=True)\nimport time; time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as caller:
        assert caller.stdout and caller.stdout.readline() == b"up\n"
        caller.kill()
    assert gone()


def test_a_panic_is_told_with_the_kernels_last_words(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert launch(folder, "sh", "-c", "sleep 0.5; echo c > /proc/sysrq-trigger").wait() == 1
    assert "Kernel panic - not syncing: sysrq triggered crash" in capfd.readouterr().err


def test_what_cannot_start_is_one_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingTool, match="no-such-program"):
        launch(folder, "/no-such-program")
    monkeypatch.setattr(embedded, "BOOT_S", 0.3)
    with pytest.raises(NotConverged, match=r"did not boot within 0.3 s; it said last:"):
        launch(folder, "true")
    assert gone()
