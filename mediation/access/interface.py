"""The network interface under a tap: brought up, described, its card's clock used where it has one.

Answers for: the link state and the facts that the ring's geometry needs. May not: leave an interface changed beyond
what the tap needs. Promiscuous mode is therefore a membership of the packet socket (packet(7), PACKET_MR_PROMISC) and
not a flag of the link: it ends with the last copy of the descriptor, even after a crash.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from mediation.access import _linux
from mediation.core.errors import ConfigurationError

NAMESPACES = Path("/run/netns")  # ip-netns(8)

IFF_UP = 0x1  # linux/if.h
ARPHRD_ETHER = 1  # linux/if_arp.h
ARPHRD_LOOPBACK = 772

SOL_PACKET = 263  # linux/socket.h; linux/if_packet.h for the next three
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_PROMISC = 1
PACKET_TIMESTAMP = 17
SOF_TIMESTAMPING_SOFTWARE = 1 << 4  # linux/net_tstamp.h
SOF_TIMESTAMPING_RAW_HARDWARE = 1 << 6
SO_TIMESTAMPNS = 35  # asm-generic/socket.h: the kernel stamps at receipt, not when the ring is filled


class Interface(msgspec.Struct, frozen=True):
    """What the opener must know of an interface."""

    index: int
    mtu: int
    loopback: bool


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in a named network namespace, and back. Raises ConfigurationError if there is none of that name."""
    if not namespace:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            there = os.open(NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigurationError(f"iap: network namespace {namespace}: {error.strerror}") from error
        try:
            _linux.enter_namespace(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _linux.enter_namespace(home)
    finally:
        os.close(home)


def bring_up(name: str) -> Interface:
    """Sets the link up if it is not. Raises ConfigurationError when there is none, or it is not Ethernet."""
    try:
        with IPRoute() as route:
            found = route.link_lookup(ifname=name)
            if not found:
                raise ConfigurationError(f"iap: no interface {name}")
            (link,) = route.link("get", index=found[0])
            if link["ifi_type"] not in (ARPHRD_ETHER, ARPHRD_LOOPBACK):
                raise ConfigurationError(f"iap: interface {name} is not an Ethernet")
            if not link["flags"] & IFF_UP:
                route.link("set", index=found[0], state="up")
            return Interface(
                index=found[0], mtu=link.get_attr("IFLA_MTU"), loopback=link["ifi_type"] == ARPHRD_LOOPBACK
            )
    except NetlinkError as error:
        raise ConfigurationError(f"iap: interface {name}: {error}") from error


def set_promiscuous(tap: socket.socket, interface: Interface) -> None:
    """All frames of the segment, for as long as the socket lives: needed on a SPAN port."""
    tap.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("iHH8s", interface.index, PACKET_MR_PROMISC, 0, b""))


def set_stamps(tap: socket.socket, name: str, *, hardware: bool) -> str:
    """Where time stamps come from: "hardware" if asked for and the card stamps every frame, else "software".

    The kernel stamps in any case, so that a frame the card left out has a stamp too.
    """
    tap.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    if hardware:
        try:
            _linux.stamp_in_hardware(tap.fileno(), name)
        except OSError:
            pass  # the card cannot, or can only for PTP: the answer says so
        else:
            tap.setsockopt(SOL_PACKET, PACKET_TIMESTAMP, SOF_TIMESTAMPING_RAW_HARDWARE)
            return "hardware"
    tap.setsockopt(SOL_PACKET, PACKET_TIMESTAMP, SOF_TIMESTAMPING_SOFTWARE)
    return "software"
