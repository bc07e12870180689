"""The printed form of records: certification, plan with its appendix, certificate of destruction, as PDF (ISO 32000).

Answers for octets that depend on the record alone: the same on every machine, on every day, in every time zone, so
that a print made for a court years later is the one that was made first. The fonts are the fourteen that every reader
has (ISO 32000-1 9.6.2.2), in their WinAnsi encoding; a character outside it is printed as its code point, {U+XXXX},
never dropped. The last pages carry the exact octets that were signed. It reads no file and no clock.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from reportlab.lib.pagesizes import LETTER
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from mediation.core.interface.control import CertificateView, StatementView
from mediation.core.interface.policies import PlanView
from mediation.core.records import certificate, plan, retention, statement
from mediation.core.records.certificate import Certificate
from mediation.core.records.retention import DestructionCertificate
from mediation.core.units import US

MARGIN: Final = 54  # points: three quarters of an inch
TEXT, BOLD, FIXED = "Helvetica", "Helvetica-Bold", "Courier"
BODY, HEAD, SMALL = 10, 14, 7
LEADING: Final = 1.3
LINE_OCTETS: Final = 118  # of the annex: Courier at SMALL between the margins
MAX_PAGES: Final = 400
ENCODING: Final = "cp1252"  # WinAnsiEncoding


def printable(text: str) -> str:
    """The text with every character that the fonts have not as its code point."""
    found = []
    for character in text:
        try:
            character.encode(ENCODING)
            found.append(character if character.isprintable() else f"{{U+{ord(character):04X}}}")
        except UnicodeEncodeError:
            found.append(f"{{U+{ord(character):04X}}}")
    return "".join(found)


def wrapped(text: str, font: str, size: float, width: float) -> Iterator[str]:
    """Lines of at most `width` points; a word that is longer is cut."""
    line = ""
    for piece in re.findall(r"\S+\s*", text) or [""]:
        word = piece
        while stringWidth(word.rstrip(), font, size) > width:
            cut = max(1, int(len(word) * width / stringWidth(word, font, size)))
            if line:
                yield line.rstrip()
                line = ""
            yield word[:cut]
            word = word[cut:]
        if line and stringWidth((line + word).rstrip(), font, size) > width:
            yield line.rstrip()
            line = ""
        line += word
    yield line.rstrip()


class Sheet:
    """One document, written from top to bottom."""

    def __init__(self, title: str, foot: str, *, lab: bool) -> None:
        self._file = io.BytesIO()
        # invariant: no time, no random identity; no compression, whose octets another zlib would make otherwise.
        self._canvas = Canvas(self._file, pagesize=LETTER, invariant=1, pageCompression=0)
        self._canvas.setTitle(printable(title))
        self._canvas.setAuthor("")
        self._canvas.setCreator("mediation")
        self._width = LETTER[0] - 2 * MARGIN
        self._foot, self._lab = printable(foot), lab
        self._page = 0
        self._y = 0.0
        self._begin()
        self.paragraph(title, BOLD, HEAD)

    def _begin(self) -> None:
        self._page += 1
        if self._page > MAX_PAGES:
            raise ValueError("documents: too long")
        self._y = LETTER[1] - MARGIN
        self._canvas.setFont(TEXT, SMALL)
        self._canvas.drawString(MARGIN, MARGIN / 2, f"{self._foot}   page {self._page}")
        if self._lab:
            self._canvas.setFont(BOLD, BODY)
            self._canvas.drawRightString(LETTER[0] - MARGIN, LETTER[1] - MARGIN / 2, "LAB: of no legal effect")

    def _line(self, text: str, font: str, size: float, indent: float = 0) -> None:
        if self._y < MARGIN + size * LEADING:
            self._canvas.showPage()
            self._begin()
        self._y -= size * LEADING
        self._canvas.setFont(font, size)
        self._canvas.drawString(MARGIN + indent, self._y, text)

    def paragraph(self, text: str, font: str = TEXT, size: float = BODY, indent: float = 0) -> None:
        for line in wrapped(printable(text), font, size, self._width - indent):
            self._line(line, font, size, indent)
        self._y -= size * (LEADING - 1)

    def row(self, label: str, words: Iterable[str]) -> None:
        """A label, and what stands under it, each on a line of its own."""
        self.paragraph(label, BOLD, BODY - 1)
        for each in words:
            self.paragraph(each, TEXT, BODY, 12)

    def octets(self, title: str, text: str) -> None:
        """An annex with the exact text; it is ASCII, or its other characters stand as code points."""
        self._y -= BODY
        self.paragraph(title, BOLD, BODY - 1)
        shown = printable(text)
        for at in range(0, len(shown), LINE_OCTETS):
            self._line(shown[at : at + LINE_OCTETS], FIXED, SMALL)

    def done(self) -> bytes:
        self._canvas.showPage()
        self._canvas.save()
        return self._file.getvalue()


def certification(view: CertificateView) -> bytes:
    """A certification with its signature, or marked as unsigned."""
    document = certificate.decode(view.text)
    sheet = Sheet("Certification under 47 CFR 1.20004(a)", f"SHA-256 {view.sha256}", lab=document.lab)
    sheet.row("Case", (document.case or "-",))
    sheet.row("Kind", (_kind(document),))
    for number, name, words in certificate.FIELDS:
        sheet.row(f"({number}) {words}", certificate.field(document, name))
    if document.agency:
        sheet.row("Agency, court", (document.agency, document.court))
    for paper in document.papers:
        sheet.row(
            f"Appended: {paper.what}",
            (
                f"document SHA-256 {paper.document_sha256}",
                *((f"legal token SHA-256 {paper.legal_sha256}",) if paper.legal_sha256 else ()),
                *((f"carrier token SHA-256 {paper.carrier_sha256}",) if paper.carrier_sha256 else ()),
                *((f"ledger entry {paper.filed}",) if paper.filed >= 0 else ()),
                *((f"ends {certificate.rfc3339(paper.not_after_s * US)}",) if paper.not_after_s else ()),
            ),
        )
    if document.armed >= 0:
        sheet.row("Ledger", (f"{document.site}: activated by entry {document.activated}, armed at {document.armed}",))
    sheet.row("Attestation", (document.attestation,))
    if view.signature:
        signed = (
            f"by {document.responsible.name}, {document.responsible.function} ({view.person})",
            f"entered in the ledger as {view.signed} at {certificate.rfc3339(view.signed_us)}",
        )
        stamps = (f"time stamp (RFC 3161) by {who}, {certificate.rfc3339(us)}" for who, us in view.stamps)
        sheet.row("Signed", (*signed, *stamps))
    else:
        sheet.row("Signed", ("NOT SIGNED" + (" (replaced by another draft)" if view.replaced else ""),))
    sheet.octets("The exact text that is signed", view.text)
    if view.signature:
        sheet.octets("The signature (compact JWS)", view.signature)
    return sheet.done()


def _kind(document: Certificate) -> str:
    match document.kind:
        case "interception":
            return "interception" + (f", in place of draft {document.previous}" if document.previous else "")
        case "amendment":
            return f"amendment of {document.previous}"
        case _:
            return "found without authorization"


def policies(view: PlanView) -> bytes:
    """The plan's body; the appendix is a document of its own."""
    body = plan.decode(view.plan)
    sheet = Sheet(
        "Systems security and integrity plan, 47 CFR 1.20003, 1.20005", f"SHA-256 {plan.digest(view.plan)}",
        lab=body.lab,
    )  # fmt: skip
    sheet.row("Carrier", (body.carrier,))
    sheet.row("Version", (str(body.version) + ("" if view.adopted else ", a draft: not adopted"),))
    sheet.row("1. Both authorizations (1.20003(b)(1))", (body.both_authorizations,))
    sheet.row("2. Appropriate authorization (1.20003(b)(2))", (body.appropriate_authorization,))
    sheet.row("3. How long records are kept (1.20003(b)(3), 1.20004(b))", (body.retention,))
    sheet.row(
        "4. When records are certified (1.20004(a)(3))",
        (
            f"The certification is drafted when the interception is enabled, and signed within "
            f"{body.certification_due_h} hours, at the latest {body.certification_overdue_h} hours after it.",
        ),
    )
    sheet.row("5. Reports (1.20003(c))", (body.reporting, f"The carrier's own clock for it is {body.report_h} hours."))
    sheet.row(
        "6. Amendments (1.20005)",
        (f"An amendment of this plan or of its appendix is filed within {body.amendment_days} days.",),
    )
    if body.modifications:
        ordered = (f"the order with SHA-256 {sha256}" for sha256 in body.modifications)
        sheet.row("7. Modified as the Commission ordered (1.20005(b))", ordered)
    sheet.row("Appendix", ("The senior officer and how he is reached stand in a separate appendix (1.20003(b)(4)).",))
    if view.confirmation and view.filed_version == body.version:
        filed = certificate.rfc3339(view.filed_s * US)
        sheet.row("Filed", (f"{filed}, confirmation {view.confirmation}",))
    sheet.octets("The exact text that is adopted", view.plan)
    return sheet.done()


