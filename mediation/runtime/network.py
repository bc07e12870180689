"""Which of the host's interfaces a function may use: delivery and management are apart (SEC-21).

Every listener of a function is a Unix socket or stands at an address of the interface that the configuration names for
it, bound to that interface: another address, one of all addresses, or one that another interface has, is a start that
fails, and what comes by another interface does not reach it. Every connection
that a function makes is bound to the interface of its plane (SO_BINDTODEVICE, ip(7)), so that no route of the host can
send it elsewhere: the mediator's to [delivery] interface, the administrator's, which asks witnesses and time-stamping
authorities, to [management] interface. There is no management listener on a network.

Reads addresses by SIOCGIFCONF (netdevice(7)) and /proc/net/if_inet6, in the process's own network namespace.
"""

from __future__ import annotations

import array
import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Protocol

from mediation.core.errors import ConfigurationError

SO_BINDTODEVICE = 25  # asm-generic/socket.h
SIOCGIFCONF = 0x8912  # linux/sockios.h
IFREQ = struct.Struct("16s 4x 4s 16x")  # the name, and of a sockaddr_in the address: 40 octets where pointers have 8
MAX_ADDRESSES = 1024  # of a host. Ours

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_kept: list[str] = []  # the interface of this process's plane, once it is named


def addresses(interface: str) -> set[Address]:
    """The addresses that an interface has now. Raises ConfigurationError when there is no such interface."""
    try:
        socket.if_nametoindex(interface)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            four = _listed(asking)
        lines = Path("/proc/self/net/if_inet6")
        six = [line.split() for line in lines.read_text().splitlines()] if lines.exists() else []
    except OSError as error:
        raise ConfigurationError(f"interface {interface}: {error.strerror}") from error
    found: set[Address] = set()
    for name, octets in IFREQ.iter_unpack(four):
        label = name.split(b"\0")[0].decode(errors="replace")
        if label.split(":")[0] == interface:  # NAME:ALIAS is an address of NAME
            found.add(ipaddress.IPv4Address(octets))
    found |= {ipaddress.IPv6Address(bytes.fromhex(words[0])) for words in six if words[-1] == interface}
    return found


def _listed(asking: socket.socket) -> bytes:
    """The kernel's list of IPv4 addresses with their interfaces. Raises OSError."""
    buffer = array.array("B", bytes(MAX_ADDRESSES * IFREQ.size))
    asked = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
    length, _ = struct.unpack("iP", fcntl.ioctl(asking.fileno(), SIOCGIFCONF, asked))
    return buffer.tobytes()[:length]


def check(what: str, interface: str, address: str) -> None:
    """That `address` is one of `interface`. Raises ConfigurationError: then nothing may listen there."""
    if ipaddress.ip_address(address) not in addresses(interface):
        raise ConfigurationError(f"{what}: listen: not an address of {interface}")


def keep_to(interface: str) -> None:
    """From now on every connection of this process leaves by `interface`; "" leaves it to the routes.

    Raises ConfigurationError when there is no such interface.
    """
    if interface:
        addresses(interface)
    _kept[:] = [interface] if interface else []


class Bindable(Protocol):
    """A socket, of whatever library."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None: ...


def bind(made: Bindable) -> None:
    """Binds a socket to the interface of this process's plane, before it connects or listens. Raises OSError."""
    if _kept:
        made.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, _kept[0].encode() + b"\0")
