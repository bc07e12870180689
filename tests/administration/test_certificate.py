"""Certifications (47 CFR 1.20004): drafted at the first arming, signed by the overseeing person, overdue, amended."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from pypdf import PdfReader

from mediation.administration import lab
from mediation.administration.ledger import verify
from mediation.administration.records import documents
from mediation.administration.records.certificates import Kept
from mediation.core.authority import jws, request
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface.control import Certificates, CertificateView, Certify, Report, Results, Status, Submit
from mediation.core.ledger import entry
from mediation.core.records import certificate
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import ask as ask_administrator
from tests.administration.peers import command, mediation, staged


def arm(desk: s.Desk, case: str = "CASE-1", function: str = "iap", refused: str = "") -> None:
    """What the tasking enters when a function has answered."""
    desk.orders.outcomes([
        entry.Outcome(
            time_us=desk.now_ns // 1000, case=case, xid=desk.order(case).xid, function=function, act="armed",
            sequence=1, refused=refused,
        )
    ])  # fmt: skip
    desk.orders.advance(desk.now_ns)


def kept(desk: s.Desk, case: str = "CASE-1") -> list[Kept]:
    return desk.orders.records.certificates.of_case(case)


def signed(desk: s.Desk, text: str, role: Role = Role.OFFICER, typ: str = certificate.TYP, **changes: Any) -> str:
    key = lab.person(desk.site, role) if role is not Role.EXECUTIVE else lab.executives(desk.site)[0]
    if changes:
        text = certificate.encode(msgspec.structs.replace(certificate.decode(text), **changes))
    return jws.sign_octets(text.encode(), typ, key.kid, key.key())


def sign(desk: s.Desk, *signatures: str) -> str:
    return desk.orders.records.act(Certify(signatures=signatures), desk.now_ns).check


@pytest.fixture
def armed(desk: s.Desk) -> s.Desk:
    desk.submit(s.filing(desk.site))
    arm(desk)
    return desk


def test_drafted_by_itself_when_the_access_function_has_armed(desk: s.Desk) -> None:
    desk.submit(s.filing(desk.site))
    arm(desk, function="mediator")
    arm(desk, refused="clock")
    assert kept(desk) == []
    desk.now_ns += 5 * s.NS
    arm(desk)
    enabled_us = desk.now_ns // 1000
    desk.now_ns += 5 * s.NS
    arm(desk)  # again after a restart of the access function: the first one counts
    (one,) = kept(desk)
    found = certificate.decode(one.text)
    assert found.numbers == ("tel:+12125550100",)
    assert (found.enabled_us, found.enabled) == (enabled_us, certificate.rfc3339(enabled_us))
    assert (found.presenting_officer, found.authorizing_person) == ("LAB officer", "LAB judge")
    assert (found.authority, found.responsible.person) == ("pen-register", "lab-officer")
    assert found.responsible.name == "LAB officer" and found.attestation == certificate.ATTESTATION
    (paper,) = found.papers
    order = desk.order()
    assert (paper.document_sha256, paper.legal_sha256) == (s.HASH, order.legal_sha256)
    assert (paper.carrier_sha256, paper.filed) == (order.carrier_sha256, order.filed)
    assert (found.activated, found.armed) == (order.commands[0][1].index, 5)
    assert s.kinds(desk.site)[found.armed] == "outcome" and s.kinds(desk.site)[paper.filed] == "order-filed"
    assert one.drafted.record.certificate_sha256 == certificate.digest(one.text)


def test_one_for_each_interception_after_any_restart(armed: s.Desk) -> None:
    before = [one.text for one in kept(armed)]
    armed.restart()
    assert [one.text for one in kept(armed)] == before and s.kinds(armed.site).count("certificate-drafted") == 1


def test_a_draft_that_was_lost_is_made_again_with_the_same_octets(armed: s.Desk) -> None:
    (before,) = kept(armed)
    armed.orders.close()
    (armed.site.path / "administrator" / "certificates.sqlite").unlink()
    armed.restart()
    assert [one.text for one in kept(armed)] == [before.text]
    assert s.kinds(armed.site).count("certificate-drafted") == 1


def test_nothing_of_it_lies_in_clear(armed: s.Desk) -> None:
    for path in (armed.site.path / "administrator").glob("certificates.sqlite*"):
        octets = path.read_bytes()
        assert b"2125550100" not in octets and b"LAB judge" not in octets and b"CASE-1" not in octets


def test_signed_by_the_overseeing_person(armed: s.Desk) -> None:
    (one,) = kept(armed)
    assert sign(armed, signed(armed, one.text)) == ""
    (one,) = kept(armed)
    assert jws.split(one.signature).payload == one.text.encode()
    assert one.drafted.signed is not None and one.drafted.signed.person == "lab-officer"
    assert sign(armed, one.signature) == Check.CERTIFICATE  # once
    armed.restart()
    (again,) = kept(armed)
    assert (again.signature, again.drafted.signed) == (one.signature, one.drafted.signed)
    assert armed.orders.records.report()["certifications_unsigned"] == 0


@pytest.mark.parametrize("field", [name for _, name, _ in certificate.FIELDS] + ["attestation", "papers", "enabled_us"])
def test_an_empty_field_is_refused(armed: s.Desk, field: str) -> None:
    (one,) = kept(armed)
    document = certificate.decode(one.text)
    value = getattr(document, field)
    empty = {tuple: (), str: " ", int: 0}.get(type(value), certificate.Responsible(person="a", name="", function="b"))
    changed = certificate.encode(msgspec.structs.replace(document, **{field: empty}))
    with pytest.raises(AuthorizationError) as refusal:
        certificate.examine(signed(armed, changed), changed, armed.orders.trust, armed.now_ns)
    assert refusal.value.check == Check.CERTIFICATE
    certificate.check_complete(document)


@pytest.mark.parametrize(
    ("check", "how"),
    [
        ("certificate", {"presenting_officer": "somebody else"}),  # another text than was drafted
        ("certificate", {"role": Role.EXECUTIVE}),  # the senior officer, who is not the one of field (vi)
        ("key-role", {"role": Role.AUDITOR}),
        ("key-role", {"role": Role.CARRIER}),
        ("token-type", {"typ": "mediation-command"}),
    ],
)
def test_nobody_else_signs_and_nothing_else(armed: s.Desk, check: str, how: dict[str, Any]) -> None:
    (one,) = kept(armed)
    assert sign(armed, signed(armed, one.text, **how)) == check
    assert not kept(armed)[0].signature and "certificate-signed" not in s.kinds(armed.site)


def test_a_second_executive_is_not_the_senior_officer(armed: s.Desk) -> None:
    (one,) = kept(armed)
    key = lab.executives(armed.site)[1]
    assert sign(armed, jws.sign_octets(one.text.encode(), certificate.TYP, key.kid, key.key())) == Check.CERTIFICATE


def test_a_changed_octet_or_signature_is_refused(armed: s.Desk) -> None:
    (one,) = kept(armed)
    text = signed(armed, one.text)
    broken = text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB")
    assert sign(armed, broken) in ("signature", "structure")


def test_the_senior_officer_takes_over_what_another_left_unsigned(armed: s.Desk) -> None:
    records = armed.orders.records.certificates
    with pytest.raises(AuthorizationError):
        records.take_over("CASE-1", "lab-officer", armed.now_ns)
    records.take_over("CASE-1", "lab-executive-1", armed.now_ns)
    first, second = kept(armed)
    assert first.replaced and not second.replaced
    document = certificate.decode(second.text)
    assert document.previous == first.sha256 and document.responsible.person == "lab-executive-1"
    assert document.enabled_us == certificate.decode(first.text).enabled_us
    assert sign(armed, signed(armed, first.text)) == Check.CERTIFICATE
    assert sign(armed, signed(armed, second.text, Role.EXECUTIVE)) == ""
    assert records.certified(armed.order().xid)


def test_overdue_alarms_once_each_and_the_lag(armed: s.Desk) -> None:
    def alarms() -> list[str]:
        return [name for name, _ in armed.orders.records._history.raised if name.startswith("certificate")]

    armed.later(23 * 3600 + 3500)
    assert alarms() == [] and armed.orders.records.report()["certification_lag_seconds"] == 23 * 3600 + 3500
    armed.later(100)
    assert len(alarms()) == 1
    armed.later(600)
    armed.restart()
    armed.later(600)
    assert len(alarms()) == 1 and armed.orders.records.report()["certifications_overdue"] == 0
    armed.later(48 * 3600)
    assert len(alarms()) == 2 and armed.orders.records.report()["certifications_overdue"] == 1
    sign(armed, signed(armed, kept(armed)[0].text))
    armed.later(48 * 3600)
    assert len(alarms()) == 2 and armed.orders.records.report()["certification_lag_seconds"] == 0


def test_an_extension_is_appended_as_an_amendment(armed: s.Desk) -> None:
    order = armed.order()
    filed = entry.ExtensionFiled(
        time_us=armed.now_ns // 1000, case="CASE-1", carrier_sha256=order.carrier_sha256,
        legal_extension_sha256="1a" * 32, carrier_extension_sha256="1b" * 32, document_sha256="1c" * 32,
        legal_person="lab-legal-reviewer", carrier_person="lab-carrier-authorizer",
        not_after_s=order.not_after_s + 3600,
    )  # fmt: skip
    armed.orders.note(filed)
    armed.later(60)
    first, second = kept(armed)
    document = certificate.decode(second.text)
    assert (document.kind, document.previous) == ("amendment", first.sha256)
    assert [paper.what for paper in document.papers] == ["order", "extension"]
    assert document.papers[1].document_sha256 == "1c" * 32
    assert s.kinds(armed.site)[document.papers[1].filed] == "extension-filed"
    sign(armed, signed(armed, first.text))
    assert not armed.orders.records.certificates.certified(order.xid)  # the amendment is to be signed as well
    sign(armed, signed(armed, second.text))
    assert armed.orders.records.certificates.certified(order.xid)
    armed.restart()
    assert len(kept(armed)) == 2


def test_an_extension_before_the_first_arming_follows_the_certification(desk: s.Desk) -> None:
    desk.submit(s.filing(desk.site))
    order = desk.order()
    desk.orders.note(
        entry.ExtensionFiled(
            time_us=desk.now_ns // 1000, case="CASE-1", carrier_sha256=order.carrier_sha256,
            legal_extension_sha256="1a" * 32, carrier_extension_sha256="1b" * 32, document_sha256="1c" * 32,
            legal_person="lab-legal-reviewer", carrier_person="lab-carrier-authorizer",
            not_after_s=order.not_after_s + 3600,
        )
    )  # fmt: skip
    desk.later(1)
    assert kept(desk) == []
    arm(desk)
    assert [certificate.decode(each.text).kind for each in kept(desk)] == ["interception", "amendment"]
    desk.restart()
    assert len(kept(desk)) == 2


def test_what_was_found_without_an_order(desk: s.Desk) -> None:
    records = desk.orders.records.certificates
    found = records.draft_unauthorized(
        ("packet socket on eth1",), incident="INC-1", found_us=desk.now_ns // 1000, evidence_sha256="ee" * 32,
        now_ns=desk.now_ns,
    )  # fmt: skip
    assert found == records.draft_unauthorized(
        ("again",), incident="INC-1", found_us=1, evidence_sha256="ef" * 32, now_ns=desk.now_ns
    )
    (one,) = kept(desk, "INC-1")
    document = certificate.decode(one.text)
    certificate.check_complete(document)
    assert (document.authority, document.presenting_officer) == ("unauthorized", certificate.NOBODY)
    assert one.drafted.record.unauthorized and document.responsible.person == "lab-executive-1"
    assert sign(desk, signed(desk, one.text)) == Check.CERTIFICATE  # the officer did not oversee it
    assert sign(desk, signed(desk, one.text, Role.EXECUTIVE)) == ""
    desk.restart()
    assert kept(desk, "INC-1")[0].signature


def test_a_person_whom_the_roster_does_not_know_leaves_a_field_empty() -> None:
    with pytest.raises(AuthorizationError) as refusal:
        certificate.responsible("nobody", (), int(time.time()))
    assert refusal.value.check == Check.CERTIFICATE


def test_the_print_has_the_six_fields_and_the_exact_text(armed: s.Desk) -> None:
    sign(armed, signed(armed, kept(armed)[0].text))
    answer = ask(armed)
    words = "".join(page.extract_text() for page in PdfReader(io.BytesIO(documents.certification(answer))).pages)
    document = certificate.decode(answer.text)
    for _, name, label in certificate.FIELDS:
        assert label.split()[0] in words
        for each in certificate.field(document, name):
            assert each in words, name
    assert document.papers[0].document_sha256 in words and certificate.digest(answer.text) in words
    printed = words.replace("\n", "")
    # Read off the print alone, the signature is the very text.
    at = printed.rindex("(compact JWS)") + len("(compact JWS)")
    assert printed[at : at + len(answer.signature)] == answer.signature
    assert jws.split(printed[at : at + len(answer.signature)]).payload == answer.text.encode()
    unsigned = documents.certification(msgspec.structs.replace(answer, signature=""))
    assert "NOT SIGNED" in "".join(page.extract_text() for page in PdfReader(io.BytesIO(unsigned)).pages)


def ask(desk: s.Desk) -> CertificateView:
    opened = request.Opened(
        inquiry=Certificates(case="CASE-1"), key=lab.person(desk.site, Role.OFFICER).ring_key(), role=Role.OFFICER,
        reason="a test", sha256="", expires_s=0,
    )  # fmt: skip
    (found,) = desk.orders.records.read(Certificates(case="CASE-1"), opened, desk.now_ns).certificates
    return found


def test_a_name_that_the_fonts_have_not_is_not_dropped() -> None:
    assert documents.printable("Łukasz Ωmega Ünal") == "{U+0141}ukasz {U+03A9}mega Ünal"


PRINT = """
import sys, time
if len(sys.argv) > 3:
    import socket, uuid
    later = time.time() + 400 * 86400
    time.time = lambda: later
    time.localtime = lambda *a, real=time.localtime: real(*(a or (later,)))
    time.gmtime = lambda *a, real=time.gmtime: real(*(a or (later,)))
    socket.gethostname = lambda: "another-machine"
    uuid.getnode = lambda: 7
