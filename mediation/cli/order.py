"""`mediation order …`: from a court's paper to an order that is filed, one person at a time.

key      a new key for a person in a file; `mediation person key`, which makes the card too, is what persons use
draft    what the legal reviewer will attest, as a JSON file to read before signing
sign     the legal reviewer's token over a draft, or the carrier authorizer's over a legal token
submit   files the two tokens; `mediation case activate` is the third act
show     what a token or draft says, without judging it
extend, approve, call-back   see cli/order_extension.py
revoke   the maker of a token, or another person of his role, withdraws it
revoke-agency  all authority of one agency is withdrawn
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from mediation.administration import client
from mediation.administration.order import drafting
from mediation.cli import order_extension, retention, words
from mediation.cli.options import (
    FILE,
    NEW_FILE,
    accepted,
    case_argument,
    case_of,
    form_option,
    key_option,
    read_token,
    running,
    shown,
    signer,
    signing_key_option,
    site_option,
    time_option,
    told,
    write_new,
)
from mediation.cli.order_extension import sha256_of
from mediation.core.authority import jws, particulars
from mediation.core.case import (
    Authority,
    Capability,
    CarrierToken,
    ContentDestination,
    Destination,
    LegalToken,
    Role,
    State,
)
from mediation.core.errors import ConfigurationError
from mediation.core.interface.control import Cases, Filing, Revoke, RevokeAgency, Submit
from mediation.runtime import config
from mediation.runtime.config import Site
from mediation.signing.choose import open_key
from mediation.signing.file import new_person, write_person
from mediation.signing.signer import Signer

STANDARD_INPUT = "-"
MAX_INPUT = 1 << 16  # characters of targets; an order has few (core/authority/particulars.py)
# Where an order stands when this is the latest of its files.
BY_FILE = {"legal": State.LEGALLY_AUTHORIZED, "carrier": State.CARRIER_AUTHORIZED}


@click.group()
def group() -> None:
    """Orders: draft, sign, submit, show, revoke; also for a whole agency."""


@group.command(hidden=True)
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]), help="What it is made for.")
@click.option("--person", required=True, help="Who holds it: one name for one person, everywhere.")
@click.option("--years", type=click.IntRange(1, 5), default=2, show_default=True, help="How long it is good.")
@click.option("--out", required=True, type=NEW_FILE, help="The private key file, for this person alone.")
def key(role: str, person: str, years: int, out: Path) -> None:
    """Makes a person's key in a file; prints what is enrolled of it. `mediation person key` makes it with its card.

    \b
    mediation order key --role officer --person olga --out olga.key
    """
    made = new_person(Role(role), person, drafting.now_s(), lab=False, years=years)
    write_person(out, made)
    click.echo(msgspec.json.encode(made.ring_key()).decode())


@group.command()
@site_option
@click.option("--case", required=True, help="The case identity, 1 to 25 characters.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    required=True,
    help="A tel: or sip: URI; may be repeated. - reads "
    "them from standard input, one a line: others on this machine can read a command line.",
)
@click.option(
    "--authority", required=True, type=click.Choice([each.value for each in Authority]), help="The order's type."
)
@click.option("--agency", required=True, help="As the roster's directory names it.")
@click.option("--capability", "capabilities", multiple=True, default=["call-data"], show_default=True,
              type=click.Choice([each.value for each in Capability]),
              help="What the court gives: call-data, and others beside it; may be repeated.")  # fmt: skip
@click.option(
    "--profile", type=click.Choice(["t1678", "pcesp"]), default="t1678", show_default=True,
    help="The encoding that the agency reads.",
)  # fmt: skip
@click.option("--host", required=True, help="Where the agency takes delivery.")
@click.option("--port", required=True, type=click.IntRange(1, 65535), help="For call data.")
@click.option("--certificate-sha256", required=True, help="Of the collection function's certificate (DER), hex.")
@click.option("--content-host", help="Where the agency takes content; for an order with the capability content.")
@click.option("--content-port", type=click.IntRange(1, 65535), help="The port for content.")
@click.option(
    "--content-form", type=click.Choice(["cc-apdu", "packetcable"]), default="cc-apdu", show_default=True,
    help="CC-APDU over TLS, or PacketCable datagrams.",
)  # fmt: skip
@click.option(
    "--content-channels", type=click.Choice(["separated", "combined"]), default="separated", show_default=True,
    help="A channel for each direction, or one for both.",
)  # fmt: skip
@click.option(
    "--content-maximum",
    type=click.IntRange(1, particulars.MAX_CHANNELS),
    default=32,
    show_default=True,
    help="Channels that the agency procured: calls whose content is delivered at once.",
)
@click.option("--court", required=True, help="That made the order.")
@click.option("--judge", required=True, help="Who signed it.")
@click.option("--officer", required=True, help="The law enforcement officer who presented it.")
@click.option("--document", required=True, type=FILE, help="The order as received; its SHA-256 is attested.")
@time_option("--start", what="When it begins", zoned=True, required=True)
@time_option("--end", what="When it ends (+30d is from now, not from the start)", zoned=True, required=True)
@click.option(
    "--term-days",
    type=click.IntRange(0),
    default=0,
    help="The period that a FISA order states (50 USC 1805(d)).",
)
@click.option("--out", required=True, type=NEW_FILE, help="The draft, a new file.")
def draft(
    *, folder: Path, case: str, targets: tuple[str, ...], authority: str, agency: str, capabilities: tuple[str, ...],
    profile: str, host: str, port: int, certificate_sha256: str, content_host: str | None, content_port: int | None,
    content_form: Literal["cc-apdu", "packetcable"], content_channels: Literal["separated", "combined"],
    content_maximum: int, court: str, judge: str, officer: str,
    document: Path, start: int, end: int, term_days: int, out: Path,
) -> None:  # fmt: skip
    """Writes a draft for the legal reviewer. A time without a zone is refused: write 2026-12-01T17:00-05:00, or …Z for
    UTC, or now, +30d.

    \b
    mediation order draft --site DIR --case 26-M-17 --target - --authority pen-register \\
        --agency FBI-NY --host 192.0.2.7 --port 41800 --certificate-sha256 HEX --court SDNY --judge "J. Doe" \\
        --officer "SA P. Roe" --document order.pdf --start now --end +30d --out draft.json < subjects.txt
    """
    site = config.load(folder)
    if STANDARD_INPUT in targets:
        lines = sys.stdin.read(MAX_INPUT).split()
        targets = (*(each for each in targets if each != STANDARD_INPUT), *lines)
    content = None
    if content_host is not None or content_port is not None:
        content = ContentDestination(
            host=host if content_host is None else content_host, port=port if content_port is None else content_port,
            form=content_form, channels=content_channels, maximum=content_maximum,
        )  # fmt: skip
    order = LegalToken(
        type="legal", case=case, authority=Authority(authority), agency=agency, subjects=targets,
        not_before_s=start, not_after_s=end, capabilities=tuple(Capability(each) for each in capabilities),
        destination=Destination(
            host=host, port=port, certificate_sha256=certificate_sha256.lower(), content=content
        ),
        profile="pcesp" if profile == "pcesp" else "t1678", court=court, judge=judge, presenting_officer=officer,
        document_sha256=sha256_of(document), issued_s=drafting.now_s(), nonce=drafting.nonce(), lab=site.lab,
        term_days=term_days,
    )  # fmt: skip
    particulars.check_legal(order)
    write_new(out, msgspec.json.format(msgspec.json.encode(order), indent=1).decode() + "\n")
    _next(f"read it, and let another person read it: mediation order show {out}; then mediation order sign legal")


@group.group()
def sign() -> None:
    """Signs an order's two tokens, each with the key of the person who does."""


