"""The plan of 47 CFR 1.20003 and 1.20005: drawn from the settings, adopted, filed, its clock; retention by it alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pypdf import PdfReader

from mediation.administration import lab
from mediation.administration.order import drafting
from mediation.administration.persons import roster
from mediation.administration.records import documents
from mediation.administration.records.plans import path_of
from mediation.core.authority import jws
from mediation.core.authority.roster import Appoint
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.policies import AdoptPlan, FilePlan, PlanView
from mediation.core.records import plan
from mediation.runtime import config
from tests.administration import site as s
from tests.administration.peers import command
from tests.administration.test_destruction import DAY_S


def view(desk: s.Desk, *, draft: bool = False, days: int | None = None) -> PlanView:
    return desk.orders.records.plans.view(desk.now_ns, draft=draft, retention_days=days)


def adopt(desk: s.Desk, found: PlanView, persons: tuple[Any, ...] | None = None, **changes: Any) -> str:
    keys = persons or (lab.executives(desk.site)[0],)
    facts = {
        "version": found.version, "plan_sha256": plan.digest(found.plan),
        "appendix_sha256": plan.digest(found.appendix), "previous_sha256": found.previous_sha256,
        "issued_s": desk.now_ns // s.NS, "nonce": drafting.nonce(), "lab": True,
    }  # fmt: skip
    payload = msgspec.json.encode(plan.Adoption(type="adoption", **{**facts, **changes}))
    approvals = tuple(jws.sign_octets(payload, plan.ADOPTION_TYP, key.kid, key.key()) for key in keys)
    request = AdoptPlan(plan=found.plan, appendix=found.appendix, approvals=approvals)
    return desk.orders.records.act(request, desk.now_ns).check


def file(desk: s.Desk, role: Role = Role.OFFICER, **changes: Any) -> str:
    found = view(desk)
    facts = {
        "version": found.version, "plan_sha256": plan.digest(found.plan),
        "appendix_sha256": plan.digest(found.appendix), "filed_s": desk.now_ns // s.NS, "confirmation": "CEFS-1",
        "issued_s": desk.now_ns // s.NS, "nonce": drafting.nonce(), "lab": True,
    }  # fmt: skip
    key = lab.person(desk.site, role)
    text = jws.sign(plan.PlanFiling(type="plan-filing", **{**facts, **changes}), plan.FILING_TYP, key.kid, key.key())
    return desk.orders.records.act(FilePlan(filing=text), desk.now_ns).check


def set_config(desk: s.Desk, text: str) -> None:
    path = desk.site.path / config.FILE
    path.write_text(path.read_text() + text)
    desk.site = config.load(desk.site.path)
    desk.restart()


def open_amendments(desk: s.Desk) -> dict[str, int]:
    return view(desk).amendments


def test_a_lab_begins_with_a_plan_that_counts_as_filed(desk: s.Desk) -> None:
    found = view(desk)
    body = plan.decode(found.plan)
    assert (found.version, body.retention_days, found.confirmation, found.amendments) == (1, 365, "LAB", {})
    assert "365 days" in body.retention and body.both_authorizations == plan.BOTH_AUTHORIZATIONS
    appendix = msgspec.json.decode(found.appendix, type=plan.Appendix)
    assert (appendix.officer, appendix.contact.telephone) == ("LAB executive-1", lab.DIRECTORY_NUMBER)
    assert "LAB executive-1" not in found.plan  # the appendix is a document of its own
    desk.orders.records.plans.check_retention()


def test_adopted_by_the_senior_officer_or_two_executives(desk: s.Desk) -> None:
    first, second, third = lab.executives(desk.site)
    officer = lab.person(desk.site, Role.OFFICER)
    draft = view(desk, draft=True)
    assert adopt(desk, draft, (second,)) == Check.PLAN
    assert adopt(desk, draft, (second, second)) == Check.PLAN
    assert adopt(desk, draft, (second, officer)) == Check.PLAN
    assert adopt(desk, draft, (lab.person(desk.site, Role.AUDITOR),)) == "key-role"
    assert adopt(desk, draft, (second, third)) == ""
    assert adopt(desk, draft, (first,)) == Check.PLAN  # it is in force: the next one is drawn up anew
    assert view(desk).version == 2
    assert adopt(desk, view(desk, draft=True), (first,)) == ""
    desk.restart()
    assert view(desk).version == 3 and s.kinds(desk.site).count("plan-adopted") == 2


@pytest.mark.parametrize(
    "changes", [{"version": 3}, {"plan_sha256": "ab" * 32}, {"appendix_sha256": "ab" * 32}], ids=lambda c: next(iter(c))
)
def test_the_approval_is_of_these_texts(desk: s.Desk, changes: dict[str, Any]) -> None:
    assert adopt(desk, view(desk, draft=True), **changes) == Check.PLAN


def test_only_what_the_live_settings_say(desk: s.Desk) -> None:
    draft = view(desk, draft=True)
    body = msgspec.structs.replace(plan.decode(draft.plan), retention="as long as we like")
    assert adopt(desk, msgspec.structs.replace(draft, plan=msgspec.json.encode(body).decode())) == Check.PLAN
    assert adopt(desk, msgspec.structs.replace(draft, appendix="{}")) == Check.PLAN
    with pytest.raises(AuthorizationError):
        view(desk, draft=True, days=5)


def test_an_old_approval_is_refused(desk: s.Desk) -> None:
    assert adopt(desk, view(desk, draft=True), issued_s=desk.now_ns // s.NS - 8 * DAY_S) in (
        "command-dates",
        "key-dates",
    )


def test_retention_is_the_plans_or_nothing_runs(desk: s.Desk) -> None:
    set_config(desk, "\n[retention]\ndays = 400\n")
    with pytest.raises(AuthorizationError) as refusal:
        desk.orders.records.plans.check_retention()
    assert refusal.value.check == Check.RETENTION
    assert desk.orders.records.plans.retention_days == 365
    desk.orders.close()
    result = command("function", "administrator", "--site", str(desk.site.path))
    assert result.returncode == 1 and result.stderr.splitlines()[-1].startswith("mediation: retention")
    desk.restart()
    assert adopt(desk, view(desk, draft=True)) == ""
    desk.orders.records.plans.check_retention()
    assert desk.orders.records.plans.retention_days == 400


def test_each_change_opens_its_clock_once(desk: s.Desk) -> None:
    set_config(desk, '\n[contact]\ntelephone = "+12125550123"\n')
    began_s = desk.now_ns // s.NS
    assert open_amendments(desk) == {"contact": began_s + 90 * DAY_S}
    desk.later(5 * DAY_S)
    desk.restart()
    assert s.kinds(desk.site).count("amendment-opened") == 1
    draft = view(desk, draft=True, days=500)
    assert adopt(desk, draft) == ""
    assert set(open_amendments(desk)) == {"contact", "plan", "retention"}
    assert open_amendments(desk)["contact"] == began_s + 90 * DAY_S


def test_what_was_filed_is_known_after_a_restart(desk: s.Desk) -> None:
    """A change after one that was adopted and not filed opens a clock of its own, also by a restart."""
    assert adopt(desk, view(desk, draft=True)) == ""
    desk.later(DAY_S)
    desk.restart()
    assert view(desk).filed_version == 1 and set(open_amendments(desk)) == {"plan"}
    set_config(desk, '\n[contact]\ntelephone = "+12125550123"\n')
    assert open_amendments(desk)["contact"] == desk.now_ns // s.NS + 90 * DAY_S


def test_a_new_senior_officer_opens_the_clock(desk: s.Desk) -> None:
    executives = lab.executives(desk.site)
    now_s = desk.now_ns // s.NS
    held = desk.orders.trust.roster
    new = Appoint(
        person=executives[1].person, name="LAB new", role=Role.EXECUTIVE, function="LAB new", from_s=now_s,
        to_s=now_s + 300 * DAY_S, document_sha256="ab" * 32, senior=True,
    )  # fmt: skip
    draft = roster.draft(held, [new], now_s)
    approvals = [roster.approve(draft, key) for key in (executives[0], executives[2])]
    assert desk.orders.change_roster(approvals, desk.now_ns).check == ""
    desk.later(61)
    assert set(open_amendments(desk)) == {"officer"}


def test_the_ninety_days_and_their_alarms(desk: s.Desk) -> None:
    set_config(desk, '\n[contact]\ntelephone = "+12125550123"\n')

    def alarms() -> int:
        return sum(name.startswith("amendment") for name, _ in desk.orders.records._history.raised)

    desk.later(59 * DAY_S)
    assert alarms() == 0
    for later, expected in ((2, 1), (23, 2), (5, 3), (1, 4), (30, 4)):
        desk.later(later * DAY_S)
        assert alarms() == expected
    desk.restart()
    desk.later(DAY_S)
    assert alarms() == 4 and desk.orders.records.report()["amendment_due_seconds"] < 0


def test_filing_ends_what_it_covers(desk: s.Desk) -> None:
    set_config(desk, '\n[contact]\ntelephone = "+12125550123"\n')
    due = open_amendments(desk)
    assert file(desk) == ""  # the old plan, with the old contact: its clock runs on from the same day
    assert open_amendments(desk) == due
    desk.later(3 * DAY_S)
    assert adopt(desk, view(desk, draft=True)) == ""
    assert file(desk, role=Role.AUDITOR) == "key-role"
    assert file(desk, plan_sha256="ab" * 32) == Check.PLAN
    assert file(desk, confirmation=" ") == Check.PLAN
    assert file(desk, filed_s=desk.now_ns // s.NS + DAY_S) == Check.PLAN
    assert file(desk) == ""
    assert open_amendments(desk) == {}
    found = view(desk)
    assert (found.filed_version, found.confirmation) == (2, "CEFS-1")
    desk.restart()
    assert open_amendments(desk) == {} and "amendment_due_seconds" not in desk.orders.records.report()


def test_texts_that_are_not_the_ledgers(desk: s.Desk) -> None:
    assert adopt(desk, view(desk, draft=True)) == ""
    path = path_of(desk.site, 2)
    path.write_bytes(path.read_bytes().replace(b"365 days", b"366 days"))
    desk.orders.close()
    with pytest.raises(ConfigurationError, match="not the plan that the ledger has"):
        s.Desk(desk.site, desk.now_ns)
    path.write_bytes(path.read_bytes().replace(b"366 days", b"365 days"))
    desk.restart()


def test_the_lab_plan_cannot_be_exchanged(desk: s.Desk) -> None:
    path = path_of(desk.site, 1)
    old = path.read_bytes()
    path.write_bytes(old.replace(b"365 days", b"366 days"))
    desk.orders.close()
    with pytest.raises(ConfigurationError, match="plan/1"):
        s.Desk(desk.site, desk.now_ns)
    path.write_bytes(old)
    desk.restart()


def test_a_real_order_names_a_plan_that_was_adopted(desk: s.Desk) -> None:
    plans = desk.orders.records.plans
    filed = s.filing(desk.site)
    plans.check_named(filed.carrier)  # a lab's names any
    plans._site = msgspec.structs.replace(desk.site, lab=False)
    with pytest.raises(AuthorizationError) as refusal:
        plans.check_named(filed.carrier)
    assert refusal.value.check == Check.PLAN
    carrier = drafting.carrier(filed.legal, plan.digest(view(desk).plan), lab.person(desk.site, Role.CARRIER))
    plans.check_named(carrier)


def test_the_printed_forms(desk: s.Desk) -> None:
    found = view(desk)
    body, appendix = documents.policies(found), documents.appendix(found)
    assert (body, appendix) == (documents.policies(found), documents.appendix(found))
    words = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(body)).pages)
    assert "1.20003(b)(1)" in words and "365 days" in words and "LAB executive-1" not in words
    assert "LAB executive-1" in PdfReader(io.BytesIO(appendix)).pages[0].extract_text()


def test_by_the_commands(tmp_path: Path) -> None:
    site = s.make(tmp_path)
    at = ("--site", str(site.path))
    draft = tmp_path / "plan.json"
    assert command("plan", "draft", *at, "--retention-days", "365", "--out", str(draft)).returncode == 0
    assert (tmp_path / "plan.appendix.json").exists()
    done = command("plan", "adopt", *at, str(draft))
    assert done.returncode == 0 and done.stdout.startswith("version 2 is in force"), done.stderr
    assert command("plan", "filed", *at, "--confirmation", "CEFS-7").returncode == 0
    shown = command("plan", "show", *at)
    assert "filed: version 2" in shown.stdout and "CEFS-7" in shown.stdout and "to be filed" not in shown.stdout
    again = command("plan", "adopt", *at, str(draft))
    assert again.returncode == 1 and again.stderr.startswith("mediation: plan: ")
