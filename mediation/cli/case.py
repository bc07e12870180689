"""`mediation case …`: an officer's acts on orders that were filed, and where they stand.

Each act is signed with the officer's key before it leaves this command; the administration checks it like any other.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from mediation.administration import client
from mediation.administration.order import drafting
from mediation.cli import words
from mediation.cli.options import (
    FILE,
    accepted,
    form_option,
    inquire,
    key_option,
    latest,
    read_token,
    reason_option,
    rfc3339,
    running,
    shown,
    signer,
    site_option,
    told,
)
from mediation.core.authority import jws, term
from mediation.core.case import ENDED, Act, Role
from mediation.core.interface.control import CaseList, Cases, CaseView, Extend, Extending, Perform
from mediation.runtime import config
from mediation.runtime.config import Site

DONE = {
    Act.ACTIVATE: "activated", Act.DEACTIVATE: "ended for good", Act.SUSPEND: "suspended", Act.RESUME: "resumed",
    Act.EXTEND: "extended", Act.DDE: "dialed digit extraction switched",
}  # fmt: skip
EXTENDS = ("CASE", "EXTENSION", "APPROVAL")
ON_OFF = click.Choice(["on", "off"])


@click.group()
def group() -> None:
    """An officer's acts on orders, and where orders stand."""


def _perform(folder: Path, case: str, act: Act, dde: bool | None, key: str | None) -> None:
    site = config.load(folder)
    found = inquire(site, Cases(case=case), key, f"to act: {act}")
    view = latest(found) if act is Act.ACTIVATE else running(found)
    text = drafting.command(
        act, case, view.carrier_sha256, view.sequence + 1, signer(site, Role.OFFICER, key),
        dde=view.dde if dde is None else dde, lab=site.lab,
    )  # fmt: skip
    result = accepted(client.one(site, Perform(commands=(text,))))
    click.echo(f"{case}: {DONE[act]}; {told(result)}")


@group.command()
@click.argument("case")
@click.option("--dde", type=ON_OFF, default="off", show_default=True, help="Dialed digit extraction from the start.")
@key_option
@site_option
def activate(case: str, dde: str, key: str | None, folder: Path) -> None:
    """Activates the filed order of CASE, and says who has carried it out.

    \b
    mediation case activate 26-M-17 --site DIR --key olga.key
    """
    _perform(folder, case, Act.ACTIVATE, dde == "on", key)


@group.command()
@click.argument("case")
@key_option
@site_option
def deactivate(case: str, key: str | None, folder: Path) -> None:
    """Ends the interception of CASE for good. It needs no witness, and `case list` confirms it.

    \b
    mediation case deactivate 26-M-17 --site DIR --key olga.key
    """
    _perform(folder, case, Act.DEACTIVATE, False, key)


@group.command()
@click.argument("case")
@key_option
@site_option
def suspend(case: str, key: str | None, folder: Path) -> None:
    """Suspends the interception of CASE at once, without a witness, until `case resume`; its end stays what it is.

    \b
    mediation case suspend 26-M-17 --site DIR --key olga.key
    """
    _perform(folder, case, Act.SUSPEND, None, key)


@group.command()
@click.argument("case")
@key_option
@site_option
def resume(case: str, key: str | None, folder: Path) -> None:
    """Goes on with the suspended interception of CASE, when a quorum of witnesses has seen the act.

    \b
    mediation case resume 26-M-17 --site DIR --key olga.key
    """
    _perform(folder, case, Act.RESUME, None, key)


@group.command()
@click.option("--case", hidden=True)  # as it was once to be typed
@click.argument("named", nargs=-1, metavar="CASE EXTENSION APPROVAL")
@key_option
@site_option
def extend(case: str | None, named: tuple[str, ...], key: str | None, folder: Path) -> None:
    """Puts an extension of CASE in force: the legal reviewer's token in EXTENSION, the carrier's in APPROVAL.

    \b
    mediation case extend 26-M-17 extension.jws approval.jws --site DIR --key olga.key
    """
    typed = named if case is None else (case, *named)
    if len(typed) != len(EXTENDS):
        raise click.UsageError(f"what is to be named is {' '.join(EXTENDS)}")
    legal, carrier = (Path(FILE.convert(each, None, None)) for each in typed[1:])
    put_in_force(config.load(folder), typed[0], read_token(legal), read_token(carrier), key)