@sign.command()
@click.argument("draft", type=FILE)
@signing_key_option
@order_extension.out_option
def legal(draft: Path, key: str, out: Path) -> None:
    """Signs the legal reviewer's token over DRAFT. What that says is shown before.

    \b
    mediation order sign legal draft.json --key lena.key --out legal.jws
    """
    try:
        order = msgspec.json.decode(draft.read_bytes(), type=LegalToken)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigurationError(f"{draft.name}: not a draft of an order") from None
    order = msgspec.structs.replace(order, issued_s=drafting.now_s(), nonce=drafting.nonce())
    particulars.check_legal(order)
    person = open_key(key)
    drafting.check_signer(LegalToken, person, lab=order.lab)
    _to_be_signed(words.order(order))
    write_new(out, drafting.legal(order, person) + "\n")
    _next("the carrier authorizer reads and signs it: mediation order sign carrier")


@sign.command()
@click.argument("legal", type=FILE)
@signing_key_option
@click.option("--policy", required=True, type=FILE, help="The policies and procedures in force; attested by hash.")
@click.option("--iap", "iaps", multiple=True, help="Limit the order to this access point; may be repeated.")
@order_extension.out_option
def carrier(legal: Path, key: str, policy: Path, iaps: tuple[str, ...], out: Path) -> None:
    """Signs the carrier authorizer's token over the token in LEGAL. What that says is shown before.

    \b
    mediation plan show --site DIR --out policy.json
    mediation order sign carrier legal.jws --key carl.key --policy policy.json --out carrier.jws
    """
    text, person = read_token(legal), open_key(key)
    order = jws.decode(jws.split(text).payload, LegalToken)
    drafting.check_signer(CarrierToken, person, lab=order.lab)
    at = [f"  {'at':<{words.LABEL}}{', '.join(iaps) or 'every intercept access point of the site'}"]
    _to_be_signed([*words.order(order), f"  {'policies':<{words.LABEL}}{sha256_of(policy)}", *at])
    write_new(out, drafting.carrier(text, sha256_of(policy), person, iaps) + "\n")
    _next("both are filed: mediation order submit")


def _to_be_signed(lines: list[str]) -> None:
    """On standard error, before a key is touched: nobody signs what he was not shown."""
    click.echo("\n".join(["to be signed:", *lines]), err=True)


