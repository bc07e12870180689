"""What a hardened function is refused by the kernel, tried out by one that tries; and that it can still do its work."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mediation.runtime import confine, denial
from tests.access.test_confinement import HEADERS

# Tries every denied call with arguments that would pass or fail otherwise; says what each gave, then waits.
PRISONER = r"""
import ctypes, errno, json, os, resource, socket, sqlite3, subprocess, sys, threading, time
from mediation.runtime import denial
execute, netlink = sys.argv[1] == "1", sys.argv[2] == "1"
libc = ctypes.CDLL(None, use_errno=True)
ready, go, seen = threading.Event(), threading.Event(), []
def early():
    ready.set(); go.wait()
    seen.append(errno.errorcode.get(ctypes.get_errno()) if libc.syscall(denial.DENIED["ptrace"][0], 0) < 0 else "done")
thread = threading.Thread(target=early); thread.start(); ready.wait()
families = (denial.UNIX, denial.INET, denial.INET6) + ((denial.NETLINK,) if netlink else ())
locked = denial.harden(execute=execute, families=families)
def attempt(action):
    try: action(); return "done"
    except OSError as error: return errno.errorcode[error.errno]
def call(number):
    def action():
        if libc.syscall(number, 0, 0, 0, 0, 0, 0) < 0: raise OSError(ctypes.get_errno(), "")
    return action
go.set(); thread.join()
found = {name: attempt(call(numbers[0])) for name, numbers in denial.DENIED.items()}
found["other thread"] = seen[0]
found["getpid of another ABI"] = attempt(call(denial.OTHER_ABI + 39))
found["packet socket"] = attempt(lambda: socket.socket(17, socket.SOCK_RAW))
found["vsock"] = attempt(lambda: socket.socket(40, socket.SOCK_STREAM))
said = {
    "netlink": attempt(lambda: socket.socket(16, socket.SOCK_RAW)),
    "execve": attempt(lambda: subprocess.run(["/bin/true"], check=True)),
    "files": attempt(lambda: open("/etc/passwd").read()),
    "tcp": attempt(lambda: socket.create_server(("127.0.0.1", 0))),
    "database": attempt(lambda: sqlite3.connect(":memory:").execute("select 1")),
    "thread": attempt(lambda: threading.Thread(target=int).start()),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "locked": locked,
}
print(json.dumps([found, said]), flush=True)
sys.stdin.readline()
"""


def prisoner(*, execute: bool, netlink: bool) -> tuple[dict[str, str], dict[str, object], str]:
    words = [sys.executable, "-c", PRISONER, str(int(execute)), str(int(netlink))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found, said = json.loads(process.stdout.readline())
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.communicate("\n", timeout=30)
    return found, said, status


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the prisoner counts in x86-64")
@pytest.mark.parametrize("kind", ["mediator and administrator", "egress"])
def test_a_hardened_function_is_refused_what_it_never_needs(kind: str) -> None:
    egress = kind == "egress"
    found, said, status = prisoner(execute=egress, netlink=egress)
    assert found == dict.fromkeys(found, "EPERM")
    assert len(found) > 50
    assert said.pop("netlink") == said.pop("execve") == ("done" if egress else "EPERM")
    assert said.pop("core") == [0, 0]
    locked = said.pop("locked")
    # All its memory, where the machine lets root lift the limit (a container may not: CAP_SYS_RESOURCE).
    assert locked or resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] != resource.RLIM_INFINITY
    assert said == dict.fromkeys(said, "done")
    assert re.search(r"^NoNewPrivs:\t1$", status, re.M)
    assert re.search(r"^Seccomp:\t2$", status, re.M)
    if locked:
        assert int(re.search(r"^VmLck:\s+(\d+) kB$", status, re.M)[1]) > 1000  # type: ignore[index]


ASKER = """
import ctypes, errno, os, sys
from mediation.runtime import denial
libc = ctypes.CDLL(None, use_errno=True)
denial.harden(families=(denial.UNIX, denial.NETLINK), allowed=("bpf",))
number = denial.DENIED["bpf"][0 if os.uname().machine == "x86_64" else 1]
attributes = ctypes.create_string_buffer(128)
for command in range(40):
    assert libc.syscall(number, command, attributes, 128) < 0
    print(errno.errorcode[ctypes.get_errno()])
"""


@pytest.mark.root
def test_who_may_ask_for_programs_loads_and_reads_none() -> None:
    """The reconciler: root here, so that it is the filter which refuses."""
    said = subprocess.run([sys.executable, "-c", ASKER], capture_output=True, text=True, check=True, timeout=60)
    refused = [command for command, error in enumerate(said.stdout.split()) if error == "EPERM"]
    assert refused == [command for command in range(40) if command != 16]  # BPF_PROG_QUERY


@pytest.mark.parametrize("column", [0, 1])
def test_the_numbers_are_the_kernels(column: int) -> None:
    if not HEADERS[column].exists():
        pytest.skip(f"no {HEADERS[column]} on this machine")
    numbers = {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[column].read_text())
    }
    for name, pair in {**denial.DENIED, **denial.EXECUTE, "socket": denial.SOCKET}.items():
        assert pair[column] == numbers.get(name, -1), name


def test_the_filter_fits() -> None:
    for machine in confine.AUDIT_ARCH:
        code = denial.program(machine, execute=False, families=(1, 2, 10))
        assert len(code) // 8 <= 4096
        assert code[-8:] == confine.assemble([confine.ALLOW])
