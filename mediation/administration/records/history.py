"""What the ledger says of each order's records: where they stand, what was armed, drafted, signed, sealed, held.

Answers for one reading of the ledger, at the start (`read`) and of each entry after (`entered`), for the parts that
keep records: certificates, destruction, plan. It decides nothing and writes nothing. Times in seconds or microseconds
as the entries have them.
"""

from __future__ import annotations

import msgspec

from mediation.administration.ledger import tiles
from mediation.administration.ledger.ledger import Entered
from mediation.administration.records.tally import Tally
from mediation.core.case import Act
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.core.records.certificate import Paper
from mediation.core.records.statement import month_of
from mediation.core.units import US

ARMED_BY = "iap"  # whose first "armed" is the moment in which the carrier enables (47 CFR 1.20004(a)(1)(ii))


class Drafted(msgspec.Struct, frozen=True, kw_only=True):
    """A certification's entry; `signed` once its signature was entered."""

    record: entry.CertificateDrafted
    index: int
    signed: entry.CertificateSigned | None = None
    signed_index: int = -1


class Life(msgspec.Struct, kw_only=True):
    """One order by its XID, as the ledger has it. An index of -1: there is no such entry."""

    case: str
    carrier_sha256: str
    filed: int
    activated: int = -1
    officer: str = ""
    armed: int = -1
    armed_us: int = 0
    ended_s: int = 0
    papers: list[tuple[Paper, int]] = []  # extensions, each with the time of its entry in microseconds
    sealed: entry.Sealed | None = None
    destroyed: set[int] = set()  # what a certificate of destruction names
    certificate_sha256: str = ""  # of destruction


