"""A small telephone network in network namespaces, for the demo and the tests: a switch and its subscribers.

One bridge in a namespace of its own stands for the carrier's switch; each peer has a namespace and one cable (veth)
to the bridge. Promiscuous capture on the bridge is a SPAN port: it sees every frame once, whoever forwards it.
Nothing outside these namespaces is touched, and everything is removed when the context ends, also after a failure.
Needs root and iproute2. It arms nothing and knows nothing of orders.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from mediation.core.errors import ConfigurationError

SPAN = "span0"  # the bridge's name inside the switch's namespace: the interface an IAP watches
CLONE_NEWNET = 0x40000000  # sched.h
COMMAND_LIMIT_S = 20.0


def _ip(*words: str, batch: str | None = None) -> None:
    """Runs ip(8). Raises ConfigurationError with its first complaint."""
    command = ["ip", *words]
    done = subprocess.run(  # noqa: S603 - our own words, no shell
        command, input=batch, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False
    )
    if done.returncode != 0:
        complaint = done.stderr.strip().splitlines()
        raise ConfigurationError(f"{' '.join(command)}: {complaint[0] if complaint else done.returncode}")


def possible() -> str:
    """Empty when this process can build networks and place calls, otherwise what is missing."""
    if os.geteuid() != 0:
        return "not root"
    missing = [program for program in ("ip", "sipp") if shutil.which(program) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""


class Network:
    """The switch and its peers; namespaces are named PREFIX-NAME and must not exist yet."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._made: list[str] = []

    def namespace(self, name: str) -> str:
        """The full name, as ip(8) and an IAP's `namespace` setting want it."""
        return f"{self._prefix}-{name}"

    def _add(self, name: str) -> str:
        full = self.namespace(name)
        _ip("netns", "add", full)
        self._made.append(full)
        return full

    def switch(self, name: str = "switch") -> str:
        """A bridge that forwards everything and answers nothing. Returns its namespace."""
        full = self._add(name)
        # No spanning tree and no multicast snooping: frames, neighbour discovery too, pass from the first moment.
        # Without IPv6 of its own the bridge sends nothing either.
        _ip("-n", full, "-batch", "-", batch=(
            f"link add {SPAN} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
            f"link set {SPAN} addrgenmode none\n"
            f"link set {SPAN} up\nlink set lo up\n"
        ))  # fmt: skip
        return full

    def peer(self, name: str, *addresses: str, switch: str = "switch") -> str:
        """A namespace with one cable to the switch and these addresses ("10.0.0.1/16", "fd00::1/64")."""
        full = self._add(name)
        port = f"p{len(self._made)}"
        _ip("link", "add", "eth0", "netns", full, "type", "veth", "peer", "name", port, "netns",
            self.namespace(switch))  # fmt: skip
        _ip("-n", self.namespace(switch), "-batch", "-", batch=(
            f"link set {port} addrgenmode none\nlink set {port} master {SPAN}\nlink set {port} up\n"
        ))  # fmt: skip
        # The addresses given are the only ones: no link-local traffic of the kernel on the watched wire.
        lines = [f"address add {address} dev eth0{' nodad' if ':' in address else ''}\n" for address in addresses]
        up = "link set eth0 addrgenmode none\nlink set lo up\nlink set eth0 up\n"
        _ip("-n", full, "-batch", "-", batch="".join([up, *lines]))
        return full

    def close(self) -> None:
        """Removes every namespace made here, and with them the cables and the bridge."""
        while self._made:
            with contextlib.suppress(ConfigurationError):  # gone already: what we wanted
                _ip("netns", "delete", self._made.pop())

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def inside(namespace: str, program: list[str]) -> list[str]:
    """The command line that runs `program` in a namespace."""
    return ["ip", "netns", "exec", namespace, *program]


def open_socket(namespace: str, family: int = socket.AF_INET) -> socket.socket:
    """A UDP socket that lives in `namespace`, for this process to use. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)

    def make(handle: int) -> socket.socket:
        # setns(2) moves the calling thread alone, and this thread ends with it.
        if libc.setns(handle, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return socket.socket(family, socket.SOCK_DGRAM)

    with open(f"/run/netns/{namespace}", "rb") as handle, ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(make, handle.fileno()).result()
