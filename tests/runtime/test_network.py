"""SEC-21: every listener is a Unix socket or stands where the configuration says; elsewhere, and nothing starts."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from mediation.access import opener
from mediation.cli.demo.site import LabSite
from mediation.core.errors import ConfigurationError
from mediation.runtime import config, network, outgoing
from tests.delivery.links import free_port
from tests.test_redaction import descendants, listeners, until

OURS, OTHER = f"sd{os.getpid() % 100000}a", f"sd{os.getpid() % 100000}b"
root = pytest.mark.skipif(os.geteuid() != 0, reason="interfaces need root")


@pytest.fixture
def interfaces() -> Iterator[None]:
    """Two of our own, each with an address (RFC 5737)."""
    steps = [["link", "add", OURS, "type", "veth", "peer", "name", OTHER]]
    for name, address in ((OURS, "192.0.2.77/32"), (OTHER, "198.51.100.77/32")):
        steps += [["addr", "add", address, "dev", name], ["link", "set", name, "up"]]
    for words in steps:
        if subprocess.run(["ip", *words], check=False, capture_output=True).returncode:
            pytest.skip("no interfaces of our own here")
    yield
    subprocess.run(["ip", "link", "delete", OURS], check=True)


@pytest.fixture(autouse=True)
def free() -> Iterator[None]:
    yield
    network.keep_to("")


def test_the_addresses_of_loopback() -> None:
    found = network.addresses("lo")
    assert ipaddress.ip_address("127.0.0.1") in found
    with pytest.raises(ConfigurationError, match="no-such"):
        network.addresses("no-such")


@root
def test_an_address_is_of_one_interface(interfaces: None) -> None:
    assert network.addresses(OURS) >= {ipaddress.ip_address("192.0.2.77")}
    network.check("it", OURS, "192.0.2.77")
    for address in ("198.51.100.77", "127.0.0.1", "192.0.2.1", "::1"):
        with pytest.raises(ConfigurationError, match=f"it: listen: not an address of {OURS}"):
            network.check("it", OURS, address)


@root
def test_a_feed_listens_at_its_interface_or_not_at_all(interfaces: None) -> None:
    with pytest.raises(ConfigurationError, match="hep FEED: listen"):
        opener.open_feed(config.Hep(name="FEED", interface=OURS, listen="198.51.100.77", port=free_port()))
    opener.open_feed(config.Hep(name="FEED", interface=OURS, listen="192.0.2.77", port=free_port())).close()


@root
async def test_a_connection_leaves_by_its_plane_alone(interfaces: None) -> None:
    """What listens beyond loopback is not reached when the process is kept to another interface."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    with trio.fail_after(60):
        (await outgoing.connect("127.0.0.1", port)).close()
        network.keep_to("lo")
        (await outgoing.connect("127.0.0.1", port)).close()
        network.keep_to(OTHER)
        reached = False
        with trio.move_on_after(1), suppress(OSError):  # refused by the route, or never answered
            (await outgoing.connect("127.0.0.1", port)).close()
            reached = True
        assert not reached
    listening.close()
    with pytest.raises(ConfigurationError):
        network.keep_to("no-such")


REAL = 'name = "S"\nlab = false\n'
POINT = (
    '[[interception_point]]\nname = "P"\nlisten = "192.0.2.77"\nport = 5\ncertificate_sha256 = "' + "ab" * 32 + '"\n'
)
HEP = '[[hep]]\nname = "H"\ninterface = "dlv0"\nlisten = "192.0.2.77"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (REAL + POINT, "delivery.interface: needed"),
        (REAL + '[delivery]\ninterface = "x"\n[management]\ninterface = "x"\n', "management.interface: not the one"),
        (REAL + HEP + '[delivery]\ninterface = "dlv0"\n', "hep H: interface"),
        (REAL + HEP + '[management]\ninterface = "dlv0"\n', "hep H: interface"),
        (REAL + POINT.replace("192.0.2.77", "0.0.0.0"), "one address, not all"),
        (REAL + POINT.replace("192.0.2.77", "::"), "one address, not all"),
        (REAL + POINT.replace("192.0.2.77", "::ffff:0.0.0.0"), "one address, not all"),
        (REAL + POINT.replace("192.0.2.77", "224.0.0.1"), "one address, not all"),
    ],
)
def test_planes_that_are_not_apart_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        config.load(tmp_path)


def test_planes_that_are_apart(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        REAL + POINT + HEP.replace("dlv0", "hep0") + '[delivery]\ninterface = "dlv0"\n[management]\ninterface = "m0"\n'
    )
    site = config.load(tmp_path)
    assert (site.delivery.interface, site.management.interface) == ("dlv0", "m0")


@pytest.mark.root
@root
def test_every_listener_of_a_running_site_is_configured(tmp_path: Path) -> None:
    """A third party's point and a feed at loopback: the two, and nothing else, are bound."""
    site = LabSite(tmp_path / "site")
    tcp, udp = free_port(), free_port()
    with (site.path / "config.toml").open("a") as file:
        point = (site.path / "lab/point/interception_point.toml").read_text().replace("41820", str(tcp))
        file.write(f'\n{point}\n[[hep]]\nname = "FEED"\ninterface = "lo"\nlisten = "127.0.0.1"\nport = {udp}\n')
        file.write('\n[delivery]\ninterface = "lo"\n')
    try:
        site.run()
        assert site._functions is not None
        until(lambda: {"administrator", "mediator", "iap"} <= descendants(site._functions.pid).keys())  # type: ignore[union-attr]
        found = {name: listeners(pid) for name, pid in descendants(site._functions.pid).items()}
        assert found.pop("mediator") == [f"tcp 0100007F:{tcp:04X}"]
        assert found.pop("iap") == [f"udp 0100007F:{udp:04X}"]
        assert all(each == [] for each in found.values()), found
    finally:
        site.stop()


@root
def test_a_mediator_that_would_listen_elsewhere_does_not_start(tmp_path: Path, interfaces: None) -> None:
    site = LabSite(tmp_path / "site")
    config_toml = site.path / "config.toml"
    before = config_toml.read_text()
    point = (site.path / "lab/point/interception_point.toml").read_text().replace("41820", str(free_port()))
    for interface, said in ((OURS, f"not an address of {OURS}"), ("no-such", "interface no-such")):
        config_toml.write_text(f'{before}\n{point}\n[delivery]\ninterface = "{interface}"\n')
        done = site.try_command("function", "mediator", "--site", str(site.path))
        assert done.returncode == 1 and said in done.stderr
