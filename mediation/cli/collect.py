"""`mediation collect`: the reference collection function of a lab site, one JSON object a message on standard output.

It plays the agency: it holds the lab agency's certificate, believes the lab's authorities, and writes only below
DIR/lab/agency. A real agency runs its own; this one shows its engineers what a link carries.
"""

from __future__ import annotations

import signal
import ssl
import sys
from pathlib import Path

import click
import trio

from mediation.cli.run import tell
from mediation.collection import present
from mediation.collection.decoder import decode
from mediation.collection.receiver import Received, Receiver
from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.link import Loss
from mediation.runtime import config, tls


def _show(message: Received) -> None:
    try:
        decoded = decode(message.octets)
    except RemoteProtocolError as error:
        # It was delivered, so it is shown, and nothing of it is guessed.
        tell("undecodable", sequence=message.sequence, reason=str(error), ber=message.octets.hex())
        return
    facts = present.LinkFacts(
        sequence=message.sequence,
        received_ns=message.received_ns,
        error_us=message.error_us,
        disciplined=message.disciplined,
        arrived_ns=message.arrived_ns,
    )
    sys.stdout.buffer.write(present.line(present.present(decoded, message.octets, facts)))
    sys.stdout.buffer.flush()


def _report_loss(_link_id: str, loss: Loss) -> None:
    tell("loss", first=loss.first, last=loss.last, count=loss.count, reason=loss.loss_class.name.lower())


async def _collect(site: config.Site, agency: Path) -> None:
    context = tls.context(
        ssl.Purpose.CLIENT_AUTH, agency / "server.pem", agency / "server.key", agency / "ca.pem"
    )  # fmt: skip
    received = agency / "received"
    received.mkdir(mode=0o700, exist_ok=True)
    receiver = Receiver(received, context, _show, _report_loss)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(receiver.serve, site.lab_agency.collector_host, site.lab_agency.collector_port)
        print(f"collecting on {site.lab_agency.collector_host} port {port}", file=sys.stderr, flush=True)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()
                return


@click.command()
@click.option("--site", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
def command(site: Path) -> None:
    """Receives what a lab site delivers; prints one JSON object a message until it is stopped."""
    loaded = config.load(site)
    if not loaded.lab:
        raise ConfigurationError("collect: only a lab site has a reference collection function")
    try:
        trio.run(_collect, loaded, loaded.lab_dir / "agency")
    except* OSError as group:
        error = group.exceptions[0]
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise ConfigurationError(f"collect: cannot listen: {error}") from None