def put_in_force(site: Site, case: str, legal: str, carrier: str, key: str | None) -> None:
    """The officer's act `extend`, on the order of a case that runs. Raises MediationError."""
    view = running(inquire(site, Cases(case=case), key, f"to act: {Act.EXTEND}"))
    text = drafting.command(
        Act.EXTEND, case, view.carrier_sha256, view.sequence + 1, signer(site, Role.OFFICER, key), dde=view.dde,
        lab=site.lab, extension_sha256=jws.sha256_hex(carrier),
    )  # fmt: skip
    result = accepted(client.one(site, Extend(extensions=(Extending(legal=legal, carrier=carrier, command=text),))))
    click.echo(f"{case}: {DONE[Act.EXTEND]}; {told(result)}")


@group.command()
@click.argument("case")
@click.argument("state", type=ON_OFF)
@key_option
@site_option
def dde(case: str, state: str, key: str | None, folder: Path) -> None:
    """Switches dialed digit extraction of CASE, also in mid-call; only for an order that gives it.

    \b
    mediation case dde 26-M-17 off --site DIR --key olga.key
    """
    _perform(folder, case, Act.DDE, state == "on", key)


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each order instead of a line.")
@key_option
@reason_option
@site_option
def list_(as_json: bool, key: str | None, reason: str | None, folder: Path) -> None:
    """Lists all orders that the reader may see, without subjects, and what is left of each. The reading is entered in
    the ledger.

    \b
    mediation case list --site DIR --key olga.key --reason "on duty"
    """
    answer = inquire(config.load(folder), Cases(), key, reason)
    assert isinstance(answer, CaseList)
    for view in answer.cases:
        click.echo(_json(view) if as_json else _line(view))


@group.command()
@click.argument("case")
@form_option
@key_option
@reason_option
@site_option
def show(case: str, form: str | None, key: str | None, reason: str | None, folder: Path) -> None:
    """Prints the orders of CASE, oldest first, without subjects: JSON, and on standard error the same in words. The
    reading is entered in the ledger.

    \b
    mediation case show 26-M-17 --words --site DIR --key olga.key --reason "who asked for an extension"
    """
    answer = inquire(config.load(folder), Cases(case=case), key, reason)
    latest(answer)
    assert isinstance(answer, CaseList)
    for view in answer.cases:
        shown(form, _json(view), words.case(view, _words(view)))


def _json(view: CaseView) -> str:
    return msgspec.json.encode(msgspec.to_builtins(view) | _moments(view)).decode()


def _moments(view: CaseView) -> dict[str, str]:
    return {"begins": rfc3339(view.not_before_s), "ends": rfc3339(view.not_after_s), "left": _words(view)}


def _words(view: CaseView) -> str:
    """What is left of its time, in an officer's words; nothing when it has ended."""
    if view.state in ENDED:
        return ""
    now_s = drafting.now_s()
    if now_s < view.not_before_s:
        return f"begins in {term.left(view.not_before_s - now_s)}"
    return f"ends in {term.left(view.not_after_s - now_s)}" if now_s < view.not_after_s else "over"


def _left(view: CaseView) -> str:
    left = _words(view)
    return f"  {left}" if left else ""


def _line(view: CaseView) -> str:
    digits = " digits on" if view.dde else ""
    mark = " LAB" if view.lab else ""
    return (
        f"{view.case}  {view.state}{digits}  {view.authority}  {view.agency}  {view.profile}  "
        f"{rfc3339(view.not_before_s)} to {rfc3339(view.not_after_s)}{_left(view)}{mark}"
    )
