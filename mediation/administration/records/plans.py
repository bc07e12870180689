"""The plan of a site: drawn from its settings, adopted by those who may, filed, and the clock of what is not filed yet.

Answers for which plan is in force (47 CFR 1.20003): its exact texts lie in DIR/plan/VERSION.json and their hashes in
the ledger, and both must agree at each start. Answers for the ninety days of 1.20005(a): whatever the live settings,
the roster or an adopted plan say other than what was filed last opens a clock, once for each cause, and stays open
until a filing is recorded with its confirmation number. Blocking. It decides nothing about orders but which plan's
hash a carrier token must name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from mediation.administration import lab
from mediation.administration.records.keeping import Keeping
from mediation.core.authority import jws
from mediation.core.authority.roster import Appointment
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.policies import AdoptPlan, FilePlan, PlanView
from mediation.core.ledger import entry
from mediation.core.records import contact as calls
from mediation.core.records import modification, plan
from mediation.core.records.alarm import Alarm
from mediation.core.records.plan import Adopted
from mediation.core.units import NS
from mediation.runtime import durable
from mediation.runtime.config import Site

FOLDER = "plan"
LAB_CONFIRMATION = "LAB"  # of the plan that a lab site begins with: nobody filed it
MAX_VERSIONS = 10_000


class _Named(msgspec.Struct, frozen=True):
    """Of a token that was examined already: the plan that it names."""

    policy_sha256: str


def path_of(site: Site, version: int) -> Path:
    return site.path / FOLDER / f"{version}.json"


def make_lab(site: Site, origin: str, officer: Appointment | None) -> str:
    """The plan that a lab site begins with; returns the SHA-256 of its file. Raises OSError."""
    text = plan.draft(1, site=origin, carrier=site.name, retention_days=site.retention.days, lab=True)
    appendix = plan.annex(officer, contact(site), site=origin, lab=True)
    octets = msgspec.json.encode(Adopted(plan=text, appendix=appendix, approvals=()))
    durable.make_folder(site.path / FOLDER)
    durable.replace(path_of(site, 1), octets)
    return plan.digest(octets.decode())


def contact(site: Site) -> plan.Contact:
    """How the senior officer is reached, by the configuration; on a lab site without one, the lab's number."""
    if site.lab and not site.contact.telephone and not site.contact.mail:
        return plan.Contact(telephone=lab.DIRECTORY_NUMBER)
    return plan.Contact(telephone=site.contact.telephone, mail=site.contact.mail)


def read(site: Site, version: int) -> Adopted | None:
    """An adopted plan's texts; None when there is none. Raises ConfigurationError."""
    path = path_of(site, version)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Adopted)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{FOLDER}/{path.name}: not a plan: {type(error).__name__}") from error


def newest_sha256(site: Site) -> str:
    """SHA-256 of the newest plan's text, as a carrier token names it. Raises ConfigurationError when there is none."""
    versions = [int(path.stem) for path in (site.path / FOLDER).glob("*.json") if path.stem.isdecimal()]
    found = read(site, max(versions, default=0))
    if found is None:
        raise ConfigurationError(f"{FOLDER}/: no plan")
    return plan.digest(found.plan)


def countdown(
    soon: Alarm, late: Alarm, due: Iterable[tuple[str, int]], now_s: int
) -> Iterator[tuple[Alarm, str]]:  # fmt: skip
    """Of each thing that is to be filed by its day, the last announcement whose moment has come."""
    for what, due_s in due:
        days = plan.days_left(due_s, now_s)
        if days == 0:
            yield late, f"{what} {due_s}"
        elif days is not None:
            yield soon, f"{what} {due_s} {days} d"


