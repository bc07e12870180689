"""Calls of the plan's 7x24 contact (47 CFR 1.20003(b)(4)(ii)): signed, entered, missed, and not made for a month."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from mediation.administration import lab
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.order import drafting
from mediation.administration.records import signed_texts
from mediation.core.authority import jws
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import ConfigurationError
from mediation.core.interface.control import Export
from mediation.core.interface.policies import TryContact
from mediation.core.ledger import entry
from mediation.core.records import contact, plan, statement
from mediation.core.records.alarm import Alarm
from mediation.core.records.contact import ContactTest
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from mediation.signing.file import PersonKey
from tests.administration import site as s
from tests.administration.peers import command
from tests.administration.test_plan import adopt, file, set_config, view

DAY_S = 86_400
MONTHS = ("2026-03", "2026-04", "2026-05", "2026-06")


def at(month: str, day: float) -> float:
    """Seconds since 1970 of a day of a month; days count from 0, negative ones from its end."""
    return (statement.ends_s(month) if day < 0 else statement.ends_s(_before(month))) + day * DAY_S


def _before(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year - (number == 1):04}-{(number - 2) % 12 + 1:02}"


def said(desk: s.Desk, key: PersonKey | None = None, typ: str = contact.TYP, **changes: Any) -> str:
    """A call of half a minute ago that was answered after twelve seconds, signed by the lab's officer."""
    found = view(desk)
    now_s = desk.now_ns // s.NS
    facts = {
        "type": "contact-test", "version": found.version, "appendix_sha256": plan.digest(found.appendix),
        "called": lab.DIRECTORY_NUMBER, "called_s": now_s - 30, "answered": True, "answer_s": 12,
        "answered_by": "LAB executive-1", "issued_s": now_s, "nonce": drafting.nonce(), "lab": True, **changes,
    }  # fmt: skip
    key = key or lab.person(desk.site, Role.OFFICER)
    return jws.sign(ContactTest(**facts), typ, key.kid, key.key())


def enter(desk: s.Desk, text: str) -> str:
    return desk.orders.records.act(TryContact(test=text), desk.now_ns).check


def tried(desk: s.Desk, **changes: Any) -> str:
    return enter(desk, said(desk, **changes))


def missed(desk: s.Desk, **changes: Any) -> str:
    return tried(desk, answered=False, answered_by="", answer_s=60, **changes)


def records(site: Site, kind: type[Any]) -> list[Any]:
    found: list[Any] = []
    verify.examine(
        ledger_files(site), read_verifier(site.keys_dir),
        on_record=lambda _, record: found.append(record) if isinstance(record, kind) else None,
    )  # fmt: skip
    return found


def alarms(site: Site) -> list[tuple[str, str]]:
    return [(each.alarm, each.detail) for each in records(site, entry.Alarm) if each.alarm.startswith("contact")]


def status(desk: s.Desk) -> dict[str, int]:
    desk.later(61)
    return {name: count for name, count in desk.orders.records.report().items() if name.startswith("contact")}


def to(desk: s.Desk, month: str, day: float) -> None:
    desk.later(at(month, day) - desk.now_ns / s.NS)


