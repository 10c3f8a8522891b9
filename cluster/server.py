"""The lab's first process: owns the lab, answers on its control socket.

What changes the lab (`up`, `shape`, `down`) happens here, one after the other. What only looks at it or uses
it (`trace`, `exec`, the prompt) is a job: it runs in a child that got the connection, so it never holds
up the others, and a job that crashes takes nothing with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster import session
from cluster.channel import Channel, Closed, error_message
from cluster.lab import Lab
from kernel.errors import BadInput, LabBusy, PodpathError

Job = Callable[[Lab, Channel, Mapping[str, Any]], None]
"""Does one request on a running lab; `answer` wraps a plain function as one."""
REQUEST_S = 5.0
"""How long a client may take to send its request, seconds."""


def answer(function: Callable[[Lab, Mapping[str, Any]], Any]) -> Job:
    """A job that sends what `function` returns."""

    def job(lab: Lab, channel: Channel, request: Mapping[str, Any]) -> None:
        channel.send({"done": function(lab, request)})

    return job


def listeners() -> list[socket.socket]:
    """The listening sockets that kernel.places gave to this process."""
    return [socket.socket(fileno=int(number)) for number in os.environ["PODPATH_LISTEN_FD"].split(",")]


class Server:
    """Serves one lab until `down`. `jobs` are run in children; `preload` once, after the lab came up."""

    def __init__(
        self, listening: Sequence[socket.socket], jobs: Mapping[str, Job], preload: Callable[[], None]
    ) -> None:
        self.listening = listening
        self.jobs: dict[str, Job] = {"exec": _exec, **jobs}
        self.changes: dict[str, Job] = {
            "up": self._up,
            "shape": self._shape,
            "set-up": self._set_up,
            "wanted": self._wanted,
            "plan": self._plan,
            "down": self._down,
        }
        self.preload: Callable[[], None] | None = preload
        self.lab: Lab | None = None
        self.children: set[int] = set()
        self.over = False

    def serve(self) -> None:
        """Answers requests until one was `down`."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        waited: list[Any] = [*self.listening, woken]
        while not self.over:
            ready, _, _ = select.select(waited, [], [], 0.05 if self._may_preload() else None)
            if woken in ready:
                os.read(woken, 4096)
                self._reap()
            for sock in [sock for sock in self.listening if sock in ready]:
                self._connection(Channel(sock.accept()[0]))
            if not ready and self.preload:
                self.preload()
                self.preload = None
        if self.lab:
            self.lab.down()

    def _may_preload(self) -> bool:
        return self.preload is not None and self.lab is not None

    def _reap(self) -> None:
        for pid in list(self.children):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.children.discard(pid)

    def _connection(self, channel: Channel) -> None:
        try:
            channel.sock.settimeout(REQUEST_S)
            request = channel.receive()
            channel.sock.settimeout(None)
            self._request(channel, request)
        except (Closed, ValueError):
            pass  # a client that went away or never spoke
        finally:
            channel.close()

    def _request(self, channel: Channel, request: Mapping[str, Any]) -> None:
        name = str(request.get("request"))
        if name in self.changes:
            _guarded(self.changes[name], self.lab, channel, request)
        elif name not in self.jobs:
            channel.send(error_message(BadInput(f"the lab knows no request {name!r}")))
        elif self.lab is None:
            channel.send(error_message(_starting()))
        else:
            self._fork(self.jobs[name], self.lab, channel, request)

    def _fork(self, job: Job, lab: Lab, channel: Channel, request: Mapping[str, Any]) -> None:
        pid = os.fork()
        if pid:
            self.children.add(pid)
            return
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for sock in self.listening:
                sock.close()
            lab.after_fork()
            _guarded(job, lab, channel, request)
        finally:
            os._exit(0)

    def _up(self, _lab: Lab | None, channel: Channel, request: Mapping[str, Any]) -> None:
        def said(stage: str) -> None:
            with contextlib.suppress(Closed):  # the client may go away; a change is not left half done for that
                channel.send({"progress": stage})

        wanted = str(request["spec"]), str(request["plugin"]), str(request["mode"])
        if self.lab is None:
            self.over = True  # a lab that does not come up ends, whether or not its client lives to end it
            lab = Lab.from_json(*wanted, folder=Path(os.environ["PODPATH_RUN"]))
            summary = lab.up(said)
            self.lab, self.over = lab, False  # only now: a lab that did not come up answers nothing
        else:
            summary = self.lab.change(*wanted, said)
        channel.send({"done": summary})

    def _shape(self, lab: Lab | None, channel: Channel, request: Mapping[str, Any]) -> None:
        """Answers with what the link is like now; without values it changes nothing."""
        lab, a, b = _started(lab), str(request["a"]), str(request["b"])
        if request["values"]:
            lab.shape(a, b, request["values"])
        channel.send({"done": lab.spec.link_between(a, b)})

    def _set_up(self, lab: Lab | None, channel: Channel, request: Mapping[str, Any]) -> None:
        _started(lab).set_up([(str(netns), str(name)) for netns, name in request["devices"]], bool(request["up"]))
        channel.send({"done": None})

    def _wanted(self, lab: Lab | None, channel: Channel, _request: Mapping[str, Any]) -> None:
        """All that a child needs to follow the lab."""
        lab = _started(lab)
        wanted = {"spec": lab.spec.model_dump_json(), "plugin": lab.plugin, "mode": lab.mode}
        channel.send({"done": {**wanted, "down": sorted(lab.down_devices), "changes": lab.changes}})

    def _plan(self, lab: Lab | None, channel: Channel, request: Mapping[str, Any]) -> None:
        steps = _started(lab).plan(str(request["spec"]), str(request["plugin"]), str(request["mode"]))
        channel.send({"done": steps})

    def _down(self, _lab: Lab | None, channel: Channel, _request: Mapping[str, Any]) -> None:
        self.over = True
        channel.send({"done": None})


def _started(lab: Lab | None) -> Lab:
    """Raises LabBusy while it is not up."""
    if lab is None:
        raise _starting()
    return lab


def _starting() -> LabBusy:
    return LabBusy("the lab is still starting", remedy="try again in a moment")


def _exec(lab: Lab, channel: Channel, request: Mapping[str, Any]) -> None:
    lab.must_have(str(request["netns"]))
    session.command(channel, lab.namespaces, request)


def _guarded(job: Callable[..., None], lab: Lab | None, channel: Channel, request: Mapping[str, Any]) -> None:
    """Runs a job; whatever it raises becomes a message to the client."""
    try:
        job(lab, channel, request)
    except Closed:
        pass
    except PodpathError as problem:
        with contextlib.suppress(Closed):
            channel.send(error_message(problem))
    except Exception:
        with contextlib.suppress(Closed):
            what = f"a mistake in podpath itself, please report it:\n{traceback.format_exc()}"
            channel.send(error_message(PodpathError(what)))
