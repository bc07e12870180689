"""What the Commission orders modified in the plan (47 CFR 1.20005(b)): a task with a document, a day and an end."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from mediation.administration import lab
from mediation.administration.order import drafting
from mediation.administration.records import documents
from mediation.administration.records.signed_texts import FOLDER
from mediation.core.authority import jws
from mediation.core.authority.key import Key
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface.policies import OrderModification, PlanView
from mediation.core.ledger import entry
from mediation.core.records import modification, plan
from mediation.core.records.modification import Modification
from mediation.runtime import config
from mediation.signing.file import PersonKey
from tests import vault
from tests.administration import planned
from tests.administration import site as s
from tests.administration.peers import command
from tests.administration.test_commands import done, found, refused
from tests.administration.test_contact import records
from tests.administration.test_plan import adopt, file, view

DAY_S = 86_400
DOCUMENT = "d0" * 32
OTHER = "d1" * 32


def said(desk: s.Desk, key: PersonKey | None = None, typ: str = modification.TYP, **changes: Any) -> str:
    """An order to be carried out in sixty days, signed for by the lab's officer."""
    found, now_s = view(desk), desk.now_ns // s.NS
    facts = {
        "type": "modification", "document_sha256": DOCUMENT, "due_s": now_s + 60 * DAY_S, "version": found.version,
        "plan_sha256": plan.digest(found.plan), "issued_s": now_s, "nonce": drafting.nonce(), "lab": True, **changes,
    }  # fmt: skip
    key = key or lab.person(desk.site, Role.OFFICER)
    return jws.sign(Modification(**facts), typ, key.kid, key.key())


def enter(desk: s.Desk, text: str) -> str:
    return desk.orders.records.act(OrderModification(modification=text), desk.now_ns).check


def ordered(desk: s.Desk, **changes: Any) -> str:
    return enter(desk, said(desk, **changes))


def drawn(desk: s.Desk, *named: str) -> PlanView:
    return desk.orders.records.plans.view(desk.now_ns, draft=True, retention_days=None, modifications=named)


def alarms(desk: s.Desk) -> list[str]:
    """Each with how many days are left; overdue: 0."""
    found = [each for each in records(desk.site, entry.Alarm) if each.alarm.startswith("modification")]
    assert all(each.detail.startswith(DOCUMENT) for each in found)
    return ["0" if each.alarm == "modification-overdue" else each.detail.split()[-2] for each in found]


def test_the_task_from_the_order_to_the_filing_that_names_it(desk: s.Desk) -> None:
    text = said(desk)
    assert enter(desk, text) == ""
    (record,) = records(desk.site, entry.ModificationOrdered)
    assert (record.document_sha256, record.version, record.person) == (DOCUMENT, 1, "lab-officer")
    assert record.signed_sha256 == jws.sha256_hex(text)
    due_s = desk.now_ns // s.NS + 60 * DAY_S
    assert view(desk).modifications == {DOCUMENT: due_s}
    desk.later(DAY_S)
    desk.restart()
    desk.later(61)
    report = desk.orders.records.report()
    assert report["modifications_open"] == 1 and report["modification_due_seconds"] == due_s - desk.now_ns // s.NS
    assert file(desk) == "" and view(desk).modifications  # the old plan, filed again, carries nothing out
    assert adopt(desk, drawn(desk)) == "" and file(desk) == ""
    assert view(desk).modifications, "a new version that does not name it"
    draft = drawn(desk, DOCUMENT)
    assert plan.decode(draft.plan).modifications == (DOCUMENT,)
    assert adopt(desk, draft) == ""
    assert view(desk).modifications, "adopted is not filed"
    printed = "".join(p.extract_text() for p in PdfReader(io.BytesIO(documents.policies(view(desk)))).pages)
    assert "Modified as the Commission ordered" in printed
    assert file(desk) == ""
    assert view(desk).modifications == {} and view(desk).filed_version == 3
    assert [each.modifications for each in records(desk.site, entry.PlanAdopted)][-2:] == [(DOCUMENT,), (DOCUMENT,)]
    desk.restart()
    desk.later(200 * DAY_S)
    report = desk.orders.records.report()
    assert report["modifications_open"] == 0 and "modification_due_seconds" not in report and alarms(desk) == []
    assert ordered(desk) == Check.MODIFICATION  # it was carried out


def test_the_countdown_and_the_day_after(desk: s.Desk) -> None:
    assert ordered(desk) == ""
    desk.later(29 * DAY_S)
    assert alarms(desk) == []
    for later, told in ((2, "30"), (22, "7"), (6, "1"), (2, "0")):
        desk.later(later * DAY_S)
        assert alarms(desk)[-1] == told
    desk.restart()
    desk.later(30 * DAY_S)
    assert alarms(desk) == ["30", "7", "1", "0"]
    assert desk.orders.records.report()["modification_due_seconds"] < 0
    assert adopt(desk, drawn(desk, DOCUMENT)) == "" and file(desk) == ""
    assert view(desk).modifications == {}


