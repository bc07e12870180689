"""Sockets that get copies of traffic: packet sockets (packet(7)) and raw IP sockets (raw(7)) of one network namespace.

Packet sockets are asked of sock_diag (linux/packet_diag.h) and read in /proc/net/packet as well: what stands in either
counts, so that a gap in one is not a place to hide. Needs no privilege; the filter's program is shown with
CAP_NET_ADMIN, and only if it is classic BPF. A packet socket without a protocol receives nothing and is passed over:
so is the opener's, until it is filtered, locked and bound.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from mediation.reconciliation import netlink

SOCK_DIAG_BY_FAMILY: Final = 20  # linux/sock_diag.h
AF_PACKET: Final = 17
SHOW_INFO, SHOW_MCLIST, SHOW_FANOUT, SHOW_FILTER = 0x1, 0x2, 0x8, 0x20  # linux/packet_diag.h
INFO, MCLIST, UID, FILTER = 0, 1, 5, 7
MR_PROMISC = 1  # linux/if_packet.h
PROC: Final = Path("/proc/thread-self/net")  # this thread's namespace, not the process's
MAX_PROC_OCTETS: Final = 8 << 20

_REQUEST: Final = struct.Struct("=BBHIIII")
_MESSAGE: Final = struct.Struct("=BBHIII")
_MEMBERSHIP: Final = struct.Struct("=IIHH32s")


class PacketSocket(NamedTuple):
    inode: int
    ifindex: int  # of the interface; 0: all of them
    protocol: int
    uid: int
    filter_sha256: str
    promiscuous: Counter[int]  # memberships by index of the interface


class RawSocket(NamedTuple):
    inode: int
    protocol: int
    uid: int
    version: int  # 4 or 6


def packet_sockets() -> list[PacketSocket]:
    """All of this thread's namespace that can receive. Raises OSError."""
    found = {one.inode: one for one in _diagnosed()}
    for one in _listed():
        found.setdefault(one.inode, one)
    return [one for one in found.values() if one.protocol]


def _diagnosed() -> Iterator[PacketSocket]:
    show = SHOW_INFO | SHOW_MCLIST | SHOW_FANOUT | SHOW_FILTER
    request = _REQUEST.pack(AF_PACKET, 0, 0, 0, show, 0xFFFFFFFF, 0xFFFFFFFF)
    for message in netlink.dump(netlink.SOCK_DIAG, SOCK_DIAG_BY_FAMILY, request):
        if len(message.payload) < _MESSAGE.size:
            raise OSError("netlink: a packet socket that is cut short")
        _, _, protocol, inode, _, _ = _MESSAGE.unpack_from(message.payload)
        told = netlink.table(message.payload[_MESSAGE.size :])
        program = told.get(FILTER)
        yield PacketSocket(
            inode=inode, ifindex=netlink.u32(told.get(INFO)), protocol=protocol, uid=netlink.u32(told.get(UID)),
            filter_sha256=hashlib.sha256(program).hexdigest() if program else "",
            promiscuous=_memberships(told.get(MCLIST)),
        )  # fmt: skip


def _memberships(octets: memoryview | None) -> Counter[int]:
    found: Counter[int] = Counter()
    for at in range(0, len(octets or b"") - _MEMBERSHIP.size + 1, _MEMBERSHIP.size):
        index, count, kind, _, _ = _MEMBERSHIP.unpack_from(octets or b"", at)
        if kind == MR_PROMISC:
            # The kernel counts a membership of one socket once at the interface, however often it is asked for.
            found[index] += bool(count)
    return found


def _rows(name: str) -> Iterator[list[str]]:
    """The table /proc/net/NAME without its heading. Raises OSError."""
    with (PROC / name).open("rb") as file:
        octets = file.read(MAX_PROC_OCTETS + 1)
    if len(octets) > MAX_PROC_OCTETS:
        raise OSError(f"/proc/net/{name}: too long")
    yield from (line.split() for line in octets.decode("ascii", "replace").splitlines()[1:])


def _listed() -> Iterator[PacketSocket]:
    """packet(7) in /proc: sk RefCnt Type Proto Iface R Rmem User Inode."""
    for row in _rows("packet"):
        if len(row) >= 9:
            yield PacketSocket(int(row[8]), int(row[4]), int(row[3], 16), int(row[7]), "", Counter())


def raw_sockets() -> list[RawSocket]:
    """All of this thread's namespace, ICMPv6's own included. Raises OSError.

    /proc/net/raw: sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode; the protocol is the port.
    """
    found: list[RawSocket] = []
    for version, name in ((4, "raw"), (6, "raw6")):
        try:
            rows = list(_rows(name))
        except FileNotFoundError:
            continue  # a kernel without IPv6
        for row in rows:
            if len(row) >= 10:
                protocol = int(row[1].rpartition(":")[2], 16)
                found.append(RawSocket(int(row[9]), protocol, int(row[7]), version))
    return found
