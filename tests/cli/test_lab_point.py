"""The lab's point of interception: made with the site, heard once it is configured, and checked before the start."""

from __future__ import annotations

import ssl
from pathlib import Path

import trio
from click.testing import CliRunner

from mediation.administration import making
from mediation.cli import preflight
from mediation.core.interface.x2 import Pdu
from mediation.delivery.interception_point import InterceptionPoints
from mediation.runtime import config, tls
from tests.delivery.links import free_port, until
from tests.delivery.test_interception_point import pdu, x2


def line(site: Path) -> str:
    said = CliRunner().invoke(preflight.command, ["--site", str(site)]).output.splitlines()
    (found,) = [each for each in said if "X2 from others" in each]
    return found


async def test_the_labs_point_is_heard(tmp_path: Path) -> None:
    site = tmp_path / "site"
    making.make(site, is_lab=True)
    assert line(site).split() == ["ok", "X2", "from", "others", "none"]
    port = free_port()
    table = (site / "lab/point/interception_point.toml").read_text().replace("41820", str(port))
    with (site / "config.toml").open("a") as file:
        file.write("\n" + table)
    assert line(site).startswith("ok") and f"lab-point on 127.0.0.1 port {port}" in line(site)
    loaded = config.load(site)
    heard: list[Pdu] = []
    points = InterceptionPoints(loaded.interception_points, loaded.delivery_dir, heard.extend, heard.extend)
    files = [site / "lab/point" / name for name in ("client.pem", "client.key", "ca.pem")]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(points.run)
            context = tls.context(ssl.Purpose.SERVER_AUTH, *files)
            channel = await tls.Channel.connect("127.0.0.1", port, context)
            await channel.send(x2.encode(pdu(1)))
            await until(lambda: len(heard) == 1)
            channel.close()
            nursery.cancel_scope.cancel()
    points.close()
    (loaded.delivery_dir / "x2-server.key").unlink()
    assert line(site).startswith("FAILED") and "x2-server" in line(site)
