"""`mediation roster verify`: judges a whole chain of changes, of a site or of a file on an auditor's own machine.

It needs no key but the ones that the chain itself enrols: the founding's hash and the ledger's name are what the
auditor must have from elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import click

from mediation.cli.options import FILE, chosen_site, or_site_option, read_token, rfc3339
from mediation.core.authority.roster import Roster
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.ledger import note
from mediation.runtime import config
from mediation.runtime.keys import load_roster, read_verifier


@click.group()
def group() -> None:
    """The chain of changes of persons, roles and keys."""


@group.command()
@or_site_option
@click.option("--roster", "file", type=FILE, help="A copy of keys/roster.jsonl instead of a site.")
@click.option("--founding", help="The founding's SHA-256, as the site published it.")
@click.option("--key", type=FILE, help="The ledger's public key (ledger.pub).")
@click.option("--lab", is_flag=True, help="The copy is of a lab site.")
def verify(folder: Path | None, file: Path | None, founding: str | None, key: Path | None, lab: bool) -> None:
    """Checks every change and its approvals; names the first bad one.

    \b
    mediation roster verify --site DIR
    mediation roster verify --roster roster.jsonl --founding SHA256 --key ledger.pub
    """
    folder = chosen_site(folder, file)
    if (folder is None) == (file is None):
        raise click.UsageError("one of --site and --roster")
    if folder is not None:
        site = config.load(folder)
        held = load_roster(site.keys_dir, read_verifier(site.keys_dir).name, lab=site.lab)
    else:
        assert file is not None
        if founding is None or key is None:
            raise click.UsageError("--founding and --key are needed: whom would you believe?")
        try:
            name = note.Verifier.parse(read_token(key)).name
        except ValueError as error:
            raise ConfigurationError(f"{key.name}: {error}") from error
        held = Roster.replay(read_token(file).split("\n"), founding, name, lab=lab)
    if not held.lines:
        raise AuthorizationError("roster", "nobody has founded this site")
    for number, judged in enumerate(held.judged):
        what = ", ".join(type(action).__name__.lower() for action in judged.change.actions)
        click.echo(f"{number}  {rfc3339(judged.change.issued_s)}  {what}  approved by {', '.join(judged.approvers)}")
    click.echo(f"verified: {len(held.lines)} changes of {held.site}, each approved by persons whom it does not concern")
    click.echo(f"head {held.head}")
