"""`mediation function NAME`: one function in this process, as its systemd unit or `mediation run` starts it.

`iap` starts the privileged opener as a child, waits until it has passed the descriptors and exited, and gives up
every privilege before it looks at the first packet (docs/ARCHITECTURE.md, "Access").
"""

from __future__ import annotations

import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import trio

from mediation.core.errors import ConfigurationError
from mediation.runtime import config, log
from mediation.runtime.systemd import Notifier


def function_command(name: str, site: Path) -> list[str]:
    """The command line that runs one function, for whoever starts it as a process."""
    return [sys.executable, "-m", "mediation.cli.main", "function", name, "--site", str(site)]


@click.command(hidden=True)
@click.argument("name", type=click.Choice(["administrator", "opener", "iap", "mediator"]))
@click.option("--site", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
def command(name: str, site: Path) -> None:
    """Runs one function in the foreground."""
    loaded = config.load(site)
    log.configure(name)
    # Imported by name: a function's process holds no other function's code.
    if name == "administrator":
        trio.run(import_module("mediation.administration.control").serve, loaded, Notifier())
    elif name == "mediator":
        trio.run(import_module("mediation.delivery.mediator").serve, loaded, Notifier())
    elif name == "opener":
        import_module("mediation.access.opener").main(loaded, socket.socket(fileno=sys.stdin.fileno()))
    else:
        notifier = Notifier()
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            opener = subprocess.Popen(function_command("opener", site), stdin=theirs.fileno())  # noqa: S603
        if opener.wait() != 0:
            raise ConfigurationError("iap: the opener failed; the lines above say at which step")
        trio.run(import_module("mediation.access.iap").serve, loaded, channel, notifier)
