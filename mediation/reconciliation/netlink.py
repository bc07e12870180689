"""Netlink dumps, read only: requests whose type asks for a list, and the attributes of what comes back.

Answers for whole answers: a list that the kernel says it interrupted (NLM_F_DUMP_INTR) or cut is asked for again, and
then refused, never taken for all there is. May not: send anything that changes the kernel; there is no function here
for that. Formats: linux/netlink.h, RFC 3549.

The octets come from the kernel, but names and payloads in them were chosen by whoever made the objects: every length
is checked, and what does not parse raises.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

ROUTE, SOCK_DIAG, NETFILTER = 0, 4, 12  # linux/netlink.h

NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 2, 3, 4
TYPE_MASK: Final = 0x3FFF  # NLA_TYPE_MASK: without the nested and byte-order bits

RECEIVE_OCTETS: Final = 1 << 17
RECEIVE_BUFFER: Final = 4 << 20
LIMIT_S: Final = 5.0  # the kernel answers at once; this bounds a look all the same
ATTEMPTS: Final = 4
MAX_MESSAGES: Final = 65_536  # of one list
MAX_DEPTH: Final = 12

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE: Final = struct.Struct("=HH")


class InterruptedDumpError(OSError):
    """The list changed while it was read, several times."""


class Message(NamedTuple):
    kind: int
    payload: memoryview


def dump(family: int, kind: int, body: bytes) -> list[Message]:
    """The whole list that one request asks for, in this thread's network namespace.

    Raises OSError: what the kernel refused, no end within LIMIT_S, or a list that kept changing.
    """
    for _ in range(ATTEMPTS):
        found = _dump(family, kind, body)
        if found is not None:
            return found
    raise InterruptedDumpError("netlink: a list that keeps changing")


def _dump(family: int, kind: int, body: bytes) -> list[Message] | None:
    found: list[Message] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family) as link:
        link.settimeout(LIMIT_S)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        link.bind((0, 0))
        link.sendto(_HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body, (0, 0))
        while len(found) < MAX_MESSAGES:
            octets, sender = link.recvfrom(RECEIVE_OCTETS)
            if sender[0] != 0:
                continue  # another process's: only the kernel is asked
            for message, flags in _messages(memoryview(octets)):
                if flags & NLM_F_DUMP_INTR or message.kind == NLMSG_OVERRUN:
                    return None
                if message.kind == NLMSG_DONE:
                    return found
                if message.kind == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", message.payload)
                    if code:
                        raise OSError(-code, "netlink: refused")
                    return found
                found.append(message)
    raise InterruptedDumpError("netlink: a list without an end")


def _messages(octets: memoryview) -> Iterator[tuple[Message, int]]:
    at = 0
    while at + _HEADER.size <= len(octets):
        length, kind, flags, _, _ = _HEADER.unpack_from(octets, at)
        if length < _HEADER.size or at + length > len(octets):
            raise OSError("netlink: a message that is longer than its datagram")
        yield Message(kind, octets[at + _HEADER.size : at + length]), flags
        at += (length + 3) & ~3


def attributes(octets: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and value of each attribute (netlink(7)); ends at the first that does not fit. Never raises."""
    at = 0
    while at + _ATTRIBUTE.size <= len(octets):
        length, kind = _ATTRIBUTE.unpack_from(octets, at)
        if length < _ATTRIBUTE.size or at + length > len(octets):
            return
        yield kind & TYPE_MASK, octets[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def table(octets: memoryview) -> dict[int, memoryview]:
    """The attributes by type; the last one counts of one that stands twice."""
    return dict(attributes(octets))


def text(octets: memoryview | None) -> str:
    """A string attribute, without its end; "" for none."""
    return "" if octets is None else bytes(octets).split(b"\0", 1)[0].decode("ascii", "backslashreplace")


def u32(octets: memoryview | None) -> int:
    """A number in the machine's order; 0 for none."""
    return 0 if octets is None or len(octets) < 4 else int(struct.unpack_from("=I", octets)[0])


def u8(octets: memoryview | None) -> int:
    return 0 if octets is None or not len(octets) else octets[0]


def names_within(octets: memoryview, depth: int = 0) -> Iterator[str]:
    """Every printable string that stands as an attribute's value, however deep: kinds of actions and expressions."""
    for _, value in attributes(octets):
        raw = bytes(value)
        word = raw.rstrip(b"\0")
        if 1 < len(word) < 32 and len(raw) - len(word) >= 1 and word.isascii() and word.decode().isprintable():
            yield word.decode()
        if depth < MAX_DEPTH and len(value) >= _ATTRIBUTE.size:
            yield from names_within(value, depth + 1)
