"""Destroyed records (47 CFR 1.20004(b)): that each destruction was one, and not a way to take something away.

Answers for the certificate of destruction of each order being in the export and the one that was entered, for its
naming the very entries that are gone, for their time having passed, as the plan has it, and for no hold standing.
What an entry said that is gone nobody can read here: an older export, if the auditor kept one, still opens it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from mediation.audit import forms
from mediation.audit.archive import Export
from mediation.audit.findings import DAY_US, US, XID_DIGITS, Finding, Findings
from mediation.audit.tokens import Bad
from mediation.audit.tree import Ledger, Record

FOLDER = "destruction"
DAY_S = 86_400
NUMBERS = ("sealed_s", "destroy_after_s", "destroyed_us", "retention_days", "plan_version")


def examine(export: Export, ledger: Ledger, found: Findings) -> list[Finding]:
    """What is forged."""
    forged: list[Finding] = []
    orders: dict[str, list[Record]] = {}
    sealed: dict[str, Record] = {}
    cases: dict[str, str] = {}
    held: dict[str, Record] = {}
    plans: list[Record] = []
    for record in ledger.records:
        facts = record.facts
        if xid := str(facts.get("xid") or str(facts.get("carrier_sha256", ""))[:XID_DIGITS]):
            cases.setdefault(xid, str(facts.get("case", "")))
        if record.kind == "sealed":
            sealed[xid] = record
            _retention(plans, record, found)
        elif record.kind == "plan-adopted":
            plans.append(record)
        elif record.kind == "held":
            if facts["hold"]:
                held[facts["case"]] = record
            else:
                held.pop(facts["case"], None)
        elif record.kind == "destroyed":
            orders.setdefault(facts["xid"], []).append(record)
            if (hold := held.get(cases.get(facts["xid"], ""))) is not None:
                found.anomaly("records were destroyed while a hold stood on their case", hold.index, record.index)
            if (seal := sealed.get(facts["xid"])) and record.time_us < seal.facts["destroy_after_s"] * US:
                found.anomaly("records were destroyed before the end of their retention", seal.index, record.index)
    for xid, entries in orders.items():
        name = f"{FOLDER}/{xid}.json"
        octets = export.files.get(name)
        at = tuple(each.index for each in entries)
        if octets is None:
            found.anomaly("records were destroyed, and the certificate of their destruction is not in this export", *at)
            continue
        try:
            said = _same(octets, entries)
        except Bad as error:
            forged.append(Finding(f"{name}: {error}", at))
            continue
        _lawful(plans, said, sealed.get(xid), entries, found)
    return forged


def _retention(plans: list[Record], record: Record, found: Findings) -> None:
    """`plans`: those that were entered before it."""
    days = plans[-1].facts["retention_days"] if plans else None
    if days is not None and record.facts["destroy_after_s"] < record.time_us // US + days * DAY_S:
        found.anomaly(
            f"case {record.facts['case']}: to be kept for less than the {days} days of the plan",
            plans[-1].index, record.index,
        )  # fmt: skip


def _same(octets: bytes, entries: list[Record]) -> dict[str, Any]:
    """The certificate, when it is the one that was entered and says the same. Raises Bad."""
    digest = hashlib.sha256(octets).hexdigest()
    if any(each.facts["certificate_sha256"] != digest for each in entries):
        raise Bad("not the certificate of destruction that was entered")
    said = forms.members(octets.decode("utf-8", "replace"))
    indexes = said.get("entries")
    if any(type(said.get(name)) is not int for name in NUMBERS) or not isinstance(indexes, list):
        raise Bad("not a certificate of destruction")
    if said.get("xid") != entries[0].facts["xid"] or indexes != [n for each in entries for n in each.facts["entries"]]:
        raise Bad("names another order, or other entries, than the ledger")
    return said


def _lawful(
    entered: list[Record], said: dict[str, Any], seal: Record | None, entries: list[Record], found: Findings
) -> None:  # fmt: skip
    """Whether its own words allow it; `seal` is the entry of its sealing, where that is still opened."""
    at = entries[0].index
    if said["destroy_after_s"] * US > entries[0].time_us or said["destroyed_us"] > entries[-1].time_us + DAY_US:
        found.anomaly("records were destroyed before the end of their retention, by their own certificate", at)
    if seal is not None and (seal.facts["destroy_after_s"], seal.time_us // US) != (
        said["destroy_after_s"], said["sealed_s"],
    ):  # fmt: skip
        found.anomaly("a certificate of destruction says something else than the sealing", seal.index, at)
    if seal is None and not said["entries"]:
        found.anomaly("records were destroyed, and no entry says that their time had begun", at)
    plans = [each for each in entered if each.index < at]
    then = [each.facts["retention_days"] for each in plans if each.time_us // US <= said["sealed_s"]]
    days = then[-1] if then else said["retention_days"]
    if said["destroy_after_s"] < said["sealed_s"] + days * DAY_S:
        found.anomaly(f"records were kept for less than the {days} days of the plan", at)
    named = (said["plan_version"], said.get("plan_sha256"), said["retention_days"])
    facts = [(each.facts["version"], each.facts["plan_sha256"], each.facts["retention_days"]) for each in plans]
    if plans and named not in facts:
        found.anomaly("records were destroyed by a plan, or a retention, that was never entered", at)
