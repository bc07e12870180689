"""`mediation init`: makes a site."""

from __future__ import annotations

from pathlib import Path

import click

from mediation.administration import making
from mediation.runtime import config


@click.command()
@click.argument("path", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--lab", is_flag=True, help="Add keys of lab persons and a lab agency; everything is marked LAB.")
@click.option("--collector-port", type=click.IntRange(1, 65535), default=config.LAB_COLLECTOR_PORT, show_default=True)
def command(path: Path, lab: bool, collector_port: int) -> None:
    """Makes a site in DIR: configuration, key rings, ledger and store."""
    site = making.make(path, is_lab=lab, collector_port=collector_port)
    click.echo(f"{'LAB site' if lab else 'site'} {site.path}")
