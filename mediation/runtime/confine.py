"""A process gives up what it does not need: user, capabilities, and all system calls but those on a list.

Answers for: after `seal`, what is not listed is refused by the kernel with EPERM (seccomp(2)), in every thread and for
good. May not: be undone, or be called before the process has opened everything it will ever read.

The list is for the access process (design: it reads frames, answers on Unix sockets that were bound before, and
nothing else). Some of its entries look at arguments:
    bpf      only element look-up, update and delete: no program, no map, no attachment
    mmap, mprotect   never executable
    write, sendto    never on a packet socket: a tap listens, it must not be able to send a frame
    ioctl    only FIONBIO; fcntl only flags, so no descriptor gets a second number
    recvmmsg only on the sockets of HEP feeds, which are UDP and carry no descriptors
There is no sendmsg or recvmsg, so no descriptor can leave or enter either.
"""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
import resource
import struct
from collections.abc import Iterable

from mediation.core.errors import ConfigurationError

# prctl(2), capabilities(7), seccomp(2), mlockall(2); linux/prctl.h, linux/capability.h, linux/seccomp.h
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_TIMERSLACK = 29
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
CAP_NET_ADMIN = 12
LINUX_CAPABILITY_VERSION_3 = 0x20080522
CAP_LAST = 63  # beyond the last one the kernel answers EINVAL, and that is the end of the loop
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_KILL_PROCESS = 0x80000000
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4

TIMER_SLACK_NS = 1000  # naps of 150 µs would become 200 with the default 50 µs

BPF_ELEMENT_COMMANDS = (1, 2, 3)  # BPF_MAP_LOOKUP_ELEM, _UPDATE_ELEM, _DELETE_ELEM
FIONBIO = 0x5421
FCNTL_FLAGS = (1, 2, 3, 4)  # F_GETFD, F_SETFD, F_GETFL, F_SETFL
PROT_EXEC = 4

# name -> number on x86-64 (asm/unistd_64.h) and on arm64 (asm-generic/unistd.h, where ppoll and epoll_pwait do the work
# of the two that are not there).
SYSTEM_CALLS: dict[str, tuple[int, int]] = {
    "read": (0, 63), "close": (3, 57), "fstat": (5, 80), "poll": (7, 73), "ppoll": (271, 73),
    "lseek": (8, 62), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216), "madvise": (28, 233),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "pwrite64": (18, 68), "fdatasync": (75, 83), "sched_yield": (24, 124), "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115), "clock_gettime": (228, 113), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "getpid": (39, 172), "gettid": (186, 178), "getrandom": (318, 278), "futex": (202, 98),
    "restart_syscall": (219, 128), "exit": (60, 93), "exit_group": (231, 94),
    "epoll_wait": (232, 22), "epoll_pwait": (281, 22), "epoll_ctl": (233, 21),
    "accept4": (288, 242), "shutdown": (48, 210), "recvfrom": (45, 207),
    "getsockname": (51, 204), "getpeername": (52, 205), "getsockopt": (55, 209),
}  # fmt: skip
CHECKED_CALLS = {
    "bpf": (321, 280), "mmap": (9, 222), "mprotect": (10, 226), "ioctl": (16, 29), "fcntl": (72, 25),
    "write": (1, 64), "sendto": (44, 206), "recvmmsg": (299, 243),
}  # fmt: skip
SECCOMP_CALL = (317, 277)
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h

# classic BPF, linux/filter.h and linux/bpf_common.h; struct seccomp_data: nr, arch, instruction pointer, args[6]
LOAD, JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
DATA_NUMBER, DATA_ARCH = 0, 4

_libc = ctypes.CDLL(None, use_errno=True)
_INSTRUCTION = struct.Struct("=HBBI")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _check(answer: int, what: str) -> None:
    if answer < 0:
        raise ConfigurationError(f"confinement: {what}: {os.strerror(ctypes.get_errno())}")


def _argument(index: int) -> int:
    """Offset of the low half of a system call's argument (both machines are little-endian)."""
    return 16 + 8 * index


def one_of(argument: int, values: Iterable[int]) -> list[tuple[int, int, int, int]]:
    """Allow if the argument is one of the values, else refuse."""
    wanted = list(values)
    checks = [(JUMP_EQUAL, len(wanted) - i, 0, value) for i, value in enumerate(wanted)]
    return [(LOAD, 0, 0, _argument(argument)), *checks, REFUSE, ALLOW]


def _none_of(argument: int, values: Iterable[int]) -> list[tuple[int, int, int, int]]:
    """Refuse if the argument is one of the values, else allow."""
    unwanted = list(values)
    checks = [(JUMP_EQUAL, len(unwanted) - i, 0, value) for i, value in enumerate(unwanted)]
    return [(LOAD, 0, 0, _argument(argument)), *checks, ALLOW, REFUSE]


