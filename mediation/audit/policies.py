"""The plan in the auditor's eyes: whether its 7x24 contact is reached (47 CFR 1.20003(b)(4)(ii)), whether what the
Commission ordered is carried out (1.20005(b)), and whether the texts that came are those that were entered.

Answers for three things. Each calendar month (UTC) since a plan is in force has a call that the contact answered, by
somebody who may sign for it and is not the contact. Each order of the Commission is followed, by its day, by the filing
of a later version of the plan that names its document. And the signed texts and plans beside the ledger are the ones
whose hashes were entered, say what their entries say, and are signed with keys of the roster.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from mediation.audit import tokens
from mediation.audit.archive import Export
from mediation.audit.findings import US, Finding, Findings
from mediation.audit.persons import Roster
from mediation.audit.statements import MAX_MONTHS, ends_s, month_of
from mediation.audit.tokens import Bad
from mediation.audit.tree import Ledger, Record

FOLDER = "plan"
SIGNED = "plan/signed"
TEST, ORDERED = "contact-tested", "modification-ordered"
TYPES = {TEST: "mediation-contact-test", ORDERED: "mediation-modification"}
SAME = {
    TEST: ("called_s", "answered", "answer_s", "appendix_sha256"), ORDERED: ("document_sha256", "due_s", "version"),
}  # fmt: skip
ROLES = {"officer", "executive"}
LAB_VERSION = 1  # of the plan that a lab begins with: its file is named by the hash of all of it
LEAST_S = 7 * 86_400  # a month of which less was left when the plan came in force needs no call (the house's rule)


@dataclass
class Policies:
    """Rows for the page and for programs: calls of the contact, and orders of the Commission."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)


def examine(export: Export, ledger: Ledger, roster: Roster | None, found: Findings) -> tuple[list[Finding], Policies]:
    """What is forged, and the rows."""
    forged: list[Finding] = []
    policies = Policies()
    contacts = _plans(export, ledger, forged)
    _absent(export, ledger, found)
    acts = [each for each in ledger.records if each.kind in TYPES]
    for each in acts:
        name, checked = _name(each), False
        octets = export.files.get(name)
        if octets is None:
            found.notice(f"the signed text of an entry {each.kind} is not in this export", each.index)
        else:
            try:
                _same(octets, each, roster, contacts)
                checked = roster is not None and bool(roster.lines)
            except Bad as error:
                forged.append(Finding(f"{name}: {error}", (each.index,)))
        try:
            _role(each, roster, found)
            if each.kind == TEST:
                policies.calls.append(_call(each, checked))
        except (KeyError, TypeError, ValueError):
            found.anomaly(f"an entry {each.kind} of a form that this tool cannot judge", each.index)
    named = {_name(each) for each in acts}
    if strays := [name for name in export.below(SIGNED) if name not in named]:
        found.notice(f"{len(strays)} files of {SIGNED}/ are named by no entry")
    _months(ledger, policies, found)
    _orders(ledger, policies, found)
    return forged, policies


# --- texts ------------------------------------------------------------------------------------------------------------


def _plans(export: Export, ledger: Ledger, forged: list[Finding]) -> dict[str, list[str]]:
    """Numbers and addresses by the SHA-256 of the appendix that has them. A plan that came is the one entered."""
    contacts: dict[str, list[str]] = {}
    adopted = {f"{FOLDER}/{each.facts.get('version')}.json": each for each in ledger.records
               if each.kind == "plan-adopted"}  # fmt: skip
    begun = next((each for each in ledger.records if each.kind == "site-made" and each.facts.get("plan")), None)
    for name in export.below(FOLDER):
        if name.startswith(f"{SIGNED}/"):
            continue
        entry = adopted.get(name)
        lab = begun if name == f"{FOLDER}/{LAB_VERSION}.json" else None
        if lab is not None and hashlib.sha256(export.files[name]).hexdigest() != lab.facts["plan"]:
            forged.append(Finding(f"{name}: not the plan that was entered", (lab.index,)))
            continue
        try:
            kept = json.loads(export.files[name])
            body, appendix = json.loads(kept["plan"]), json.loads(kept["appendix"])
            reached = appendix["contact"]
            hashes = [hashlib.sha256(kept[each].encode()).hexdigest() for each in ("plan", "appendix")]
            said = list(body.get("modifications", []))
            contacts[hashes[1]] = [str(reached.get(each)) for each in ("telephone", "mail") if reached.get(each)]
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            if entry is not None:
                forged.append(Finding(f"{name}: not readable", (entry.index,)))
            continue
        if entry is None:
            continue  # the lab's first plan, or of no entry at all
        if hashes != [entry.facts.get("plan_sha256"), entry.facts.get("appendix_sha256")]:
            forged.append(Finding(f"{name}: not the plan that was entered", (entry.index,)))
        elif said != list(entry.facts.get("modifications", [])):
            forged.append(Finding(f"{name}: names other orders than its entry", (entry.index,)))
    return contacts


def _absent(export: Export, ledger: Ledger, found: Findings) -> None:
    """Texts that every export has of what was entered. Without one nobody sees what was in force; without any plan
    nothing may be intercepted at all (47 CFR 1.20003, 1.20005(c))."""
    entered: dict[int, int] = {}
    for each in ledger.records:
        if each.kind == "plan-adopted" or (each.kind == "site-made" and each.facts.get("plan")):
            version = each.facts.get("version", LAB_VERSION)
            if isinstance(version, int):
                entered.setdefault(version, each.index)
    for version, index in entered.items():
        if f"{FOLDER}/{version}.json" not in export.files:
            found.anomaly(f"the text of version {version} of the plan is not in the export: what was in force then is "
                          "not to be seen", index)  # fmt: skip
    if not entered:
        filed = next((each.index for each in ledger.records if each.kind == "order-filed"), None)
        what = "no plan of policies was ever adopted here, so the export has no text of one"
        if filed is None:
            found.notice(what)
        else:
            found.anomaly(f"{what}; and an order was filed", filed)