def appendix(view: PlanView) -> bytes:
    """The separate appendix of 1.20003(b)(4)."""
    found = msgspec.json.decode(view.appendix, type=plan.Appendix)
    sheet = Sheet(
        "Appendix: senior officer or employee, 47 CFR 1.20003(b)(4)", f"SHA-256 {plan.digest(view.appendix)}",
        lab=found.lab,
    )  # fmt: skip
    sheet.row("(i) Name and job function", (found.officer, found.function))
    reached = (found.contact.telephone, found.contact.mail)
    sheet.row("(ii) Reached seven days a week, 24 hours a day", (each for each in reached if each))
    sheet.octets("The exact text that is adopted", view.appendix)
    return sheet.done()


def completeness(view: StatementView) -> bytes:
    """A month's statement with its signature, or marked as unsigned."""
    found = statement.decode(view.text)
    sheet = Sheet(f"Statement of completeness, {found.month}, 47 CFR 1.20004(c)", f"SHA-256 {view.sha256}",
                  lab=found.lab)  # fmt: skip
    sheet.row("Carrier's ledger", (found.site,))
    for label, words in statement.rows(found):
        sheet.row(label, words)
    sheet.row("Attestation", (found.attestation,))
    if view.signature:
        signed = f"by {found.responsible.name}, {found.responsible.function} ({view.person})"
        sheet.row("Signed", (signed, f"entered in the ledger at {certificate.rfc3339(view.signed_us)}"))
    else:
        sheet.row("Signed", ("NOT SIGNED",))
    sheet.octets("The exact text that is signed", view.text)
    if view.signature:
        sheet.octets("The signature (compact JWS)", view.signature)
    return sheet.done()


def destruction(text: str) -> bytes:
    """A certificate of destruction. Raises msgspec.MsgspecError for what is none."""
    found = msgspec.json.decode(text, type=DestructionCertificate)
    sheet = Sheet("Certificate of destruction, 47 CFR 1.20004(b)", f"SHA-256 {retention.digest(text)}", lab=found.lab)
    sheet.row("Order (XID)", (found.xid,))
    sheet.row("Sealed", (certificate.rfc3339(found.sealed_s * US),))
    kept = f"{found.retention_days} days, by the plan, version {found.plan_version}, SHA-256 {found.plan_sha256 or '-'}"
    sheet.row("Kept", (kept, f"not destroyed before {certificate.rfc3339(found.destroy_after_s * US)}"))
    sheet.row("Destroyed", (certificate.rfc3339(found.destroyed_us),))
    sheet.row("By", found.approvers or ("the end of the period",))
    sheet.row("What", ("the key of the order's texts and certifications; records and salts of the ledger's entries:",
                       ", ".join(map(str, found.entries))))  # fmt: skip
    sheet.row("Certifications destroyed with it", found.certifications or ("none: nothing was enabled",))
    sheet.octets("The exact text, whose SHA-256 stands in the ledger", text)
    return sheet.done()
