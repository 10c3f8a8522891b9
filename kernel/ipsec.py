"""IPsec of vti tunnels: security associations and policies, through the kernel's own socket for them.

ESP in tunnel mode with AES-GCM (RFC 4303, RFC 4106). The structures are those of linux/xfrm.h; a namespace's
associations and policies are replaced as a whole.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import struct
from collections.abc import Hashable, Iterable, Iterator

from kernel import modules, wire
from kernel.diff import Change
from kernel.errors import KernelRefused, MissingFeature, PodpathError
from kernel.namespaces import Namespaces
from kernel.read import bodies
from kernel.state import Ipsec
from kernel.wire import NETLINK_XFRM

NEWSA, GETSA, NEWPOLICY, GETPOLICY, FLUSHSA, FLUSHPOLICY = 0x10, 0x12, 0x13, 0x15, 0x1C, 0x1D
TMPL, AEAD, MARK = 5, 18, 21
"""Attributes: XFRMA_TMPL, XFRMA_ALG_AEAD, XFRMA_MARK."""
STATE_SIZE, SPI = 224, 72
"""Bytes of struct xfrm_usersa_info, and where the SPI is in it."""
POLICY_SIZE, DIR = 168, 160
"""Bytes of struct xfrm_userpolicy_info, and where the direction is in it."""
TUNNEL = 1
DIRECTIONS = {"in": 0, "out": 1, "fwd": 2}
ALGORITHM, ICV_BITS = "rfc4106(gcm(aes))", 128
MODULES = "xfrm_user esp4 gcm ghash_generic ctr seqiv hmac jitterentropy_rng drbg"
WINDOW = 32
"""Anti-replay window, in packets."""
_FOR_EVER = struct.pack("=8Q", *([0xFFFFFFFFFFFFFFFF] * 4), 0, 0, 0, 0)
"""struct xfrm_lifetime_cfg without limits."""
_EVERYTHING = struct.pack("=16s16sHHHHHBBBxxxiI", b"", b"", 0, 0, 0, 0, socket.AF_INET, 0, 0, 0, 0, 0)
"""struct xfrm_selector of any IPv4 packet."""


def apply(namespaces: Namespaces, changes: Iterable[Change]) -> None:
    """When one end must be made, all are made anew: an end that begins to count again is not heard by one that goes on
    counting (RFC 4303, section 3.4.3). Raises MissingFeature when the kernel has no IPsec, no ESP or no AES-GCM, and
    KernelRefused."""
    every = list(changes)
    if any("ipsec" in change.redo for change in every):
        _load()
        for change in every:
            if change.whole.ipsec or "ipsec" in change.redo:
                _renew(namespaces, change.whole.name, change.whole.ipsec)


def _renew(namespaces: Namespaces, name: str, wanted: Iterable[Ipsec]) -> None:
    with namespaces.inside(name):
        xfrm = _socket(name)
    try:
        xfrm.attempt(list(_flush()))
        refused = xfrm.attempt([request for item in wanted for request in requests(item)])
    finally:
        xfrm.close()
    if refused:
        raise _explained(refused[0], name)


def seal() -> Hashable:
    """What this thread's namespace has, without its counters: associations by SPI and algorithm, policies by direction
    and template. Equal seals: nobody changed anything."""
    xfrm = wire.Rtnl(NETLINK_XFRM)
    try:
        states, policies = (list(bodies(xfrm.dump(kind, b""))) for kind in (GETSA, GETPOLICY))
    finally:
        xfrm.close()
    made = {(one[SPI : SPI + 4], wire.attributes(one, STATE_SIZE).get(AEAD)) for one in states}
    return frozenset(made), frozenset((one[DIR], wire.attributes(one, POLICY_SIZE).get(TMPL)) for one in policies)


@functools.cache
def _load() -> None:
    """Else the embedded kernel asks for them one by one, with a process each."""
    if os.environ.get("PODPATH_KERNEL") == "embedded":
        modules.load(MODULES)


def _socket(name: str) -> wire.Rtnl:
    try:
        return wire.Rtnl(NETLINK_XFRM)
    except OSError as problem:
        what = f"this kernel has no IPsec: {problem.strerror}"
        raise MissingFeature(what, where=f"namespace {name}", remedy="use --kernel embedded") from None


def _explained(refusal: wire.Refusal, name: str) -> PodpathError:
    what, place = f"the kernel refused {refusal.what}: {refusal.reason}", f"namespace {name}"
    if refusal.errno in (errno.ENOSYS, errno.EPROTONOSUPPORT, errno.ENOENT):
        return MissingFeature(what, where=place, remedy="use --kernel embedded, which has ESP and AES-GCM")
    return KernelRefused(what, where=place)


def _flush() -> Iterator[wire.Request]:
    yield FLUSHPOLICY, 0, b"", lambda: "removing the IPsec policies"
    yield FLUSHSA, 0, bytes([socket.IPPROTO_ESP]), lambda: "removing the IPsec associations"


def requests(item: Ipsec) -> Iterator[wire.Request]:
    """Two associations, out and in, and three policies: what is forwarded inwards needs one of its own."""
    yield _association(item, item.local, item.remote, item.spi_out, item.key_out)
    yield _association(item, item.remote, item.local, item.spi_in, item.key_in)
    yield _policy(item, "out", item.local, item.remote)
    yield _policy(item, "in", item.remote, item.local)
    yield _policy(item, "fwd", item.remote, item.local)


def _four(address: str) -> bytes:
    """xfrm_address_t"""
    return wire.packed(address).ljust(16, b"\0")


def _mark(item: Ipsec) -> bytes:
    return wire.attr(MARK, struct.pack("=II", item.mark, 0xFFFFFFFF))


def _association(item: Ipsec, src: str, dst: str, spi: int, key: str) -> wire.Request:
    """struct xfrm_usersa_info and struct xfrm_algo_aead."""
    identity = _four(dst) + struct.pack("!IB3x", spi, socket.IPPROTO_ESP)
    counters = bytes(32 + 12)  # xfrm_lifetime_cur, xfrm_stats
    rest = struct.pack("=IIHBBB7x", 0, 0, socket.AF_INET, TUNNEL, WINDOW, 0)
    raw = bytes.fromhex(key)
    algorithm = struct.pack("=64sII", ALGORITHM.encode(), len(raw) * 8, ICV_BITS) + raw
    body = _EVERYTHING + identity + _four(src) + _FOR_EVER + counters + rest
    body += wire.attr(AEAD, algorithm) + _mark(item)
    return NEWSA, wire.CREATE | wire.EXCL, body, lambda: f"ESP from {src} to {dst} with {ALGORITHM}"


def _policy(item: Ipsec, direction: str, src: str, dst: str) -> wire.Request:
    """struct xfrm_userpolicy_info and struct xfrm_user_tmpl."""
    head = _EVERYTHING + _FOR_EVER + bytes(32) + struct.pack("=IIBBBB4x", 0, 0, DIRECTIONS[direction], 0, 0, 0)
    identity = _four(dst) + struct.pack("!IB3x", 0, socket.IPPROTO_ESP)
    anything = 0xFFFFFFFF  # algorithms
    template = identity + struct.pack("=Hxx16s", socket.AF_INET, _four(src))
    template += struct.pack("=IBBBxIII", 0, TUNNEL, 0, 0, anything, anything, anything)
    body = head + wire.attr(TMPL, template) + _mark(item)
    return NEWPOLICY, wire.CREATE | wire.EXCL, body, lambda: f"IPsec policy {direction} from {src} to {dst}"


def lines(items: Iterable[Ipsec]) -> Iterator[str]:
    """The same in ip-xfrm(8)'s words."""
    for item in items:
        mark = f"mark {item.mark} mask 0xffffffff"
        for src, dst, spi, key in (
            (item.local, item.remote, item.spi_out, item.key_out),
            (item.remote, item.local, item.spi_in, item.key_in),
        ):
            what = f"src {src} dst {dst} proto esp spi {spi:#x} mode tunnel {mark} replay-window {WINDOW}"
            yield f"ip xfrm state add {what} aead '{ALGORITHM}' 0x{key} {ICV_BITS}"
        for direction, src, dst in (
            ("out", item.local, item.remote),
            ("in", item.remote, item.local),
            ("fwd", item.remote, item.local),
        ):
            template = f"tmpl src {src} dst {dst} proto esp mode tunnel"
            yield f"ip xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir {direction} {mark} {template}"
