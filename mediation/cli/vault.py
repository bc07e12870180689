"""`mediation vault`: makes, opens another way, checks and hands on the key of everything at rest (runtime/vault.py)."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mediation.cli.options import site_option
from mediation.core.errors import ConfigurationError
from mediation.runtime import config, vault, wrapping
from mediation.runtime.memory import wipe


def token_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the PKCS#11 token is that wraps the key."""
    command = click.option("--label", default="mediation-vault", show_default=True, help="The wrapping key's label.")(
        command
    )
    command = click.option("--token", default="mediation", show_default=True, help="The token's label.")(command)
    return click.option("--module", help="The token's PKCS#11 library.")(command)


def wrap_form(form: str, module: str | None, token: str, label: str) -> wrapping.Form:
    """The way that the options ask for. Raises click.UsageError."""
    if form == "passphrase":
        return wrapping.Passphrase(salt="", sealed="")
    if form == "handed":
        return wrapping.Handed()
    if module is None:
        raise click.UsageError("--vault pkcs11 needs --module")
    return wrapping.Pkcs11(module=module, token=token, label=label)


form_option = click.option(
    "--vault", "form", required=True, type=click.Choice(["passphrase", "pkcs11"]), help="How it is opened."
)


@click.group()
def group() -> None:
    """The key of everything at rest. PINs and passphrases come from the terminal or from $MEDIATION_PIN_FD."""


@group.command()
@site_option
@form_option
@token_options
def make(folder: Path, form: str, module: str | None, token: str, label: str) -> None:
    """Makes the vault of a site that has none.

    \b
    mediation vault make --site DIR --vault passphrase
    """
    site = config.load(folder)
    vault.make(site, wrap_form(form, module, token, label)).wipe()
    click.echo(f"vault {wrapping.read(site.keys_dir).vault}")


@group.command()
@site_option
@form_option
@token_options
def rewrap(folder: Path, form: str, module: str | None, token: str, label: str) -> None:
    """Opens the same vault another way from now on: a new passphrase, PIN or token. Nothing is sealed anew.

    \b
    mediation vault rewrap --site DIR --vault pkcs11 --module /usr/lib/softhsm/libsofthsm2.so
    """
    site = config.load(folder)
    wrapped = wrapping.read(site.keys_dir)
    if isinstance(wrapped.wrap, wrapping.Lab):
        raise ConfigurationError("vault: a lab site keeps its key in lab/")
    with vault.site_key(site, wrapped) as key:
        wrapping.write(
            site.keys_dir, vault.rewrapped(wrapped, key, wrap_form(form, module, token, label), None)
        )  # fmt: skip
    click.echo(f"vault {wrapped.vault}")


@group.command()
@site_option
def check(folder: Path) -> None:
    """Opens the vault as a function would, and says what it got.

    \b
    mediation vault check --site DIR
    """
    site = config.load(folder)
    found = vault.unlock(site)
    click.echo(
        f"vault {found.identity}: {', '.join(found.purposes)}; memory {'locked' if found.locked else 'NOT LOCKED'}"
    )


@group.command()
@site_option
@click.argument("function", type=click.Choice(sorted(vault.PURPOSES)))
def credential(folder: Path, function: str) -> None:
    """Writes a function's keys to a pipe, for `systemd-creds encrypt --name=vault - FILE`.

    \b
    mediation vault credential --site DIR mediator | systemd-creds encrypt --name=vault - FILE
    """
    if not _is_pipe(sys.stdout.fileno()):
        raise ConfigurationError(
            "vault: keys are written to a pipe only (… | systemd-creds encrypt --name=vault - FILE)"
        )
    site = config.load(folder)
    octets = vault.unlock(site).bundle(vault.PURPOSES[function])
    try:
        os.write(sys.stdout.fileno(), octets)
    finally:
        wipe(octets)


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
