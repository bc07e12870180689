"""What the functions with ordinary system calls are refused all the same: the administrator, the mediator, egress.

The access process has a list of what it may call (confine.py). These use sockets, files, threads and a database, so
theirs is a list of what they may not: other processes' memory, the kernel's own programs, modules and clock, mounts,
namespaces, keys of the session, and ways around a filter (io_uring, another ABI of the same machine). Sockets are Unix
and IP only, so no packet socket, whatever capability a bug might find.

`harden` also locks all memory, and forbids core dumps, ptrace(2) by the same user and new privileges. For good, in all
threads; each refusal is EPERM.
"""

from __future__ import annotations

import ctypes
import platform
import resource
from collections.abc import Iterable
from typing import Final

from mediation.core.errors import ConfigurationError
from mediation.runtime import confine

# name -> number on x86-64 (asm/unistd_64.h) and on arm64 (asm-generic/unistd.h); -1: not there
DENIED: Final[dict[str, tuple[int, int]]] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "kcmp": (312, 272), "process_madvise": (440, 440), "perf_event_open": (298, 241), "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # the kernel itself
    "bpf": (321, 280), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "syslog": (103, 116),
    "acct": (163, 89), "quotactl": (179, 60), "swapon": (167, 224), "swapoff": (168, 225), "userfaultfd": (323, 282),
    "ioperm": (173, -1), "iopl": (172, -1), "modify_ldt": (154, -1), "lookup_dcookie": (212, 18),
    # its clock: windows of orders are judged by it
    "settimeofday": (164, 170), "clock_settime": (227, 112),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262),
    # keys of others, and ways around
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "personality": (135, 92),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
}  # fmt: skip
EXECUTE: Final = {"execve": (59, 221), "execveat": (322, 281)}
# Of a call that a function may make all the same, the commands: bpf(2) to ask what hangs at an interface, and to load,
# attach or read nothing.
ONLY: Final = {"bpf": (0, (16,))}  # argument, its values: BPF_PROG_QUERY (linux/bpf.h)
SOCKET: Final = (41, 198)
UNIX, INET, INET6, NETLINK = 1, 2, 10, 16  # linux/socket.h
OTHER_ABI: Final = 0x40000000  # x32 on x86-64 (asm/unistd.h __X32_SYSCALL_BIT)
JUMP_AT_LEAST: Final = 0x35


def program(machine: str, *, execute: bool, families: Iterable[int], allowed: Iterable[str] = ()) -> bytes:
    """The seccomp filter as classic BPF: refuse what is denied, allow the rest."""
    column = 0 if machine == "x86_64" else 1
    denied = dict(DENIED) if execute else {**DENIED, **EXECUTE}
    code: list[tuple[int, int, int, int]] = [
        (confine.LOAD, 0, 0, confine.DATA_ARCH),
        (confine.JUMP_EQUAL, 1, 0, confine.AUDIT_ARCH[machine]),
        (confine.RETURN, 0, 0, confine.SECCOMP_RET_KILL_PROCESS),
        (confine.LOAD, 0, 0, confine.DATA_NUMBER),
        (JUMP_AT_LEAST, 0, 1, OTHER_ABI),
        confine.REFUSE,
    ]
    for name in allowed:
        numbers = denied.pop(name)
        if name in ONLY:
            body = confine.one_of(*ONLY[name])
            code += [(confine.JUMP_EQUAL, 0, len(body), numbers[column]), *body]
    for numbers in denied.values():
        if numbers[column] >= 0:
            code += [(confine.JUMP_EQUAL, 0, 1, numbers[column]), confine.REFUSE]
    family = confine.one_of(0, families)
    code += [(confine.JUMP_EQUAL, 0, len(family), SOCKET[column]), *family, confine.ALLOW]
    return confine.assemble(code)


def harden(
    *, execute: bool = False, families: Iterable[int] = (UNIX, INET, INET6), allowed: Iterable[str] = ()
) -> bool:
    """For this process, from now on; whether its memory is locked. `execute`: it starts programs; `allowed`: what of
    DENIED it may call all the same, with the arguments of ONLY.

    Raises ConfigurationError where the kernel does not take the filter: then the function does not start.
    """
    machine = platform.machine()
    if machine not in confine.AUDIT_ARCH:
        raise ConfigurationError(f"confinement: no list of system calls for {machine}")
    locked = confine.lock_memory()
    quiet()
    confine.no_new_privileges()
    code = program(machine, execute=execute, families=families, allowed=allowed)
    memory = ctypes.create_string_buffer(code, len(code))
    confine.load_filter(memory, len(code), machine)
    return locked


def quiet() -> None:
    """No core dump, and no ptrace(2) or /proc/PID/mem by the same user."""
    confine.not_dumpable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