def test_the_commission_gives_more_time(desk: s.Desk) -> None:
    first = said(desk)
    assert enter(desk, first) == ""
    later_s = desk.now_ns // s.NS + 90 * DAY_S
    assert ordered(desk, due_s=later_s) == ""
    assert view(desk).modifications == {DOCUMENT: later_s}
    assert enter(desk, first) == Check.REPLAYED
    desk.restart()
    assert view(desk).modifications == {DOCUMENT: later_s}
    assert len(records(desk.site, entry.ModificationOrdered)) == 2


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "no hash": (Check.MODIFICATION, {"document_sha256": "D0" * 32}),
    "no day": (Check.MODIFICATION, {"due_s": 0}),
    "a day that never comes": (Check.MODIFICATION, {"due_s": 10**12}),
    "another plan": (Check.PLAN, {"plan_sha256": "ab" * 32}),
    "another version": (Check.PLAN, {"version": 2}),
    "a nonce": (Check.STRUCTURE, {"nonce": ""}),
    "a real one": (Check.LAB_TOKEN, {"lab": False}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_order(desk: s.Desk, name: str) -> None:
    check, changes = REFUSED[name]
    assert ordered(desk, **changes) == check
    assert "modification-ordered" not in s.kinds(desk.site)


def test_signed_by_those_who_record_filings(desk: s.Desk) -> None:
    for role in (Role.AUDITOR, Role.LEGAL, Role.CARRIER):
        assert ordered(desk, key=lab.person(desk.site, role)) == "key-role"
    assert ordered(desk, typ=plan.FILING_TYP) == Check.TOKEN_TYPE
    assert ordered(desk, key=lab.executives(desk.site)[0]) == ""


def test_a_draft_names_only_what_is_open(desk: s.Desk) -> None:
    with pytest.raises(AuthorizationError) as refusal:
        drawn(desk, DOCUMENT)
    assert refusal.value.check == Check.MODIFICATION
    assert ordered(desk) == "" and ordered(desk, document_sha256=OTHER) == ""
    for named in ((DOCUMENT, DOCUMENT), (OTHER, DOCUMENT), (DOCUMENT, "d2" * 32)):
        with pytest.raises(AuthorizationError):
            drawn(desk, *named)
    draft = drawn(desk, DOCUMENT)
    assert adopt(desk, draft) == "" and file(desk) == ""
    assert set(view(desk).modifications) == {OTHER}
    assert adopt(desk, draft) == Check.MODIFICATION  # what it names is carried out: the next one is drawn up anew


def test_so_many_at_a_time(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modification, "MAX_OPEN", 1)
    assert ordered(desk) == "" and ordered(desk, document_sha256=OTHER) == Check.MODIFICATION
    assert ordered(desk, due_s=desk.now_ns // s.NS + DAY_S) == ""


def test_by_the_commands(tmp_path: Path) -> None:
    site = s.make(tmp_path)
    at = ("--site", str(site.path))
    document, draft = tmp_path / "order.pdf", tmp_path / "plan.json"
    document.write_bytes(b"%PDF an order of the Commission")
    sha256 = hashlib.sha256(document.read_bytes()).hexdigest()
    early = command("plan", "draft", *at, "--ordered", str(document), "--out", str(draft))
    assert early.returncode == 1 and early.stderr.startswith("mediation: modification: ")
    done = command("plan", "ordered", *at, "--document", str(document), "--due", "+40d")
    assert done.returncode == 0 and sha256 in done.stdout, done.stderr
    assert f"to be filed: a plan that names the order {sha256}" in command("plan", "show", *at).stdout
    reported = command("status", *at)
    assert "modifications_open           1" in reported.stdout
    assert command("plan", "draft", *at, "--ordered", str(document), "--out", str(draft)).returncode == 0
    assert sha256 in draft.read_text()
    assert command("plan", "adopt", *at, str(draft)).returncode == 0
    assert command("plan", "filed", *at, "--confirmation", "CEFS-7").returncode == 0
    shown = command("plan", "show", *at)
    assert "filed: version 2" in shown.stdout and "to be filed" not in shown.stdout


def test_on_a_real_site_with_its_own_persons(tmp_path: Path) -> None:
    """The contact is called, and the Commission's order carried out; nothing of the lab helps."""
    site, at = tmp_path / "site", ("--site", str(tmp_path / "site"))
    done("init", str(site))
    vault.furnish(site)
    keys = {role: str(tmp_path / f"{role}.key") for role in ("officer", "auditor")}
    appointed = [
        (Role(role), Key(**json.loads(done("order", "key", "--role", role, "--person", role, "--out", key))))
        for role, key in keys.items()
    ]
    found(site, appointed)
    called = ("plan", "contact-test", *at, "--after", "20", "--answered-by", "Edda E.", "--key")
    assert refused(*called, keys["officer"]).startswith("plan:")  # none is in force
    planned.adopt(site)
    assert "no lab site" in refused(*called[:-1])
    assert refused(*called, keys["auditor"]).startswith("request:")  # of keys nothing is told (SEC-14)
    said = done(*called, keys["officer"])
    assert "+12125550123, called " in said and "answered after 20 s; last answered" in said
    document = tmp_path / "order.pdf"
    document.write_bytes(b"%PDF an order of the Commission")
    sha256 = hashlib.sha256(document.read_bytes()).hexdigest()
    order = ("plan", "ordered", *at, "--document", str(document), "--due", "+40d", "--key")
    assert refused(*order, keys["auditor"]).startswith("request:")
    done(*order, keys["officer"])
    filed = ("plan", "filed", *at, "--confirmation", "CEFS-1", "--key", keys["officer"])
    done(*filed)
    assert sha256 in done("plan", "show", *at)
    assert sha256 in planned.adopt(site, modifications=(sha256,))
    done(*filed)
    assert sha256 not in done("plan", "show", *at)
    made = config.load(site)
    assert [each.person for each in records(made, entry.ContactTested)] == ["officer"]
    assert [each.modifications for each in records(made, entry.PlanAdopted)] == [(), (), (sha256,), (sha256,)]
    assert len(list((site / FOLDER).iterdir())) == 2
