"""The orders of an export, one row each: from the filing to the certification, with the entry of each step.

Answers for a table that an auditor compares with the paper; what is wrong in it stands among the anomalies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mediation.audit import words
from mediation.audit.findings import XID_DIGITS, when
from mediation.audit.tree import Ledger, Record

ENDS = {"expired": "ended by its own time", "revoked": "withdrawn", "sealed": "records sealed"}


@dataclass
class Order:
    """`steps` are (words, entry), in their order."""

    case: str
    xid: str
    agency: str = ""
    authority: str = ""
    steps: list[tuple[str, int]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"case": self.case, "xid": self.xid, "agency": self.agency, "authority": self.authority,
                "steps": [{"what": what, "entry": index} for what, index in self.steps]}  # fmt: skip

    def row(self) -> str:
        what = [each for each, _ in self.steps]
        drafted, signed = (sum(each.startswith(f"certification {way}") for each in what) for way in ("draft", "signed"))
        open_ = f"; {drafted - signed} CERTIFICATIONS NOT SIGNED" if drafted > signed else ""
        head = f"case {self.case}: {words.authority(self.authority) or 'filing not opened'}"
        return (
            f"{head}{' for ' + self.agency if self.agency else ''}; "
            + "; ".join(f"{each} (entry {index})" for each, index in self.steps)
            + open_
        )


def table(ledger: Ledger) -> list[Order]:
    """In the order of their first entry here."""
    found: dict[str, Order] = {}
    drafted: dict[str, str] = {}
    last: dict[str, str] = {}  # order by case
    for record in ledger.records:
        facts = record.facts
        xid = str(facts.get("xid") or str(facts.get("carrier_sha256", ""))[:XID_DIGITS])
        if record.kind == "certificate-drafted":
            drafted[str(facts["certificate_sha256"])] = xid
        elif record.kind == "certificate-signed":
            xid = xid or drafted.get(str(facts["certificate_sha256"]), "")
        step = _step(record)
        if not step or "case" not in facts:
            continue
        if not xid:  # an entry that names the case alone is of its last order
            xid = last.get(str(facts["case"]), "")
        if not xid:
            continue
        order = found.setdefault(xid, Order(str(facts["case"]), xid))
        last[order.case] = xid
        if record.kind == "order-filed":
            order.agency, order.authority = facts["agency"], facts["authority"]
        order.steps.append((step, record.index))
    return list(found.values())


def _step(record: Record) -> str:
    facts, at = record.facts, when(record.time_us)
    if record.kind in ("order-filed", "extension-filed"):
        what = "filed" if record.kind == "order-filed" else "extension filed"
        return f"{what} {at}, reviewed by {facts['legal_person']}, authorized by {facts['carrier_person']}"
    if record.kind == "command-accepted":
        return f"{facts['act']} {at} by {facts['officer']}"
    if record.kind == "outcome" and not facts.get("refused") and facts["function"] == "iap":
        return f"{facts['act']} {at}"
    if record.kind == "certificate-drafted":
        return "certification drafted"
    if record.kind == "certificate-signed":
        return f"certification signed by {facts['person']}"
    return f"{ENDS[record.kind]} {at}" if record.kind in ENDS else ""
