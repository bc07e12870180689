"""Sockets and captures inside a namespace of the rig: what a test itself says and hears on the watched wire.

A `Recorder` is a packet socket of its own, as tcpdump would open it, so that what was delivered can be compared with
what passed the very same point. Nothing here knows SIP.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self, TypeVar

CLONE_NEWNET = 0x40000000  # sched.h
ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 1  # linux/if_packet.h
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
UDP = 17
RECORDER_BUFFER = 64 << 20

Made = TypeVar("Made")


def inside_of(namespace: str, make: Callable[[], Made]) -> Made:
    """What `make` returns when it runs in `namespace` ("": our own). A socket stays where it was made. OSError."""
    libc = ctypes.CDLL(None, use_errno=True)

    def run(handle: int) -> Made:
        # setns(2) moves the calling thread alone, and this thread ends with it.
        if libc.setns(handle, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return make()

    if not namespace:
        return make()
    with open(f"/run/netns/{namespace}", "rb") as handle, ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(run, handle.fileno()).result()


def family(address: str) -> int:
    """AF_INET or AF_INET6 of an address written as text."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def datagram_socket(namespace: str, address: str, port: int, *, limit_s: float = 8.0) -> socket.socket:
    """A bound UDP socket of a namespace, with a time limit for reading."""
    made = inside_of(namespace, lambda: socket.socket(family(address), socket.SOCK_DGRAM))
    made.settimeout(limit_s)
    made.bind((address, port))
    return made


def stream_socket(namespace: str, address: str, *, limit_s: float = 8.0) -> socket.socket:
    """A TCP socket of a namespace, not connected, without Nagle's delay."""
    made = inside_of(namespace, lambda: socket.socket(family(address), socket.SOCK_STREAM))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.settimeout(limit_s)
    return made


def raw_socket(namespace: str, interface: str = "eth0") -> socket.socket:
    """A packet socket that sends whole Ethernet frames on a peer's cable."""
    made = inside_of(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    made.bind((interface, 0))
    return made


@dataclass(frozen=True)
class Datagram:
    """One UDP datagram that passed: both ends, payload, and the whole IP packet."""

    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    packet: bytes


def datagram(frame: bytes) -> Datagram | None:
    """The UDP datagram of an untagged Ethernet frame, None for all else (fragments too)."""
    kind = frame[12:14]
    if kind == b"\x08\x00":
        size = (frame[14] & 0x0F) * 4
        total = int.from_bytes(frame[16:18], "big")
        if frame[23] != UDP or int.from_bytes(frame[20:22], "big") & 0x3FFF:
            return None
        ends = frame[26:30], frame[30:34]
    elif kind == b"\x86\xdd":
        size, total = 40, 40 + int.from_bytes(frame[18:20], "big")
        if frame[20] != UDP:
            return None
        ends = frame[22:38], frame[38:54]
    else:
        return None
    packet = frame[14 : 14 + total]
    source, destination, length, _ = struct.unpack_from("!HHHH", packet, size)
    texts = [socket.inet_ntop(socket.AF_INET if len(end) == 4 else socket.AF_INET6, end) for end in ends]
    return Datagram((texts[0], source), (texts[1], destination), packet[size + 8 : size + length], packet)


class Recorder:
    """Every UDP datagram that `wanted` accepts, from a packet socket on an interface of a namespace."""

    def __init__(self, namespace: str, interface: str, wanted: Callable[[Datagram], bool]) -> None:
        """What the interface itself sends is left out: a bridge forwards, and a loopback hears all that it says."""
        self._wanted, self._kept = wanted, list[Datagram]()
        self._changed = threading.Condition()
        self._socket = inside_of(
            namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        )
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECORDER_BUFFER)
        self._socket.bind((interface, ETH_P_ALL))
        index = inside_of(namespace, lambda: socket.if_nametoindex(interface))
        self._socket.setsockopt(
            SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("IHH8s", index, PACKET_MR_PROMISC, 0, b"")
        )
        self._stop_reader, self._stop_writer = socket.socketpair()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._stop_reader, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._socket in ready:
                    frame, source = self._socket.recvfrom(65_535)
                    found = datagram(frame) if source[2] != PACKET_OUTGOING else None
                    if found is not None and self._wanted(found):
                        with self._changed:
                            self._kept.append(found)
                            self._changed.notify_all()
                elif ready:
                    return

    def until(self, count: int, limit: float) -> bool:
        """Waits until so many are there; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._kept) >= count, limit)

    def until_any(self, wanted: Callable[[Datagram], bool], limit: float) -> bool:
        """Waits until a datagram that is wanted is there; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: any(map(wanted, self._kept)), limit)

    def kept(self) -> list[Datagram]:
        with self._changed:
            return list(self._kept)

    def close(self) -> list[Datagram]:
        """Everything up to now, what waits in the socket too. Raises AssertionError when the kernel dropped any."""
        self._stop_writer.send(b".")
        self._thread.join()
        dropped = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, 6, 8))[1]  # PACKET_STATISTICS
        for end in (self._socket, self._stop_reader, self._stop_writer):
            end.close()
        assert dropped == 0, f"the test's own capture lost {dropped} frames"
        return self._kept

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.close()
