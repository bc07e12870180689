"""The monthly statement of completeness (47 CFR 1.20004(c)): drafted by itself, signed by the senior officer, late."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pypdf import PdfReader

from mediation.administration import lab
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.records import documents
from mediation.administration.records.statements import FOLDER
from mediation.core.authority import jws
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import ConfigurationError
from mediation.core.interface.control import Certify, SignStatement, StatementView
from mediation.core.ledger import entry
from mediation.core.records import certificate, statement
from mediation.core.records.statement import Statement
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import command
from tests.administration.test_certificate import arm, kept, signed

DAY_S = 86_400


@pytest.fixture
def month(desk: s.Desk) -> str:
    """The month in which the test's site was made."""
    return statement.month_of(desk.now_ns // 1000)


def over(desk: s.Desk, month: str, seconds: float = statement.DRAFTED_S) -> None:
    """The clock goes to so long after the month's end, and a minute."""
    desk.later(statement.ends_s(month) + seconds + 60 - desk.now_ns / s.NS)


def views(desk: s.Desk) -> list[StatementView]:
    return desk.orders.records.statements.views(None)


def said(desk: s.Desk) -> Statement:
    return statement.decode(views(desk)[0].text)


def attested(desk: s.Desk, text: str, number: int = 0, typ: str = statement.TYP) -> str:
    key = lab.executives(desk.site)[number]
    return jws.sign_octets(text.encode(), typ, key.kid, key.key())


def sign(desk: s.Desk, signature: str) -> str:
    return desk.orders.records.act(SignStatement(signature=signature), desk.now_ns).check


def alarms(site: Site) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    verify.examine(
        ledger_files(site), read_verifier(site.keys_dir),
        on_record=lambda _, record: found.append((record.alarm, record.detail))
        if isinstance(record, entry.Alarm) and record.alarm.startswith("statement") else None,
    )  # fmt: skip
    return found


def test_drafted_when_the_month_is_over_and_its_last_certification_had_its_time(desk: s.Desk, month: str) -> None:
    desk.submit(s.filing(desk.site), s.filing(desk.site, "CASE-2"), s.filing(desk.site, "CASE-3", activate=False))
    for case in ("CASE-1", "CASE-2"):
        arm(desk, case)
        arm(desk, case)  # again, after a restart of the function: it is one interception
        certified = desk.orders.records.act(
            Certify(signatures=(signed(desk, kept(desk, case)[0].text),)), desk.now_ns
        )  # fmt: skip
        assert certified.check == ""
    desk.later(1)
    over(desk, month, statement.DRAFTED_S - 120)
    assert views(desk) == []
    over(desk, month)
    found = said(desk)
    assert (found.counts.orders, found.counts.activated, found.counts.enabled) == (3, 2, 2)
    assert (found.counts.certified, found.counts.signed, found.differences) == (2, 2, ())
    assert (found.site, found.month, found.lab) == (desk.orders.ledger.verifier.name, month, True)
    kinds = s.kinds(desk.site)
    assert found.first == 0 and found.last <= kinds.index("statement-drafted")
    covering = desk.orders.trust.checkpoint(found.checkpoint)  # a quorum has cosigned it
    assert covering.size > found.last
    assert kinds.count("statement-drafted") == 1
    desk.later(7_200)
    desk.restart()
    assert [each.month for each in views(desk)] == [month] and s.kinds(desk.site).count("statement-drafted") == 1


def test_each_difference_is_named_and_one_that_is_cured_is_drafted_again(desk: s.Desk, month: str) -> None:
    desk.submit(s.filing(desk.site), s.filing(desk.site, "CASE-2"))
    arm(desk)
    arm(desk, "CASE-2")
    now_us = desk.now_ns // 1000
    desk.orders.note(
        entry.Reconciled(time_us=now_us, taps=2, cases=1, certifications=1, differences=1, rounds=9),
        entry.Incident(time_us=now_us, incident="1-aa", what="packet-socket", evidence_sha256="ee" * 32, agencies=1),
        entry.Incident(time_us=now_us, incident="2-aa", what="tap-gone", evidence_sha256="ee" * 32, agencies=0),
        entry.Reconciled(time_us=now_us, taps=1, cases=1, certifications=1, differences=0, rounds=1),
    )  # fmt: skip
    over(desk, month)
    assert [(each.what.partition(" ")[0], each.count) for each in said(desk).differences] == [
        ("interceptions", 2), ("incidents", 1), ("reconciliations", 1),
    ]  # fmt: skip
    assert "not all signed" in said(desk).differences[0].what
    assert msgspec.structs.asdict(said(desk).compared) == {
        "rounds": 10, "differing": 1, "taps": 1, "cases": 1, "certifications": 1,
    }  # fmt: skip
    before = views(desk)[0]
    for case in ("CASE-1", "CASE-2"):
        desk.orders.records.act(Certify(signatures=(signed(desk, kept(desk, case)[0].text),)), desk.now_ns)
    desk.later(3_700)
    after = said(desk)
    assert (after.counts.signed, len(after.differences)) == (2, 2)
    assert after.nonce != statement.decode(before.text).nonce
    assert sign(desk, attested(desk, before.text)) == Check.STATEMENT  # what was drafted before is no draft any more
    assert sign(desk, attested(desk, views(desk)[0].text)) == ""
    desk.later(7_200)
    assert said(desk) == after  # signed, it is never written again


def test_a_certification_that_was_never_drafted_is_a_difference(desk: s.Desk, month: str) -> None:
    desk.submit(s.filing(desk.site))
    arm(desk)
    desk.orders.records.certificates.forget(desk.order().xid)
    over(desk, month)
    assert [each.what for each in said(desk).differences] == ["interceptions without a certification"]


@pytest.mark.parametrize("what", ["officer", "other executive", "other text", "other typ", "attestation"])
def test_only_the_senior_officer_signs_and_exactly_that_text(desk: s.Desk, month: str, what: str) -> None:
    over(desk, month)
    text = views(desk)[0].text
    officer = lab.person(desk.site, Role.OFFICER)
    signature = {
        "officer": jws.sign_octets(text.encode(), statement.TYP, officer.kid, officer.key()),
        "other executive": attested(desk, text, 1),
        "other text": attested(desk, text.replace('"orders":0', '"orders":1')),
        "other typ": attested(desk, text, typ=certificate.TYP),
        "attestation": attested(desk, text.replace("complete and accurate", "complete")),
    }[what]
    assert sign(desk, signature) == (Check.TOKEN_TYPE if what == "other typ" else Check.STATEMENT)
    assert not views(desk)[0].signature
    assert sign(desk, attested(desk, text)) == ""
    (view,) = views(desk)
    assert jws.split(view.signature).payload == text.encode() and view.person == "lab-executive-1"
    assert sign(desk, attested(desk, text)) == Check.STATEMENT  # once
    desk.restart()
    assert views(desk) == [view]


def test_late_ones_are_alarms_and_signed_ones_are_not(desk: s.Desk, month: str) -> None:
    over(desk, month, statement.DUE_S)
    over(desk, month, statement.MISSING_S)
    over(desk, month, statement.MISSING_S + DAY_S)
    assert alarms(desk.site) == [("statement-due", month), ("statement-overdue", month)]
    assert desk.orders.records.report()["statements_unsigned"] == 1
    assert sign(desk, attested(desk, views(desk)[0].text)) == ""
    assert desk.orders.records.report()["statements_unsigned"] == 0
    following = statement.after(month)
    over(desk, following)
    assert sign(desk, attested(desk, views(desk)[1].text)) == ""
    over(desk, following, statement.MISSING_S)
    desk.restart()
    assert len(alarms(desk.site)) == 2 and [each.month for each in views(desk)] == [month, following]
    assert statement.decode(views(desk)[1].text).first > statement.decode(views(desk)[0].text).last


def test_without_witnesses_none_is_drafted_and_that_is_an_alarm(
    desk: s.Desk, month: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.orders.heads, "show_at_once", lambda _: False)
    desk.orders.ledger.witnessed = type(desk.orders.ledger.witnessed)()
    over(desk, month, statement.MISSING_S)
    assert views(desk) == [] and ("statement-overdue", month) in alarms(desk.site)


def test_a_crash_after_the_draft_was_stored_and_a_file_that_was_changed(desk: s.Desk, month: str) -> None:
    over(desk, month)
    statements = desk.orders.records.statements
    text = views(desk)[0].text
    desk.orders.records._history.drafted_statements.clear()  # as if its entry had not been made
    desk.later(120)
    assert views(desk)[0].text == text and s.kinds(desk.site).count("statement-drafted") == 2
    path = desk.site.path / FOLDER / month
    assert month.encode() not in path.read_bytes() and b"enabled" not in path.read_bytes()  # sealed: SEC-19
    octets = bytearray(path.read_bytes())
    octets[-1] ^= 1
    path.write_bytes(octets)
    with pytest.raises(ConfigurationError, match=month):
        statements.views(None)


def test_months() -> None:
    new_year = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC).timestamp()
    assert (statement.after("2026-12"), statement.after("2026-01")) == ("2027-01", "2026-02")
    assert statement.ends_s("2026-12") == int(new_year)
    assert statement.month_of(int(new_year) * 1_000_000 - 1) == "2026-12"
    assert statement.month_of(int(new_year) * 1_000_000) == "2027-01"
    assert statement.ends_s("2028-02") - statement.ends_s("2028-01") == 29 * DAY_S


