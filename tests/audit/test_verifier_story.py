"""What an auditor must look at, found and named with its entries; and what is no anomaly."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from mediation.audit import page, verdict
from mediation.audit.verdict import ANOMALIES, CLEAN
from mediation.core.ledger import entry
from tests.audit import exports as x
from tests.audit.exports import judge

# --- the story --------------------------------------------------------------------------------------------------------


def told(tmp_path: Path, *more: entry.Record) -> verdict.Verdict:
    """The usual story with more at its end."""
    return judge(x.Made(tmp_path / "ledger", steps=lambda lines: [*x.story(lines), list(more)]).files())


LATER_US = x.T0_US + 1_000_000_000
STORIES: dict[str, tuple[str, list[entry.Record]]] = {
    "an alarm": ("alarm honey-case", [entry.Alarm(time_us=LATER_US, alarm="honey-case", case="X")]),
    "an incident": ("incident I-1", [entry.Incident(time_us=LATER_US, incident="I-1", what="phantom-tap",
                                                    evidence_sha256=x.HASH, agencies=2)]),
    "a difference": ("1 differences", [entry.Reconciled(time_us=LATER_US, taps=2, cases=1, certifications=1,
                                                        differences=1, rounds=9)]),
    "changed code": ("changed while it ran: config", [entry.CodeIdentity(
        time_us=LATER_US, code_sha256=x.HASH, config_sha256=x.HASH, adapters_sha256=x.HASH, changed=("config",))]),
    "an unauthorized tap": ("without authorization", [
        entry.CertificateDrafted(time_us=LATER_US, case="", certificate_sha256="01" * 32, unauthorized=True)]),
    "a stranger as officer": ("mallory acted as officer and held no role", x.act(1000, "CASE-3", officer="mallory")),
    "an auditor as officer": ("aude acted as officer and held auditor", x.act(1000, "CASE-3", officer="aude")),
    "one person twice": ("the officer also signed", x.act(1000, "CASE-3", officer="lena")),
    "reviewed and authorized by one": ("one person reviewed", x.act(1000, "CASE-3", carrier_person="lena")),
    "an act is missing": ("act 2 follows act 0", x.act(1000, "CASE-3", sequence=2)),
    "armed without an act": ("armed without an officer's act", [x.act(1000, "CASE-3")[0], x.act(1000, "CASE-3")[2]]),
    "armed by another order's act": ("armed without an officer's act", [
        *x.act(1000, "CASE-3"), *x.act(1001, "CASE-3", order="CASE-3 again")[2:3]]),
    "an emergency without a call-back": ("without a call-back", x.act(1000, "CASE-3", authority="emergency-title3")),
    "no certification": ("no certification was drafted", [
        *x.act(1000, "CASE-3")[:3], entry.WitnessesFound(time_us=LATER_US + 601_000_000, size=1)]),
    "not signed in time": ("has not been signed for 72 hours", [
        *x.act(1000, "CASE-3")[:4], entry.WitnessesFound(time_us=LATER_US + 4 * 86_400_000_000, size=1)]),
    "signed late": ("certified later than 72 hours", [
        *x.act(1000, "CASE-3")[:4],
        x.act(1000 + 4 * 86_400, "CASE-3")[4]]),
    "the clock ran backwards": ("ran backwards", [entry.WitnessesFound(time_us=x.T0_US, size=1)]),
    "witnesses lost": ("not found again", [entry.WitnessesLost(time_us=LATER_US, size=1, grace_ends_us=0)]),
    "read by nobody's reader": ("mallory read show", [entry.CaseRead(
        time_us=LATER_US, case="CASE-1", what="show", person="mallory", reason="x", request_sha256=x.HASH)]),
    "a command that was used again": ("one signed text was entered twice", [
        *x.act(1000, "CASE-3"), msgspec.structs.replace(x.act(1001, "CASE-3", sequence=2)[1],
                                                        command_sha256=x.act(1000, "CASE-3")[1].command_sha256)]),
    "an order that was filed again": ("one signed text was entered twice", x.act(1000, "CASE-1")[:1]),
    "certified by the reviewer": ("signed (certificate-signed) as legal", [
        *x.act(1000, "CASE-3")[:4], msgspec.structs.replace(x.act(1000, "CASE-3")[4], person="lena")]),
    "a seed of the officer's": ("olga signed (sample-drawn) as officer", [entry.SampleDrawn(
        time_us=LATER_US, seed_sha256=x.HASH, person="olga", size=1)]),
    "exported by the reviewer": ("lena read (export) as legal", [entry.CaseRead(
        time_us=LATER_US, case="", what="export", person="lena", reason="x", request_sha256="cd" * 32)]),
    "withdrawn by nobody": ("signed (revoked) and held no role", [entry.Revoked(
        time_us=LATER_US, case="CASE-1", carrier_sha256=x.HASH, token_sha256=x.HASH, revocation_sha256=x.HASH,
        person="mallory")]),
    "amendment overdue": ("not filed within 90 days", [
        entry.AmendmentOpened(time_us=LATER_US, cause="officer", due_s=x.NOW_S + 2_000),
        entry.WitnessesFound(time_us=LATER_US + 2_000_000_000, size=1)]),
    "destroyed early": ("before the end of their retention", [
        entry.Sealed(time_us=LATER_US, case="CASE-1", carrier_sha256=hashlib.sha256(b"CASE-1").hexdigest(),
                     destroy_after_s=x.NOW_S + 10**8),
        entry.Destroyed(time_us=LATER_US + 1, xid=hashlib.sha256(b"CASE-1").hexdigest()[:32],
                        certificate_sha256=x.HASH, entries=())]),
    "an outage that is no outage": ("alarm witnesses-away", [
        entry.Alarm(time_us=LATER_US, alarm="witnesses-away", detail="since 1 at 1 entries")]),
    "a year without witnesses": ("no quorum from", [
        entry.WitnessesFound(time_us=LATER_US + 365 * 86_400_000_000, size=1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_an_anomaly_is_found_and_named(tmp_path: Path, name: str) -> None:
    words, more = STORIES[name]
    found = told(tmp_path, *more)
    assert found.result == ANOMALIES, found.forged
    named = [each for each in found.findings.anomalies if words in each.what]
    assert named and named[0].entries, [each.what for each in found.findings.anomalies]
    assert words in page.page(found).replace("\n      ", " ").replace("\n    ", " ")


def test_what_is_no_anomaly(tmp_path: Path) -> None:
    called = entry.CallBackFiled(
        time_us=x.T0_US + 900_000_000, case="CASE-4", legal_sha256=x.HASH, call_back_sha256=x.HASH, person="carl"
    )
    filed, *activated = x.act(900, "CASE-4", authority="emergency-title3")
    found = told(
        tmp_path, filed, called, *activated, *x.act(1000, "CASE-3"),
        entry.Reconciled(time_us=LATER_US + 9, taps=1, cases=1, certifications=1, differences=0, rounds=60),
        entry.Refused(time_us=LATER_US + 9, check="key-unknown", text_sha256=x.HASH, suppressed=3),
        entry.WitnessesLost(time_us=LATER_US + 10, size=1, grace_ends_us=0),
        entry.Alarm(time_us=LATER_US + 10, alarm="witnesses-away", detail="since 1 at 1 entries"),
        entry.WitnessesFound(time_us=LATER_US + 20, size=1),
    )  # fmt: skip
    assert found.result == CLEAN, found.findings.anomalies
    assert any("refused 1 times: key-unknown" in each.what for each in found.findings.notices)


def test_an_export_right_after_an_arming(tmp_path: Path) -> None:
    """The certification is drafted by itself, and a moment later: that is not yet one that nobody drafted."""
    found = told(tmp_path, *x.act(1000, "CASE-3")[:3], entry.WitnessesFound(time_us=LATER_US + 9_000_000, size=1))
    assert found.result == CLEAN, found.findings.anomalies


def test_an_agency_s_withdrawal_is_said(tmp_path: Path) -> None:
    found = told(tmp_path, entry.AgencyRevoked(time_us=LATER_US, agency="AGENCY", revocation_sha256=x.HASH,
                                               person="lena", issued_s=x.NOW_S, orders=2))  # fmt: skip
    assert any("AGENCY: all authority withdrawn by lena, 2 orders" in each.what for each in found.findings.notices)


def test_a_page_cannot_be_made_to_lie(tmp_path: Path) -> None:
    """What stands in an entry is printed without control characters, and never as a line of its own."""
    reason = "x\x1b[2J\nCLEAN: all is well"
    found = told(tmp_path, entry.CaseRead(time_us=LATER_US, case="CASE-1", what="show", person="aude", reason=reason,
                                          request_sha256=x.HASH))  # fmt: skip
    text = page.page(found)
    assert "\x1b" not in text and not any(line.strip().startswith("CLEAN: all") for line in text.splitlines())
