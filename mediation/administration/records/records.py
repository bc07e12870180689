"""The records that a carrier must keep, in one place for whoever has them changed: certifications, plan, destruction.

Answers for the order in which they follow the ledger: what was armed is drafted, what has ended and is certified is
sealed, what is due is destroyed, what must be looked at is raised, once a minute and after each act that may bring it
about. No interception starts, changes or stops by anything in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import apsw
import msgspec

from mediation.administration.ledger.books import Books
from mediation.administration.order.stored import Stored
from mediation.administration.records import export, signed_texts
from mediation.administration.records.certificates import Certificates, Kept
from mediation.administration.records.contacts import Contacts
from mediation.administration.records.destruction import Destruction
from mediation.administration.records.history import History
from mediation.administration.records.keeping import Keeping
from mediation.administration.records.modifications import Modifications
from mediation.administration.records.plans import Plans
from mediation.administration.records.statements import Statements
from mediation.core.authority.request import Opened
from mediation.core.authority.trust import Trust
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError, LedgerError
from mediation.core.interface.control import (
    CertificateList,
    CertificateView,
    Certify,
    Destroy,
    Export,
    Hold,
    Result,
    SignStatement,
)  # fmt: skip
from mediation.core.interface.control import (
    Certificates as AskCertificates,
)
from mediation.core.interface.policies import AdoptPlan, FilePlan, OrderModification, PlanView, ShowPlan, TryContact
from mediation.core.ledger import entry
from mediation.core.records import opening
from mediation.core.units import NS
from mediation.runtime import log
from mediation.runtime.config import Site
from mediation.runtime.vault import Vault

DRAFT_WAIT_S = 60  # the longest that drafts wait for the functions to take what they are being told (ours)
EVERY_S = 60  # how often the clocks of certifications, amendments and retention are looked at (ours)

logger = log.get("administrator")

Act = Certify | SignStatement | AdoptPlan | FilePlan | OrderModification | TryContact | Hold | Destroy


class Records:
    """Of one site, open as long as its orders."""

    def __init__(self, keeping: Keeping) -> None:
        """Raises ConfigurationError."""
        self._keeping, self._history, self._books = keeping, keeping.history, keeping.books
        self.stamped = keeping.history.stamped
        self.busy: Callable[[], bool] = lambda: True  # whether functions are still to be told of orders: who knows says
        self._next_s = 0
        self._waiting_s = 0  # since when drafts wait for that
        self._now_ns = 0
        self._open = False
        self._books.watch = self._history.entered
        self.plans = Plans(keeping)
        self.modifications = Modifications(keeping)
        self.contacts = Contacts(keeping, self.plans)
        self.certificates = Certificates(keeping)
        self.destruction = Destruction(keeping, self.certificates, self.plans)
        self.statements = Statements(keeping, self.certificates)

    def close(self) -> None:
        self.certificates.close()

    def recover(self, now_ns: int) -> None:
        """After the orders were. What a full disk refuses is done at the next start."""
        self._guarded(self.destruction.recover)
        self._guarded(lambda: self.certificates.recover(now_ns))
        self._open = True
        self.keep(now_ns)

    def keep(self, now_ns: int, *, now: bool = False) -> None:
        """Drafts what was armed or extended, after what is to be armed yet; looks at all clocks when a minute has
        passed, or `now`."""
        self._now_ns = max(self._now_ns, now_ns)
        if not self._open:
            return
        if self._history.armed or self._history.extended:
            self._waiting_s = self._waiting_s or now_ns // NS
            if now or not self.busy() or now_ns // NS >= self._waiting_s + DRAFT_WAIT_S:
                self._waiting_s = 0
                self._guarded(lambda: self.certificates.draft(now_ns))
        if now_ns // NS < self._next_s and not now:
            return
        self._next_s = now_ns // NS + EVERY_S
        self._guarded(lambda: self._raise_alarms(now_ns))
        self._guarded(lambda: self.plans.watch(now_ns))
        self._guarded(lambda: self.modifications.watch(now_ns))
        self._guarded(lambda: self.contacts.watch(now_ns))
        self._guarded(lambda: self.statements.watch(now_ns))
        self._guarded(lambda: self.destruction.seal(now_ns))
        self._guarded(lambda: self.destruction.keep(now_ns))
        self._guarded(self._books.store.cover)
        self._guarded(self.certificates.cover)

    def act(self, request: Act, now_ns: int) -> Result:
        """Something that persons signed; a refusal is entered. Raises LedgerError, ConfigurationError."""
        try:
            return Result(case=self._act(request, now_ns))
        except AuthorizationError as error:
            return self._books.refuse(error, str(request), now_ns)
        finally:
            self.keep(now_ns, now=True)

    def _act(self, request: Act, now_ns: int) -> str:
        """Returns the case that it was about, if one."""
        case = ""
        match request:
            case Certify():
                for text in request.signatures:
                    case = self.certificates.sign(text, now_ns).case
            case SignStatement():
                self.statements.sign(request.signature, now_ns)
            case AdoptPlan():
                self.plans.adopt(request, now_ns)
            case FilePlan():
                self.plans.file(request, now_ns)
            case OrderModification():
                self.modifications.order(request, now_ns)
            case TryContact():
                self.contacts.tried(request, now_ns)
            case Hold():
                case = self.destruction.hold(request.hold, now_ns)
            case Destroy():
                case = self.destruction.order(request.approvals, now_ns)
        return case

    def read(self, wanted: AskCertificates, opened: Opened, now_ns: int) -> CertificateList:
        """The certifications of a case; the caller has entered the reading. Raises AuthorizationError."""
        if wanted.take_over:
            if opened.role not in (Role.OFFICER, Role.EXECUTIVE):
                raise AuthorizationError(Check.CERTIFICATE)
            self.certificates.take_over(wanted.case, opened.person, now_ns)
        return CertificateList(certificates=tuple(self._view(kept) for kept in self.certificates.of_case(wanted.case)))

    def exported(self, wanted: Export) -> list[tuple[str, bytes]]:
        """What of the records an export has beside the ledger: signed statements, what was signed beside the plan,
        and of the certifications whose entries it opens the fields that are wanted. Raises AuthorizationError,
        ConfigurationError."""
        files = [*self.statements.exported(), *signed_texts.exported(self._keeping)]
        if wanted.certified is None:
            return files
        if not set(wanted.certified) <= set(opening.NUMBERS):
            raise AuthorizationError(Check.STRUCTURE, "export: no field of a certification")
        drafted = [each.record for each in self._history.drafted.values() if export.chosen(each.record, wanted)]
        for case in dict.fromkeys(record.case for record in drafted if record.fields):
            for kept in self.certificates.of_case(case):
                shown = opening.opened(kept.text, kept.signature, wanted.certified)
                files.append((f"certifications/{kept.sha256}.json", msgspec.json.encode(shown)))
        return files

    def show_plan(self, request: ShowPlan, now_ns: int) -> PlanView:
        """Raises AuthorizationError."""
        return self.plans.view(
            now_ns, draft=request.draft, retention_days=request.retention_days or None,
            modifications=request.modifications,
        )  # fmt: skip

    def report(self) -> dict[str, int]:
        """For `status`; nothing of a case."""
        keepers = (self.certificates, self.statements, self.plans, self.modifications, self.contacts)
        return {name: count for keeper in keepers for name, count in keeper.report(self._now_ns).items()}

    def _raise_alarms(self, now_ns: int) -> None:
        if alarms := self.certificates.alarms(now_ns):
            self._books.note(alarms, stop=True)

    def _view(self, kept: Kept) -> CertificateView:
        signed = kept.drafted.signed
        return CertificateView(
            sha256=kept.sha256, text=kept.text, signature=kept.signature, replaced=kept.replaced,
            drafted=kept.drafted.index, signed=kept.drafted.signed_index,
            signed_us=signed.time_us if signed is not None else 0, person=signed.person if signed is not None else "",
            stamps=tuple((each.authority, each.time_us) for each in self._stamps(kept)),
        )  # fmt: skip

    def _stamps(self, kept: Kept) -> list[entry.Stamped]:
        signed = kept.drafted.signed
        return self._history.stamps.get(signed.signature_sha256, []) if signed is not None else []

    def _guarded(self, step: Callable[[], None]) -> None:
        """What fails here is tried again within the minute: it must not take an interception or a stop with it."""
        try:
            step()
        except (AuthorizationError, ConfigurationError, LedgerError, apsw.Error, OSError) as error:
            self._books.count("records_not_kept")
            logger.error("records_not_kept", why=type(error).__name__, detail=str(error)[:200])  # noqa: TRY400


class Orders(Protocol):
    """What is asked of the orders."""

    site: Site
    trust: Trust

    def __iter__(self) -> Iterator[Stored]: ...

    def get(self, carrier_sha256: str) -> Stored | None: ...

    def forget(self, order: Stored) -> None: ...


def open_records(orders: Orders, vault: Vault, history: History, books: Books) -> Records:
    """The records beside these orders. Raises ConfigurationError."""
    return Records(
        Keeping(
            site=orders.site, vault=vault, history=history, books=books, trust=lambda: orders.trust,
            orders=orders.__iter__, order=lambda xid: orders.get(history.lives[xid].carrier_sha256),
            forget=orders.forget,
        )
    )  # fmt: skip
