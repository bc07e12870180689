"""A machine of its own for reconciliation: its own network, mounts, processes and named namespaces.

What other tests and programs of this host do is not seen from inside, and what is done here leaves nothing behind: all
of it ends with the one process that holds it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

LIMIT_S = 30
READY = b"ready\n"
HOLDER = "mount -t tmpfs none /run/netns && ip link set lo up && echo ready && exec sleep infinity"


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class World:
    """`pid` is of the process that holds it, in the host's numbers."""

    def __init__(self) -> None:
        """Raises OSError where such a thing cannot be made."""
        Path("/run/netns").mkdir(exist_ok=True)
        self._parent = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", HOLDER],
            stdout=subprocess.PIPE,
        )
        assert self._parent.stdout is not None
        if self._parent.stdout.readline() != READY:
            self._parent.kill()
            raise OSError("no namespaces here")
        self.pid = children(self._parent.pid)[0]

    def words(self, *command: str) -> list[str]:
        """The command line that runs `command` inside."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", *command]

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(self.words(*command), capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    @contextmanager
    def running(
        self, *command: str, ready: str = "", env: dict[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """A program inside, from the line that says it is ready to the end of the context."""
        process = subprocess.Popen(
            self.words(*command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        try:
            if ready:
                assert process.stdout is not None
                assert ready in process.stdout.readline()
            yield process
        finally:
            for child in children(process.pid):  # nsenter --pid forks
                os.kill(child, signal.SIGKILL)
            process.kill()
            process.wait()

    def veth(self, one: str, other: str) -> None:
        self.run("ip", "link", "add", one, "type", "veth", "peer", "name", other)
        self.run("ip", "link", "set", one, "up")
        self.run("ip", "link", "set", other, "up")

    def close(self) -> None:
        self._parent.kill()
        self._parent.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# A program that opens a packet socket and holds it: its interface, protocol, user, and whether it is promiscuous.
TAP = """
import ctypes, os, socket, struct, sys
interface, protocol, uid, promiscuous = sys.argv[1], int(sys.argv[2], 0), int(sys.argv[3]), sys.argv[4] == "yes"
ctypes.CDLL(None).setfsuid(uid)  # whose a socket is: setfsuid(2)
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
if interface != "*":
    tap.bind((interface, protocol))
else:
    tap.close()
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
if promiscuous:
    tap.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex(interface), 1, 0, b""))
print("open", os.fstat(tap.fileno()).st_ino, flush=True)
sys.stdin.read()
"""


def tap(interface: str, protocol: int = 3, uid: int = 0, *, promiscuous: bool = False) -> Sequence[str]:
    """The command of a program that holds a packet socket; says "open" and its inode."""
    return ("python3", "-c", TAP, interface, str(protocol), str(uid), "yes" if promiscuous else "no")
