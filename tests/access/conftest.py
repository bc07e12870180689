"""A pair of interfaces across a network namespace of its own, for tests that need root."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

COUNTER = iter(range(1_000_000))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Wire(msgspec.Struct):
    """`near` is in this namespace and sends; `far`, in `namespace`, is where the tap sits."""

    namespace: str
    near: str
    far: str
    sender: socket.socket

    def carrier(self) -> bool:
        return Path(f"/sys/class/net/{self.near}/carrier").read_text() == "1\n"

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.sender.send(frame)


@pytest.fixture
def wire() -> Iterator[Wire]:
    if os.geteuid() != 0:
        pytest.skip("needs root: packet sockets and network namespaces")
    number = next(COUNTER)
    namespace = f"tap{os.getpid()}-{number}"
    near, far = f"tn{os.getpid() % 1_000_000}.{number}", f"tf{os.getpid() % 1_000_000}.{number}"
    ip("netns", "add", namespace)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
        # No address, no router solicitation: the only frames on the wire are the test's.
        for place in ((), ("-n", namespace)):
            name = far if place else near
            ip(*place, "link", "set", name, "addrgenmode", "none")
        ip("link", "set", near, "up")
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with sender:
            sender.bind((near, 0))
            yield Wire(namespace, near, far, sender)
    finally:
        ip("netns", "del", namespace)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    made.mkdir()
    return made
