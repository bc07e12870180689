"""`mediation function NAME`: one function in this process, as its systemd unit or `mediation run` starts it.

`iap` starts the privileged opener as a child, waits until it has passed the descriptors and exited, and gives up
every privilege before it looks at the first packet (docs/ARCHITECTURE.md, "The functions").
"""

from __future__ import annotations

import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mediation.core.errors import ConfigurationError
from mediation.runtime import config, denial, forgetting, log, systemd
from mediation.runtime.systemd import Notifier

OPENER = "opener"  # a socket in run/, owned by the access function's user
OPENER_LIMIT_S = 30.0
SERVED = {
    "administrator": "mediation.administration.control",
    "egress": "mediation.delivery.egress",
    "iap": "mediation.access.iap",
    "mediator": "mediation.delivery.mediator",
    "reconciler": "mediation.reconciliation.reconciler",  # hardens itself: what it is allowed depends on its site
}
# What each is allowed beside files and ordinary sockets (runtime/denial.py).
HARDENED: dict[str, dict[str, Any]] = {
    "administrator": {},
    "mediator": {},
    "egress": {"execute": True, "families": (denial.UNIX, denial.NETLINK)},
}


def function_command(name: str, site: Path) -> list[str]:
    """The command line that runs one function, for whoever starts it as a process."""
    return [sys.executable, "-m", "mediation.cli.main", "function", name, "--site", str(site)]


def _opener(site: config.Site) -> socket.socket:
    """The opener's channel: of the one that the service manager starts, or of a child. Raises ConfigurationError."""
    place = site.run_dir / OPENER
    if place.is_socket():
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.settimeout(OPENER_LIMIT_S)
        try:
            channel.connect(str(place))
        except OSError as error:
            raise ConfigurationError(f"iap: the opener: {error.strerror}") from error
        return channel
    channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        opener = subprocess.Popen(function_command("opener", site.path), stdin=theirs.fileno())  # noqa: S603
    if opener.wait() != 0:
        raise ConfigurationError("iap: the opener failed; the lines above say at which step")
    return channel


def _asking() -> socket.socket:
    """The opener's side: who connects to the service manager's socket, or the parent on standard input."""
    handed = systemd.inherited(OPENER)
    if handed is None:
        return socket.socket(fileno=sys.stdin.fileno())
    with socket.socket(fileno=handed) as listening:
        return listening.accept()[0]


@click.command(hidden=True)
@click.argument("name", type=click.Choice([*SERVED, "opener"]))
@click.option("--site", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="The site.")
def command(name: str, site: Path) -> None:
    """Runs one function in the foreground, as its unit of systemd or `mediation run` starts it.

    \b
    mediation function mediator --site DIR
    """
    if name == "iap":
        forgetting.begin_anew()
    loaded = config.load(site)
    log.configure(name)
    # Before anything of a peer, a file or an order is read; the access process has a list of its own (confine.seal).
    if name in HARDENED:
        locked = denial.harden(**HARDENED[name])
        log.get(name).info("hardened", memory_locked=locked)
    else:
        denial.quiet()
    # Imported by name: a function's process holds no other function's code.
    if name == "opener":
        import_module("mediation.access.opener").main(loaded, _asking())
        return
    run = import_module("trio").run  # which the opener, privileged, does without
    if name == "iap":
        notifier = Notifier()
        channel = _opener(loaded)
        run(import_module(SERVED[name]).serve, loaded, channel, notifier)
    else:
        run(import_module(SERVED[name]).serve, loaded, Notifier())
