"""`mediation lab …`: on a lab site, the acts of three lab persons in one command.

The same tokens, checks and ledger entries as the real commands; only the keys are the lab's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import click

from mediation.administration import client, lab
from mediation.administration.order import drafting
from mediation.administration.records import plans
from mediation.cli import order as order_commands
from mediation.cli.options import accepted, case_argument, case_of, site_option, time_option
from mediation.core.authority import jws, particulars, term
from mediation.core.case import Act, Authority, Capability, LegalToken, Role
from mediation.core.interface.control import Filing, Submit
from mediation.runtime import config

DOCUMENT = b"LAB document: no court made this order"


@click.group()
def group() -> None:
    """Lab persons' acts, on a lab site only."""


@group.command()
@site_option
@click.option("--case", required=True, help="The case identity, 1 to 25 characters.")
@click.option("--target", "targets", multiple=True, required=True, help="A tel: or sip: URI; may be repeated.")
@click.option(
    "--authority", required=True, type=click.Choice([each.value for each in Authority]), help="The order's type."
)
@click.option("--content", is_flag=True, help="Ask for content as well.")
@click.option(
    "--content-form",
    type=click.Choice(["cc-apdu", "packetcable"]),
    help="packetcable with profile pcesp, else cc-apdu.",
)
@click.option(
    "--content-channels", type=click.Choice(["separated", "combined"]), default="separated", show_default=True,
    help="A channel for each direction, or one for both.",
)  # fmt: skip
@click.option(
    "--content-maximum",
    type=click.IntRange(1, particulars.MAX_CHANNELS),
    default=32,
    show_default=True,
    help="Calls whose content is delivered at once.",
)
@click.option("--no-digits", is_flag=True, help="Do not ask for the capability of dialed digit extraction.")
@click.option(
    "--dde",
    type=click.Choice(["on", "off"]),
    default="off",
    show_default=True,
    help="Dialed digit extraction from the start.",
)
@click.option(
    "--profile", type=click.Choice(["t1678", "pcesp"]), default="t1678", show_default=True,
    help="The encoding that the agency reads.",
)  # fmt: skip
@click.option("--agency", default=lab.AGENCY, show_default=True, help="As the roster's directory names it.")
@click.option("--iap", "iaps", multiple=True, help="Limit the order to this access point; may be repeated.")
@time_option("--start", what="When it begins", default="now", show_default=True)
@time_option("--end", what="When it ends; by default after 30 days, or at the type's limit")
def order(
    *, folder: Path, case: str, targets: tuple[str, ...], authority: str, content: bool,
    content_form: Literal["cc-apdu", "packetcable"] | None, content_channels: Literal["separated", "combined"],
    content_maximum: int, no_digits: bool, dde: str, profile: str, agency: str, iaps: tuple[str, ...], start: int,
    end: int | None,
) -> None:  # fmt: skip
    """Drafts an order, makes both tokens, activates it, with the keys of three lab persons; prints the case identity.

    \b
    mediation lab order --site DIR --case LAB-1 --target tel:+12025550123 --authority pen-register
    """
    site = config.load(folder)
    end = end if end is not None else start + min(30 * term.DAY_S, term.LIMITS[Authority(authority)].seconds)
    capabilities = [Capability.CALL_DATA]
    capabilities += [] if no_digits else [Capability.DIGITS]
    capabilities += [Capability.CONTENT] if content else []
    form = content_form or ("packetcable" if profile == "pcesp" else "cc-apdu")
    where = lab.content_destination(site, form, content_channels, content_maximum) if content else None
    draft = LegalToken(
        type="legal", case=case, authority=Authority(authority), agency=agency, subjects=targets,
        not_before_s=start, not_after_s=end, capabilities=tuple(capabilities), destination=lab.destination(site, where),
        profile="pcesp" if profile == "pcesp" else "t1678", court="LAB court", judge="LAB judge",
        presenting_officer="LAB presenting officer", document_sha256=hashlib.sha256(DOCUMENT).hexdigest(),
        issued_s=drafting.now_s(), nonce=drafting.nonce(), lab=True,
    )  # fmt: skip
    legal = drafting.legal(draft, lab.person(site, Role.LEGAL))
    carrier = drafting.carrier(legal, plans.newest_sha256(site), lab.person(site, Role.CARRIER), iaps)
    officer = lab.person(site, Role.OFFICER)
    command = drafting.command(
        Act.ACTIVATE, case, jws.sha256_hex(carrier), 1, officer, dde=dde == "on", lab=True
    )  # fmt: skip
    called = ""
    if draft.authority.emergency:
        called = drafting.call_back(
            legal, number=lab.DIRECTORY_NUMBER, called_s=drafting.now_s(), answered_by="LAB duty officer",
            confirmed=True, person=officer,
        )  # fmt: skip
    filing = Filing(legal=legal, carrier=carrier, commands=(command,), call_back=called)
    result = accepted(client.one(site, Submit(filings=(filing,))))
    click.echo(result.case)


@group.command()
@site_option
@case_argument
@click.option(
    "--token", type=click.Choice(["legal", "carrier"]), default="legal", show_default=True, help="Which of them."
)
def revoke(folder: Path, case: str | None, case_: str | None, token: str) -> None:
    """Withdraws one token of CASE with its lab maker's key: delivery stops at once, for good.

    \b
    mediation lab revoke LAB-1 --site DIR
    """
    site = config.load(folder)
    order_commands.withdraw(site, case_of(case, case_), token, lab.person(site, Role(token)), "LAB revocation")
