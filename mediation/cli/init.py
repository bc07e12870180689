"""`mediation init`: makes a site."""

from __future__ import annotations

from pathlib import Path

import click

from mediation.administration import making
from mediation.cli.vault import token_options, wrap_form
from mediation.runtime import config


@click.command()
@click.argument("path", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--lab", is_flag=True, help="Add keys of lab persons and a lab agency; everything is marked LAB.")
@click.option("--collector-port", type=click.IntRange(1, 65535), default=config.LAB_COLLECTOR_PORT, show_default=True,
              help="Where the lab agency takes delivery.")  # fmt: skip
@click.option("--vault", "form", type=click.Choice(["passphrase", "pkcs11"]), help="Make the vault's key now.")
@token_options
def command(  # noqa: PLR0917 - options
    path: Path, lab: bool, collector_port: int, form: str | None, module: str | None, token: str, label: str
) -> None:
    """Makes a site in DIR: configuration, ledger and store; nobody is in it until `mediation person found`.

    \b
    mediation init site --lab                               # to try it: lab persons, a lab agency
    mediation init /var/lib/mediation --vault passphrase    # a real one; docs/OPERATING.md goes on
    """
    if lab and form:
        raise click.UsageError("a lab site keeps its key in lab/")
    wrap = None if form is None else wrap_form(form, module, token, label)
    site = making.make(path, is_lab=lab, collector_port=collector_port, wrap=wrap)
    click.echo(f"{'LAB site' if lab else 'site'} {site.path}")
    if lab:
        click.echo("next: an [[iap]] table in its config.toml, then mediation preflight, collect, run", err=True)
    if not lab and wrap is None:
        click.echo(
            "it has no vault yet, so none of its functions starts: mediation vault make --vault passphrase", err=True
        )
