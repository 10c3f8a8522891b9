"""The Mininet prompt over a LabNet: Mininet's commands as its users know them, and ours beside them."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import select
import sys
import termios
from cmd import Cmd
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mininet.log import error, lg, output

from kernel.errors import PodpathError
from topologies.commands import Commands
from topologies.complete import Completer
from topologies.mininet_net import LabNet
from topologies.mininet_node import LabNode, LabSwitch

HISTORY = Path("~/.podpath_history")
HISTORY_LINES = 1000
GREETING = "The Mininet prompt: `help` lists its commands; Ctrl-D or `exit` leaves it."
HELP = """\
A command in a node, switch or pod: its name first. Names after it are replaced by IP addresses (IPv6 ones
after -6 or ping6), but not on a switch, where ports have the names of what they lead to:
  pod1 ping -c 3 pod2          node1 ip route show table all          s1 bridge vlan show
"""


@dataclass(frozen=True)
class Verb:
    """A further command: what it does with the rest of its line (0 is success), its help, and words that Tab knows."""

    run: Callable[[str], int]
    help: str
    words: tuple[str, ...] = ()


class LabCLI(Commands):
    """Runs as soon as it is made, as Mininet's CLI does, until it is left.

    `status` is 0; where nobody sits at a terminal it is 1 if a command failed, and 130 if one was interrupted.
    """

    identchars = Cmd.identchars + "-."

    def __init__(
        self,
        net: LabNet,
        stdin: TextIO | None = None,
        script: str | None = None,
        verbs: Mapping[str, Verb] | None = None,
    ) -> None:
        stdin = stdin or sys.stdin
        self.on_terminal = stdin.isatty()
        self.status = 0
        self.verbs = dict(verbs or {})
        for name, verb in self.verbs.items():
            setattr(self, f"do_{name}", self._command_of(verb))
        if not self.on_terminal:
            self.prompt, self.use_rawinput = "", False
        try:
            with _streams(self.failed):
                super().__init__(net, stdin=stdin, script=script)
        finally:
            net.stop()

    def _command_of(self, verb: Verb) -> Callable[[str], None]:
        def command(line: str) -> None:
            if verb.run(line):
                self.failed()

        command.__doc__ = verb.help
        return command

    def failed(self) -> None:
        self.status = self.status or int(not self.on_terminal)

    # -- the loop --

    def run(self) -> None:
        """Takes commands until it is left. Ctrl-C ends the command that runs; without a terminal, the prompt."""
        before = termios.tcgetattr(self.stdin) if self.on_terminal else None
        if self.on_terminal:
            output(GREETING + "\n")
        while True:
            try:
                self.cmdloop()
                return
            except KeyboardInterrupt:
                output("\n")
                self._interrupt_nodes()
                if not self.on_terminal:
                    self.status = 130
                    return
            finally:
                if before is not None:
                    termios.tcsetattr(self.stdin, termios.TCSADRAIN, before)

    def _interrupt_nodes(self) -> None:
        for node in self.mn.values():
            while node.waiting:
                node.sendInt()
                node.waitOutput()

    def onecmd(self, line: str) -> Any:
        """One command; what goes wrong is one line and never the end of the prompt."""
        try:
            self.mn.refresh()
            return super().onecmd(line)
        except PodpathError as problem:
            self.complain(one_line(problem))
        except Exception as problem:
            self.complain(f"{type(problem).__name__}: {problem}")
        return None

    def complain(self, text: str) -> None:
        error(f"*** {text}\n")

    def initReadline(self) -> None:
        """Takes the history of the prompts before."""
        if self.on_terminal:
            import readline

            readline.set_completer_delims(" \t\n")
            readline.set_history_length(HISTORY_LINES)
            with contextlib.suppress(OSError):
                readline.read_history_file(HISTORY.expanduser())

    def postloop(self) -> None:
        """Keeps the history. (Mininet does it when the process exits; the lab's prompt is a fork, which does not.)"""
        if self.on_terminal:
            import readline

            with contextlib.suppress(OSError):
                readline.write_history_file(HISTORY.expanduser())

    # -- commands in nodes --

    def default(self, line: str) -> None:
        """A command in the node that is named first."""
        first, rest, line = self.parseline(line)
        if first not in self.mn:
            known = [*self.completenames(""), *self.mn]
            close = difflib.get_close_matches(first or line, [word.strip() for word in known], 1)
            hint = f"did you mean {close[0]!r}?" if close else "`help` lists the commands, `nodes` the nodes"
            self.complain(f"there is no command and no node {first or line!r}; {hint}")
        elif not rest:
            self.complain(f"what is {first!r} to do? Write a command behind it, such as: {first} ip addr")
        else:
            self._in_node(self.mn[first], rest)

    def _in_node(self, node: LabNode, command: str) -> None:
        words = command.split(" ")
        if not isinstance(node, LabSwitch):
            six = "-6" in words or words[0].endswith("6")
            options = ["", *words]  # -N is vtysh's, and names a node
            pairs = zip(options, words, strict=False)
            words = [self._address(word, six) if word in self.mn and before != "-N" else word for before, word in pairs]
        if self.on_terminal:
            termios.tcsetwinsize(node.stdin, termios.tcgetwinsize(self.stdin))
        node.sendCmd(" ".join(words))
        self.waitForNode(node)
        if not self.on_terminal and node.cmd("echo $?").strip() != "0":
            self.failed()

    def _address(self, name: str, six: bool) -> str:
        intf = self.mn[name].defaultIntf()
        return (intf.ip6 if six else intf.updateIP()) or name

    def waitForNode(self, node: LabNode) -> None:
        """Shows what the node's command says until it ends; keys and Ctrl-C go to it."""
        poller = select.poll()
        poller.register(node.stdout, select.POLLIN)
        if self.on_terminal:
            poller.register(self.stdin, select.POLLIN)
        with self._keys(echo=True):
            while node.waiting:
                try:
                    for fd, _ in poller.poll():
                        if fd == node.stdout.fileno():
                            output(node.monitor().replace("\r\n", "\n"))
                        elif keys := os.read(fd, 1024):
                            os.write(node.stdin.fileno(), keys)
                        else:
                            poller.unregister(fd)
                except KeyboardInterrupt:
                    node.sendInt()
                    if not self.on_terminal:
                        node.waitOutput()
                        raise

    @contextlib.contextmanager
    def _keys(self, echo: bool) -> Iterator[None]:
        """Each key at once, and not a line at a time, where there is a terminal."""
        if not self.on_terminal:
            yield
            return
        before = termios.tcgetattr(self.stdin)
        now = termios.tcgetattr(self.stdin)
        now[3] &= ~termios.ICANON if echo else ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(self.stdin, termios.TCSADRAIN, now)
        try:
            yield
        finally:
            termios.tcsetattr(self.stdin, termios.TCSADRAIN, before)

    def do_noecho(self, line: str) -> None:
        """noecho NODE COMMAND: run a command whose keys are not shown twice, such as an editor."""
        with self._keys(echo=False):
            self.default(line)

    # -- leaving, help, Tab --

    def do_EOF(self, line: str) -> bool:
        """Ctrl-D: leave the prompt."""
        if self.on_terminal:
            output("\n")
        return True

    def do_exit(self, line: str) -> bool:
        """exit: leave the prompt."""
        return True

    do_quit = do_exit

    def do_help(self, arg: str) -> None:
        """help [COMMAND]: what there is, or what one of them does."""
        if arg:
            super().do_help(arg)
            return
        names = [name for name in Completer.commands(self) if name not in ("EOF", "quit")]
        width = max(map(len, names)) + 2
        for name in names:
            text = " ".join((getattr(self, f"do_{name}").__doc__ or "").split())
            usage, _, what = text.partition(": ")
            output(f"{name:<{width}}{what or usage}\n")
        output(f"\n`help COMMAND` shows how a command is written.\n{HELP}")

    def get_names(self) -> list[str]:
        """With the further verbs."""
        return dir(self)

    def completenames(self, text: str, *_: Any) -> list[str]:
        """Commands and nodes."""
        return Completer(self).first(text)

    def completedefault(self, text: str, line: str, begidx: int, endidx: int) -> list[str]:
        """What may come at this place of a command."""
        return Completer(self).further(text, line[:begidx].split())


def one_line(problem: PodpathError) -> str:
    """Where, what and what to do, in one line."""
    return str(problem).replace("\n  -> ", "; ").replace("\n", " ")


class _Streams(logging.StreamHandler[TextIO]):
    """Mininet says everything on standard error; here answers go to standard output and only complaints there."""

    def __init__(self, failed: Callable[[], None]) -> None:
        super().__init__()
        self.failed = failed

    def emit(self, record: logging.LogRecord) -> None:
        complaint = record.levelno >= logging.WARNING
        stream = sys.stderr if complaint else sys.stdout
        stream.write(record.getMessage())
        stream.flush()
        if record.levelno >= logging.ERROR:
            self.failed()


@contextlib.contextmanager
def _streams(failed: Callable[[], None]) -> Iterator[None]:
    """Mininet's log goes where a prompt's words belong meanwhile."""
    handler, before = _Streams(failed), lg.ch
    lg.removeHandler(before)
    lg.addHandler(handler)
    try:
        yield
    finally:
        lg.removeHandler(handler)
        lg.addHandler(before)