class Plans:
    """Of one site."""

    def __init__(self, keeping: Keeping) -> None:
        """Raises ConfigurationError for texts that are not those of the ledger."""
        self._keeping, self._site, self._origin = keeping, keeping.site, keeping.origin
        self._history, self._books, self._trust = keeping.history, keeping.books, keeping.trust
        if self._history.lab_plan:
            self._begin_lab()
        self.adopted: Adopted | None = None
        self.filed: Adopted | None = None
        self._load()

    def _begin_lab(self) -> None:
        found = read(self._site, 1)
        text = msgspec.json.encode(found).decode() if found is not None else ""
        if found is None or plan.digest(text) != self._history.lab_plan:
            raise ConfigurationError(f"{FOLDER}/1.json: not the plan that the lab was made with")
        self._history.plans.insert(  # whatever was adopted since came after it
            0,
            entry.PlanAdopted(
                time_us=self._history.made_us, version=1, plan_sha256=plan.digest(found.plan),
                appendix_sha256=plan.digest(found.appendix),
                retention_days=found.body.retention_days, filed_s=1, confirmation=LAB_CONFIRMATION,
            ),
        )  # fmt: skip

    def _load(self) -> None:
        latest, filed = self._history.plan(), self._history.plan(filed=True)
        self.adopted = self._of(latest) if latest is not None else None
        self.filed = self._of(filed) if filed is not None else None

    def _of(self, record: entry.PlanAdopted) -> Adopted:
        found = read(self._site, record.version)
        hashes = (record.plan_sha256, record.appendix_sha256)
        if found is None or (plan.digest(found.plan), plan.digest(found.appendix)) != hashes:
            raise ConfigurationError(f"{FOLDER}/{record.version}.json: not the plan that the ledger has")
        return found

    # --- what is asked -----------------------------------------------------------------------------------------------

    @property
    def retention_days(self) -> int:
        """How long records are kept: by the plan in force, else by the configuration."""
        return self.adopted.body.retention_days if self.adopted is not None else self._site.retention.days

    def check_retention(self) -> None:
        """That the configuration says what the plan in force says (47 CFR 1.20003(b)(3), 1.20004(b)).

        Raises AuthorizationError `retention`: then nothing may run.
        """
        if self.adopted is not None and self._site.retention.days != self.adopted.body.retention_days:
            raise AuthorizationError(
                Check.RETENTION,
                f"config.toml says {self._site.retention.days} days, the plan {self.adopted.body.retention_days}",
            )

    def check_named(self, carrier: str) -> None:
        """That a carrier token, or a carrier's extension, names a plan that is or was in force here (1.20003(b)).

        On a lab site, whose plan nobody adopted, any will do. Raises AuthorizationError `plan`.
        """
        if self._site.lab:
            return
        token = jws.decode(jws.split(carrier).payload, _Named)
        if token.policy_sha256 not in {each.plan_sha256 for each in self._history.plans}:
            raise AuthorizationError(Check.PLAN, "policy_sha256 is of no plan that was adopted here")

    def view(
        self, now_ns: int, *, draft: bool, retention_days: int | None, modifications: tuple[str, ...] = ()
    ) -> PlanView:
        """The plan in force, or a draft of the next. Raises AuthorizationError for what cannot be drawn up."""
        history = self._history
        if draft:
            text, appendix = self._draw(retention_days or self._site.retention.days, modifications, now_ns)
            adopted = Adopted(plan=text, appendix=appendix, approvals=())
        elif self.adopted is not None:
            adopted = self.adopted
        else:
            raise AuthorizationError(Check.PLAN, "none was adopted")
        latest, filed = history.plan(), history.plan(filed=True)
        return PlanView(
            plan=adopted.plan, appendix=adopted.appendix, version=adopted.body.version,
            previous_sha256=latest.plan_sha256 if latest is not None and draft else "",
            adopted=not draft, filed_version=filed.version if filed is not None else 0,
            filed_s=filed.filed_s if filed is not None else 0,
            confirmation=filed.confirmation if filed is not None else "", amendments=dict(history.amendments),
            modifications={sha256: each.due_s for sha256, each in history.modifications.items()},
            contact_due_s=calls.due_s(history.plans[0].time_us, history.reached) if history.plans else 0,
            contact_called_s=max((each.called_s for each in history.contact_tests if each.answered), default=0),
        )  # fmt: skip

    def report(self, now_ns: int) -> dict[str, int]:
        """For `status`: versions, and how many seconds are left to file (negative: too late); absent when all is."""
        latest, filed = self._history.plan(), self._history.plan(filed=True)
        found = {
            "plan_version": latest.version if latest is not None else 0,
            "plan_version_filed": filed.version if filed is not None else 0,
            "amendments_open": len(self._history.amendments),
        }
        if self._history.amendments:
            found["amendment_due_seconds"] = min(self._history.amendments.values()) - now_ns // NS
        return found

    # --- what changes it ---------------------------------------------------------------------------------------------

    def adopt(self, request: AdoptPlan, now_ns: int) -> None:
        """Puts a plan in force. Raises AuthorizationError or LedgerError."""
        if max(len(request.plan), len(request.appendix)) > plan.MAX_OCTETS:
            raise AuthorizationError(Check.PLAN, "too long")
        adopted = Adopted(plan=request.plan, appendix=request.appendix, approvals=request.approvals)
        body = adopted.body
        if (adopted.plan, adopted.appendix) != self._draw(body.retention_days, body.modifications, now_ns):
            raise AuthorizationError(Check.PLAN, "not what is drawn up from the live settings now: draft it again")
        plan.examine_adoption(request.approvals, adopted, self._trust(), now_ns)
        record = entry.PlanAdopted(
            time_us=now_ns // 1000, version=body.version, plan_sha256=plan.digest(adopted.plan),
            appendix_sha256=plan.digest(adopted.appendix), retention_days=body.retention_days,
            modifications=body.modifications,
        )  # fmt: skip
        try:
            durable.make_folder(self._site.path / FOLDER)
            durable.replace(path_of(self._site, body.version), msgspec.json.encode(adopted))
        except OSError as error:
            raise ConfigurationError(f"{FOLDER}: {error.strerror}") from error
        self._books.note([record], stop=False)
        self._load()
        self.watch(now_ns)

    def file(self, request: FilePlan, now_ns: int) -> None:
        """The plan in force was filed. Raises AuthorizationError or LedgerError."""
        filing, _ = plan.examine_filing(request.filing, self._trust(), now_ns)
        latest = self._history.plan()
        if latest is None or (filing.version, filing.plan_sha256, filing.appendix_sha256) != (
            latest.version, latest.plan_sha256, latest.appendix_sha256,
        ):  # fmt: skip
            raise AuthorizationError(Check.PLAN, "not the plan in force")
        still = dict(self._history.amendments)
        record = msgspec.structs.replace(
            latest, time_us=now_ns // 1000, filed_s=filing.filed_s, confirmation=filing.confirmation
        )
        self._books.note([record], stop=False)
        self._load()
        self.watch(now_ns, still)

    def watch(self, now_ns: int, still: dict[str, int] | None = None) -> None:
        """Opens the clock of each cause that has none yet, and raises the alarms that are due. `still`: when those were
        due that a filing has just closed; what it did not cover keeps its day."""
        if self.adopted is None:
            return
        now_s = now_ns // NS
        try:
            live = plan.annex(self._trust().senior_officer(now_s), contact(self._site), site=self._origin,
                              lab=self._site.lab)  # fmt: skip
        except AuthorizationError:
            live = ""  # nobody is in office, or nobody can be reached
        causes = plan.causes(self.filed, self.adopted, live, self._site.retention.days)
        records: list[entry.Record] = [
            entry.AmendmentOpened(
                time_us=now_ns // 1000, cause=cause,
                due_s=(still or {}).get(cause) or plan.due_s(now_s, first=self.filed is None),
            )
            for cause in sorted(causes - self._history.amendments.keys())
        ]  # fmt: skip
        if records:
            self._books.note(records, stop=True)
        due = sorted(self._history.amendments.items())
        self._keeping.announce(countdown(Alarm.AMENDMENT_DUE, Alarm.AMENDMENT_OVERDUE, due, now_s), now_ns)

    def _draw(self, retention_days: int, modifications: tuple[str, ...], now_ns: int) -> tuple[str, str]:
        """The next plan and its appendix, from the live settings. Raises AuthorizationError."""
        modification.check_named(modifications, self._history.modifications)
        latest = self._history.plan()
        version = latest.version + 1 if latest is not None else 1
        if version > MAX_VERSIONS:
            raise AuthorizationError(Check.PLAN, "too many versions")
        text = plan.draft(
            version, site=self._origin, carrier=self._site.name, retention_days=retention_days, lab=self._site.lab,
            modifications=modifications,
        )  # fmt: skip
        officer = self._trust().senior_officer(now_ns // NS)
        return text, plan.annex(officer, contact(self._site), site=self._origin, lab=self._site.lab)
