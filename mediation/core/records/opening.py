"""The fields of a certification, each committed to by itself, so that one can be withheld and the others verified.

Answers for the six salted commitments that stand in the ledger's entry of each certification (47 CFR 1.20004(a)(1)(i)
to (vi)), and for opening some of them: SHA-256(salt || words), the words a JSON array in one spelling. A salt is drawn
from the document's own secret nonce, so that a salt that was shown tells nothing of the nonce and of no other field. An
auditor's export so keeps the numbers, the presenting officer and the judge to the site, field by field, and nobody can
open one to anything else later. It decides nothing, and reads no file and no clock.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from typing import Final

import msgspec

from mediation.core.records import certificate
from mediation.core.records.certificate import Certificate

NUMBERS: Final = tuple(number for number, _, _ in certificate.FIELDS)
MASKED: Final = frozenset({"i", "iii", "iv"})  # the numbers, who presented the order, who signed it
_SALT: Final = "mediation certification field "


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field opened: the salt, hex, and the exact octets of its words."""

    number: str
    salt: str
    words: str


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What an export has of one certification. `text` and `signature` only where every field is opened."""

    certificate_sha256: str
    fields: tuple[Field, ...]
    text: str = ""
    signature: str = ""


def fields(document: Certificate) -> tuple[Field, ...]:
    """All six, opened."""
    return tuple(
        Field(
            number=number, salt=hmac.digest(document.nonce.encode(), f"{_SALT}{number}".encode(), "sha256").hex(),
            words=msgspec.json.encode(certificate.field(document, name)).decode(),
        )
        for number, name, _ in certificate.FIELDS
    )  # fmt: skip


def commitments(document: Certificate) -> tuple[str, ...]:
    """What stands in the ledger for each field, SHA-256 in lower-case hex, in the order of the rule."""
    return tuple(
        hashlib.sha256(bytes.fromhex(each.salt) + each.words.encode()).hexdigest() for each in fields(document)
    )


def opened(text: str, signature: str, wanted: Collection[str]) -> Opening:
    """A certification with these of its fields; with all of them its whole text and signature besides."""
    chosen = tuple(each for each in fields(certificate.decode(text)) if each.number in wanted)
    whole = len(chosen) == len(NUMBERS)
    return Opening(
        certificate_sha256=certificate.digest(text), fields=chosen, text=text if whole else "",
        signature=signature if whole else "",
    )  # fmt: skip