def _name(entry: Record) -> str:
    return f"{SIGNED}/{entry.facts.get('signed_sha256')}.jws"


def _same(octets: bytes, entry: Record, roster: Roster | None, contacts: dict[str, list[str]]) -> None:
    """That a signed text is the one of an entry, says the same, and is of a key of the roster. Raises Bad."""
    if hashlib.sha256(octets).hexdigest() != entry.facts.get("signed_sha256"):
        raise Bad("not the text that was entered")
    token = tokens.split(octets.decode("ascii", "replace"))
    said = token.members()
    if token.typ != TYPES[entry.kind] or any(said.get(each) != entry.facts.get(each) for each in SAME[entry.kind]):
        raise Bad("says something else than its entry")
    numbers = contacts.get(str(said.get("appendix_sha256")))
    if entry.kind == TEST and numbers is not None and said.get("called") not in numbers:
        raise Bad("a call of a number that is not in the appendix")
    if roster is not None and roster.lines:
        key = roster.keys.get(token.kid)
        if key is None or key.person != entry.facts.get("person"):
            raise Bad("signed with a key that the roster has not of its signer")
        tokens.verify(token, key)
        if not key.not_before_s <= entry.time_us // US < key.not_after_s:
            raise Bad("signed with a key that was not valid then")


def _role(entry: Record, roster: Roster | None, found: Findings) -> None:
    if roster is None or not roster.lines:
        return
    person, now_s = str(entry.facts["person"]), entry.time_us // US
    if not roster.roles_at(person, now_s) & ROLES:
        found.anomaly(f"{person} signed for an entry {entry.kind} and was no officer or executive then", entry.index)
    if entry.kind == TEST and person in roster.seniors_at(now_s):
        found.anomaly(f"{person} tried himself as the 7x24 contact", entry.index)


# --- the contact ------------------------------------------------------------------------------------------------------


def _call(entry: Record, checked: bool) -> dict[str, Any]:
    facts = entry.facts
    return {
        "entry": entry.index, "called_s": int(facts["called_s"]), "answered": bool(facts["answered"]),
        "answer_s": int(facts["answer_s"]), "person": str(facts["person"]), "signature_checked": checked,
    }  # fmt: skip


def _months(ledger: Ledger, policies: Policies, found: Findings) -> None:
    """Those that are over, since a plan was in force, in which no call was answered."""
    first = next(
        (each for each in ledger.records if each.kind == "plan-adopted"
         or (each.kind == "site-made" and each.facts.get("plan"))), None,
    )  # fmt: skip
    if first is None:
        return
    reached = {month_of(each["called_s"] * US) for each in policies.calls if each["answered"]}
    month, last_s = month_of(first.time_us), ledger.records[-1].time_us // US
    if month and first.time_us // US > ends_s(month) - LEAST_S:
        month = month_of(ends_s(month) * US)
    for _ in range(MAX_MONTHS):
        if not month or ends_s(month) > last_s:
            return
        if month not in reached:
            found.anomaly(f"no call reached the 7x24 contact of the plan in {month}", first.index)
        month = month_of(ends_s(month) * US)


# --- the Commission's orders ------------------------------------------------------------------------------------------


def _orders(ledger: Ledger, policies: Policies, found: Findings) -> None:
    """Each document once, with the last day that was entered for it and the filing that names it."""
    for entry in ledger.records:
        facts = entry.facts
        try:
            if entry.kind == ORDERED:
                _ordered(entry, policies, found)
            elif entry.kind == "plan-adopted" and facts.get("confirmation"):
                for row in policies.orders:
                    named = row["document_sha256"] in facts.get("modifications", ())
                    if named and row["filed"] is None and int(facts["version"]) > row["version"]:
                        row.update(filed=entry.index, filed_version=int(facts["version"]))
                        if int(facts["filed_s"]) > row["due_s"]:
                            found.anomaly("a modification that the Commission ordered was filed after its day",
                                          row["entry"], entry.index)  # fmt: skip
        except (KeyError, TypeError, ValueError):
            found.anomaly(f"an entry {entry.kind} of a form that this tool cannot judge", entry.index)
    for row in policies.orders:
        if row["filed"] is None and row["due_s"] * US < ledger.records[-1].time_us:
            found.anomaly("a modification that the Commission ordered was not filed by its day", row["entry"])


def _ordered(entry: Record, policies: Policies, found: Findings) -> None:
    facts = entry.facts
    due_s, document = int(facts["due_s"]), str(facts["document_sha256"])
    known = next((row for row in policies.orders if row["document_sha256"] == document), None)
    if known is None:
        policies.orders.append(
            {
                "entry": entry.index, "document_sha256": document, "due_s": due_s, "version": int(facts["version"]),
                "person": str(facts["person"]), "filed": None, "filed_version": None,
            }
        )  # fmt: skip
    else:
        found.notice(f"the day of the Commission's order {document[:16]} was changed by {facts['person']}",
                     known["entry"], entry.index)  # fmt: skip
        known["due_s"] = due_s
