"""`mediation certificate CASE`: the certifications of a case, to read, to sign and to print (47 CFR 1.20004).

Reading is a signed request with a reason, and an entry in the ledger. Signing is the overseeing person's: the exact
octets as they were drafted, with the attestation in them, which this command shows before it signs.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import click
import msgspec

from mediation.administration import client
from mediation.administration.records import destruction, documents
from mediation.cli.options import accepted, inquire, key_option, reason_option, signer, site_option, write_new
from mediation.core.authority import jws
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.control import CertificateList, Certificates, CertificateView, Certify
from mediation.core.records import certificate
from mediation.runtime import config
from mediation.runtime.config import Site

WIDTH = 100  # columns
NEW = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("case")
@site_option
@click.option("--sign", "signing", is_flag=True, help="Sign what is unsigned, as the person who oversees.")
@click.option("--take-over", is_flag=True, help="The senior officer signs in the place of the first overseeing person.")
@click.option("--pdf", type=NEW, help="Draw the newest certification as PDF: the same octets each time.")
@click.option("--number", type=click.IntRange(1), help="Of the certification to draw, from 1; the newest by default.")
@click.option("--destroyed", is_flag=True, help="CASE is an XID: its certificate of destruction.")
@key_option
@reason_option
def command(
    *, case: str, folder: Path, signing: bool, take_over: bool, pdf: Path | None, number: int | None, destroyed: bool,
    key: str | None, reason: str | None,
) -> None:  # fmt: skip
    """Prints the certifications of CASE, signs them, or draws one as PDF.

    \b
    mediation certificate 26-M-17 --site DIR --key olga.key --reason "to certify" --sign
    mediation certificate 26-M-17 --site DIR --key olga.key --reason "for counsel" --pdf 26-M-17.pdf
    """
    site = config.load(folder)
    if destroyed:
        _destroyed(site, case, pdf)
        return
    found = _read(site, Certificates(case=case, take_over=take_over), key, reason)
    if signing or take_over:
        _sign(site, found, key)
        found = _read(site, Certificates(case=case), key, reason)
    if number is not None and number > len(found):
        raise AuthorizationError(Check.CERTIFICATE, f"there are {len(found)}")
    if pdf is not None:
        write_new(pdf, documents.certification(found[number - 1 if number else -1]))
        return
    for view in found if number is None else [found[number - 1]]:
        click.echo(_text(view))


def _read(site: Site, wanted: Certificates, key: str | None, reason: str | None) -> list[CertificateView]:
    answer = inquire(site, wanted, key, reason, Role.OFFICER)
    assert isinstance(answer, CertificateList)
    if not answer.certificates:
        raise AuthorizationError(Check.CERTIFICATE, "there is none: nothing was enabled, or it is not yours to read")
    return list(answer.certificates)


def _sign(site: Site, found: list[CertificateView], key: str | None) -> None:
    person = signer(site, Role.OFFICER, key)
    unsigned = [view for view in found if not view.signature and not view.replaced]
    if not unsigned:
        raise AuthorizationError(Check.CERTIFICATE, "nothing is unsigned")
    texts = []
    for view in unsigned:
        # In words, and the exact octets: nobody certifies what he was not shown.
        click.echo(f"to be signed:\n{_text(view)}\n{view.text}", err=True)
        certificate.check_complete(certificate.decode(view.text))
        texts.append(jws.sign_octets(view.text.encode(), certificate.TYP, person.kid, person.key()))
    accepted(client.one(site, Certify(signatures=tuple(texts))))


def _text(view: CertificateView) -> str:
    """The form, a line for each field, then who signed it."""
    document = certificate.decode(view.text)
    lines = [f"certification {view.sha256}", f"  kind     {document.kind}" + ("  LAB" if document.lab else "")]
    for number, name, _ in certificate.FIELDS:
        lines.append(f"  ({number})".ljust(11) + ", ".join(certificate.field(document, name)))
    for paper in document.papers:
        filed = f"  entry {paper.filed}" if paper.filed >= 0 else ""  # evidence of an incident is filed by nobody
        lines.append(f"  {paper.what.ljust(9)} {paper.document_sha256}{filed}")
    lines.append(textwrap.fill(document.attestation, WIDTH, initial_indent="  attested ", subsequent_indent=" " * 11))
    if view.signature:
        signed = f"{view.person} at {certificate.rfc3339(view.signed_us)}, entry {view.signed}"
    else:
        signed = "replaced" if view.replaced else "NOT SIGNED"
    lines.append(f"  signed   {signed}")
    lines += [f"  stamped  {who} at {certificate.rfc3339(us)}" for who, us in view.stamps]
    return "\n".join(lines)


def _destroyed(site: Site, xid: str, pdf: Path | None) -> None:
    try:
        text = destruction.read(site, xid)
    except msgspec.MsgspecError:
        raise ConfigurationError(f"{destruction.FOLDER}/{xid}.json: not a certificate of destruction") from None
    if pdf is None:
        click.echo(text)
        return
    write_new(pdf, documents.destruction(text))
