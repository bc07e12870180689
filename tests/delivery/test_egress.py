"""SEC-12 in a network namespace: the mediator's user reaches a live order's destination and nothing else; one alarm.

The egress function runs as its own process with its own user there, and is tasked over X1 by a test in the
administrator's place.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from mediation.core.case import Capability, ContentDestination
from mediation.core.interface import x1
from mediation.delivery.egress import places
from mediation.runtime import sockets
from tests.core import authority
from tests.delivery.house import House, revocation, xid_of

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root"),
    pytest.mark.skipif(shutil.which("nft", path="/usr/sbin:/usr/bin") is None, reason="no nft"),
]
PORT, OTHER, THIRD = 41800, 41801, 41802
LIMIT_S = 30
# Sends one datagram and tries one connection to each place as a given user; says which came back as refused.
SENDER = """
import os, socket, sys
user, places = int(sys.argv[1]), sys.argv[2:]
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(user, user, user)
for place in places:
    kind, host, port = place.split()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as one:
        one.settimeout(1)
        try:
            one.connect((host, int(port)))
            one.send(b"secret") if kind == "udp" else None
            print(place, "done")
        except OSError as error:
            print(place, type(error).__name__)
"""
NOBODY, SOMEBODY = 65534, 65533


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"vault{os.getpid()}"
    for words in (["netns", "add", name], ["-n", name, "link", "set", "lo", "up"],
                  ["-n", name, "link", "add", "out", "type", "veth", "peer", "name", "far"],
                  ["-n", name, "link", "set", "out", "addrgenmode", "none"],  # the kernel itself is to say nothing
                  ["-n", name, "link", "set", "out", "up"], ["-n", name, "link", "set", "far", "up"],
                  ["-n", name, "addr", "add", "192.0.2.1/24", "dev", "out"]):  # fmt: skip
        if subprocess.run(["ip", *words], check=False, capture_output=True).returncode:
            pytest.skip("no network namespace here")
    if subprocess.run(["ip", "netns", "exec", name, "nft", "add", "table", "inet", "try"], check=False).returncode:
        pytest.skip("no nftables in this kernel")
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


def send(namespace: str, user: int, *wanted: str) -> dict[str, str]:
    words = ["ip", "netns", "exec", namespace, sys.executable, "-c", SENDER, str(user), *wanted]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return dict(line.rsplit(" ", 1) for line in ended.stdout.splitlines())


def transmitted(namespace: str) -> int:
    """Packets that left by the outer interface."""
    said = subprocess.run(
        ["ip", "-n", namespace, "-j", "-s", "link", "show", "out"], capture_output=True, check=True
    ).stdout
    return int(json.loads(said)[0]["stats64"]["tx"]["packets"])


class Running:
    def __init__(self, house: House, stream: trio.SocketStream, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.house, self.log, self.process = house, log, process
        self._stream = stream
        self._lines = x1.Lines()

    async def ask(self, request: x1.Request) -> x1.Answer:
        await self._stream.send_all(x1.encode(request))
        with trio.fail_after(LIMIT_S):
            while True:
                for line in self._lines.feed(await self._stream.receive_some(65536)):
                    return x1.decode_answer(line)

    async def report(self) -> dict[str, int]:
        answer = await self.ask(x1.ReportStatus())
        assert isinstance(answer, x1.Ok)
        assert answer.report is not None
        return answer.report

    async def report_where(self, wanted: str, least: int) -> dict[str, int]:
        with trio.fail_after(LIMIT_S):
            while (found := await self.report())[wanted] < least:
                await trio.sleep(0.05)
        return found

    def said(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def privileges(self) -> str:
        return Path(f"/proc/{self.process.pid}/status").read_text()


@asynccontextmanager
async def egress(house: House, namespace: str) -> AsyncIterator[Running]:
    name = str(house.path / "n")  # abstract addresses end at the namespace
    Path(name).unlink(missing_ok=True)
    path = house.path / "egress.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, path.open("ab") as log:
        notify.bind(name)
        notify.settimeout(LIMIT_S)
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-m", "mediation.cli.main", "function", "egress",
             "--site", str(house.path)],
            stdout=log, stderr=log, env={**os.environ, "NOTIFY_SOCKET": name},
        )  # fmt: skip
        try:
            try:
                assert notify.recv(100) == b"READY=1"
            except TimeoutError:
                raise AssertionError(path.read_text()) from None
            async with await sockets.connect(house.path / "run", "egress.x1") as stream:
                yield Running(house, stream, path, process)
        finally:
            process.kill()
            process.wait()


async def test_the_mediator_reaches_live_orders_destinations_and_nothing_else(tmp_path: Path, namespace: str) -> None:
    house = House(tmp_path)
    good, other = f"tcp 192.0.2.1 {PORT}", f"tcp 192.0.2.1 {OTHER}"
    strange = ["udp 192.0.2.9 53", "tcp 192.0.2.9 443", "udp 192.0.2.1 41800", other]
    ledger = authority.Ledger()
    order = house.order(PORT, host="192.0.2.1", ledger=ledger)
    second = house.order(OTHER, host="192.0.2.1", case="CASE-2", ledger=ledger)
    third = house.order(THIRD, host="192.0.2.1", case="CASE-4", ledger=ledger)
    named = house.order(PORT, host="agency.example", case="CASE-3")
    listening = subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-c",
         "import socket, time\nall = [socket.create_server(('192.0.2.1', port)) for port in (41800, 41801)]\n"
         "print('x', flush=True); time.sleep(600)"], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert listening.stdout is not None
    assert listening.stdout.readline()
    try:
        async with egress(house, namespace) as running:
            status = running.privileges()
            assert "CapEff:\t0000000000001000" in status  # CAP_NET_ADMIN
            assert "CapBnd:\t0000000000001000" in status
            assert f"Uid:\t{NOBODY}" in status
            assert send(namespace, NOBODY, good)[good] != "done"
            await running.report_where("alarms", 1)
            assert await running.ask(x1.ActivateTask(request=order)) == x1.Ok()
            assert send(namespace, NOBODY, good) == {good: "done"}
            before, alarms = transmitted(namespace), (await running.report())["alarms"]
            refused = (await running.report())["refused_packets"]
            assert "done" not in send(namespace, NOBODY, *strange[1:2], other).values()
            send(namespace, NOBODY, *strange)
            found = await running.report_where("alarms", alarms + 1)
            assert found["refused_packets"] >= refused + 4
            assert transmitted(namespace) == before  # 0 out
            assert any(line["event"] == "alarm_egress" for line in running.said())
            assert send(namespace, SOMEBODY, other) == {other: "done"}  # nobody else is touched
            assert isinstance(await running.ask(x1.ActivateTask(request=named)), x1.Refused)
            assert await running.ask(x1.ActivateTask(request=second)) == x1.Ok()
            assert send(namespace, NOBODY, good, other) == {good: "done", other: "done"}
            assert (await running.report())["destinations"] == 2
            tampered = x1.ActivateTask(request=house.order(9, host="192.0.2.9", case="CASE-1"))
            wrong = tampered.request
            wrong = type(wrong)(legal=wrong.legal, carrier=order.carrier, commands=wrong.commands, proofs=wrong.proofs)
            assert isinstance(await running.ask(x1.ActivateTask(request=wrong)), x1.Refused)
            assert (await running.report())["destinations"] == 2
            # An end lets what was generated before it out, and no longer than that.
            assert await running.ask(x1.DeactivateTask(xid=xid_of(second).hex())) == x1.Ok()
            elements = table(namespace)
            assert f"192.0.2.1 . tcp . {OTHER} timeout 1h" in elements
            assert f"192.0.2.1 . tcp . {PORT}" in elements
            assert f"192.0.2.1 . tcp . {PORT} timeout" not in elements
            # A withdrawn token closes its destination within the minute (SEC-24), and no other.
            assert await running.ask(x1.ActivateTask(request=third)) == x1.Ok()
            text = revocation(third, "CASE-4")
            assert await running.ask(x1.RevokeToken(revocation=text)) == x1.Ok()
            elements = table(namespace)
            assert f"192.0.2.1 . tcp . {THIRD} timeout 50s" in elements
            assert f"192.0.2.1 . tcp . {OTHER} timeout 1h" in elements
            assert f"192.0.2.1 . tcp . {PORT} timeout" not in elements
            running.process.kill()
            running.process.wait()
            # Killed: it opens nothing and closes nothing.
            assert send(namespace, NOBODY, good, *strange[1:2]) == {good: "done", strange[1]: "TimeoutError"}
        async with egress(house, namespace) as running:
            assert f"192.0.2.1 . tcp . {PORT} timeout 30s" in table(namespace)  # until it is armed again
            assert await running.ask(x1.ActivateTask(request=order)) == x1.Ok()
            assert f"192.0.2.1 . tcp . {PORT} timeout" not in table(namespace)
            assert send(namespace, NOBODY, good) == {good: "done"}
            assert "2125550100" not in running.log.read_text()
    finally:
        listening.kill()
        listening.wait()


def table(namespace: str) -> str:
    words = ["ip", "netns", "exec", namespace, "nft", "list", "ruleset"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_the_places_of_an_order(tmp_path: Path) -> None:
    from mediation.core.authority import authorization
    from mediation.runtime import keys

    house = House(tmp_path)
    trust = keys.load_trust(house.site)

    def found(**changes: object) -> set[str]:
        order = house.order(PORT, **changes)
        return {str(place) for place in places(authorization.admit(order, trust, house.now_s * 1_000_000_000))}

    assert found(host="2001:db8::1") == {f"2001:db8::1 . tcp . {PORT}"}
    content = ContentDestination(host="192.0.2.7", port=9, form="packetcable")
    wide = {
        "capabilities": (Capability.CALL_DATA, Capability.CONTENT), "authority": "title3", "content": content,
    }  # fmt: skip
    assert found(host="192.0.2.1", **wide) == {f"192.0.2.1 . tcp . {PORT}", "192.0.2.7 . udp . 9"}
