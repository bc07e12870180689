"""Who signed for an entry, and that no signed text was entered twice (47 CFR 1.20003(a); SEC-16, SEC-17, SEC-27).

Answers for the entries beside orders and acts, whose signers findings.py judges: certifications, withdrawals, readings,
seeds. The signed texts themselves are not in an export: what shows here is that one was used again, for an act that its
signer never ordered, and that somebody signed whose role cannot.
"""

from __future__ import annotations

from mediation.audit.findings import US, Findings
from mediation.audit.persons import Roster
from mediation.audit.tree import Ledger

ONCE = {
    "order-filed": "carrier_sha256", "command-accepted": "command_sha256", "case-read": "request_sha256",
    "sample-drawn": "request_sha256", "held": "hold_sha256", "call-back-filed": "call_back_sha256",
    "contact-tested": "signed_sha256", "modification-ordered": "signed_sha256", "extension-filed":
    "carrier_extension_sha256",
}  # fmt: skip
ALL = frozenset({"legal", "carrier", "officer", "auditor"})
MAY_SIGN = {
    "certificate-signed": {"officer", "executive"}, "sample-drawn": {"auditor"}, "revoked": {"legal", "carrier"},
    "agency-revoked": {"legal", "carrier"},
}  # fmt: skip
MAY_READ = {
    "list": ALL, "show": ALL, "certificate": ALL | {"executive"}, "statement": {"officer", "auditor", "executive"},
    "ledger": {"officer", "auditor"}, "export": {"officer", "auditor"}, "incident": {"officer", "auditor"},
    "honey": {"auditor"},
}  # fmt: skip


def examine(ledger: Ledger, roster: Roster | None, found: Findings) -> None:
    seen: dict[tuple[str, str], int] = {}
    for record in ledger.records:
        kind, facts = record.kind, record.facts
        text = str(facts.get(ONCE.get(kind, ""), ""))
        if text and (first := seen.setdefault((ONCE[kind], text), record.index)) != record.index:
            found.anomaly(f"one signed text was entered twice, as {kind}", first, record.index)
        may = MAY_READ.get(str(facts.get("what"))) if kind == "case-read" else MAY_SIGN.get(kind)
        if may is None or roster is None or not roster.lines:
            continue
        roles = roster.roles_at(str(facts["person"]), record.time_us // US)
        if roles and not roles & may:
            what = f"read ({facts['what']})" if kind == "case-read" else f"signed ({kind})"
            found.anomaly(f"{facts['person']} {what} as {', '.join(sorted(roles))}: that role cannot", record.index)
        elif not roles and kind != "case-read":
            found.anomaly(f"{facts['person']} signed ({kind}) and held no role then", record.index)
