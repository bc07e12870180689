"""SEC-21 on real interfaces: a host with a delivery plane and a management plane, and the real processes on it.

Each plane is a veth pair to a peer in a network namespace of its own, and each peer has routes to the other plane's
addresses, as an intruder on that network would make them.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from mediation.administration import making
from mediation.cli.demo.network import CLONE_NEWNET, inside
from mediation.core.ledger import cosignature
from mediation.runtime import config
from mediation.runtime.keys import POLICY

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")]
LIMIT_S = 30.0
DELIVERY, MANAGEMENT = "10.61.1.", "10.61.2."  # the host is .1, the peer .2
X2_PORT, WITNESS_PORT = 41820, 41880
PLANES = {"dlv": DELIVERY, "mgt": MANAGEMENT}


class Host(msgspec.Struct):
    """Namespaces: of the site, and of the peer of each plane."""

    name: str
    dlv: str
    mgt: str


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def host() -> Iterator[Host]:
    prefix = f"week{os.getpid()}"
    made = Host(f"{prefix}h", f"{prefix}d", f"{prefix}m")
    names = msgspec.structs.astuple(made)
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for plane, net in PLANES.items():
            peer, other = getattr(made, plane), next(each for each in PLANES.values() if each != net)
            ip("-n", made.name, "link", "add", f"{plane}0", "type", "veth", "peer", "name", "up0", "netns", peer)
            for name, interface, number in ((made.name, f"{plane}0", 1), (peer, "up0", 2)):
                ip("-n", name, "addr", "add", f"{net}{number}/24", "dev", interface)
                ip("-n", name, "link", "set", interface, "up")
            ip("-n", peer, "route", "add", f"{other}0/24", "via", f"{net}1")
        yield made
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def site_at(folder: Path, text: str) -> Path:
    site = making.make(folder / "site", is_lab=True)
    path = site.path / config.FILE
    path.write_text(path.read_text() + text)
    return site.path


def point(path: Path, listen: str) -> str:
    table = (path / "lab" / "point" / "interception_point.toml").read_text()
    return table.replace('"127.0.0.1"', f'"{listen}"').replace("41820", str(X2_PORT))


def arguments(host: Host, function: str, path: Path) -> list[str]:
    return inside(host.name, [sys.executable, "-m", "mediation.cli.main", "function", function, "--site", str(path)])


@contextmanager
def running(host: Host, function: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(arguments(host, function, path), stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def tcp(namespace: str) -> socket.socket:
    """A TCP socket that lives in a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def make(handle: int) -> socket.socket:
        assert libc.setns(handle, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())  # of this thread alone
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    with open(f"/run/netns/{namespace}", "rb") as handle, ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(make, handle.fileno()).result()


def reached(namespace: str, address: str, port: int) -> bool:
    with tcp(namespace) as trying:
        trying.settimeout(1.0)
        with suppress(OSError):
            trying.connect((address, port))
            return True
    return False


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listening(host: Host) -> list[str]:
    """Addresses and ports of all TCP listeners of the host."""
    done = subprocess.run(inside(host.name, ["ss", "-Htln"]), capture_output=True, text=True, check=True)
    return sorted(line.split()[3] for line in done.stdout.splitlines())


def test_the_delivery_side_s_listener_is_on_its_plane_alone(tmp_path: Path, host: Host) -> None:
    """Also for who sends to its very address by the other plane, which this host would otherwise take."""
    path = site_at(tmp_path, '\n[delivery]\ninterface = "dlv0"\n[management]\ninterface = "mgt0"\n')
    (path / config.FILE).write_text((path / config.FILE).read_text() + point(path, f"{DELIVERY}1"))
    with running(host, "mediator", path) as mediator:
        until(lambda: reached(host.dlv, f"{DELIVERY}1", X2_PORT), mediator)
        (only,) = listening(host)
        assert only.split("%")[0] in (f"{DELIVERY}1:{X2_PORT}", f"{DELIVERY}1") and only.endswith(f":{X2_PORT}")
        assert not reached(host.mgt, f"{DELIVERY}1", X2_PORT)
        assert not reached(host.mgt, f"{MANAGEMENT}1", X2_PORT)


