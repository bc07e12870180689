"""`mediation function NAME`: one function in this process, as its systemd unit or `mediation run` starts it."""

from __future__ import annotations

import socket
from importlib import import_module
from pathlib import Path

import click
import trio

from mediation.runtime import config, log
from mediation.runtime.systemd import Notifier

# The opener's and the access process's end of the channel that descriptors travel on; socket activation's first number.
CHANNEL_DESCRIPTOR = 3


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
    else:
        channel = socket.socket(fileno=CHANNEL_DESCRIPTOR)
        if name == "opener":
            import_module("mediation.access.opener").main(loaded, channel)
        else:
            trio.run(import_module("mediation.access.iap").serve, loaded, channel, Notifier())
