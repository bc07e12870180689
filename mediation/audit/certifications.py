"""Certifications of an export, field by field (47 CFR 1.20004(a)(1)): what is opened is what was drafted.

Answers for each opened field against its salted commitment in the entry `certificate-drafted`, for what is masked being
named as masked, and, where a certification is opened whole, for its text, for every field in it, and for the signature
of its overseeing person by a key of the roster (1.20004(a)(2)).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mediation.audit import tokens
from mediation.audit.archive import Export
from mediation.audit.findings import US, Finding, Findings
from mediation.audit.persons import Roster
from mediation.audit.tokens import Bad
from mediation.audit.tree import Ledger, Record

FOLDER = "certifications"
TYP = "mediation-certificate"
NUMBERS = ("i", "ii", "iii", "iv", "v", "vi")
NAMES = {"i": "numbers", "ii": "enabled", "iii": "presenting_officer", "iv": "authorizing_person", "v": "authority"}
SALT_OCTETS = 32


def examine(export: Export, ledger: Ledger, roster: Roster | None, found: Findings) -> tuple[list[Finding], list[Any]]:
    """What is forged, and a row for each certification that came: its entry, case, opened fields, masked ones."""
    forged: list[Finding] = []
    rows: list[dict[str, Any]] = []
    drafted = {str(e.facts.get("certificate_sha256")): e for e in ledger.records if e.kind == "certificate-drafted"}
    signed = {str(e.facts.get("certificate_sha256")): e for e in ledger.records if e.kind == "certificate-signed"}
    for name in export.below(FOLDER):
        digest = name.removeprefix(f"{FOLDER}/").removesuffix(".json")
        entry = drafted.get(digest)
        if entry is None:
            forged.append(Finding(f"{name}: no opened entry says that it was drafted"))
            continue
        try:
            said = tokens.members(export.files[name])
            opened = _fields(said, entry)
            whole = bool(said.get("text"))
            if whole:
                _whole(said, entry, signed.get(digest), roster, opened)
        except Bad as error:
            forged.append(Finding(f"the certification {digest[:16]}: {error}", (entry.index,)))
            continue
        except (KeyError, TypeError, ValueError):
            forged.append(Finding(f"the certification {digest[:16]}: not readable", (entry.index,)))
            continue
        masked = [number for number in NUMBERS if number not in opened]
        rows.append(
            {
                "entry": entry.index, "case": entry.facts.get("case"), "opened": opened, "masked": masked,
                "signature_checked": whole and digest in signed,
            }
        )  # fmt: skip
        if not whole and not masked:
            found.notice(f"the certification {digest[:16]}: opened without its text", entry.index)
    return forged, rows


def _fields(said: dict[str, Any], entry: Record) -> dict[str, list[str]]:
    """The words of each opened field. Raises Bad."""
    if said.get("certificate_sha256") != entry.facts["certificate_sha256"]:
        raise Bad("it is of another certification")
    commitments = entry.facts.get("fields")
    if not isinstance(commitments, list) or len(commitments) != len(NUMBERS):
        raise Bad("its entry has no commitments to its fields")
    opened: dict[str, list[str]] = {}
    for each in said["fields"]:
        number, words = str(each["number"]), str(each["words"])
        salt = bytes.fromhex(each["salt"])
        if number not in NUMBERS or number in opened or len(salt) != SALT_OCTETS:
            raise Bad("a field that is none, or twice")
        if hashlib.sha256(salt + words.encode()).hexdigest() != commitments[NUMBERS.index(number)]:
            raise Bad(f"field ({number}) is not what was drafted")
        opened[number] = [str(word) for word in json.loads(words)]
    return opened


def _whole(
    said: dict[str, Any], entry: Record, signed: Record | None, roster: Roster | None, opened: dict[str, list[str]]
) -> None:  # fmt: skip
    """The text is the one that was drafted, says the same in each field, and its overseeing person signed it."""
    text = str(said["text"])
    if hashlib.sha256(text.encode()).hexdigest() != entry.facts.get("certificate_sha256"):
        raise Bad("its text is not the one that was drafted")
    document = tokens.members(text.encode())
    responsible = document["responsible"]
    if opened.get("vi") != [responsible["name"], responsible["function"], responsible["person"]]:
        raise Bad("field (vi) is another in its text")
    for number, name in NAMES.items():
        value = document[name]
        if opened.get(number) != (value if isinstance(value, list) else [value]):
            raise Bad(f"field ({number}) is another in its text")
    if signed is None:
        return
    signature = str(said["signature"])
    if hashlib.sha256(signature.encode()).hexdigest() != signed.facts.get("signature_sha256"):
        raise Bad("not the signature that was entered")
    token = tokens.split(signature)
    if token.typ != TYP or token.payload != text.encode():
        raise Bad("signed over another text")
    if roster is not None and roster.lines:
        key = roster.keys.get(token.kid)
        if key is None or {key.person, signed.facts.get("person")} != {responsible["person"]}:
            raise Bad("not signed by its overseeing person")
        tokens.verify(token, key)
        if not key.not_before_s <= signed.time_us // US < key.not_after_s:
            raise Bad("signed with a key that was not valid then")
