"""Every request at the control socket: signed inquiries here, acts and revocations passed on to the desk.

Answers for "entered before it is shown": each reading of case data stands in the ledger, with the person and the
reason, before the answer leaves (SEC-17); a ledger that cannot be written shows nothing. It waits for no witness and
for no function. Who may see which case: officers and auditors every one, legal reviewers and carrier authorizers those
whose tokens they signed; a case that is not theirs and one that does not exist are answered alike.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import assert_never

import apsw
import msgspec

from mediation.administration import desk
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.ledger.ledger import Entered
from mediation.administration.order.orders import Orders
from mediation.administration.order.stored import Stored
from mediation.administration.persons.gate import Caller, Gate
from mediation.administration.persons.honey import Honey
from mediation.administration.records import export, incidents
from mediation.core.authority import request
from mediation.core.authority.jws import sha256_hex
from mediation.core.authority.particulars import CASE_IDENTITY, SHA256
from mediation.core.authority.request import EVERY_CASE, Opened
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError, LedgerError
from mediation.core.interface.control import (
    Answer,
    CaseList,
    Cases,
    CertificateList,
    Certificates,
    CommitSeed,
    Done,
    Export,
    Failed,
    Incidents,
    Papers,
    Plant,
    Prove,
    Proved,
    Request,
    Result,
    Results,
    Signed,
    StatementList,
    Statements,
)
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS
from mediation.runtime import vault

FOLDER = "administrator"
MAX_SELECTED = 256  # kinds or cases in one export


class Prepared(msgspec.Struct, frozen=True):
    """An export that was granted and entered; `make` reads the ledger's files, for a second or more, in any thread."""

    make: Callable[[], bytes]


