"""What stands between the machine and the embedded kernel while it runs: one loop that moves bytes.

Connections to the lab's control socket become streams to the guest's server; what the guest's first process
writes comes to standard output and error; its exit status comes over a third stream.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import stat
import time
from collections.abc import Callable

from kernel.guest import CONTROL, EVENTS, STDERR, STDOUT
from kernel.vhost import Device
from kernel.vsock import CHUNK, CONFIG, Stream, Vsock


class Ended(Exception):
    """The guest kernel is gone."""


class Orphaned(Exception):
    """The keeper is gone, and so nobody wants this lab any more."""


class Client:
    """A connection to the control socket."""

    def __init__(self, sock: socket.socket, vsock: Vsock, port: int) -> None:
        sock.setblocking(False)
        self._sock, self._vsock = sock, vsock
        self._read_all = self._shut = self.done = False
        self.stream = vsock.connect(port)

    def fileno(self) -> int:
        return self._sock.fileno()

    def interest(self, congested: bool) -> int | None:
        events = select.EPOLLOUT if self.stream.held else 0
        if self._read_all:
            return events
        if self.stream.credit > 0 and not congested:
            return events | select.EPOLLIN
        return events or None

    def ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self.changed()
        if self.done:
            return
        if events & select.EPOLLIN and not self._read_all:
            self._read()
        elif events & (select.EPOLLHUP | select.EPOLLERR):
            self._end()

    def _read(self) -> None:
        try:
            data = self._sock.recv(min(CHUNK, self.stream.credit))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._vsock.send(self.stream, data)
        else:
            self._read_all = True
            self._vsock.shutdown(self.stream, both=False)

    def changed(self) -> None:
        """Writes what has arrived, as much as the client takes; closes when all is said."""
        arrived = self.stream.arrived
        try:
            while arrived:
                sent = self._sock.send(arrived[0])
                self.stream.took(sent)
                rest = arrived.popleft()[sent:]
                if rest:
                    arrived.appendleft(rest)
                self._vsock.settle(self.stream)
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        if self.stream.gone:
            self._end()
        elif self.stream.ended and not self._shut:
            self._shut = True
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def _end(self) -> None:
        self.done = True
        self._vsock.shutdown(self.stream, both=True)

    def close(self) -> None:
        self._sock.close()


class Output:
    """Standard output or error of this process, fed by the guest."""

    PIECE = 4096
    """What a pipe that is ready takes without blocking (pipe(7), PIPE_BUF)."""

    def __init__(self, fd: int, stream: Stream, vsock: Vsock) -> None:
        self._fd, self.stream, self._vsock = fd, stream, vsock
        self.done = False
        self._always = stat.S_ISREG(os.fstat(fd).st_mode) or os.fstat(fd).st_rdev == os.makedev(1, 3)

    def fileno(self) -> int:
        return self._fd

    def interest(self, congested: bool) -> int | None:
        return select.EPOLLOUT if self.stream.held and not self._always else None

    def ready(self, events: int) -> None:
        self._write()

    def changed(self) -> None:
        """To a file at once; to anything else when it is ready."""
        while self._always and self.stream.held:
            self._write()
        self.done = self.stream.gone and not self.stream.held

    def finish(self) -> None:
        """Writes all, however long the reader takes."""
        while self.stream.held:
            self._write()

    def close(self) -> None:
        """It stays open: it is our own."""

    def _write(self) -> None:
        piece = self.stream.arrived.popleft()
        try:
            done = os.write(self._fd, piece[: self.PIECE])
        except OSError:  # the reader is gone
            done = len(piece)
        if rest := piece[done:]:
            self.stream.arrived.appendleft(rest)
        self.stream.took(done)
        self._vsock.settle(self.stream)
        self.done = self.stream.gone and not self.stream.held


class Relay:
    """The loop. `bell` is the socket on which the guest's kernel connects; `keeper` ends when our keeper does."""

    def __init__(self, bell: socket.socket, guest: int, keeper: socket.socket, control: socket.socket | None) -> None:
        self._poll = select.epoll()
        self._bell, self._keeper, self._control = bell, keeper, control
        self._guest = os.pidfd_open(guest)
        self._device: Device | None = None
        self._vsock: Vsock | None = None
        self._ends: dict[int, Client | Output] = {}
        self._asked: dict[int, int] = {}
        self._said: Stream | None = None
        self._words = bytearray()
        self._calls: dict[int, Callable[[], None]] = {}
        self._watch(bell.fileno(), self._guest_connects)
        self._watch(keeper.fileno(), self._orphaned)
        self._watch(self._guest, self._ended)

    def until_word(self, deadline_s: float | None = None) -> str:
        """Moves bytes until the guest's init says a line; returns it. Raises Ended, Orphaned, TimeoutError."""
        end = None if deadline_s is None else time.monotonic() + deadline_s
        while (line := self._words.find(b"\n")) < 0:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            for fd, events in self._poll.poll(left):
                self._event(fd, events)
            self._renew()
        word = self._words[:line].decode()
        del self._words[: line + 1]
        return word

    def serve(self) -> None:
        """From now on takes connections: the guest's server listens."""
        if self._control:
            self._control.setblocking(False)
            self._watch(self._control.fileno(), self._client_connects)

    def finish(self) -> None:
        """Writes what is left of the guest's output."""
        for end in self._ends.values():
            if isinstance(end, Output):
                end.finish()

    def _event(self, fd: int, events: int) -> None:
        if call := self._calls.get(fd):
            call()
        elif end := self._ends.get(fd):
            end.ready(events)

    def _watch(self, fd: int, call: Callable[[], None]) -> None:
        self._calls[fd] = call
        self._poll.register(fd, select.EPOLLIN)

    def _ended(self) -> None:
        raise Ended

    def _orphaned(self) -> None:
        raise Orphaned

    def _guest_connects(self) -> None:
        sock, _ = self._bell.accept()
        self._poll.unregister(self._bell)
        del self._calls[self._bell.fileno()]
        self._device = Device(sock, CONFIG, 3)
        self._vsock = Vsock(self._device, self._accept, self._changed)
        self._watch(sock.fileno(), self._guest_asks)

    def _guest_asks(self) -> None:
        assert self._device and self._vsock
        if not self._device.answer():
            raise Ended
        for index, queue in enumerate(self._device.queues):
            if queue.kick >= 0 and queue.kick not in self._calls:
                self._watch(queue.kick, functools.partial(self._vsock.kicked, index))

    def _client_connects(self) -> None:
        assert self._control and self._vsock
        with contextlib.suppress(BlockingIOError):
            end = Client(self._control.accept()[0], self._vsock, CONTROL)
            self._ends[end.fileno()] = end

    def _accept(self, stream: Stream) -> bool:
        assert self._vsock
        if stream.host_port == EVENTS:
            self._said = stream
        elif stream.host_port in (STDOUT, STDERR):
            fd = 1 if stream.host_port == STDOUT else 2
            self._ends[fd] = Output(fd, stream, self._vsock)
        else:
            return False
        return True

    def _changed(self, stream: Stream) -> None:
        if stream is self._said:
            while stream.arrived:
                data = stream.arrived.popleft()
                self._words += data
                stream.took(len(data))
            return
        for end in self._ends.values():
            if end.stream is stream:
                end.changed()

    def _renew(self) -> None:
        """Waits from now on for what each end wants now. Ends that are done are closed only here: a number that is
        free could become another client's while events of the former one are still to be looked at."""
        for fd, end in list(self._ends.items()):
            wanted = None if end.done else end.interest(self._vsock.congested if self._vsock else False)
            asked = self._asked.get(fd)
            if wanted is None:
                if asked is not None:
                    self._poll.unregister(fd)
                    del self._asked[fd]
            elif asked is None:
                self._poll.register(fd, wanted)
            elif asked != wanted:
                self._poll.modify(fd, wanted)
            if wanted is not None:
                self._asked[fd] = wanted
            if end.done:
                del self._ends[fd]
                end.close()
