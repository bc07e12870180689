"""Certifications are drafted after what is to be armed yet, but drafted they are: no load, no silence and no restart
leaves an interception without its draft (47 CFR 1.20004(a))."""

from __future__ import annotations

import apsw
import pytest

from mediation.administration.records.certificate_file import CertificateFile, Row
from mediation.administration.records.certificates import Certificates
from mediation.administration.records.records import DRAFT_WAIT_S
from mediation.core.errors import ConfigurationError
from mediation.core.interface.control import Certify
from mediation.core.records.certificate import Certificate
from tests.administration import site as s
from tests.administration.test_certificate import arm, kept


@pytest.fixture
def busy(desk: s.Desk) -> list[bool]:
    """Whether the functions are being told of orders: turned by the test."""
    held = [True]
    desk.orders.records.busy = lambda: held[0]
    return held


def test_a_draft_waits_while_orders_are_being_armed(desk: s.Desk, busy: list[bool]) -> None:
    desk.submit(s.filing(desk.site))
    arm(desk)
    desk.later(DRAFT_WAIT_S - 1)
    assert kept(desk) == [] and "certificate-drafted" not in s.kinds(desk.site)
    busy[0] = False
    desk.later(0)
    assert len(kept(desk)) == 1


def test_and_no_longer_than_a_minute_however_busy(desk: s.Desk, busy: list[bool]) -> None:
    for number in range(1, 4):
        case = f"CASE-{number}"
        desk.submit(s.filing(desk.site, case))
        arm(desk, case)
        desk.later(0)
    assert "certificate-drafted" not in s.kinds(desk.site)
    desk.later(DRAFT_WAIT_S)
    assert s.kinds(desk.site).count("certificate-drafted") == 3
    # The next one waits as long as the first, not for ever and not at once.
    desk.submit(s.filing(desk.site, "CASE-4"))
    arm(desk, "CASE-4")
    desk.later(DRAFT_WAIT_S - 1)
    assert kept(desk, "CASE-4") == []
    desk.later(1)
    assert len(kept(desk, "CASE-4")) == 1


def test_an_extension_s_draft_waits_and_comes_as_well(desk: s.Desk, busy: list[bool]) -> None:
    busy[0] = False
    filed = s.filing(desk.site)
    desk.submit(filed)
    arm(desk)
    assert len(kept(desk)) == 1
    busy[0] = True
    end_s = desk.order().not_after_s
    assert desk.extend(s.extension(desk.site, filed, end_s + 3600))[0].check == ""
    desk.later(0)
    assert len(kept(desk)) == 1
    desk.later(DRAFT_WAIT_S)
    assert len(kept(desk)) == 2


def test_a_restart_drafts_what_waited(desk: s.Desk, busy: list[bool]) -> None:
    desk.submit(s.filing(desk.site))
    arm(desk)
    assert "certificate-drafted" not in s.kinds(desk.site)
    desk.restart()
    assert len(kept(desk)) == 1 and s.kinds(desk.site).count("certificate-drafted") == 1


def test_who_signs_does_not_wait(desk: s.Desk, busy: list[bool]) -> None:
    """Whatever persons do about records looks at them at once."""
    desk.submit(s.filing(desk.site))
    arm(desk)
    assert kept(desk) == []
    assert desk.orders.records.act(Certify(signatures=("rubbish",)), desk.now_ns).check != ""
    assert len(kept(desk)) == 1


@pytest.mark.parametrize("when", ["add", "commit"])
def test_what_a_full_disk_refuses_is_drafted_later(desk: s.Desk, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was forgotten until the next start, or taken for drafted."""
    add = CertificateFile.add

    def full(self: CertificateFile, row: Row, text: str) -> None:
        if when == "commit":  # all of it is undone
            add(self, row, text)
        raise apsw.FullError("database or disk is full")

    desk.orders.records.busy = lambda: False
    desk.submit(s.filing(desk.site))
    with monkeypatch.context() as patch:
        patch.setattr(CertificateFile, "add", full)
        arm(desk)
        desk.later(60)
    assert kept(desk) == [] and desk.orders.counters["records_not_kept"]
    desk.later(60)
    assert len(kept(desk)) == 1
    desk.restart()
    assert len(kept(desk)) == 1
    assert s.kinds(desk.site).count("certificate-drafted") == 1


def test_one_that_does_not_open_keeps_no_other_from_its_draft(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.orders.records.busy = lambda: True
    for number in range(1, 4):
        desk.submit(s.filing(desk.site, f"CASE-{number}"))
        arm(desk, f"CASE-{number}")
    bad, first = desk.order("CASE-2").xid, Certificates._first

    def changed(self: Certificates, xid: str) -> Certificate | None:
        if xid == bad:
            raise ConfigurationError("certificates: changed")
        return first(self, xid)

    monkeypatch.setattr(Certificates, "_first", changed)
    desk.later(DRAFT_WAIT_S)
    assert [len(kept(desk, f"CASE-{number}")) for number in range(1, 4)] == [1, 0, 1]
    assert desk.orders.counters["certifications_not_drafted"] == 1
