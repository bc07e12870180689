"""`mediation order hold` and `mediation order destroy`: the end of an order's records (47 CFR 1.20004(b))."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from mediation.administration import client
from mediation.administration.order import drafting
from mediation.cli.options import (
    FILE,
    NEW_FILE,
    accepted,
    key_option,
    person_option,
    read_token,
    signer,
    site_option,
    write_new,
)
from mediation.cli.words import plain
from mediation.core.authority import jws
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.control import CaseList, Cases, Destroy, Hold
from mediation.core.records import retention
from mediation.runtime import config


@click.command()
@click.argument("case")
@site_option
@click.option("--lift", is_flag=True, help="The duty to preserve is over.")
@click.option("--reason", required=True, help="Why; it stays in the signed text.")
@key_option
def hold(case: str, folder: Path, lift: bool, reason: str, key: str | None) -> None:
    """Has the records of CASE kept whatever their retention: signed by a legal reviewer or an executive.

    \b
    mediation order hold 26-M-17 --site DIR --reason "motion of 12 March" --key lena.key
    mediation order hold 26-M-17 --site DIR --lift --reason "motion withdrawn" --key lena.key
    """
    site = config.load(folder)
    person = signer(site, Role.LEGAL, key)
    wanted = retention.Hold(
        type="hold", case=case, hold=not lift, reason=reason, issued_s=drafting.now_s(), nonce=drafting.nonce(),
        lab=site.lab,
    )  # fmt: skip
    text = jws.sign(wanted, retention.HOLD_TYP, person.kid, person.key())
    accepted(client.one(site, Hold(hold=text)))
    click.echo(f"{case}: {'the hold is lifted' if lift else 'its records are kept until the hold is lifted'}")


@click.command()
@click.argument("case")
@site_option
@person_option("Of each person, two destroy", "keys", multiple=True, required=True)
@click.option("--approval", type=FILE, help="What the first person wrote with --out.")
@click.option("--out", type=NEW_FILE, help="Only sign, into this file, for the second person.")
@click.option("--reason", default="retention", show_default=True, help="Why the case is read; it is entered.")
def destroy(
    *, case: str, folder: Path, keys: tuple[str, ...], approval: Path | None, out: Path | None, reason: str
) -> None:
    """Has the records of the oldest sealed order of CASE destroyed. Two persons sign, when their time has passed.

    \b
    mediation order destroy 26-M-17 --site DIR --key olga.key --out first.jws
    mediation order destroy 26-M-17 --site DIR --key edda.key --approval first.jws
    """
    site = config.load(folder)
    persons = [signer(site, Role.OFFICER, key) for key in keys]
    earlier: list[str] = []
    if approval is not None:
        earlier = [read_token(approval)]
        payload = jws.split(earlier[0]).payload
    else:
        answer = client.inquire(site, Cases(case=case), persons[0], reason)
        assert isinstance(answer, CaseList)
        sealed = [view for view in answer.cases if view.state == "sealed"]
        if not sealed:
            raise AuthorizationError(Check.KEPT, "no order of this case is sealed")
        payload = msgspec.json.encode(
            retention.Destruction(
                type="destruction", case=case, xid=sealed[0].xid, issued_s=drafting.now_s(), nonce=drafting.nonce(),
                lab=site.lab,
            )
        )  # fmt: skip
    wanted = _destruction(payload)
    # Before a key is touched: nobody signs what he was not shown, and this cannot be taken back.
    click.echo(
        f"to be signed:\nall records of order {plain(wanted.xid)} of {plain(wanted.case)} are destroyed", err=True
    )
    texts = [jws.sign_octets(payload, retention.DESTRUCTION_TYP, each.kid, each.key()) for each in persons]
    if out is not None:
        write_new(out, texts[0] + "\n")
        click.echo("next: another person signs it too: mediation order destroy --approval", err=True)
        return
    accepted(client.one(site, Destroy(approvals=(*earlier, *texts))))
    click.echo(f"{wanted.case}: destroyed; mediation certificate {wanted.xid} --destroyed prints its certificate")


def _destruction(payload: bytes) -> retention.Destruction:
    try:
        return msgspec.json.decode(payload, type=retention.Destruction)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigurationError("not an approval of a destruction") from None
