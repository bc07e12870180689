"""The forms of the ledger's entries, as this tool knows them: which members each kind has, and what may stand there.

Answers for nobody's entry ending the tool, or being read in two ways: whoever holds the ledger's key can enter any
text, and it is the site that is audited. Each member stands once and is of its type; numbers are whole and in range;
names and hashes are in plain letters, so that nobody has two spellings. What persons wrote is left as they wrote it. A
kind that is not in the table is let through with its date: a later release may have it, and the page says that nobody
judged it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from mediation.audit.tokens import Bad

MAX_NUMBER = (1 << 63) - 1
MAX_SECONDS = 32_503_680_000  # the year 3000: later than any day that the daemon takes
MAX_RECORD = 65_536  # octets; the daemon's own bound is 8,192
NAME = re.compile(r"[\x20-\x7e]*")
HASH = re.compile(r"[0-9a-f]*")

# name, text, hash, number, flag; ? after it: may be left out; * before it: a list of them; % before it: by name.
FORMS: dict[str, dict[str, str]] = {
    kind: {"time_us": "number", **dict(member.split(":") for member in members.split())}
    for kind, members in {
        "site-made": "origin:name lab:flag founding:hash? plan:hash?",
        "keys-loaded": "rings:%hash",
        "order-filed": "case:name xid:hash agency:name authority:name legal_sha256:hash carrier_sha256:hash "
                       "document_sha256:hash legal_person:name carrier_person:name",
        "command-accepted": "case:name act:name sequence:number legal_sha256:hash carrier_sha256:hash "
                            "command_sha256:hash officer:name",
        "outcome": "case:name xid:hash function:name act:name sequence:number refused:name?",
        "expired": "case:name carrier_sha256:hash by:hash?",
        "revoked": "case:name carrier_sha256:hash token_sha256:hash revocation_sha256:hash person:name",
        "agency-revoked": "agency:name revocation_sha256:hash person:name issued_s:number orders:number",
        "refused": "check:name text_sha256:hash suppressed:number? uid:number?",
        "recovered": "first:number size:number",
        "padding": "",
        "roster-changed": "number:number change_sha256:hash approvers:*name",
        "extension-filed": "case:name carrier_sha256:hash legal_extension_sha256:hash carrier_extension_sha256:hash "
                           "document_sha256:hash legal_person:name carrier_person:name not_after_s:number",
        "call-back-filed": "case:name legal_sha256:hash call_back_sha256:hash person:name",
        "sealed": "case:name carrier_sha256:hash destroy_after_s:number",
        "destroyed": "xid:hash certificate_sha256:hash entries:*number",
        "held": "case:name hold:flag hold_sha256:hash person:name",
        "alarm": "alarm:name case:name? detail:text?",
        "witnesses-lost": "size:number grace_ends_us:number",
        "witnesses-found": "size:number",
        "stamped": "subject_sha256:hash authority:name token_sha256:hash",
        "certificate-drafted": "case:name certificate_sha256:hash unauthorized:flag? xid:hash? fields:*hash?",
        "certificate-signed": "case:name certificate_sha256:hash signature_sha256:hash person:name xid:hash?",
        "statement-drafted": "month:name statement_sha256:hash first:number last:number differences:number",
        "statement-signed": "month:name statement_sha256:hash signature_sha256:hash person:name",
        "plan-adopted": "version:number plan_sha256:hash appendix_sha256:hash retention_days:number filed_s:number? "
                        "confirmation:text? modifications:*hash?",
        "amendment-opened": "cause:name due_s:number",
        "modification-ordered": "document_sha256:hash due_s:number version:number signed_sha256:hash person:name",
        "contact-tested": "called_s:number answered:flag answer_s:number appendix_sha256:hash signed_sha256:hash "
                          "person:name",
        "reconciled": "taps:number cases:number certifications:number differences:number rounds:number",
        "incident": "incident:name what:name evidence_sha256:hash agencies:number",
        "code-identity": "code_sha256:hash config_sha256:hash adapters_sha256:hash changed:*text?",
        "case-read": "case:name what:name person:name reason:text request_sha256:hash",
        "sample-drawn": "seed_sha256:hash person:name size:number request_sha256:hash?",
    }.items()
}  # fmt: skip


def read(text: str) -> dict[str, Any]:
    """The members of an entry, `kind` and `time_us` among them. Raises Bad, with the member that is wrong."""
    if len(text) > MAX_RECORD:
        raise Bad("longer than any entry")
    facts = members(text)
    kind = facts.get("kind")
    if not isinstance(kind, str) or not NAME.fullmatch(kind) or not _fits("time_us", facts.get("time_us"), "number"):
        raise Bad("without a kind or a time")
    form = FORMS.get(kind)
    if form is None:
        return facts
    for name, wanted in form.items():
        if name in facts:
            if not _fits(name, facts[name], wanted.rstrip("?")):
                raise Bad(f"{kind} with something else than a {wanted.strip('*%?')} in {name}")
        elif not wanted.endswith("?"):
            raise Bad(f"{kind} without {name}")
    if unknown := sorted(facts.keys() - form.keys() - {"kind"}):
        raise Bad(f"{kind} with a member that it has not: {unknown[0][:40]!r}")
    return facts


def members(text: str) -> dict[str, Any]:
    """A JSON object in which each member stands once, without fractions and what is no number. Raises Bad."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise Bad("a member stands twice")
        return dict(pairs)

    def none(said: str) -> Any:
        raise Bad(f"a number that is not whole: {said[:20]}")

    try:
        text.encode()
        found = json.loads(text, object_pairs_hook=once, parse_float=none, parse_constant=none)
    except (ValueError, RecursionError):
        raise Bad("not JSON") from None
    if not isinstance(found, dict):
        raise Bad("not a JSON object")
    return found


def _fits(name: str, value: Any, wanted: str) -> bool:
    if wanted.startswith("*"):
        return isinstance(value, list) and all(_fits(name, each, wanted[1:]) for each in value)
    if wanted.startswith("%"):
        return isinstance(value, dict) and all(_fits(name, each, wanted[1:]) for each in value.values())
    if wanted == "flag":
        return isinstance(value, bool)
    if wanted == "number":
        most = MAX_SECONDS * 1_000_000 if name.endswith("_us") else MAX_SECONDS if name.endswith("_s") else MAX_NUMBER
        return type(value) is int and (-1 if name == "uid" else 0) <= value <= most
    if not isinstance(value, str) or any(0xD800 <= ord(c) < 0xE000 for c in value):
        return False
    return wanted == "text" or (NAME if wanted == "name" else HASH).fullmatch(value) is not None
