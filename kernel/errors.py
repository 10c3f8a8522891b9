"""The exception tree. One base class; a subclass per remedy.

PodpathError            shown to the user as one message, exit status 2
├── BadInput            a file, name, address or option is wrong: mend the input
├── MissingTool         a program or package is not installed: `make setup`
├── MissingFeature      this kernel cannot do it: run on another kernel
├── NotPermitted        the machine forbids it: the message names the setting
├── LabBusy             a lab of that name runs already, or none runs
├── KernelRefused       netlink answered with an error although the state looked right
├── AddressInUse        a host on the wire has an address that a pod is to have: give another
└── NotConverged        what was awaited did not happen before the deadline
"""

from __future__ import annotations

from collections.abc import Iterable


class PodpathError(Exception):
    """What went wrong, where, and what to do about it.

    `where` is a place the user can open (file and path in it, or a command-line option);
    `remedy` is one imperative sentence.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.remedy = what, where, remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  -> {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{advice}"


class BadInput(PodpathError):
    """A file, a name, an address or an option is wrong."""


class MissingTool(PodpathError):
    """A program or a package that is needed is not installed."""


class MissingFeature(PodpathError):
    """The kernel chosen cannot make a device that the mode needs."""


class NotPermitted(PodpathError):
    """The machine forbids what is needed (user namespaces, say)."""


class LabBusy(PodpathError):
    """A lab of that name runs already, or none does."""


class KernelRefused(PodpathError):
    """A netlink request failed; carries the object and the errno text."""


class AddressInUse(PodpathError):
    """Another host answers for an address; carries its MAC."""


class NotConverged(PodpathError):
    """Something awaited did not happen before its deadline."""


def meant(given: str, known: Iterable[str]) -> str:
    """The remedy for a name that nobody has: the one that was probably meant, else all that there are."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(given, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(names)}"