class History:
    """Of one ledger."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.drafted: dict[str, Drafted] = {}  # by the document's SHA-256
        self.places: dict[str, list[int]] = {}  # of an order's entries, by XID
        self.case_places: dict[str, list[int]] = {}  # of entries that name a case and no order
        self.holds: set[str] = set()  # cases
        self.hold_texts: set[str] = set()  # SHA-256 of each text that began or ended one: none counts twice
        self.raised: set[tuple[str, str]] = set()  # alarms, with their detail
        self.plans: list[entry.PlanAdopted] = []
        self.amendments: dict[str, int] = {}  # open ones: due, by cause
        self.modifications: dict[str, entry.ModificationOrdered] = {}  # open ones, by the document's SHA-256
        self.modified: dict[str, int] = {}  # those that a filing has ended, with the version of its plan
        self.contact_tests: list[entry.ContactTested] = []
        self.reached: set[str] = set()  # months in which the 7x24 contact answered a call
        self.signed: set[str] = set()  # SHA-256 of the texts of both
        self.made_us = 0  # when the ledger began
        self.armed: list[str] = []  # XIDs since the last look
        self.extended: list[str] = []
        self.tally = Tally()
        self.drafted_statements: dict[str, entry.StatementDrafted] = {}  # by month
        self.signed_statements: dict[str, entry.StatementSigned] = {}
        self.stamps: dict[str, list[entry.Stamped]] = {}  # RFC 3161, by the SHA-256 of what was stamped
        self.lab_plan = ""  # SHA-256 of the file of the plan that a lab begins with
        self._tokens: dict[str, str] = {}  # XIDs by the SHA-256 of their legal tokens

    def read(self, line: tiles.Line, record: entry.Record) -> None:
        """An entry as it stands in the ledger, in its order."""
        self._take(line.index, record)

    def entered(self, place: Entered, record: entry.Record) -> None:
        """An entry that was made just now."""
        self._take(place.index, record)

    def _take(self, index: int, record: entry.Record) -> None:
        self.tally.take(index, record)
        match record:
            case entry.OrderFiled():
                self.lives[record.xid] = Life(case=record.case, carrier_sha256=record.carrier_sha256, filed=index)
                self._tokens[record.legal_sha256] = record.xid
                self._of(record.xid, index)
            case entry.CommandAccepted():
                self._command(xid_of(record.carrier_sha256), index, record)
            case entry.Outcome():
                self._of(record.xid, index)
                life = self.lives.get(record.xid)
                first = (record.function, record.act, record.refused) == (ARMED_BY, "armed", "")
                if life is not None and first and life.armed < 0:
                    life.armed, life.armed_us = index, record.time_us
                    self.armed.append(record.xid)
            case entry.Expired():
                self._ended(xid_of(record.carrier_sha256), index, record.time_us)
            case entry.Revoked():
                self._ended(xid_of(record.carrier_sha256), index, record.time_us)
            case entry.ExtensionFiled():
                self._extension(xid_of(record.carrier_sha256), index, record)
            case entry.CallBackFiled():
                self._of(self._tokens.get(record.legal_sha256, ""), index)
            case entry.CertificateDrafted():
                self._of(record.xid, index)
                self.drafted[record.certificate_sha256] = Drafted(record=record, index=index)
            case entry.CertificateSigned():
                self._of(record.xid, index)
                if (drafted := self.drafted.get(record.certificate_sha256)) is not None:
                    self.drafted[record.certificate_sha256] = msgspec.structs.replace(
                        drafted, signed=record, signed_index=index
                    )
            case entry.StatementDrafted():
                self.drafted_statements[record.month] = record
            case entry.StatementSigned():
                self.signed_statements[record.month] = record
            case entry.Sealed():
                self._of(xid_of(record.carrier_sha256), index)
                if (life := self.lives.get(xid_of(record.carrier_sha256))) is not None:
                    life.sealed = record
            case entry.Destroyed():
                self._destroyed(record)
            case entry.Held():
                self.case_places.setdefault(record.case, []).append(index)
                (self.holds.add if record.hold else self.holds.discard)(record.case)
                self.hold_texts.add(record.hold_sha256)
            case entry.Alarm():
                self.raised.add((record.alarm, record.detail))
                if record.case:
                    self.case_places.setdefault(record.case, []).append(index)
            case entry.CaseRead():
                if record.case:
                    self.case_places.setdefault(record.case, []).append(index)
            case entry.PlanAdopted():
                self.plans.append(record)
                if record.confirmation:
                    self.amendments.clear()  # what it does not cover is opened again, with its day and its alarms
                    for sha256 in record.modifications:
                        if self.modifications.pop(sha256, None) is not None:
                            self.modified[sha256] = record.version
            case entry.ModificationOrdered():
                self.modifications[record.document_sha256] = record
                self.signed.add(record.signed_sha256)
            case entry.ContactTested():
                self.contact_tests.append(record)
                self.signed.add(record.signed_sha256)
                if record.answered:
                    self.reached.add(month_of(record.called_s * US))
            case entry.AmendmentOpened():
                self.amendments[record.cause] = record.due_s
            case entry.Stamped():
                self.stamps.setdefault(record.subject_sha256, []).append(record)
            case entry.SiteMade():
                self.lab_plan, self.made_us = record.plan, record.time_us
            case _:
                pass

    def _of(self, xid: str, index: int) -> None:
        if xid:
            self.places.setdefault(xid, []).append(index)

    def _command(self, xid: str, index: int, record: entry.CommandAccepted) -> None:
        self._of(xid, index)
        life = self.lives.get(xid)
        if life is None:
            return
        if record.act is Act.ACTIVATE:
            life.activated, life.officer = index, record.officer
        elif record.act is Act.DEACTIVATE:
            life.ended_s = life.ended_s or record.time_us // US

    def _ended(self, xid: str, index: int, time_us: int) -> None:
        self._of(xid, index)
        if (life := self.lives.get(xid)) is not None:
            life.ended_s = life.ended_s or time_us // US

    def _extension(self, xid: str, index: int, record: entry.ExtensionFiled) -> None:
        self._of(xid, index)
        if (life := self.lives.get(xid)) is not None:
            paper = Paper(
                what="extension", document_sha256=record.document_sha256, legal_sha256=record.legal_extension_sha256,
                carrier_sha256=record.carrier_extension_sha256, filed=index, not_after_s=record.not_after_s,
            )  # fmt: skip
            life.papers.append((paper, record.time_us))
            self.extended.append(xid)

    def _destroyed(self, record: entry.Destroyed) -> None:
        life = self.lives.get(record.xid)
        if life is None:  # its own entry is gone, as it should be
            life = self.lives[record.xid] = Life(case="", carrier_sha256="", filed=-1)
        life.destroyed |= set(record.entries)
        life.certificate_sha256 = record.certificate_sha256

    def once(self, alarm: Alarm, detail: str) -> bool:
        """Whether this alarm was not raised yet."""
        return (alarm.value, detail) not in self.raised

    def stamped(self, sha256: str) -> frozenset[str]:
        """The authorities whose time stamp of what has this SHA-256 is entered."""
        return frozenset(each.authority for each in self.stamps.get(sha256, ()))

    def plan(self, *, filed: bool = False) -> entry.PlanAdopted | None:
        """The plan in force, or the one that was filed last."""
        return next((each for each in reversed(self.plans) if each.confirmation or not filed), None)


def xid_of(carrier_sha256: str) -> str:
    """As `authorization.xid`, from the hash."""
    return carrier_sha256[:32]
