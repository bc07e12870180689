"""A feed in the sealed access process: opened by the opener, read in the reader's thread, armed like any other."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest
import trio

from mediation.access import opener
from mediation.core.errors import ConfigurationError
from mediation.core.interface import x1
from mediation.runtime import confine
from mediation.runtime.config import Hep, load
from tests.access.conftest import Wire, ip
from tests.access.process import running
from tests.access.test_hep import KEY, SIP, good

pytestmark = pytest.mark.root

NEAR, FAR, PORT = "10.98.0.1", "10.98.0.2", 9060


def isolated(wire: Wire) -> None:
    """The wire is the isolated network between the switch (near) and us (far)."""
    ip("addr", "add", f"{NEAR}/24", "dev", wire.near)
    ip("-n", wire.namespace, "addr", "add", f"{FAR}/24", "dev", wire.far)
    ip("-n", wire.namespace, "link", "set", wire.far, "up")


async def test_what_the_switch_sends_becomes_x2(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    isolated(wire)
    table = (
        f'[[hep]]\nname = "sbc"\ninterface = "{wire.far}"\nnamespace = "{wire.namespace}"\nlisten = "{FAR}"\n'
        f'port = {PORT}\nkey = "{KEY.decode()}"\n'
    )
    async with running(folder, wire, monkeypatch, more=table) as access:
        assert await access.ask(x1.ActivateTask(id=1, request=access.order())) == x1.Ok(id=1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as switch:
            switch.connect((FAR, PORT))
            now = time.time_ns()
            switch.send(good(payload=SIP.replace(b"+12125550100", b"+12125550199"), stamp_ns=now))
            switch.send(good(key=b"guess", stamp_ns=now))
            switch.send(good(stamp_ns=now))
            (pdu,) = await access.pdus(1)
        assert (pdu.payload, pdu.interception_point) == (SIP, "sbc")
        assert pdu.source == ("192.0.2.7", 40000)
        assert abs(pdu.stamp_ns - now) <= 1000
        with trio.fail_after(60):
            while True:
                (found,) = (await access.report())["feeds"]
                if found["packets"]["hep_packets"] == 3:
                    break
        assert (found["name"], found["interface"]) == ("sbc", wire.far)
        assert found["packets"]["hep_unauthenticated"] == 1
        assert found["packets"]["hep_kernel_drops"] == 0


def test_the_socket_takes_from_its_interface_alone(wire: Wire) -> None:
    """The same address, reached by way of another interface, is not the feed's."""
    isolated(wire)
    near, far = f"{wire.near}o", f"{wire.far}o"
    ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", wire.namespace)
    ip("addr", "add", "10.97.0.1/24", "dev", near)
    ip("link", "set", near, "up")
    ip("-n", wire.namespace, "addr", "add", "10.97.0.2/24", "dev", far)
    ip("-n", wire.namespace, "link", "set", far, "up")
    with opener.open_feed(Hep(name="sbc", interface=wire.near, listen=NEAR, port=PORT)) as bound:
        bound.settimeout(1)
        for source, device, arrives in (("10.97.0.2", far, False), (FAR, wire.far, True)):
            ip("-n", wire.namespace, "route", "replace", f"{NEAR}/32", "dev", device, "src", source)
            send = f"import socket; socket.socket(2, 2).sendto(b'{device}', ('{NEAR}', {PORT}))"
            subprocess.run(["ip", "netns", "exec", wire.namespace, "python3", "-c", send], check=True)
            if arrives:
                assert bound.recv(100) == device.encode()
            else:
                with pytest.raises(TimeoutError):
                    bound.recv(100)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"interface": "no-such-if"}, "no interface no-such-if"),
        ({"listen": "10.98.0.77"}, "hep sbc: listen: not an address of"),
    ],
)
def test_the_opener_names_the_step_that_failed(wire: Wire, changes: dict[str, str], reason: str) -> None:
    isolated(wire)
    hep = Hep(**{"name": "sbc", "interface": wire.near, "listen": NEAR, "port": PORT, **changes})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=reason):
        opener.open_feed(hep)


def test_only_feeds_may_be_read_in_batches() -> None:
    """The filter differs with the feeds; test_what_the_switch_sends runs under it."""
    none = confine.program("x86_64", [5])
    assert none != confine.program("x86_64", [5], [7])
    assert none == confine.program("x86_64", [5], [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[[hep]]\nname = "a"\ninterface = "x"\nlisten = "0.0.0.0"\n', "one address, not all"),
        ('[[hep]]\nname = "a"\ninterface = "x"\nlisten = "::"\n', "one address, not all"),
        ('[[hep]]\nname = "a"\ninterface = "x"\nlisten = "host"\n', "not an address"),
        ('[[iap]]\nname = "a"\ninterface = "x"\n[[hep]]\nname = "a"\ninterface = "x"\nlisten = "10.0.0.1"\n', "share"),
        ('[[iap]]\nname = "a"\ninterface = "x"\ntunnels = ["gtp"]\nports = [2152]\n', "tunnel's port"),
        ('[[iap]]\nname = "a"\ninterface = "x"\ntunnels = ["vxlan"]\nvxlan_port = 5060\n', "tunnel's port"),
        ('[[iap]]\nname = "a"\ninterface = "x"\ntunnels = ["l2tp"]\n', "tunnels"),
        (
            '[[interception_point]]\nname = "a"\nlisten = "10.0.0.1"\nport = 1\ncertificate_sha256 = "ab"\n',
            "certificate_sha256",
        ),
    ],
)
def test_what_the_configuration_may_not_say(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "config.toml").write_text(f'name = "x"\n{text}')
    with pytest.raises(ConfigurationError, match=reason):
        load(tmp_path)
