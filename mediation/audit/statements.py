"""The monthly statements of completeness (47 CFR 1.20004(c)): each month has one, signed, and it says what is there.

Answers for three things. Every calendar month that the ledger covers has a statement that the senior officer of that
day signed, in time, and that states no difference. The signed text, where the export has it, is the one that was
entered, by a key of the roster. And its counts are those of the entries, as far as all of them are opened. The head
that a statement names is compared with the tree elsewhere (tree.py).
"""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from typing import Any

from mediation.audit import tokens
from mediation.audit.archive import Export
from mediation.audit.findings import US, Finding, Findings
from mediation.audit.persons import Roster
from mediation.audit.tokens import Bad
from mediation.audit.tree import MISSING, Ledger, Record

FOLDER = "statements"
TYP = "mediation-statement"
LATE_S = 14 * 86_400  # after the month's end (the house's bound; the rule names none)
MAX_MONTHS = 1_200
COUNTED = ("orders", "activated", "enabled", "extended", "incidents")


def examine(export: Export, ledger: Ledger, roster: Roster | None, found: Findings) -> tuple[list[Finding], list[Any]]:
    """What is forged, and a row for each month: its name, entries, signer and number of differences."""
    forged: list[Finding] = []
    rows: list[dict[str, Any]] = []
    drafted = {str(each.facts.get("month")): each for each in ledger.records if each.kind == "statement-drafted"}
    signed = {str(each.facts.get("month")): each for each in ledger.records if each.kind == "statement-signed"}
    counted = _counted(ledger)
    for month in _months(ledger):
        draft, signature = drafted.get(month), signed.get(month)
        rows.append(
            {
                "month": month, "drafted": draft.index if draft else None, "signed": signature.index if signature else
                None, "person": signature.facts.get("person") if signature else None,
                "differences": draft.facts.get("differences") if draft else None,
            }
        )  # fmt: skip
        if signature is None or draft is None:
            if ends_s(month) + LATE_S < ledger.records[-1].time_us // US:
                found.anomaly(f"month {month}: no signed statement that its records are complete", *_index(draft))
            continue
        if draft.facts.get("differences"):
            found.anomaly(f"month {month}: the statement names {draft.facts['differences']} differences", draft.index)
        if signature.time_us // US > ends_s(month) + LATE_S:
            found.anomaly(f"month {month}: stated later than two weeks after it", signature.index)
        person = str(signature.facts.get("person"))
        if roster is not None and roster.lines and person not in roster.seniors_at(signature.time_us // US):
            found.anomaly(f"month {month}: signed by {person}, who was not the senior officer then", signature.index)
        octets = export.files.get(f"{FOLDER}/{month}.jws")
        if octets is None:
            found.notice(f"month {month}: the statement's text is not in this export", signature.index)
            continue
        try:
            said = _opened(octets, draft, signature, roster, person)
        except Bad as error:
            forged.append(Finding(f"the statement of {month}: {error}", (signature.index,)))
            continue
        except (KeyError, TypeError, ValueError):
            forged.append(Finding(f"the statement of {month}: not readable", (signature.index,)))
            continue
        if counted is not None:
            _compare(month, said, counted[month], found, signature.index)
    for name in export.below(FOLDER):
        if name.removeprefix(f"{FOLDER}/").removesuffix(".jws") not in signed:
            forged.append(Finding(f"{name}: no entry says that it was signed"))
    return forged, rows


def _opened(
    octets: bytes, draft: Record, signature: Record, roster: Roster | None, person: str
) -> dict[str, Any]:  # fmt: skip
    """What a signed statement says, when it is the one of these entries. Raises Bad."""
    text = octets.decode("ascii", "replace")
    if hashlib.sha256(text.encode()).hexdigest() != signature.facts.get("signature_sha256"):
        raise Bad("not the signature that was entered")
    token = tokens.split(text)
    digest = hashlib.sha256(token.payload).hexdigest()
    if token.typ != TYP or {digest} != {draft.facts.get("statement_sha256"), signature.facts.get("statement_sha256")}:
        raise Bad("not the text that was entered")
    if roster is not None and roster.lines:
        key = roster.keys.get(token.kid)
        if key is None or key.person != person:
            raise Bad("signed with a key that the roster has not of its signer")
        tokens.verify(token, key)
        if not key.not_before_s <= signature.time_us // US < key.not_after_s:
            raise Bad("signed with a key that was not valid then")
    said = token.members()
    facts = {name: draft.facts.get(name) for name in ("month", "first", "last", "differences")}
    differences = said.get("differences")
    total = sum(int(each["count"]) for each in differences) if isinstance(differences, list) else -1
    if facts != {**{name: said.get(name) for name in ("month", "first", "last")}, "differences": total}:
        raise Bad("says something else than its entry")
    return said


def _counted(ledger: Ledger) -> dict[str, Counter[str]] | None:
    """Of each month what its entries say; None where not all of them are opened."""
    if ledger.withheld or ledger.destroyed or ledger.states[MISSING]:
        return None
    months: dict[str, Counter[str]] = {month: Counter() for month in _months(ledger)}
    enabled: set[str] = set()
    for record in ledger.records:
        month, facts = months.setdefault(month_of(record.time_us), Counter()), record.facts
        if record.kind == "order-filed":
            month["orders"] += 1
        elif record.kind == "command-accepted" and facts.get("act") == "activate":
            month["activated"] += 1
        elif record.kind == "extension-filed":
            month["extended"] += 1
        elif record.kind == "incident":
            month["incidents"] += 1
        elif record.kind == "outcome" and _armed(facts) and str(facts.get("xid")) not in enabled:
            enabled.add(str(facts.get("xid")))
            month["enabled"] += 1
    return months


def _armed(facts: dict[str, Any]) -> bool:
    return (facts.get("function"), facts.get("act"), facts.get("refused", "")) == ("iap", "armed", "")


def _compare(month: str, said: dict[str, Any], counted: Counter[str], found: Findings, index: int) -> None:
    counts = said.get("counts")
    stated = counts if isinstance(counts, dict) else {}
    for name in COUNTED:
        if stated.get(name) != counted[name]:
            found.anomaly(f"month {month}: stated {stated.get(name)} {name}, the ledger has {counted[name]}", index)


def _months(ledger: Ledger) -> list[str]:
    """Those that are over when the ledger's last entry was made, from its first entry on."""
    found: list[str] = []
    if not ledger.records:
        return found
    month, last_s = month_of(ledger.records[0].time_us), ledger.records[-1].time_us // US
    while len(found) < MAX_MONTHS and month and ends_s(month) <= last_s:
        found.append(month)
        month = month_of(ends_s(month) * US)
    return found


def month_of(time_us: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(time_us // US, datetime.UTC).strftime("%Y-%m")
    except (OverflowError, ValueError, OSError):
        return ""


def ends_s(month: str) -> int:
    year, number = int(month[:4]), int(month[5:])
    following = datetime.datetime(year + number // 12, number % 12 + 1, 1, tzinfo=datetime.UTC)
    return int(following.timestamp())


def _index(record: Record | None) -> tuple[int, ...]:
    return () if record is None else (record.index,)
