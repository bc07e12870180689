"""What a sealed process with the tap's descriptors can still do, tried out by one that wants to do more."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mediation.runtime import confine
from mediation.runtime.config import Iap
from tests.access import frames as make
from tests.access.conftest import Wire

# Runs as root, becomes nobody, seals itself, then tries. Descriptors: ring, media map, an AF_UNIX connection.
PRISONER = r"""
import ctypes, errno, fcntl, json, mmap, os, socket, struct, sys, threading, time
from tests.access.matching import matcher
from mediation.access._walker import RingWalker
from mediation.runtime import clock, confine

ring, media_map, media_ports, frame_size, frame_count, ifindex = map(int, sys.argv[1:7])
libc = ctypes.CDLL(None, use_errno=True)
SYS = {"bpf": 321, "ptrace": 101, "clone": 56, "clone3": 435, "execve": 59, "open": 2, "openat": 257, "dup": 32,
       "process_vm_readv": 310, "io_uring_setup": 425, "memfd_create": 319, "keyctl": 250, "mount": 165,
       "sendmsg": 46, "recvmsg": 47, "sendmmsg": 307, "writev": 20, "pwritev": 296, "splice": 275, "kill": 62,
       "prctl": 157, "setns": 308, "unshare": 272, "socketpair": 53, "listen": 50, "pidfd_getfd": 438}
walker = RingWalker(matcher(), 0, [5060], ring, frame_size, frame_count, (media_map, media_ports))
packet = socket.socket(fileno=ring)
unix_a, unix_b = socket.socketpair()
frame = bytes.fromhex(sys.argv[7])
confine.lock_memory()
confine.become("nobody")
confine.drop_capabilities()
thread_ready, go, thread_done = threading.Event(), threading.Event(), []
def in_thread():
    thread_ready.set()
    go.wait()
    try: socket.socket(); thread_done.append("socket made")
    except OSError as error: thread_done.append(errno.errorcode[error.errno])
thread = threading.Thread(target=in_thread)
thread.start(); thread_ready.wait()
confine.seal([ring])

def attempt(action):
    try: return ["done", action()]
    except OSError as error: return errno.errorcode[error.errno]
def call(name, *arguments):
    def action():
        if libc.syscall(SYS[name], *arguments) < 0:
            raise OSError(ctypes.get_errno(), name)
    return action
