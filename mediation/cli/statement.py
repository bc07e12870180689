"""`mediation statement`: the monthly statements of completeness, to read, to sign and to print (47 CFR 1.20004(c)).

Reading is a signed request with a reason, and an entry in the ledger. Signing is the senior officer's: the exact octets
as they were drafted, with the attestation in them, which this command shows before it signs.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from mediation.administration import client, lab
from mediation.administration.records import documents
from mediation.cli.options import accepted, key_option, reason_option, site_option, write_new
from mediation.core.authority import jws
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface.control import SignStatement, StatementList, Statements, StatementView
from mediation.core.records import certificate, statement
from mediation.runtime import config
from mediation.runtime.config import Site
from mediation.signing.choose import open_key
from mediation.signing.signer import Signer

WIDTH = 100  # columns


@click.command()
@click.argument("month", required=False)
@site_option
@click.option("--sign", "signing", is_flag=True, help="Sign the month's, as the senior officer.")
@click.option("--pdf", type=click.Path(dir_okay=False, path_type=Path), help="Draw it as PDF: the same octets always.")
@key_option
@reason_option
def command(
    *, month: str | None, folder: Path, signing: bool, pdf: Path | None, key: str | None, reason: str | None
) -> None:
    """Prints the statement of MONTH (YYYY-MM), or of all, signs it, or draws it as PDF.

    \b
    mediation statement 2026-10 --site DIR --key edda.key --reason "monthly statement" --sign
    mediation statement 2026-10 --site DIR --key edda.key --reason "monthly statement" --pdf 2026-10.pdf
    """
    site = config.load(folder)
    if month is None and (signing or pdf is not None):
        raise click.UsageError("MONTH is needed to sign or to draw")
    person = _person(site, key)
    found = _read(site, month, person, reason)
    if signing:
        view = found[-1]
        # In words, and the exact octets: nobody attests what he was not shown.
        click.echo(f"to be signed:\n{_text(view)}\n{view.text}", err=True)
        signature = jws.sign_octets(view.text.encode(), statement.TYP, person.kid, person.key())
        accepted(client.one(site, SignStatement(signature=signature)))
        found = _read(site, month, person, reason)
    if pdf is not None:
        write_new(pdf, documents.completeness(found[-1]))
        return
    for view in found:
        click.echo(_text(view))


def _person(site: Site, key: str | None) -> Signer:
    """The given key, or the lab's first executive: its senior officer."""
    return open_key(key) if key is not None else lab.executives(site)[0]


def _read(site: Site, month: str | None, person: Signer, reason: str | None) -> list[StatementView]:
    if month is not None and not statement.MONTH.fullmatch(month):
        raise click.UsageError("MONTH is like 2026-10")
    if reason is None and not site.lab:
        raise click.UsageError("--reason is needed: each reading is entered with one")
    answer = client.inquire(site, Statements(month=month), person, reason if reason is not None else "lab")
    assert isinstance(answer, StatementList)
    if not answer.statements:
        raise AuthorizationError(Check.STATEMENT, "there is none: it is drafted three days after the month's end")
    return list(answer.statements)


def _text(view: StatementView) -> str:
    found = statement.decode(view.text)
    lines = [f"statement {view.sha256}" + ("  LAB" if found.lab else "")]
    for label, words in statement.rows(found):
        lines += [f"  {label.ljust(24) if n == 0 else ' ' * 24}{each}" for n, each in enumerate(words)]
    attested = "  " + "Attested".ljust(24)
    lines.append(
        textwrap.fill(found.attestation, WIDTH, initial_indent=attested, subsequent_indent=" " * len(attested))
    )
    signed = f"{view.person} at {certificate.rfc3339(view.signed_us)}" if view.signature else "NOT SIGNED"
    return "\n".join([*lines, f"  {'Signed'.ljust(24)}{signed}"])