@pytest.mark.parametrize(
    ("function", "settings", "said"),
    [
        # The listener of one plane at the other's address.
        ("mediator", ('[delivery]\ninterface = "dlv0"\n', f"{MANAGEMENT}1"), "not an address of dlv0"),
        ("mediator", ('[delivery]\ninterface = "mgt0"\n', f"{DELIVERY}1"), "not an address of mgt0"),
        ("mediator", ('[delivery]\ninterface = "dlv0"\n', "0.0.0.0"), "one address, not all"),
        # A plane that is not there.
        ("mediator", ('[delivery]\ninterface = "dlv1"\n', f"{DELIVERY}1"), "interface dlv1"),
        ("administrator", ('[management]\ninterface = "mgt1"\n', ""), "interface mgt1"),
    ],
)
def test_what_would_listen_elsewhere_does_not_start(
    tmp_path: Path, host: Host, function: str, settings: tuple[str, str], said: str
) -> None:
    text, listen = settings
    path = site_at(tmp_path, f"\n{text}")
    if listen:
        (path / config.FILE).write_text((path / config.FILE).read_text() + point(path, listen))
    refused(host, function, path, said)


def test_a_site_whose_management_is_on_the_delivery_interface_does_not_start(tmp_path: Path, host: Host) -> None:
    path = making.make(tmp_path / "site", is_lab=False).path
    with (path / config.FILE).open("a") as file:
        file.write('\n[delivery]\ninterface = "dlv0"\n[management]\ninterface = "dlv0"\n')
    for function in ("administrator", "mediator", "iap"):
        refused(host, function, path, "management.interface: not the one of delivery")


def refused(host: Host, function: str, path: Path, said: str) -> None:
    done = subprocess.run(
        arguments(host, function, path), capture_output=True, text=True, check=False, timeout=LIMIT_S * 2
    )
    assert done.returncode == 1 and said in done.stderr
    assert listening(host) == []


def test_the_administrator_asks_its_witnesses_by_the_management_plane_alone(tmp_path: Path, host: Host) -> None:
    """One witness of its policy is reached by the delivery plane, and never hears of it; without planes it does."""
    path = site_at(tmp_path, "")
    policy(path)
    with tcp(host.dlv) as wrong, tcp(host.mgt) as right:
        for listener in (wrong, right):
            listener.bind(("0.0.0.0", WITNESS_PORT))
            listener.listen()
            listener.settimeout(0.0)
        with running(host, "administrator", path) as administrator:
            until(lambda: heard(wrong), administrator)
        while heard(wrong):
            pass
        text = (path / config.FILE).read_text()
        (path / config.FILE).write_text(text + '\n[delivery]\ninterface = "dlv0"\n[management]\ninterface = "mgt0"\n')
        while heard(right):
            pass
        with running(host, "administrator", path) as administrator:
            for _ in range(3):  # the start, and the first ticks
                until(lambda: heard(right), administrator)
        assert not heard(wrong)


def heard(listener: socket.socket) -> bool:
    with suppress(BlockingIOError):
        listener.accept()[0].close()
        return True
    return False


def policy(path: Path) -> None:
    """Two witnesses, one at the peer of each plane; either makes the quorum."""
    lines = [f"log {(path / 'keys' / 'ledger.pub').read_text().strip()}"]
    for number, net in enumerate((DELIVERY, MANAGEMENT)):
        signer = cosignature.Signer.from_seed(
            f"witness.example/w{number}", cosignature.ED25519_V1, bytes([number]) * 32
        )
        lines.append(f"witness w{number} {signer.verifier} http://{net}2:{WITNESS_PORT}")
    (path / "keys" / POLICY).write_text("\n".join([*lines, "group either any w0 w1", "quorum either", ""]))
