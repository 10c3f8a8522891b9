"""A program on a pseudo-terminal, as a person would use it."""

from __future__ import annotations

import codecs
import os
import pty
import select
import time
from collections.abc import Callable


class Terminal:
    """`child` runs on the terminal in a forked process; what it returns is its exit status."""

    def __init__(self, child: Callable[[], int]) -> None:
        self.said = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.pid, self.fd = pty.fork()
        if not self.pid:
            status = 1
            try:
                status = child()
            finally:
                os._exit(status)

    def until(self, text: str, deadline_s: float = 20) -> str:
        """What it says up to and with `text`."""
        end = time.monotonic() + deadline_s
        while text not in self.said:
            assert select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0], f"no {text!r}: {self.said!r}"
            self.said += self._decoder.decode(os.read(self.fd, 4096)).replace("\r", "")
        found, _, self.said = self.said.partition(text)
        return found + text

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def end(self) -> int:
        """Its exit status, once it has ended; what it still says is thrown away."""
        try:
            while os.read(self.fd, 4096):
                pass
        except OSError:  # EIO: nobody has the terminal open any more (pty(7))
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