def _no_bit(argument: int, bits: int) -> list[tuple[int, int, int, int]]:
    return [(LOAD, 0, 0, _argument(argument)), (JUMP_ANY_BIT, 1, 0, bits), ALLOW, REFUSE]


ALLOW = (RETURN, 0, 0, SECCOMP_RET_ALLOW)
REFUSE = (RETURN, 0, 0, SECCOMP_RET_ERRNO | 1)  # EPERM


def program(machine: str, packet_sockets: Iterable[int], feeds: Iterable[int] = ()) -> bytes:
    """The seccomp filter as classic BPF. `packet_sockets` and `feeds` are descriptors that nothing may be written to;
    from `feeds` many datagrams may be read at once."""
    column = 0 if machine == "x86_64" else 1
    feeding = list(feeds)
    listening = [*packet_sockets, *feeding]
    checked = {
        "bpf": one_of(0, BPF_ELEMENT_COMMANDS),
        "mmap": _no_bit(2, PROT_EXEC),
        "mprotect": _no_bit(2, PROT_EXEC),
        "ioctl": one_of(1, (FIONBIO,)),
        "fcntl": one_of(1, FCNTL_FLAGS),
        "write": _none_of(0, listening),
        "sendto": _none_of(0, listening),
        "recvmmsg": one_of(0, feeding),
    }
    code: list[tuple[int, int, int, int]] = [
        (LOAD, 0, 0, DATA_ARCH),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (RETURN, 0, 0, SECCOMP_RET_KILL_PROCESS),  # another ABI of the same machine has other numbers
        (LOAD, 0, 0, DATA_NUMBER),
    ]
    for name, body in checked.items():  # each body ends with a return, so the number is still loaded when skipped
        code += [(JUMP_EQUAL, 0, len(body), CHECKED_CALLS[name][column]), *body]
    for numbers in SYSTEM_CALLS.values():
        code += [(JUMP_EQUAL, 0, 1, numbers[column]), ALLOW]
    code.append(REFUSE)
    return assemble(code)


def assemble(code: Iterable[tuple[int, int, int, int]]) -> bytes:
    """Classic BPF instructions: code, jump if true, jump if false, constant."""
    return b"".join(_INSTRUCTION.pack(*line) for line in code)


def become(user: str, *, keeping: int | tuple[int, ...] | None = None) -> None:
    """From root to an ordinary user, for good; nothing when the process is not root. Raises ConfigurationError.

    `keeping` are capabilities that this process and the programs it starts keep (capabilities(7), ambient set).
    """
    kept = () if keeping is None else keeping if isinstance(keeping, tuple) else (keeping,)
    if os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigurationError(f"configuration: no user {user}") from None
    if entry.pw_uid == 0:
        raise ConfigurationError("configuration: root is not an unprivileged user")
    for capability in range(CAP_LAST + 1):
        if capability not in kept and _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    if kept:
        _check(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    if kept:
        header = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)
        mask = sum(1 << capability for capability in kept)
        sets = struct.pack("=6I", *(3 * (mask,)), 0, 0, 0)  # effective, permitted, inheritable
        _check(_libc.capset(header, sets), "capabilities")
        for capability in kept:
            _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "ambient capability")


def drop_capabilities() -> None:
    """None left in any set, none to be had by execve(2) again; no core dump, no ptrace(2) by the same user."""
    _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    header = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)), "capabilities")
    no_new_privileges()
    not_dumpable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def no_new_privileges() -> None:
    """No program that this process executes gains anything by being what it is."""
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def not_dumpable() -> None:
    """No core dump, no ptrace(2) by the same user."""
    _check(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")


def lock_memory() -> bool:
    """Nothing of this process goes to swap, and no page of the ring's path has to come back from it. False if the
    limits do not allow it. Call as root: the limit must be lifted before the user is left."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        return False
    return bool(_libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0)


def sharpen_timers() -> None:
    """Naps of this thread, and of threads started from it, end when they are due."""
    _check(_libc.prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0), "timer slack")


def seal(packet_sockets: Iterable[int], feeds: Iterable[int] = ()) -> None:
    """From here on only the listed system calls, in all threads. Raises ConfigurationError on another machine."""
    machine = platform.machine()
    if machine not in AUDIT_ARCH:
        raise ConfigurationError(f"confinement: no list of system calls for {machine}")
    code = program(machine, packet_sockets, feeds)
    load_filter(ctypes.create_string_buffer(code, len(code)), len(code), machine)


def load_filter(memory: ctypes.Array[ctypes.c_char], octets: int, machine: str) -> None:
    """Hands a filter to the kernel, for all threads. Raises ConfigurationError."""
    loaded = _Program(octets // _INSTRUCTION.size, ctypes.cast(memory, ctypes.c_void_p))
    number = SECCOMP_CALL[0 if machine == "x86_64" else 1]
    answer = _libc.syscall(number, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(loaded))
    if answer > 0:
        raise ConfigurationError("confinement: a thread has another filter")
    _check(answer, "seccomp")
