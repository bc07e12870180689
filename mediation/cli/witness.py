"""`mediation witness …`: a witness of other people's ledgers, for a host under another administrator than theirs.

It believes no ledger: it cosigns a head only when it is shown that it contains the last one (C2SP tlog-witness).
"""

from __future__ import annotations

import json
import signal
from importlib import import_module
from pathlib import Path

import click
import trio

from mediation.cli.options import FILE
from mediation.core.errors import ConfigurationError
from mediation.core.units import NS
from mediation.runtime import log
from mediation.runtime.clock import AuthorityClock, HighWater
from mediation.runtime.systemd import Notifier
from mediation.witness import folder

CLOCK = "clock"
DIR = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def group() -> None:
    """A witness of ledgers: init, add, run."""


@group.command()
@click.argument("path", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", required=True, help="Its key name: a URL without a scheme, like witness.example.org/w1.")
def init(path: Path, name: str) -> None:
    """Makes a witness with new keys in DIR; prints its verifier keys, for the policy files of those who believe it.

    \b
    mediation witness init /var/lib/mediation-witness --name w1.example.org/ledgers
    """
    for line in folder.init(path, name):
        click.echo(line)


@group.command()
@click.argument("path", metavar="DIR", type=DIR)
@click.argument("vkey", metavar="LOG-VKEY")
def add(path: Path, vkey: str) -> None:
    """Adds a ledger by its verifier key (its site's keys/ledger.pub). A running witness is to be started again.

    \b
    mediation witness add /var/lib/mediation-witness "$(cat ledger.pub)"
    """
    click.echo(folder.add(path, vkey))


@group.command()
@click.argument("path", metavar="DIR", type=DIR)
@click.option("--listen", required=True, metavar="HOST:PORT", help="One address; port 0 takes a free one.")
@click.option("--certificate", type=FILE, help="PEM chain: then it speaks TLS 1.3 only.")
@click.option("--key", type=FILE, help="PEM private key of the certificate.")
def run(path: Path, listen: str, certificate: Path | None, key: Path | None) -> None:
    """Serves in the foreground; prints one line of JSON when it does.

    \b
    mediation witness run /var/lib/mediation-witness --listen 192.0.2.11:41880
    """
    server = import_module("mediation.witness.server")
    host, port = server.address(listen)
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key belong together")
    tls = server.tls_context(certificate, key) if certificate is not None and key is not None else None
    log.configure("witness")
    notifier = Notifier()
    with folder.hold(path):
        found = folder.load(path)
        clock = AuthorityClock(HighWater(path / CLOCK))

        def now_s() -> int:
            clock.save()  # a clock set back does not make a newer head the older one, across restarts either
            return clock.now_ns() // NS

        def ready(bound: str, number: int) -> None:
            facts = {"name": found.signers[0].verifier.name, "address": bound, "port": number, "tls": tls is not None,
                     "logs": len(found.origins)}  # fmt: skip
            click.echo(json.dumps({"event": "ready", **facts}))
            notifier.ready()

        serving = server.Server(path, found, now_s)

        async def main() -> None:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.run, serving, host, port, tls, ready)
                    async for _ in signals:
                        nursery.cancel_scope.cancel()

        try:
            trio.run(main)
        except* ConfigurationError as errors:
            raise ConfigurationError(str(errors.exceptions[0])) from errors