found = {
    "bind": attempt(lambda: packet.bind(("lo", 3))),
    "setsockopt": attempt(lambda: packet.setsockopt(263, 1, bytes(16))),
    "detach filter": attempt(lambda: packet.setsockopt(1, 27, bytes(16))),
    "socket": attempt(lambda: socket.socket()),
    "unix socket": attempt(lambda: socket.socket(socket.AF_UNIX)),
    "connect": attempt(lambda: unix_a.connect("/run/x")),
    "open": attempt(lambda: os.open("/etc/passwd", os.O_RDONLY)),
    "execve": attempt(lambda: os.execv("/bin/true", ["true"])),
    "fork": attempt(os.fork),
    "thread": attempt(call("clone", 0x00010f00, 0, 0, 0, 0)),
    "send on the tap": attempt(lambda: packet.send(frame)),
    "sendto on the tap": attempt(lambda: packet.sendto(frame, ("lo", 3))),
    "write on the tap": attempt(lambda: os.write(ring, frame)),
    "dup of the tap": attempt(lambda: fcntl.fcntl(ring, fcntl.F_DUPFD, 50)),
    "ioctl": attempt(lambda: fcntl.ioctl(ring, 0x8913, bytes(40))),
    "executable memory": attempt(lambda: mmap.mmap(-1, 4096, prot=7)),
    "new map": attempt(call("bpf", 0, bytes(128), 128)),
    "new program": attempt(call("bpf", 5, bytes(128), 128)),
    "uid": attempt(lambda: os.setuid(0)),
    **{name: attempt(call(name, 0, 0, 0, 0, 0, 0)) for name in SYS if name not in ("bpf", "clone")},
}
go.set(); thread.join()
found["other thread"] = thread_done[0]
# What it must still be able to do.
unix_a.send(b"x")
key = struct.pack("=BB2s16s", 4, 0, b"\0\1", bytes(16))
value = bytes(16)
keep = [ctypes.create_string_buffer(key), ctypes.create_string_buffer(value)]
attributes = struct.pack("=IIQQQ", media_map, 0, ctypes.addressof(keep[0]), ctypes.addressof(keep[1]), 0)
found["can"] = {
    "map update": attempt(call("bpf", 2, attributes, len(attributes)))[0],
    "map delete": attempt(call("bpf", 3, attributes[:16], 16))[0],
    "unix": unix_b.recv(1) == b"x",
    "time": clock.stamp_quality()[0] < 1 << 62,
    "sleep": time.sleep(0.001) is None,
    "memory": len(bytearray(1 << 24)) == 1 << 24,
}
print("sealed", flush=True)
sys.stdin.readline()
walker.drain(time.time_ns())
found["frames"] = walker.counters()["to_signalling"]
print(json.dumps(found), flush=True)
"""


@pytest.mark.root
def test_a_sealed_process_reads_its_ring_and_can_do_nothing_else(wire: Wire) -> None:
    from mediation.access import opener

    described, tap, socket_filter = opener.open_tap(
        Iap(name="tap", interface=wire.far, namespace=wire.namespace, ring_mib=1)
    )
    frame = make.ethernet(make.ipv4("192.0.2.1", "192.0.2.2", make.udp("192.0.2.1", "192.0.2.2", 5060, 5060, b"x")))
    words = (tap.fileno(), *socket_filter.media_maps, described.frame_size, described.frame_count, 1, frame.hex())
    near = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    near.bind((wire.near, 3))
    near.setblocking(False)
    with (
        near,
        subprocess.Popen(
            [sys.executable, "-c", PRISONER, *map(str, words)],
            pass_fds=(tap.fileno(), *socket_filter.media_maps),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "sealed\n"
        status = Path(f"/proc/{process.pid}/status").read_text()
        wire.send(frame)
        sent_back = []
        while True:  # veth delivers at once: what the prisoner sent is here by now
            try:
                octets, (_, _, kind, *_) = near.recvfrom(2048)
            except BlockingIOError:
                break
            if kind != socket.PACKET_OUTGOING:
                sent_back.append(octets)
        found = json.loads(process.communicate("\n", timeout=10)[0])
    assert sent_back == []
    assert found.pop("frames") == 1
    assert found.pop("can") == {
        "map update": "done", "map delete": "done", "unix": True, "time": True, "sleep": True, "memory": True,
    }  # fmt: skip
    assert found == dict.fromkeys(found, "EPERM")
    for line in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert re.search(rf"^{line}:\t0+$", status, re.M), line
    assert re.search(r"^NoNewPrivs:\t1$", status, re.M)
    assert re.search(r"^Seccomp:\t2$", status, re.M)
    assert re.search(r"^Uid:(\t65534){4}$", status, re.M)
    assert re.search(r"^Groups:\t *$", status, re.M)


HEADERS = {
    0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    1: Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("column", [0, 1])
def test_the_numbers_are_the_kernels(column: int) -> None:
    if not HEADERS[column].exists():
        pytest.skip(f"no {HEADERS[column]} on this machine")
    text = re.sub(r"__NR3264_(\w+)\b(?=\s+\d)", r"__NR_\1", HEADERS[column].read_text())
    numbers = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)", text)}
    stand_ins = {"poll": "ppoll", "epoll_wait": "epoll_pwait"} if column else {}
    listed = {**confine.SYSTEM_CALLS, **confine.CHECKED_CALLS, "seccomp": confine.SECCOMP_CALL}
    for name, pair in listed.items():
        assert pair[column] == numbers[stand_ins.get(name, name)], name


def test_the_filter_fits_and_refuses_by_default() -> None:
    for machine in confine.AUDIT_ARCH:
        code = confine.program(machine, range(64))
        assert len(code) % 8 == 0
        assert len(code) // 8 <= 4096  # BPF_MAXINSNS
        assert code[-8:] == confine._INSTRUCTION.pack(6, 0, 0, 0x00050001)


@pytest.mark.root
def test_root_and_unknown_users_are_no_users_to_become() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with pytest.raises(confine.ConfigurationError, match="no user"):
        confine.become("no-such-user")
    with pytest.raises(confine.ConfigurationError, match="not an unprivileged"):
        confine.become("root")
