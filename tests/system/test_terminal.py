"""The program on a terminal of 80 columns: its prompt, Ctrl-C everywhere, colours, and lines that fit."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]")
DEADLINE_S = 60.0
CTRL_C = "\x03"
Start = Callable[..., "Terminal"]


class Terminal:
    """A command on a pseudo-terminal of 80 columns and 24 rows."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._fd = ours
        self.raw = ""
        argv = ["setsid", "--ctty", *argv]
        self.process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)

    @property
    def text(self) -> str:
        """What was shown, without colours and returns."""
        return ESCAPES.sub("", self.raw).replace("\r", "")

    def see(self, words: str) -> None:
        """Waits until `words` are shown after what was seen before."""
        deadline = time.monotonic() + DEADLINE_S
        while words not in self.text:
            if time.monotonic() > deadline or not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{words!r} was not shown; this was:\n{self.text}")
        self.raw = ESCAPES.sub("", self.raw).replace("\r", "").partition(words)[2]

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def end(self) -> int:
        """Waits for the command's end; its exit status."""
        while self._read(DEADLINE_S):
            pass
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        """Closes the terminal, which sends SIGHUP to the command."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self, seconds: float) -> bool:
        if not select.select([self._fd], [], [], max(seconds, 0))[0]:
            return False
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # EIO: the command and its children are gone
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Start]:
    """`terminal("up", ...)`: the program on a terminal."""
    made = []

    def start(*arguments: str, **more: str) -> Terminal:
        argv = ["/usr/bin/python3", str(HOME / "run_topology.py"), *arguments]
        one = Terminal(argv, environment | {"TERM": "xterm-256color"} | more)
        made.append(one)
        return one

    yield start
    for one in made:
        one.close()
        one.process.kill()
        one.process.wait()


@pytest.fixture(scope="module")
def lab(podpath: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """The default lab with calico BGP, whose screens have the most on them."""
    assert podpath("up", "-d", "--plugin", "calico", "--mode", "bgp").returncode == 0


def test_the_prompt_from_up_to_exit(terminal: Start, run_root: Path) -> None:
    screen = terminal("up", "--name", "mine", "--preset", "one-switch")
    screen.see("mininet> ")
    screen.type("pod1 ping pod3\n")
    screen.see("icmp_seq=1")
    screen.type(CTRL_C)
    screen.see("packets transmitted")
    screen.see("mininet> ")
    screen.type("trace pod1 nobody\n")
    screen.see("error: ")
    screen.see("mininet> ")
    screen.type("exit\n")
    assert screen.end() == 0
    assert not (run_root / "mine").exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_ends_the_lab(number: signal.Signals, terminal: Start, run_root: Path) -> None:
    """A terminal that closes hangs its processes up, and so does the shell on it: twice, then."""
    screen = terminal("up", "--name", "mine", "--preset", "one-switch")
    screen.see("mininet> ")
    screen.process.send_signal(number)
    screen.close()
    assert screen.process.wait(DEADLINE_S) != 0
    assert not (run_root / "mine").exists()


@pytest.mark.parametrize("moment", [0.15, 0.4, 0.8])
def test_ctrl_c_while_it_comes_up_leaves_nothing(moment: float, terminal: Start, run_root: Path) -> None:
    screen = terminal("up", "--name", "mine", "--plugin", "calico", "--mode", "bgp", input="")
    time.sleep(moment)
    screen.type(CTRL_C)
    if "mininet>" in screen.text:  # a fast machine
        screen.type("exit\n")
    screen.end()
    assert "Traceback" not in screen.text
    assert not (run_root / "mine").exists()


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    "argv", [("exec", "pod1", "--", "sleep", "60"), ("trace", "pod1", "203.0.113.99", "--timeout", "60")]
)
def test_ctrl_c_ends_what_takes_long(argv: tuple[str, ...], terminal: Start) -> None:
    screen = terminal(*argv)
    time.sleep(1)
    screen.type(CTRL_C)
    assert screen.end() == 130
    assert "Traceback" not in screen.text


@pytest.mark.usefixtures("lab")
def test_ctrl_c_ends_verify(terminal: Start) -> None:
    screen = terminal("verify")
    screen.see("same node")
    screen.type(CTRL_C)
    assert screen.end() in (130, 0)
    assert "Traceback" not in screen.text


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    "argv", [("inspect",), ("inspect", "node1"), ("trace", "pod1", "pod3"), ("verify",), ("doctor",)]
)
def test_screens_have_colours_and_fit(argv: tuple[str, ...], terminal: Start) -> None:
    screen = terminal(*argv)
    screen.end()
    assert "\x1b[" in screen.raw
    assert [line for line in screen.text.splitlines() if len(line) > 80] == []


@pytest.mark.usefixtures("lab")
def test_no_color(terminal: Start) -> None:
    for argv in (("inspect",), ("trace", "pod1", "pod3")):
        screen = terminal(*argv, NO_COLOR="1")
        assert screen.end() == 0
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]", screen.raw)
