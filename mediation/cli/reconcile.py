"""`mediation reconcile`: a look from the other side now, the papers of incidents, the reconciler's log and the ledger.

`once` looks with the caller's own privileges and, where the administrator listens, tells it what was seen; `papers`
reads the drafts that incidents left, by a signed request; `check` is the auditor's: every difference that the
reconciler logged must have its incident in the ledger.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import trio

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import tiles, verify
from mediation.cli.options import inquire, key_option, reason_option, site_option
from mediation.core.errors import MediationError, RemoteProtocolError
from mediation.core.interface.control import Incidents, Papers
from mediation.core.ledger import entry
from mediation.core.records.incident import BY_HAND, Noted, Observation, Sight
from mediation.reconciliation import journal, reconciler, stays
from mediation.reconciliation.look import Look, Looker
from mediation.runtime import config, sockets
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier


@click.group()
def group() -> None:
    """What the kernel and the switch really have, against the live cases."""


@group.command()
@site_option
def once(folder: Path) -> None:
    """Looks now; exit status 1 when something is there that the configuration does not account for.

    \b
    mediation reconcile once --site DIR
    """
    site = config.load(folder)
    look = Looker(site).look()
    left = reconciler.beyond(site, look.sights)
    for sight in look.sights:
        click.echo(f"{'!' if sight in left else ' '} {_words(sight)}")
    for each in look.unseen:
        click.echo(f"? not looked at: {each}")
    if site.reconciles:
        heard = trio.run(_tell, site, look)
        click.echo("administrator: " + ("away" if heard is None else "told" if not heard.again else "told; confirms"))
    if left or look.more:
        raise MediationError(f"reconcile: {len(left) + look.more} not accounted for")


async def _tell(site: Site, look: Look) -> Noted | None:
    seen = Observation(
        number=BY_HAND, time_us=time.time_ns() // 1000, interval_s=site.reconciliation.interval_s, sights=look.sights,
        more=look.more, unseen=look.unseen,
    )  # fmt: skip
    try:
        async with await sockets.connect(site.run_dir, reconciler.SOCKET) as stream:
            return await reconciler.exchange(stream, seen)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError, RemoteProtocolError):
        return None


def _words(sight: Sight) -> str:
    facts = [sight.what, sight.namespace and f"namespace {sight.namespace}", sight.interface, sight.detail]
    if sight.inode:
        facts.append(f"inode {sight.inode} uid {sight.uid} protocol {sight.protocol:#06x}")
    return " ".join(fact for fact in (*facts, *sight.commands) if fact)


@group.command()
@click.argument("incident", required=False)
@site_option
@key_option
@reason_option
def papers(incident: str | None, folder: Path, key: str | None, reason: str | None) -> None:
    """Shows the drafts of reports and certifications of one incident, or of all: the letters to the agencies that are
    affected among them. The reading is entered.

    \b
    mediation reconcile papers --site DIR --key olga.key --reason "incident of tonight"
    """
    answer = inquire(config.load(folder), Incidents(incident=incident), key, reason)
    if not isinstance(answer, Papers):
        raise MediationError("reconcile: no papers")
    if not answer.papers:
        click.echo("there are none: no incident has left papers that are yours to read", err=True)
    for paper in answer.papers:
        click.echo(f"=== {paper.incident} {paper.name}\n{paper.text}")


@group.command()
@site_option
def check(folder: Path) -> None:
    """Verifies the reconciler's own log against the ledger, in both ways; exit status 1 when the ledger lacks what it
    saw, or has an incident of what it never saw.

    \b
    mediation reconcile check --site DIR
    """
    site = config.load(folder)
    incidents: list[entry.Incident] = []

    def on_record(_: tiles.Line, record: entry.Record) -> None:
        if isinstance(record, entry.Incident):
            incidents.append(record)

    report = verify.examine(ledger_files(site), read_verifier(site.keys_dir), on_record=on_record)
    report.raise_first()
    lines = [line for line, _ in journal.read(site.reconciler_dir / journal.FILE, journal.read_verifier(site))]
    found = stays.stays(site, lines)
    known = {each.incident for each in incidents}
    missing = [*stays.hidden(found, known), *stays.moving(site, lines, known)]
    invented = stays.invented(found, lines, incidents)
    click.echo(f"{len(lines)} lines of the reconciler's log, {len(incidents)} incidents in the ledger")
    for stay in missing:
        click.echo(f"! logged and not in the ledger: {_words(stay.sight)}")
    for identity in invented:
        click.echo(f"! in the ledger and never logged: {identity}")
    if missing or invented:
        raise MediationError(
            f"reconcile: {len(missing)} differences were kept from the ledger, {len(invented)} incidents in it were "
            "seen by nobody"
        )
