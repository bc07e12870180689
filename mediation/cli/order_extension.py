"""`mediation order extend | approve | call-back`: what is signed of an order after, or beside, its two tokens.

extend     the legal reviewer's token of a court's extension
approve    the carrier authorizer's approval of it; `mediation case extend` is the third act
call-back  what a second person learned when the agency of an emergency order was called at the directory's number
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from mediation.administration.order import drafting
from mediation.cli import words
from mediation.cli.options import FILE, NEW_FILE, read_token, signing_key_option, time_option, write_new
from mediation.core.authority import jws
from mediation.core.case import CarrierExtension, LegalExtension, LegalToken
from mediation.core.errors import ConfigurationError
from mediation.signing.choose import open_key

out_option = click.option("--out", required=True, type=NEW_FILE, help="What was signed, a new file.")


@click.command()
@click.argument("legal", type=FILE)
@time_option("--end", what="The new end", zoned=True, required=True)
@click.option("--after", type=FILE, help="The extension before this one, if there is one.")
@click.option("--court", required=True, help="That extended it.")
@click.option("--judge", required=True, help="Who signed the extension.")
@click.option("--document", required=True, type=FILE, help="The court's extension as received; attested by hash.")
@signing_key_option
@out_option
def extend(
    *, legal: Path, end: int, after: Path | None, court: str, judge: str, document: Path, key: str, out: Path
) -> None:  # fmt: skip
    """Signs the legal reviewer's token of an extension of the order in LEGAL. What that says is shown before.

    \b
    mediation order extend legal.jws --end 2027-01-20T17:00-05:00 --court SDNY --judge "J. Doe" \\
        --document extension.pdf --key lena.key --out extension.jws
    """
    order, person = read_token(legal), open_key(key)
    drafting.check_signer(LegalExtension, person, lab=jws.decode(jws.split(order).payload, LegalToken).lab)
    _to_be_signed(words.token(order), [f"  new end     {words.moment(end)}", f"  document    {sha256_of(document)}"])
    text = drafting.legal_extension(
        order, read_token(after) if after is not None else "", not_after_s=end, court=court, judge=judge,
        document_sha256=sha256_of(document), person=person,
    )  # fmt: skip
    write_new(out, text + "\n")
    click.echo("next: the carrier authorizer reads and signs it: mediation order approve", err=True)


@click.command()
@click.argument("extension", type=FILE)
@click.option("--carrier", required=True, type=FILE, help="The order's carrier token.")
@click.option("--policy", required=True, type=FILE, help="The policies and procedures in force; attested by hash.")
@signing_key_option
@out_option
def approve(extension: Path, carrier: Path, policy: Path, key: str, out: Path) -> None:
    """Signs the carrier authorizer's approval of the extension in EXTENSION. What that says is shown before.

    \b
    mediation order approve extension.jws --carrier carrier.jws --policy policy.json --key carl.key --out approval.jws
    """
    said, person = read_token(extension), open_key(key)
    court = jws.decode(jws.split(said).payload, LegalExtension)
    drafting.check_signer(CarrierExtension, person, lab=court.lab)
    _to_be_signed(words.token(said), [f"  policies    {sha256_of(policy)}"])
    text = drafting.carrier_extension(read_token(carrier), said, sha256_of(policy), person)
    write_new(out, text + "\n")
    files = f"{extension.name} {out.name}"
    click.echo(f"next: an officer puts it in force: mediation case extend {words.plain(court.case)} {files}", err=True)


def _to_be_signed(lines: list[str], more: list[str]) -> None:
    """On standard error, before a key is touched: nobody signs what he was not shown."""
    click.echo("\n".join(["to be signed:", *lines, *more]), err=True)


@click.command("call-back")
@click.argument("legal", type=FILE)
@click.option("--number", required=True, help="The directory's number, as it was dialed.")
@time_option("--called", what="When the agency was called", default="now", show_default=True)
@click.option("--answered-by", required=True, help="Who answered for the agency.")
@click.option("--answer", required=True, type=click.Choice(["confirmed", "denied"]), help="What the agency said of it.")
@signing_key_option
@out_option
def call_back(*, legal: Path, number: str, called: int, answered_by: str, answer: str, key: str, out: Path) -> None:
    """Signs what the agency of the emergency order in LEGAL said when it was called back. A carrier authorizer's or an
    officer's act.

    \b
    mediation order call-back legal.jws --number +12025550100 --answered-by "SA P. Roe" --answer confirmed \\
        --key carl.key --out called.jws
    """
    order = read_token(legal)
    _to_be_signed(words.token(order), [f"  called      {words.plain(number)}, {words.moment(called)}",
                                       f"  answered    by {words.plain(answered_by)}: {answer}"])  # fmt: skip
    text = drafting.call_back(
        order, number=number, called_s=called, answered_by=answered_by, confirmed=answer == "confirmed",
        person=open_key(key),
    )  # fmt: skip
    write_new(out, text + "\n")
    click.echo("next: it is filed with the two tokens: mediation order submit --call-back", err=True)


def sha256_of(path: Path) -> str:
    """Of a file. Raises ConfigurationError."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
