"""A private wire: two network namespaces joined by a veth pair, gone when the run ends, however it ends.

The sender's end is `far` in namespace `<prefix><pid>-<number>a`, the tap's end `near` in `…b`. IPv6 and ARP are off,
so that not one frame is on the wire that the benchmark did not send.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mediation.access import _linux

PREFIX = "mediation-bench-"
FAR = "far0"
NEAR = "near0"
NETNS = Path("/run/netns")
_numbers = itertools.count()


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


class Wire:
    """Names of one pair of namespaces, and what its tap end has received."""

    def __init__(self, name: str) -> None:
        self.sender = f"{name}a"
        self.tap = f"{name}b"
        self.far = FAR
        self.near = NEAR

    def steer(self, core: int | None) -> None:
        """Which core works off what arrives, as the affinity of a card's interrupt would decide (Documentation/
        networking/scaling.rst, RPS). None: the sender's own core, inside its system call."""
        path = f"/sys/class/net/{NEAR}/queues/rx-0/rps_cpus"
        mask = 0 if core is None else 1 << core
        subprocess.run(["ip", "netns", "exec", self.tap, "sh", "-c", f"echo {mask:x} > {path}"], check=True)

    def received(self) -> tuple[int, int]:
        """Packets that reached the tap's device, and packets that the veth dropped before it (cumulative)."""
        links = json.loads(_ip("-n", self.tap, "-j", "-s", "link", "show", NEAR))
        far = json.loads(_ip("-n", self.sender, "-j", "-s", "link", "show", FAR))
        counted = links[0]["stats64"]["rx"]
        return counted["packets"], counted["dropped"] + far[0]["stats64"]["tx"]["dropped"]


def sweep() -> None:
    """Removes what a killed run left behind; a run that is alive keeps its own."""
    for entry in NETNS.glob(f"{PREFIX}*") if NETNS.is_dir() else ():
        owner = entry.name.removeprefix(PREFIX).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            subprocess.run(["ip", "netns", "delete", entry.name], check=False, capture_output=True)


@contextlib.contextmanager
def wire() -> Iterator[Wire]:
    """The pair, both ends up. Raises CalledProcessError without root."""
    sweep()
    made = Wire(f"{PREFIX}{os.getpid()}-{next(_numbers)}")
    try:
        for name in (made.sender, made.tap):
            _ip("netns", "add", name)
            subprocess.run(
                ["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                 "net.ipv6.conf.default.disable_ipv6=1"], check=True, capture_output=True,
            )  # fmt: skip
        _ip("link", "add", FAR, "netns", made.sender, "type", "veth", "peer", NEAR, "netns", made.tap)
        for name, device in ((made.sender, FAR), (made.tap, NEAR)):
            _ip("-n", name, "link", "set", device, "arp", "off", "up")
        yield made
    finally:
        for name in (made.sender, made.tap):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def enter(name: str) -> int:
    """This thread goes into a namespace; the descriptor takes it back (`leave`)."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
    _linux.enter_namespace(there)
    os.close(there)
    return home


def leave(home: int) -> None:
    _linux.enter_namespace(home)
    os.close(home)


@contextlib.contextmanager
def quiet_exit() -> Iterator[None]:
    """SIGTERM ends the run through its `finally` blocks, as Control-C does."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
