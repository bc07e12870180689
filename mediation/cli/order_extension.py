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
from mediation.cli.options import FILE, NEW_FILE, KeyPlace, Time, read_token, write_new
from mediation.core.errors import ConfigurationError
from mediation.signing.choose import open_key

out_option = click.option("--out", required=True, type=NEW_FILE)
who_option = click.option("--key", required=True, type=KeyPlace(), help="The key of the person who signs.")


@click.command()
@click.argument("legal", type=FILE)
@click.option("--end", required=True, type=Time(), help="The new end.")
@click.option("--after", type=FILE, help="The extension before this one, if there is one.")
@click.option("--court", required=True)
@click.option("--judge", required=True)
@click.option("--document", required=True, type=FILE, help="The court's extension as received; attested by hash.")
@who_option
@out_option
def extend(
    *, legal: Path, end: int, after: Path | None, court: str, judge: str, document: Path, key: str, out: Path
) -> None:  # fmt: skip
    """The legal reviewer's token of an extension of the order whose legal token is in LEGAL."""
    text = drafting.legal_extension(
        read_token(legal), read_token(after) if after is not None else "", not_after_s=end, court=court, judge=judge,
        document_sha256=sha256_of(document), person=open_key(key),
    )  # fmt: skip
    write_new(out, text + "\n")


@click.command()
@click.argument("extension", type=FILE)
@click.option("--carrier", required=True, type=FILE, help="The order's carrier token.")
@click.option("--policy", required=True, type=FILE, help="The policies and procedures in force; attested by hash.")
@who_option
@out_option
def approve(extension: Path, carrier: Path, policy: Path, key: str, out: Path) -> None:
    """The carrier authorizer's approval of the extension in EXTENSION."""
    text = drafting.carrier_extension(
        read_token(carrier), read_token(extension), sha256_of(policy), open_key(key)
    )  # fmt: skip
    write_new(out, text + "\n")


@click.command("call-back")
@click.argument("legal", type=FILE)
@click.option("--number", required=True, help="The directory's number, as it was dialed.")
@click.option("--called", type=Time(), default="now", show_default=True)
@click.option("--answered-by", required=True, help="Who answered for the agency.")
@click.option("--answer", required=True, type=click.Choice(["confirmed", "denied"]))
@who_option
@out_option
def call_back(*, legal: Path, number: str, called: int, answered_by: str, answer: str, key: str, out: Path) -> None:
    """The call-back of the emergency order in LEGAL, by a carrier authorizer or an officer."""
    text = drafting.call_back(
        read_token(legal), number=number, called_s=called, answered_by=answered_by, confirmed=answer == "confirmed",
        person=open_key(key),
    )  # fmt: skip
    write_new(out, text + "\n")


def sha256_of(path: Path) -> str:
    """Of a file. Raises ConfigurationError."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
