"""`mediation case …`: an officer's acts on orders that were filed, and where they stand.

Each act is signed with the officer's key before it leaves this command; the administration checks it like any other.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from mediation.administration import client, drafting
from mediation.cli.options import accepted, inquire, key_option, latest, reason_option, rfc3339, signer, site_option
from mediation.core.case import Act, Role
from mediation.core.control import CaseList, Cases, CaseView, Perform
from mediation.runtime import config

ON_OFF = click.Choice(["on", "off"])


@click.group()
def group() -> None:
    """An officer's acts on orders, and where orders stand."""


def _perform(folder: Path, case: str, act: Act, dde: bool | None, key: str | None) -> None:
    site = config.load(folder)
    view = latest(inquire(site, Cases(case=case), key, f"to act: {act}"))
    text = drafting.command(
        act, case, view.carrier_sha256, view.sequence + 1, signer(site, Role.OFFICER, key),
        dde=view.dde if dde is None else dde, lab=site.lab,
    )  # fmt: skip
    accepted(client.one(site, Perform(commands=(text,))))


@group.command()
@click.argument("case")
@click.option("--dde", type=ON_OFF, default="off", show_default=True, help="Dialed digit extraction from the start.")
@key_option
@site_option
def activate(case: str, dde: str, key: str | None, folder: Path) -> None:
    """Activates the filed order of CASE."""
    _perform(folder, case, Act.ACTIVATE, dde == "on", key)


@group.command()
@click.argument("case")
@key_option
@site_option
def deactivate(case: str, key: str | None, folder: Path) -> None:
    """Ends the interception of CASE for good."""
    _perform(folder, case, Act.DEACTIVATE, False, key)


@group.command()
@click.argument("case")
@click.argument("state", type=ON_OFF)
@key_option
@site_option
def dde(case: str, state: str, key: str | None, folder: Path) -> None:
    """Switches dialed digit extraction of CASE, also in mid-call."""
    _perform(folder, case, Act.DDE, state == "on", key)


@group.command("list")
@click.option("--json", "as_json", is_flag=True)
@key_option
@reason_option
@site_option
def list_(as_json: bool, key: str | None, reason: str | None, folder: Path) -> None:
    """Lists all orders that the reader may see, without subjects. The reading is entered in the ledger."""
    answer = inquire(config.load(folder), Cases(), key, reason)
    assert isinstance(answer, CaseList)
    for view in answer.cases:
        click.echo(_json(view) if as_json else _line(view))


@group.command()
@click.argument("case")
@key_option
@reason_option
@site_option
def show(case: str, key: str | None, reason: str | None, folder: Path) -> None:
    """Prints the orders of CASE as JSON, oldest first, without subjects. The reading is entered in the ledger."""
    answer = inquire(config.load(folder), Cases(case=case), key, reason)
    latest(answer)
    assert isinstance(answer, CaseList)
    for view in answer.cases:
        click.echo(_json(view))


def _json(view: CaseView) -> str:
    return msgspec.json.encode(view).decode()


def _line(view: CaseView) -> str:
    digits = " digits on" if view.dde else ""
    mark = " LAB" if view.lab else ""
    return (
        f"{view.case}  {view.state}{digits}  {view.authority}  {view.agency}  {view.profile}  "
        f"{rfc3339(view.not_before_s)} to {rfc3339(view.not_after_s)}{mark}"
    )