def test_by_the_commands_and_entered_as_read(tmp_path: Path) -> None:
    site = s.make(tmp_path)
    at = ("--site", str(site.path))
    none = command("statement", *at)
    assert none.returncode == 1 and none.stderr.startswith("mediation: statement: ")
    desk = s.Desk(site)
    over(desk, statement.month_of(desk.now_ns // 1000))
    (view,) = views(desk)
    desk.orders.close()
    shown = command("statement", view.month, *at)
    assert shown.returncode == 0 and "NOT SIGNED" in shown.stdout and "Differences" in shown.stdout, shown.stderr
    unknown = command("statement", "2001-13", *at)
    assert unknown.returncode == 2
    # The command signs by the clock of this machine, in which the month is not over yet.
    done = command("statement", view.month, "--sign", *at)
    assert done.returncode == 0 and "lab-executive-1 at" in done.stdout, done.stderr
    assert view.text in done.stderr and done.stderr.startswith("to be signed:\nstatement ")  # in words, before
    assert max(len(line) for line in done.stdout.splitlines()) <= 130
    prints = []
    for name in ("a.pdf", "b.pdf"):
        assert command("statement", view.month, "--pdf", str(tmp_path / name), *at).returncode == 0
        prints.append((tmp_path / name).read_bytes())
    assert prints[0] == prints[1]
    taken = command("statement", view.month, "--pdf", str(tmp_path / "a.pdf"), *at)
    assert taken.returncode == 1 and "exists" in taken.stderr  # what counsel has printed is not replaced
    assert (tmp_path / "a.pdf").stat().st_mode & 0o077 == 0
    words = "".join(page.extract_text() for page in PdfReader(io.BytesIO(prints[0])).pages)
    assert "1.20004(c)" in words and "NOT SIGNED" not in words
    reads: list[Any] = []
    verify.examine(
        ledger_files(site), read_verifier(site.keys_dir),
        on_record=lambda _, record: reads.append(record.what) if isinstance(record, entry.CaseRead) else None,
    )  # fmt: skip
    assert reads and set(reads) == {"statement"}


def test_a_print_says_that_it_is_not_signed(desk: s.Desk, month: str) -> None:
    over(desk, month)
    words = "".join(page.extract_text() for page in PdfReader(io.BytesIO(documents.completeness(views(desk)[0]))).pages)
    assert "NOT SIGNED" in words and month in words