class Inquiries:
    """For one administrator, or a command in its place."""

    def __init__(self, orders: Orders, now_ns: int) -> None:
        """Raises ConfigurationError."""
        self._orders = orders
        self.gate = Gate(orders, now_ns)
        self._honey = Honey(orders.site.path / FOLDER, vault.unlock(orders.site).box("records"))

    def handle(self, asked: Request, caller: Caller, now_ns: int) -> Answer | Prepared:
        """Never raises for what the other side sent."""
        if isinstance(asked, Signed):
            return self._inquire(asked.envelope, caller, now_ns)
        if caller.over and not isinstance(asked, desk.OPEN):
            self._orders.counters["requests_too_many"] += 1
            return _failed(AuthorizationError(Check.TOO_MANY))
        answer = desk.handle(self._orders, asked, now_ns)
        if isinstance(answer, Results):
            return Results(results=tuple(self._outward(result, caller, now_ns) for result in answer.results))
        return answer

    def _outward(self, result: Result, caller: Caller, now_ns: int) -> Result:
        """What an act's refusal may say of keys: nothing (SEC-14). The ledger's entry has the true check."""
        if result.check not in request.KEYS:
            return result
        self.gate.failed_act(caller, now_ns)
        return Result(check=Check.REQUEST)

    def _inquire(self, envelope: str, caller: Caller, now_ns: int) -> Answer | Prepared:
        try:
            opened = self.gate.open(envelope, caller, now_ns)
        except AuthorizationError as error:
            return _failed(error)
        try:
            return self._answer(opened, now_ns)
        except AuthorizationError as error:
            return _failed(error)
        except LedgerError as error:
            return Failed(detail=f"ledger: {error}")
        except ConfigurationError as error:
            return Failed(detail=str(error))
        except (apsw.Error, OSError) as error:  # what a full disk refuses must not take the stops with it
            self._orders.counters["store_write_failed"] += 1
            return Failed(detail=f"store: {type(error).__name__}")

    def _answer(self, opened: Opened, now_ns: int) -> Answer | Prepared:
        match opened.inquiry:
            case Cases(case=None):
                self._enter(opened, "list", "", now_ns)
                return self._cases(opened, None, now_ns)
            case Cases(case=case):
                assert case is not None
                if not CASE_IDENTITY.fullmatch(case):
                    raise AuthorizationError(Check.CASE_IDENTITY)
                self._enter(opened, "show", case, now_ns)
                return self._cases(opened, case, now_ns)
            case Certificates() as wanted:
                return self._certificates(opened, wanted, now_ns)
            case Statements(month=month):
                self._enter(opened, "statement", "", now_ns)
                return StatementList(statements=tuple(self._orders.records.statements.views(month)))
            case Export():
                return self._export(opened, opened.inquiry, now_ns)
            case CommitSeed(seed_sha256=seed):
                if not SHA256.fullmatch(seed):
                    raise AuthorizationError(Check.STRUCTURE, "seed")
                self._orders.note(
                    entry.SampleDrawn(
                        time_us=now_ns // 1000, seed_sha256=seed, person=opened.person,
                        size=self._orders.ledger.size, request_sha256=opened.sha256,
                    )
                )  # fmt: skip
                return Done()
            case Plant() as plant:
                if self._orders.of_case(plant.case):
                    raise AuthorizationError(Check.CASE_LIVE)
                self._enter(opened, "honey", "", now_ns)
                self._honey.plant(plant, secrets.token_hex(32), lab=self._orders.site.lab)
                return Done()
            case Incidents(incident=incident):
                self._enter(opened, "incident", "", now_ns)
                return Papers(papers=tuple(incidents.Incidents(self._orders).read(incident)))
            case Prove(index=index):
                return self._prove(opened, index, now_ns)
        assert_never(opened.inquiry)

    def _export(self, opened: Opened, wanted: Export, now_ns: int) -> Prepared:
        if max(len(wanted.kinds or ()), len(wanted.cases or ())) > MAX_SELECTED:
            raise AuthorizationError(Check.STRUCTURE, "export: too many selected")
        self._enter(opened, "export", "", now_ns, *(wanted.cases or ()))
        site, files = self._orders.site, self._orders.records.exported(wanted)
        return Prepared(lambda: export.make(site, wanted, files))

    def _prove(self, opened: Opened, index: int, now_ns: int) -> Answer:
        """The proof of one record from the tree in memory; only the file that holds the record is read."""
        ledger = self._orders.ledger
        found = verify.line(ledger_files(self._orders.site), index, ledger.size)
        record = entry.decode(found.record)
        self._enter(opened, "ledger", getattr(record, "case", ""), now_ns)
        return Proved(proof=ledger.proof(Entered(index=index, record=found.record, salt=found.salt)))

    def _cases(self, opened: Opened, case: str | None, now_ns: int) -> CaseList:
        self._orders.advance(now_ns)
        found = list(self._orders) if case is None else self._orders.of_case(case)
        views = [desk.view(order) for order in found if self._may_see(opened, order)]
        if opened.role in EVERY_CASE:
            views += self._honey.views(now_ns // NS, case)
        return CaseList(cases=tuple(views))

    def _certificates(self, opened: Opened, wanted: Certificates, now_ns: int) -> CertificateList:
        """Those of a case, to whom it is theirs to see; of another they are answered as of one that does not exist. The
        senior officer answers for all of them; what was found without an order is no one's but the officers'."""
        # What was certified of an incident stands under the incident's name, which is longer than any case's.
        if not CASE_IDENTITY.fullmatch(wanted.case) and not incidents.IDENTITY.fullmatch(wanted.case):
            raise AuthorizationError(Check.CASE_IDENTITY)
        senior = self._orders.trust.senior_officer(now_ns // NS)
        every = opened.role in EVERY_CASE or (senior is not None and senior.person == opened.person)
        found = self._orders.of_case(wanted.case)
        self._enter(opened, "certificate", wanted.case, now_ns)
        if not every and not (found and all(self._may_see(opened, order) for order in found)):
            return CertificateList(certificates=())
        return self._orders.records.read(wanted, opened, now_ns)

    def _may_see(self, opened: Opened, order: Stored) -> bool:
        """Officers and auditors see all orders, the others those whose token this person's keys signed."""
        if opened.role in EVERY_CASE:
            return True
        own = {key.kid for key in self._orders.trust.rings[opened.role].values() if key.person == opened.person}
        return any(desk.signer(text) in own for text in (order.legal, order.carrier))

    def _enter(self, opened: Opened, what: str, case: str, now_ns: int, *named: str) -> None:
        """The reading, and with it the alarm when what is read is a honey case: one append, before the answer."""
        facts = entry.CaseRead(
            time_us=now_ns // 1000, case=case, what=what, person=opened.person, reason=opened.reason,
            request_sha256=opened.sha256,
        )  # fmt: skip
        baits = [each for each in (case, *named) if each in self._honey]
        said = f"read by {opened.person}"
        self._orders.note(facts, *(self.gate.alarm(Alarm.HONEY_CASE, each, said, now_ns) for each in baits))
        if baits:
            self.gate.shout(Alarm.HONEY_CASE, sha256_hex(opened.person))


def _failed(error: AuthorizationError) -> Failed:
    return Failed(detail=str(error), check=str(error.check))