@pytest.fixture
def month(desk: s.Desk) -> str:
    """The first month that still needs a call, however late in a month the test runs; it has begun."""
    month = statement.month_of(desk.now_ns // 1000)
    asked_s = statement.ends_s(month) - contact.ASK_S
    if asked_s < desk.now_ns // s.NS + DAY_S:
        if asked_s >= desk.now_ns // s.NS - 60:  # the plan of the site has begun in time for this one as well
            assert tried(desk) == ""
        month = statement.after(month)
        to(desk, month, 0.1)
        desk.restart()
    return month


def test_a_call_that_was_answered_is_entered_with_its_time(desk: s.Desk) -> None:
    text = said(desk)
    assert enter(desk, text) == ""
    (record,) = records(desk.site, entry.ContactTested)
    assert (record.answered, record.answer_s, record.person) == (True, 12, "lab-officer")
    assert record.called_s == desk.now_ns // s.NS - 30 and record.signed_sha256 == jws.sha256_hex(text)
    assert record.appendix_sha256 == plan.digest(view(desk).appendix)
    assert lab.DIRECTORY_NUMBER not in entry.encode(record)  # the signed text has it, as the appendix does
    ((name, octets),) = desk.orders.records.exported(Export())
    assert (name, octets) == (f"plan/signed/{record.signed_sha256}.jws", text.encode())
    path = desk.site.path / signed_texts.FOLDER / record.signed_sha256
    assert text.split(".")[1].encode() not in path.read_bytes()  # sealed: SEC-19
    found = status(desk)
    assert (found["contact_tests"], found["contact_missed"], found["contact_answer_seconds"]) == (1, 0, 12)
    assert view(desk).contact_called_s == record.called_s
    desk.restart()
    assert status(desk)["contact_tests"] == 1 and enter(desk, text) == Check.REPLAYED
    assert tried(desk, called_s=record.called_s) == Check.REPLAYED  # one call, signed for twice
    assert alarms(desk.site) == []


REFUSED: dict[str, dict[str, Any]] = {
    "another number": {"called": "+12125550198"},
    "no number": {"called": ""},
    "another appendix": {"appendix_sha256": "ab" * 32},
    "another version": {"version": 2},
    "nobody answered": {"answered_by": " "},
    "answered and missed": {"answered": False},
    "after an hour": {"answer_s": contact.MAX_ANSWER_S + 1},
    "before it rang": {"answer_s": -1},
    "an answer to come": {"answer_s": 1_800},
    "a line break": {"answered_by": "a\nb"},
    "a word that is not shown": {"answered_by": "a\u2060b"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
def test_only_a_call_of_the_plans_own_contact(desk: s.Desk, changes: dict[str, Any]) -> None:
    assert tried(desk, **changes) == Check.CONTACT
    assert "contact-tested" not in s.kinds(desk.site) and not (desk.site.path / signed_texts.FOLDER).exists()


def test_a_file_that_was_changed_or_is_of_no_entry(desk: s.Desk) -> None:
    assert tried(desk) == ""
    keeping = desk.orders.records._keeping
    signed_texts.keep(keeping, "of no entry: the machine stopped after it was stored")
    ((name, _),) = signed_texts.exported(keeping)
    path = desk.site.path / signed_texts.FOLDER / Path(name).stem
    octets = bytearray(path.read_bytes())
    octets[-1] ^= 1
    path.write_bytes(octets)
    with pytest.raises(ConfigurationError, match=r"policies/"):
        signed_texts.exported(keeping)
    path.unlink()
    assert signed_texts.exported(keeping) == []


def test_lately_and_not_in_the_future(desk: s.Desk) -> None:
    now_s = desk.now_ns // s.NS
    assert tried(desk, called_s=now_s - contact.LATE_S - 1) == Check.CONTACT
    assert tried(desk, called_s=now_s + 1) == Check.CONTACT
    assert tried(desk, called_s=now_s - contact.LATE_S) == ""


def test_by_an_officer_or_executive_who_is_not_the_contact(desk: s.Desk) -> None:
    senior, other, _ = lab.executives(desk.site)
    assert tried(desk, key=senior) == Check.CONTACT
    for role in (Role.AUDITOR, Role.LEGAL, Role.CARRIER):
        assert tried(desk, key=lab.person(desk.site, role)) == "key-role"
    assert tried(desk, typ=plan.FILING_TYP) == Check.TOKEN_TYPE
    assert tried(desk, nonce="x") == Check.STRUCTURE
    assert enter(desk, said(desk)[:-8] + "AAAAAAAA") == Check.SIGNATURE
    assert tried(desk, issued_s=desk.now_ns // s.NS - 8 * DAY_S) in ("command-dates", "key-dates")
    assert tried(desk, key=other) == ""


def test_a_missed_call_is_an_alarm_and_no_call_of_the_month(desk: s.Desk, month: str) -> None:
    answered = status(desk).get("contact_answer_seconds")
    assert missed(desk) == ""
    called_s = str(desk.now_ns // s.NS - 30)
    assert alarms(desk.site) == [("contact-missed", called_s)]
    found = status(desk)
    assert found["contact_missed"] == 1 and found.get("contact_answer_seconds") == answered
    desk.restart()
    desk.later(120)
    assert len(alarms(desk.site)) == 1  # told once
    to(desk, month, -6.5)
    assert alarms(desk.site)[1:] == [("contact-due", month)]
    assert tried(desk) == ""
    to(desk, month, -0.5)
    assert status(desk)["contact_due_seconds"] > 20 * DAY_S and len(alarms(desk.site)) == 2


def test_a_month_without_a_call_is_asked_for_and_then_overdue(desk: s.Desk, month: str) -> None:
    to(desk, month, -7.1)
    assert alarms(desk.site) == []
    to(desk, month, -6.9)
    assert alarms(desk.site) == [("contact-due", month)]
    following = statement.after(month)
    to(desk, following, 0.1)
    assert alarms(desk.site) == [("contact-due", month), ("contact-overdue", month)]
    assert status(desk)["contact_due_seconds"] < 0
    assert tried(desk) == ""  # what was not done in its month stays said, and the next one is well
    assert status(desk)["contact_due_seconds"] > 20 * DAY_S
    to(desk, statement.after(following), 0.1)
    desk.restart()
    assert len(alarms(desk.site)) == 2


def test_a_call_is_of_the_month_in_which_it_was_made(desk: s.Desk, month: str) -> None:
    following = statement.after(month)
    to(desk, following, 0.5)
    assert tried(desk, called_s=statement.ends_s(month) - 60) == ""
    to(desk, following, -6)
    assert ("contact-due", following) in alarms(desk.site)


def test_the_clock_of_the_months() -> None:
    def told(begins: float, now: float, *reached: str) -> list[tuple[Alarm, str]]:
        return list(contact.lapses(int(begins) * 1_000_000, set(reached), int(now)))

    march, april, may, _ = MONTHS
    assert told(at(march, -7), at(march, -6)) == [(Alarm.CONTACT_DUE, march)]
    assert told(at(march, -6.99), at(march, -1)) == []  # less than a week was left of it
    assert told(at(march, -6.99), at(april, 5)) == []
    assert told(at(march, -6.99), at(april, -1)) == [(Alarm.CONTACT_DUE, april)]
    assert told(at(march, 3), at(may, 0)) == [(Alarm.CONTACT_OVERDUE, march), (Alarm.CONTACT_OVERDUE, april)]
    assert told(at(march, 3), at(may, 0), march) == [(Alarm.CONTACT_OVERDUE, april)]
    assert told(at(march, 3), at(may, 30), march, april, may) == []
    assert contact.due_s(int(at(march, 3)) * 1_000_000, set()) == statement.ends_s(march)
    assert contact.due_s(int(at(march, 3)) * 1_000_000, {march, april}) == statement.ends_s(may)
    assert contact.due_s(int(at(march, -1)) * 1_000_000, {march}) == statement.ends_s(april)


def test_of_a_new_contact_the_new_number(desk: s.Desk) -> None:
    set_config(desk, '\n[contact]\ntelephone = "+12125550123"\nmail = "duty@carrier.example"\n')
    assert tried(desk, called="+12125550123") == Check.CONTACT  # not in force yet
    assert adopt(desk, view(desk, draft=True)) == "" and file(desk) == ""
    desk.later(60)
    assert tried(desk) == Check.CONTACT
    assert tried(desk, called="+12125550123") == ""
    desk.later(60)
    assert tried(desk, called="duty@carrier.example") == ""


def test_by_the_commands(tmp_path: Path) -> None:
    site = s.make(tmp_path)
    where = ("--site", str(site.path))
    assert "never answered yet" in command("plan", "show", *where).stdout
    both = command("plan", "contact-test", *where, "--after", "9", "--missed", "--answered-by", "LAB x")
    neither = command("plan", "contact-test", *where, "--after", "9")
    assert both.returncode == neither.returncode == 2
    done = command("plan", "contact-test", *where, "--after", "9", "--answered-by", "LAB executive-1")
    assert done.returncode == 0 and "answered after 9 s; last answered" in done.stdout, done.stderr
    again = command(
        "plan", "contact-test", *where, "--after", "30", "--missed", "--called", str(int(time.time()) - 300)
    )
    assert again.returncode == 0 and "missed for 30 s" in again.stdout, again.stderr
    shown = command("plan", "show", *where)
    assert f"7x24 contact: {lab.DIRECTORY_NUMBER}; last answered" in shown.stdout
    assert s.kinds(site).count("contact-tested") == 2 and alarms(site)[0][0] == "contact-missed"
    reported = command("status", *where)
    assert "contact_missed               1" in reported.stdout and "contact_answer_seconds       9" in reported.stdout
    own = command("plan", "contact-test", *where, "--after", "9", "--answered-by", "LAB x", "--called", "-60s", "--key",
                  str(site.lab_dir / "executive-1.json"))  # fmt: skip
    assert own.returncode == 1 and own.stderr.startswith("mediation: contact: "), own.stderr
