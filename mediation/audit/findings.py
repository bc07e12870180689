"""What an auditor must look at, from the entries that are opened: anomalies first, each with its entries.

Answers for reading the ledger's story against the rules: three persons for each activation and none of them twice
(47 CFR 1.20003), a certification for each interception, signed in time (1.20004(a)), amendments filed within 90 days
(1.20005(a)), nothing armed without an act, who read what and why (SEC-17), alarms, incidents, differences found by
reconciliation, changed code, witnesses that were away. It judges only what is opened. Where an entry asks for another
that is not there, and some are withheld, that is said: whoever withholds one must not silence the question. Times in
microseconds since 1970 unless named `_s`.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mediation.audit import words
from mediation.audit.forms import FORMS
from mediation.audit.persons import Roster
from mediation.audit.tree import Ledger, Record

US = 1_000_000
DAY_US = 86_400 * US
CERTIFICATION_LATE_US = 3 * DAY_US  # the house's bound for "within a reasonable time" (1.20004(a)(3))
DRAFTED_LATE_US = 600 * US  # ours: it is drafted by itself within a minute of the arming, however busy the site is
CLOCK_SKEW_US = 60 * US
MAX_NAMED = 9  # entries of one finding
DRAFT_LIFE_US = 7 * DAY_US  # from the draft of a roster's change to its entry, as the administrator holds it
MAX_LISTED = 200  # readings on the page; all of them are in --json
EMERGENCY = "emergency-"  # types of orders that begin so need a second person's call-back (SEC-30)
XID_DIGITS = 32  # an order's XID is the beginning of its carrier token's hash
SIGNERS = {"legal_person": "legal", "carrier_person": "carrier"}


@dataclass(frozen=True)
class Finding:
    """`entries` are the indexes that it rests on."""

    what: str
    entries: tuple[int, ...] = ()


@dataclass
class Findings:
    anomalies: list[Finding] = field(default_factory=list)
    notices: list[Finding] = field(default_factory=list)
    readings: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    plans: list[dict[str, Any]] = field(default_factory=list)
    holders: dict[str, set[str]] = field(default_factory=dict)  # role -> persons that acted in it

    def anomaly(self, what: str, *entries: int) -> None:
        self.anomalies.append(Finding(what, entries))

    def notice(self, what: str, *entries: int) -> None:
        self.notices.append(Finding(what, entries))


def examine(ledger: Ledger, roster: Roster | None) -> Findings:
    found = Findings()
    story = _Story(ledger, roster, found)
    for record in ledger.records:
        story.read(record)
    story.end()
    return found


def when(time_us: int) -> str:
    """As people write it, UTC."""
    try:
        return datetime.datetime.fromtimestamp(time_us / US, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{time_us} us"


class _Story:
    """One pass over the opened entries, in their order."""

    def __init__(self, ledger: Ledger, roster: Roster | None, found: Findings) -> None:
        self._ledger = ledger
        self._roster = roster
        self._found = found
        self._last = 0
        self._filed: dict[str, Record] = {}  # by carrier token
        self._acts: dict[str, int] = {}  # acts by carrier token
        self._acted: set[str] = set()  # XIDs
        self._cases: dict[str, list[str]] = {}  # carrier tokens by case
        self._called: set[str] = set()  # legal tokens of emergency orders whose agency was called back
        self._armed: dict[str, Record] = {}  # first arming of a case
        self._drafted: dict[str, tuple[str, Record]] = {}  # certificate -> case
        self._signed: set[str] = set()
        self._sealed: dict[str, Record] = {}
        self._refused: Counter[str] = Counter()
        self._refused_at: dict[str, int] = {}
        self._due: list[Record] = []
        self._lost: Record | None = None
        self._changes: set[int] = set()  # lines of the roster that were entered
        self._unknown: dict[str, int] = {}  # kinds that this tool does not know, with the first entry of each
        self._unanswered: dict[str, list[int]] = {}  # what withheld entries may explain, with the entries that ask
        self._readers: dict[str, Callable[[Record], None]] = {
            "order-filed": self._order_filed, "extension-filed": self._extension_filed,
            "command-accepted": self._command, "outcome": self._outcome, "refused": self._refusal,
            "roster-changed": self._roster_changed, "alarm": self._alarm, "incident": self._incident,
            "reconciled": self._reconciled, "code-identity": self._code, "case-read": self._reading,
            "sample-drawn": self._sample, "certificate-drafted": self._certificate_drafted,
            "certificate-signed": self._certificate_signed, "plan-adopted": self._plan,
            "amendment-opened": self._due.append, "sealed": self._seal,
            "witnesses-lost": self._witnesses_lost, "witnesses-found": self._witnesses_found,
            "site-made": self._site_made,
            "recovered": self._recovered, "revoked": self._revoked, "call-back-filed": self._call_back,
            "agency-revoked": self._agency_revoked,
        }  # fmt: skip

    def read(self, record: Record) -> None:
        if record.kind != "padding":
            if record.time_us < self._last:
                self._found.anomaly("is dated before the entry before it: the clock ran backwards", record.index)
            self._last = max(self._last, record.time_us)
        reader = self._readers.get(record.kind)
        if record.kind not in FORMS:
            self._unknown.setdefault(record.kind, record.index)
        if reader is None:
            return
        try:
            reader(record)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._found.anomaly(f"an entry {record.kind} of a form that this tool cannot judge", record.index)

    def _without(self, general: str, what: str, index: int) -> None:
        """An entry asks for another that is not there; `general` says so of all of its sort."""
        if self._ledger.withheld or self._ledger.destroyed:
            self._unanswered.setdefault(general, []).append(index)
        else:
            self._found.anomaly(what, index)

    # --- orders and acts ---------------------------------------------------------------------------------------------

    def _order_filed(self, record: Record) -> None:
        facts = record.facts
        self._filed[facts["carrier_sha256"]] = record
        self._cases.setdefault(facts["case"], []).append(facts["carrier_sha256"])
        for name, role in SIGNERS.items():
            self._held(record, facts[name], role)
        if facts["legal_person"] == facts["carrier_person"]:
            self._found.anomaly(f"case {facts['case']}: one person reviewed and authorized it", record.index)

    def _extension_filed(self, record: Record) -> None:
        for name, role in SIGNERS.items():
            self._held(record, record.facts[name], role)

    def _command(self, record: Record) -> None:
        facts = record.facts
        self._held(record, facts["officer"], "officer")
        filed = self._filed.get(facts["carrier_sha256"])
        if filed is None:
            self._without("acts on orders whose filing is not here",
                          f"case {facts['case']}: an act on an order that was never filed", record.index)  # fmt: skip
        elif facts["officer"] in (filed.facts["legal_person"], filed.facts["carrier_person"]):
            self._found.anomaly(f"case {facts['case']}: the officer also signed the order", filed.index, record.index)
        done = self._acts.get(facts["carrier_sha256"], 0)
        if facts["sequence"] != done + 1:
            what = f"case {facts['case']}: act {facts['sequence']} follows act {done}"
            self._without("acts whose earlier acts are not here", what, record.index)
        self._acts[facts["carrier_sha256"]] = facts["sequence"]
        self._acted.add(facts["carrier_sha256"][:XID_DIGITS])
        emergency = filed is not None and filed.facts["authority"].startswith(EMERGENCY)
        if facts["act"] == "activate" and emergency and facts["legal_sha256"] not in self._called:
            what = f"case {facts['case']}: an emergency order was activated without a call-back"
            self._without("activations of emergency orders whose call-back is not here", what, record.index)
        if facts["act"] == "activate" and self._roster is not None and not self._roster.senior_at(record.time_us // US):
            self._found.anomaly(f"case {facts['case']}: activated with no senior officer in office", record.index)

    def _outcome(self, record: Record) -> None:
        facts = record.facts
        if facts["refused"]:
            self._found.notice(f"case {facts['case']}: {facts['function']} refused ({facts['refused']})", record.index)
        elif facts["act"] in ("armed", "changed"):
            if facts["xid"] not in self._acted:
                what = f"case {facts['case']}: armed without an officer's act before it"
                self._without("taps that were armed by an act that is not here", what, record.index)
            self._armed.setdefault(facts["case"], record)

    def _revoked(self, record: Record) -> None:
        self._found.notice(f"case {record.facts['case']}: revoked by {record.facts['person']}", record.index)

    def _agency_revoked(self, record: Record) -> None:
        facts = record.facts
        self._found.notice(
            f"agency {facts['agency']}: all authority withdrawn by {facts['person']}, {facts['orders']} orders ended",
            record.index,
        )

    def _call_back(self, record: Record) -> None:
        self._called.add(record.facts["legal_sha256"])
        filed = [self._filed[c] for c in self._cases.get(record.facts["case"], ()) if c in self._filed]
        if any(record.facts["person"] == each.facts["legal_person"] for each in filed):
            self._found.anomaly("the reviewer of an emergency order made the call-back himself", record.index)

    def _held(self, record: Record, person: str, role: str) -> None:
        """That `person` held `role` when the entry was made, and no other role in this ledger."""
        self._found.holders.setdefault(role, set()).add(person)
        for other, persons in self._found.holders.items():
            if other != role and person in persons and self._roster is None:
                self._found.anomaly(f"{person} acted as {role} and as {other}", record.index)
        if self._roster is not None and self._roster.lines:
            roles = self._roster.roles_at(person, record.time_us // US)
            if roles != {role}:
                said = ", ".join(sorted(roles)) or "no role"
                self._found.anomaly(f"{person} acted as {role} and held {said} then, by the roster", record.index)

    def _roster_changed(self, record: Record) -> None:
        number, stated = record.facts["number"], record.facts["change_sha256"]
        self._changes.add(number)
        if self._roster is None:
            self._found.anomaly("the roster was changed, and the export has no roster", record.index)
        elif number >= len(self._roster.lines):
            self._found.anomaly(f"roster line {number} was entered and is not in the roster", record.index)
        elif self._roster.lines[number] != stated:
            self._found.anomaly(f"roster line {number} is not the one that was entered", record.index)
        elif self._roster.approvers[number] != sorted(record.facts["approvers"]) and number:
            self._found.anomaly(f"roster line {number} was approved by others than the entry says", record.index)
        elif not -CLOCK_SKEW_US <= record.time_us - self._roster.issued[number] * US <= DRAFT_LIFE_US:
            # Whoever was an executive once could else sign for the time in which he was one.
            self._found.anomaly(f"line {number} of the roster was not entered within a week of its date", record.index)
        elif record.time_us >= self._roster.lapsed[number] * US:
            said = f"line {number} of the roster was entered when one who approved it had left office"
            self._found.anomaly(said, record.index)

    def _site_made(self, record: Record) -> None:
        pinned = record.facts.get("founding", "")
        if pinned and self._roster is None:
            self._found.anomaly("the site has a roster, and the export has not: who held which role is not to be seen",
                                record.index)  # fmt: skip
        if self._roster is not None and self._roster.lines and pinned not in ("", self._roster.lines[0]):
            self._found.anomaly("roster line 0 is not the founding that the ledger began with", record.index)

    # --- records of the rule -----------------------------------------------------------------------------------------

    def _certificate_drafted(self, record: Record) -> None:
        facts = record.facts
        self._drafted[facts["certificate_sha256"]] = (facts["case"], record)
        if facts.get("unauthorized"):
            self._found.anomaly(f"case {facts['case'] or '-'}: an interception without authorization", record.index)

    def _certificate_signed(self, record: Record) -> None:
        facts = record.facts
        drafted = self._drafted.get(facts["certificate_sha256"])
        self._signed.add(facts["certificate_sha256"])
        if drafted is not None and record.time_us - drafted[1].time_us > CERTIFICATION_LATE_US:
            self._found.anomaly(f"case {facts['case']}: certified later than 72 hours", drafted[1].index, record.index)

    def _plan(self, record: Record) -> None:
        facts = record.facts
        self._found.plans.append({**facts, "entry": record.index})
        if facts.get("filed_s"):
            self._due = [due for due in self._due if due.facts["due_s"] < facts["filed_s"]]

    def _seal(self, record: Record) -> None:
        self._sealed[record.facts["case"]] = record

    # --- detection and reading ---------------------------------------------------------------------------------------

    def _alarm(self, record: Record) -> None:
        facts = record.facts
        if facts["alarm"] == "witnesses-away" and self._lost is not None:
            return  # an outage is told by its two entries
        case = f" (case {facts['case']})" if facts.get("case") else ""
        means = words.ALARMS.get(facts["alarm"], "")
        said = f"{facts.get('detail') or 'no detail'}{f' ({means})' if means else ''}"
        self._found.anomaly(f"alarm {facts['alarm']}{case}: {said}", record.index)

    def _incident(self, record: Record) -> None:
        facts = record.facts
        self._found.anomaly(
            f"incident {facts['incident']}: {facts['what']}, {facts['agencies']} agencies", record.index
        )

    def _reconciled(self, record: Record) -> None:
        facts = record.facts
        if facts["differences"]:
            self._found.anomaly(
                f"{facts['taps']} taps, {facts['cases']} cases, {facts['certifications']} certifications: "
                f"{facts['differences']} differences", record.index,
            )  # fmt: skip

    def _code(self, record: Record) -> None:
        if record.facts["changed"]:
            self._found.anomaly(f"changed while it ran: {', '.join(record.facts['changed'])}", record.index)

    def _refusal(self, record: Record) -> None:
        self._refused[record.facts["check"]] += 1
        self._refused["(more, kept out by the rate limit)"] += record.facts.get("suppressed", 0)
        self._refused_at.setdefault(record.facts["check"], record.index)

    def _reading(self, record: Record) -> None:
        facts = record.facts
        row = {name: facts[name] for name in ("person", "what", "case", "reason")}
        self._found.readings.append({"entry": record.index, "time_us": record.time_us, **row})
        roster = self._roster
        if roster is not None and roster.lines and not roster.roles_at(facts["person"], record.time_us // US):
            self._found.anomaly(f"{facts['person']} read {facts['what']} and held no role then", record.index)

    def _sample(self, record: Record) -> None:
        self._found.samples.append({"entry": record.index, "time_us": record.time_us, **record.facts})

    def _recovered(self, record: Record) -> None:
        self._found.notice("the administrator stopped between an entry and its act, and recovered", record.index)

    def _witnesses_lost(self, record: Record) -> None:
        self._lost = record

    def _witnesses_found(self, record: Record) -> None:
        if self._lost is not None:
            hours = (record.time_us - self._lost.time_us) / (3600 * US)
            self._found.notice(f"no quorum of witnesses for {hours:.1f} hours", self._lost.index, record.index)
        self._lost = None

    def end(self) -> None:
        """What is judged when all entries have been read."""
        found, last = self._found, self._last
        for check, count in sorted(self._refused.items()):
            if count:
                found.notice(f"refused {count} times: {check}", *filter(None, [self._refused_at.get(check)]))
        if self._lost is not None:
            found.anomaly("the witnesses were lost and not found again", self._lost.index)
        for certificate, (case, drafted) in self._drafted.items():
            if certificate not in self._signed and last - drafted.time_us > CERTIFICATION_LATE_US:
                found.anomaly(f"case {case or '-'}: a certification has not been signed for 72 hours", drafted.index)
        certified = {case for case, _ in self._drafted.values()}
        for case, armed in self._armed.items():
            if case not in certified and case not in self._sealed and last - armed.time_us > DRAFTED_LATE_US:
                self._without("taps that were armed, and whose certification is not here",
                              f"case {case}: armed, and no certification was drafted", armed.index)  # fmt: skip
        for due in self._due:
            if due.facts["due_s"] * US < last:
                found.anomaly(f"an amendment ({due.facts['cause']}) was not filed within 90 days", due.index)
        if self._roster is not None:
            for number in sorted(set(range(1, len(self._roster.lines))) - self._changes):
                self._without("lines of the roster whose entry is not here (numbers of lines)",
                              f"line {number} of the roster was never entered in the ledger", number)  # fmt: skip
        self._say_unanswered()
        for kind, index in sorted(self._unknown.items()):
            found.anomaly(f"entries {kind}: of a kind that this tool does not know and did not judge; is there a newer "
                          "release of it?", index)  # fmt: skip

    def _say_unanswered(self) -> None:
        withheld, destroyed = len(self._ledger.withheld), len(self._ledger.destroyed)
        for what, indexes in self._unanswered.items():
            if withheld:
                text = f"{len(indexes)} {what}, and {withheld} entries are withheld: have them opened"
                self._found.anomaly(text, *indexes[:MAX_NAMED])
            else:
                text = f"{len(indexes)} {what}: it may be among the {destroyed} that were destroyed"
                self._found.notice(text, *indexes[:MAX_NAMED])