def _next(step: str) -> None:
    click.echo(f"next: {step}", err=True)


@group.command()
@site_option
@click.option("--legal", required=True, type=FILE, help="The legal reviewer's token.")
@click.option("--carrier", required=True, type=FILE, help="The carrier authorizer's token.")
@click.option("--call-back", type=FILE, help="Of an emergency order: what `order call-back` wrote.")
def submit(folder: Path, legal: Path, carrier: Path, call_back: Path | None) -> None:
    """Files an order's two tokens; prints the case identity. Nothing is intercepted before an officer activates it.

    \b
    mediation order submit --site DIR --legal legal.jws --carrier carrier.jws
    """
    called = read_token(call_back) if call_back is not None else ""
    filing = Filing(legal=read_token(legal), carrier=read_token(carrier), call_back=called)
    case = accepted(client.one(config.load(folder), Submit(filings=(filing,)))).case
    click.echo(case)
    _next(f"nothing is intercepted yet; an officer activates it: mediation case activate {case}")


@group.command()
@click.argument("file", type=FILE)
@form_option
def show(file: Path, form: str | None) -> None:
    """Prints what a token or draft says: JSON, and words with where its order stands on standard error.

    Two persons read a draft with it before either signs. No signature is checked: `submit` does that.

    \b
    mediation order show draft.json --words
    """
    text = read_token(file)
    draft = text.startswith("{")
    payload = text.encode() if draft else jws.split(text).payload
    try:
        said = msgspec.json.decode(payload, type=dict[str, Any])
        facts = msgspec.json.format(payload, indent=1).decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigurationError(f"{file.name}: neither a token nor a draft") from None
    state = State.DRAFTED if draft else BY_FILE.get(said.get("type", ""))
    shown(form, facts, words.token(text) + ([f"mediation: {state}"] if state is not None else []))


@group.command()
@site_option
@case_argument
@click.option("--token", type=click.Choice(["legal", "carrier"]), help="Which of them, with CASE.")
@click.option("--file", "path", type=FILE, help="The token itself, also an extension's: by whom it was not signed.")
@click.option("--reason", default="withdrawn", show_default=True, help="Why; it stays in the signed text.")
@key_option
def revoke(
    *, folder: Path, case: str | None, case_: str | None, token: str | None, path: Path | None, reason: str,
    key: str | None,
) -> None:  # fmt: skip
    """Withdraws one token: delivery stops at once, for good. Its maker names it by CASE, whose running order it is of,
    or else the newest; another person of the same role, to whom the case is not shown, by the token's file.

    \b
    mediation order revoke 26-M-17 --site DIR --token legal --key lena.key
    mediation order revoke --site DIR --file legal.jws --key lois.key
    """
    site = config.load(folder)
    case = case_of(case, case_) if case or case_ else None
    if path is not None and case is None and token is None:
        text = read_token(path)
        of, role = drafting.withdrawable(text)
        signed = drafting.revocation(of, jws.sha256_hex(text), reason, signer(site, role, key), lab=site.lab)
        click.echo(f"withdrawn; {told(accepted(client.one(site, Revoke(revocations=(signed,)))))}")
    elif case is not None and token is not None and path is None:
        withdraw(site, case, token, signer(site, Role(token), key), reason)
    else:
        raise click.UsageError("--file, or CASE with --token")


@group.command("revoke-agency")
@site_option
@click.argument("agency")
@click.option("--role", type=click.Choice(["legal", "carrier"]), default="legal", show_default=True,
              help="Of whoever signs it.")  # fmt: skip
@click.option("--reason", default="withdrawn", show_default=True, help="Why; it stays in the signed text.")
@key_option
def revoke_agency(folder: Path, agency: str, role: str, reason: str, key: str | None) -> None:
    """Withdraws all authority of AGENCY: every order of it ends at once, for good, and no other. It has new orders only
    by a new contact in the roster, which two executives approve and which waits a day.

    \b
    mediation order revoke-agency FBI-NY --site DIR --key lena.key
    """
    site = config.load(folder)
    text = drafting.agency_revocation(agency, reason, signer(site, Role(role), key), lab=site.lab)
    click.echo(accepted(client.one(site, RevokeAgency(revocation=text))).detail)


def withdraw(site: Site, case: str, token: str, person: Signer, reason: str) -> None:
    """Signs and hands in a revocation of the order of a case that runs, else of its newest. Raises MediationError."""
    view = running(client.inquire(site, Cases(case=case), person, f"to act: revoke {token}"))
    digest = view.legal_sha256 if token == "legal" else view.carrier_sha256  # noqa: S105 - the name of a token
    text = drafting.revocation(case, digest, reason, person, lab=site.lab)
    click.echo(f"{case}: withdrawn; {told(accepted(client.one(site, Revoke(revocations=(text,)))))}")


for _command in (
    order_extension.extend, order_extension.approve, order_extension.call_back, retention.hold, retention.destroy,
):  # fmt: skip
    group.add_command(_command)
