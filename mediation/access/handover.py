"""What the opener hands to the access process: descriptors over an inherited Unix socket (unix(7), SCM_RIGHTS), and one
JSON line that says what they are.

Answers for: either everything arrives or nothing does. May not: carry anything of an order.
"""

from __future__ import annotations

import socket

import msgspec

from mediation.core.errors import LocalProtocolError

MAX_OCTETS = 65536
MAX_DESCRIPTORS = 64  # 16 access points with two each, and the three shared ones; the kernel's bound is 253


class Tap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One open packet socket. Two descriptors follow for each tap: the socket, the filter's counters."""

    name: str  # of the intercept access point in config.toml
    interface: str
    stamps: str  # "hardware" or "software"
    frame_size: int  # octets, a power of two
    frame_count: int


class Handover(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After the taps' descriptors: the media maps', if there is a tap; /dev/cpu_dma_latency, if it is held; and one
    socket for each feed."""

    taps: tuple[Tap, ...]
    feeds: tuple[str, ...] = ()  # names of the access points that switches feed with HEP
    filter_counters: tuple[str, ...]  # names, in the order of the counters' map
    processors: int  # values of a per-processor counter
    holds_cpu_latency: bool


def send(channel: socket.socket, handover: Handover, descriptors: list[int]) -> None:
    """One message, small enough for the socket's buffer: the opener need not wait for a reader."""
    line = msgspec.json.encode(handover) + b"\n"
    if len(line) > MAX_OCTETS or len(descriptors) > MAX_DESCRIPTORS:
        raise LocalProtocolError("opener: too many taps for one hand-over")
    sent = socket.send_fds(channel, [line], descriptors)
    if sent != len(line):
        channel.sendall(line[sent:])


def receive(channel: socket.socket) -> tuple[Handover, list[int]]:
    """Blocks until the opener has sent. Raises LocalProtocolError when it ended without, or sent something else."""
    line, descriptors, flags, _ = socket.recv_fds(channel, MAX_OCTETS, MAX_DESCRIPTORS)
    while line and not line.endswith(b"\n") and len(line) < MAX_OCTETS:
        more = channel.recv(MAX_OCTETS)
        if not more:
            break
        line += more
    if not line.endswith(b"\n") or flags & socket.MSG_CTRUNC:
        raise LocalProtocolError("iap: the opener ended without handing over")
    try:
        handover = msgspec.json.decode(line, type=Handover)
    except msgspec.MsgspecError as error:
        raise LocalProtocolError(f"iap: hand-over: {error}") from error
    wanted = 2 * len(handover.taps) + 2 * bool(handover.taps) + handover.holds_cpu_latency + len(handover.feeds)
    if len(descriptors) != wanted:
        raise LocalProtocolError("iap: hand-over: descriptors do not agree with their description")
    return handover, descriptors