import msgspec
from mediation.administration.records import documents
from mediation.core.interface.control import CertificateView
view = msgspec.json.decode(open(sys.argv[1], "rb").read(), type=CertificateView)
open(sys.argv[2], "wb").write(documents.certification(view))
"""


def test_the_print_is_the_same_octets_elsewhere_and_later(armed: s.Desk, tmp_path: Path) -> None:
    sign(armed, signed(armed, kept(armed)[0].text))
    record = tmp_path / "record.json"
    record.write_bytes(msgspec.json.encode(ask(armed)))
    prints = []
    for number, (zone, more) in enumerate((("UTC", ()), ("Pacific/Kiritimati", ("later",)))):
        out = tmp_path / f"{number}.pdf"
        subprocess.run(
            [sys.executable, "-c", PRINT, str(record), str(out), *more], check=True, timeout=60,
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": str(number), "LC_ALL": ("C", "C.UTF-8")[number]},
        )  # fmt: skip
        prints.append(out.read_bytes())
    assert prints[0] == prints[1] and prints[0].startswith(b"%PDF-")


def test_by_the_commands_and_entered_as_read(tmp_path: Path) -> None:
    site = s.make(tmp_path)
    desk = s.Desk(site)
    desk.submit(s.filing(site))
    arm(desk)
    desk.orders.close()
    at = ("CASE-1", "--site", str(site.path))
    shown = command("certificate", *at)
    assert shown.returncode == 0 and "NOT SIGNED" in shown.stdout and "(vi)" in shown.stdout
    done = command("certificate", *at, "--sign")
    assert done.returncode == 0 and "lab-officer at" in done.stdout, done.stderr
    again = command("certificate", *at, "--sign")
    assert again.returncode == 1 and again.stderr.startswith("mediation: certificate: ")
    assert "nothing is unsigned" in again.stderr
    prints = []
    for name in ("a.pdf", "b.pdf"):
        assert command("certificate", *at, "--pdf", str(tmp_path / name)).returncode == 0
        prints.append((tmp_path / name).read_bytes())
    assert prints[0] == prints[1]
    found: list[entry.CaseRead] = []
    verify.examine(
        s.ledger_files(site), read_verifier(site.keys_dir),
        on_record=lambda _, record: found.append(record) if isinstance(record, entry.CaseRead) else None,
    )  # fmt: skip
    reads = [each for each in found if each.what == "certificate"]
    assert len(reads) == 6 and {each.case for each in reads} == {"CASE-1"}
    nothing = command("certificate", "CASE-2", "--site", str(site.path))
    assert nothing.returncode == 1 and nothing.stderr.startswith("mediation: certificate")
    status = command("status", "--site", str(site.path), "--json")
    assert json.loads(status.stdout)["counters"]["certifications_unsigned"] == 0


async def test_by_the_functions(tmp_path: Path) -> None:
    """A real administrator with functions that admit: the access function's answer is what drafts it."""
    async with staged(tmp_path, s.make) as stage:
        await stage.start(stage.mediator, stage.iap)
        await stage.run()
        answer = await ask_administrator(stage.site, Submit(filings=(s.filing(stage.site),)))
        assert isinstance(answer, Results) and answer.results[0].functions == {"iap": "done", "mediator": "done"}
        at = ("certificate", "CASE-1", "--site", str(stage.site.path))
        with trio.fail_after(60):
            while "NOT SIGNED" not in (await mediation(*at)).stdout:
                await trio.sleep(0.2)
        report = await ask_administrator(stage.site, Status())
        assert isinstance(report, Report) and report.counters["certifications_unsigned"] == 1
        signing = await mediation(*at, "--sign")
        assert "lab-officer at" in signing.stdout, signing.stderr
        assert (await mediation("case", "deactivate", "CASE-1", "--site", str(stage.site.path))).returncode == 0
        assert "2125550100" not in stage.said()


def test_a_signature_over_other_octets_is_not_of_this_text(armed: s.Desk) -> None:
    (one,) = kept(armed)
    other = signed(armed, one.text, presenting_officer="somebody else")
    with pytest.raises(AuthorizationError) as refusal:
        certificate.examine(other, one.text, armed.orders.trust, armed.now_ns)
    assert refusal.value.check == Check.CERTIFICATE
