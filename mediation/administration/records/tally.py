"""What the ledger says of each calendar month: the counts of a statement under 47 CFR 1.20004(c).

Answers for one reading of the entries, in their order, at the start and as they are made (`History` hands them on). It
decides nothing and writes nothing. Of a destroyed entry nothing is counted; a month is stated long before its records
may be destroyed (retention.MIN_DAYS).
"""

from __future__ import annotations

from collections import Counter

import msgspec

from mediation.core.case import Act
from mediation.core.ledger import entry
from mediation.core.records.incident import What
from mediation.core.records.statement import Compared, ends_s, month_of
from mediation.core.units import US

ENDS = (entry.Expired, entry.Revoked)
INTERCEPTIONS = frozenset(what.value for what in What if what.interception)


class Month(msgspec.Struct, kw_only=True):
    """`enabled` and `certified` are XIDs: of the interceptions that began, and of those that a certification was
    drafted for in this month. `found` and `unauthorized` are incidents, and those that were certified as such."""

    first: int = -1
    last: int = -1
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    compared: Compared = Compared()
    enabled: set[str] = msgspec.field(default_factory=set)
    certified: set[str] = msgspec.field(default_factory=set)
    found: set[str] = msgspec.field(default_factory=set)
    unauthorized: set[str] = msgspec.field(default_factory=set)


class Tally:
    """Of one ledger, by month."""

    def __init__(self) -> None:
        self.months: dict[str, Month] = {}
        self.begins = ""  # the first month, of the ledger's first entry
        self._enabled: set[str] = set()
        self._name, self._from_us, self._to_us = "", 0, 0  # of the last entry: those of one month follow each other

    def of(self, month: str) -> Month:
        """Empty when nothing is dated in it."""
        return self.months.get(month, Month())

    def take(self, index: int, record: entry.Record) -> None:
        """One entry."""
        if isinstance(record, entry.Padding):
            return
        if not self._from_us <= record.time_us < self._to_us:
            self._name = month_of(record.time_us)
            self._from_us, self._to_us = record.time_us, ends_s(self._name) * US
        name = self._name
        self.begins = self.begins or name
        month = self.months.get(name)
        if month is None:
            month = self.months[name] = Month(first=index)
        month.last = index
        match record:
            case entry.OrderFiled():
                month.counts["orders"] += 1
            case entry.CommandAccepted(act=Act.ACTIVATE):
                month.counts["activated"] += 1
            case entry.CommandAccepted(act=Act.DEACTIVATE):
                month.counts["ended"] += 1
            case entry.Outcome(function="iap", act="armed", refused="", xid=xid) if xid not in self._enabled:
                self._enabled.add(xid)
                month.enabled.add(xid)
            case entry.ExtensionFiled():
                month.counts["extended"] += 1
            case entry.CertificateDrafted(unauthorized=True, case=incident):
                month.unauthorized.add(incident)
            case entry.CertificateDrafted(xid=xid):
                month.certified.add(xid)
            case entry.Incident(incident=incident, what=what):
                month.counts["incidents"] += 1
                if what in INTERCEPTIONS:
                    month.found.add(incident)
            case entry.Reconciled():
                month.compared = Compared(
                    rounds=month.compared.rounds + record.rounds,
                    differing=month.compared.differing + bool(record.differences),
                    taps=record.taps, cases=record.cases, certifications=record.certifications,
                )  # fmt: skip
            case _ if isinstance(record, ENDS):
                month.counts["ended"] += 1
            case _:
                pass
