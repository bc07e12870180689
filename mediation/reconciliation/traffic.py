"""Interfaces, and what hangs at them that copies packets: tc actions and programs, XDP, promiscuous mode, floods.

Read from rtnetlink (RFC 3549, rtnetlink(7), linux/pkt_sched.h, linux/if_link.h): these lists need no privilege. tcx
programs, which stand in no list of filters, are asked for with bpf(2) BPF_PROG_QUERY and need CAP_NET_ADMIN.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from mediation.core.records.incident import Sight, What
from mediation.reconciliation import netlink

RTM_GETLINK, RTM_GETQDISC, RTM_GETTCLASS, RTM_GETTFILTER = 18, 38, 42, 46
IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, IFLA_PROMISCUITY, IFLA_XDP = 3, 5, 10, 18, 30, 43
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_BR_AGEING_TIME: Final = 4
IFLA_XDP_ATTACHED: Final = 2
TCA_KIND, TCA_OPTIONS, TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK = 1, 2, 13, 14
TC_H_ROOT: Final = 0xFFFFFFFF
TCM_IFINDEX_MAGIC_BLOCK: Final = 0xFFFFFFFF
CLSACT_PARENTS: Final = (0xFFFFFFF2, 0xFFFFFFF3)  # TC_H_CLSACT | TC_H_MIN_INGRESS, TC_H_MIN_EGRESS
# net/sched/act_*.c; the last two, until Linux 6.7, run a target of iptables, which may be TEE.
COPYING_ACTIONS: Final = frozenset({"mirred", "sample", "ipt", "xt"})
PROGRAMS: Final = "bpf"  # as a classifier and as an action
UPPER_KINDS: Final = frozenset({"macvlan", "macvtap", "ipvlan", "vlan", "macsec", "bareudp"})  # may ask the lower one
MACVLAN_KINDS: Final = frozenset({"macvlan", "macvtap"})
IFLA_MACVLAN_MODE, MACVLAN_MODE_SOURCE = 1, 16
TUNNEL_KINDS: Final = frozenset({"erspan", "ip6erspan"})
KERNELS_OWN: Final = frozenset({"erspan0", "ip6erspan0"})  # made with the module, without a far end

BPF_CALL: Final = {"x86_64": 321, "aarch64": 280}
BPF_PROG_QUERY: Final = 16
TCX: Final = {"tcx-ingress": 46, "tcx-egress": 47, "netkit-primary": 54, "netkit-peer": 55}  # enum bpf_attach_type
_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg
_TC: Final = struct.Struct("=BxHiIII")  # struct tcmsg
_QUERY: Final = struct.Struct("=IIIIQIxxxxQQQQ")  # of union bpf_attr: index, type, flags, attach flags, ids, count …

_libc = ctypes.CDLL(None, use_errno=True)


class Link(NamedTuple):
    ifindex: int
    name: str
    kind: str
    master: int
    lower: int
    promiscuity: int
    programmed: bool  # XDP
    ageing: int  # of a bridge, 1/100 s; -1: no bridge
    copies: bool = False  # a macvlan or macvtap that gets a copy of what chosen senders send


def links() -> list[Link]:
    """All interfaces of this thread's namespace. Raises OSError."""
    found: list[Link] = []
    for message in netlink.dump(netlink.ROUTE, RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
        _, _, index, _, _ = _LINK.unpack_from(message.payload)
        told = netlink.table(message.payload[_LINK.size :])
        info = netlink.table(told.get(IFLA_LINKINFO, memoryview(b"")))
        kind = netlink.text(info.get(IFLA_INFO_KIND))
        data = netlink.table(info.get(IFLA_INFO_DATA, memoryview(b"")))
        xdp = netlink.table(told.get(IFLA_XDP, memoryview(b"")))
        found.append(
            Link(
                ifindex=index, name=netlink.text(told.get(IFLA_IFNAME)), kind=kind,
                master=netlink.u32(told.get(IFLA_MASTER)), lower=netlink.u32(told.get(IFLA_LINK)),
                promiscuity=netlink.u32(told.get(IFLA_PROMISCUITY)),
                programmed=bool(netlink.u8(xdp.get(IFLA_XDP_ATTACHED))),
                ageing=netlink.u32(data.get(IFLA_BR_AGEING_TIME)) if kind == "bridge" else -1,
                copies=kind in MACVLAN_KINDS and netlink.u32(data.get(IFLA_MACVLAN_MODE)) == MACVLAN_MODE_SOURCE,
            )
        )  # fmt: skip
    return found


def of_links(found: Iterable[Link], namespace: str, memberships: Counter[int]) -> Iterator[Sight]:
    """What interfaces themselves show. `memberships` counts packet sockets that asked for promiscuous mode, which are
    sights of their own; `namespace` names where this is."""
    found = list(found)
    upper = Counter(link.lower for link in found if link.kind in UPPER_KINDS)
    for link in found:
        if link.programmed:
            yield Sight(what=What.PROGRAM, namespace=namespace, interface=link.name, detail="xdp")
        if link.copies:
            yield Sight(what=What.MIRROR, namespace=namespace, interface=link.name, detail=f"{link.kind} source")
        if link.ageing == 0:
            yield Sight(what=What.FLOODING, namespace=namespace, interface=link.name)
        if link.kind in TUNNEL_KINDS and link.name not in KERNELS_OWN:
            yield Sight(what=What.TUNNEL, namespace=namespace, interface=link.name, detail=link.kind)
        accounted = memberships[link.ifindex] + bool(link.master) + upper[link.ifindex]
        if link.promiscuity > accounted:
            yield Sight(what=What.PROMISCUOUS, namespace=namespace, interface=link.name)


def of_filters(found: Iterable[Link], namespace: str) -> Iterator[Sight]:
    """tc filters whose actions copy, redirect or sample, and programs. Raises OSError."""
    names = {link.ifindex: link.name for link in found}
    seen: Counter[tuple[str, What, str]] = Counter()
    for index, parent, block in _hooks():
        for message in netlink.dump(netlink.ROUTE, RTM_GETTFILTER, _TC.pack(0, 0, index, 0, parent, 0)):
            if len(message.payload) < _TC.size:
                raise OSError("netlink: a filter that is cut short")
            told = netlink.table(message.payload[_TC.size :])
            kind = netlink.text(told.get(TCA_KIND))
            within = set(netlink.names_within(told.get(TCA_OPTIONS, memoryview(b""))))
            where = names.get(index, f"block {block}" if block else f"index {index}")
            for action in sorted(within & COPYING_ACTIONS):
                seen[where, What.MIRROR, f"tc {kind} {action}"] += 1
            if kind == PROGRAMS or PROGRAMS in within:
                seen[where, What.PROGRAM, f"tc {kind} bpf"] += 1
    for where, what, detail in seen:
        yield Sight(what=what, namespace=namespace, interface=where, detail=detail)


def _hooks() -> Iterator[tuple[int, int, int]]:
    """Where filters can hang: interface, parent and shared block of each queueing discipline and of each class of one,
    whose filters stand in no list but the class's own. Raises OSError."""
    blocks: set[int] = set()
    classful: set[int] = set()
    for message in netlink.dump(netlink.ROUTE, RTM_GETQDISC, _TC.pack(0, 0, 0, 0, 0, 0)):
        _, _, index, handle, parent, _ = _TC.unpack_from(message.payload)
        told = netlink.table(message.payload[_TC.size :])
        kind = netlink.text(told.get(TCA_KIND))
        blocks |= {netlink.u32(told.get(each)) for each in (TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK)}
        if kind == "clsact":
            yield from ((index, parent, 0) for parent in CLSACT_PARENTS)
        elif kind == "ingress":
            yield index, 0xFFFF0000, 0
        elif handle or parent == TC_H_ROOT:  # the kernel's own default has no handle: 0 asks for the root's
            yield index, handle, 0
            classful.add(index)
    for index in sorted(classful):
        for message in netlink.dump(netlink.ROUTE, RTM_GETTCLASS, _TC.pack(0, 0, index, 0, 0, 0)):
            yield index, _TC.unpack_from(message.payload)[3], 0
    for block in sorted(blocks - {0}):
        yield TCM_IFINDEX_MAGIC_BLOCK - (1 << 32), block, block  # tcm_block_index takes the parent's place


def of_programs(found: Iterable[Link], namespace: str) -> Iterator[Sight]:
    """tcx and netkit programs. Raises PermissionError without CAP_NET_ADMIN."""
    for link in found:
        for name, kind in TCX.items():
            if link.name != "lo" and name.startswith("netkit") and link.kind != "netkit":
                continue
            if _programs(link.ifindex, kind):
                yield Sight(what=What.PROGRAM, namespace=namespace, interface=link.name, detail=name)


def _programs(index: int, kind: int) -> int:
    """How many programs hang there; 0 where this kernel has no such place."""
    attributes = ctypes.create_string_buffer(_QUERY.pack(index, kind, 0, 0, 0, 0, 0, 0, 0, 0), _QUERY.size)
    number = BPF_CALL.get(platform.machine())
    if number is None:
        return 0
    if _libc.syscall(number, BPF_PROG_QUERY, attributes, _QUERY.size) < 0:
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.EACCES):
            raise PermissionError(code, os.strerror(code))
        if code != errno.ENOSPC:  # more than none
            return 0
    return int(_QUERY.unpack(attributes.raw)[5])
