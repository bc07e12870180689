"""The end of an order's records: sealed when certified, kept for their time and while held, destroyed for good."""

from __future__ import annotations

import io
import json
from pathlib import Path

import apsw
import msgspec
import pytest
from pypdf import PdfReader

from mediation.administration import lab
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.order import drafting
from mediation.administration.order.store import Store
from mediation.administration.records import documents
from mediation.core.authority import jws
from mediation.core.case import Act, Role, State
from mediation.core.check import Check
from mediation.core.errors import LedgerError
from mediation.core.interface.control import Destroy, Hold
from mediation.core.ledger import entry
from mediation.core.records import certificate, retention
from mediation.runtime import config
from mediation.runtime.keys import read_verifier
from mediation.runtime.order_keys import OrderKeys
from tests.administration import site as s
from tests.administration.test_certificate import arm, kept, sign, signed

DAY_S = 86_400


def ended(desk: s.Desk, case: str = "CASE-1", *, certified: bool = True) -> s.Desk:
    filed = s.filing(desk.site, case)
    desk.submit(filed)
    arm(desk, case)
    if certified:
        assert sign(desk, signed(desk, kept(desk, case)[0].text)) == ""
    assert desk.perform(s.act(desk.site, filed.carrier, case, 2, Act.DEACTIVATE))[0].check == ""
    desk.later(60)
    return desk


def hold(desk: s.Desk, on: bool = True, role: Role = Role.LEGAL, case: str = "CASE-1") -> str:
    return desk.orders.records.act(Hold(hold=hold_text(desk, on, role, case)), desk.now_ns).check


def hold_text(desk: s.Desk, on: bool = True, role: Role = Role.LEGAL, case: str = "CASE-1") -> str:
    key = lab.person(desk.site, role)
    wanted = retention.Hold(
        type="hold", case=case, hold=on, reason="a motion is pending", issued_s=desk.now_ns // s.NS,
        nonce=drafting.nonce(), lab=True,
    )  # fmt: skip
    return jws.sign(wanted, retention.HOLD_TYP, key.kid, key.key())


def destroy(desk: s.Desk, persons: int = 2, *, same: bool = False) -> str:
    order = desk.order()
    wanted = retention.Destruction(
        type="destruction", case=order.case, xid=order.xid, issued_s=desk.now_ns // s.NS, nonce=drafting.nonce(),
        lab=True,
    )  # fmt: skip
    keys = [lab.person(desk.site, Role.OFFICER), lab.executives(desk.site)[1]]
    keys = [keys[0], keys[0]] if same else keys[:persons]
    payload = msgspec.json.encode(wanted)
    texts = tuple(jws.sign_octets(payload, retention.DESTRUCTION_TYP, key.kid, key.key()) for key in keys)
    return desk.orders.records.act(Destroy(approvals=texts), desk.now_ns).check


def by_order(desk: s.Desk) -> None:
    """From now on nothing is destroyed by itself."""
    desk.orders.close()
    path = desk.site.path / config.FILE
    path.write_text(path.read_text() + "\n[retention]\nautomatic = false\n")
    desk.site = config.load(desk.site.path)
    desk.restart()


def test_sealed_when_it_has_ended_and_is_certified(desk: s.Desk) -> None:
    ended(desk, certified=False)
    assert desk.state() is State.DEACTIVATED
    desk.later(30 * DAY_S)
    assert desk.state() is State.DEACTIVATED
    assert sign(desk, signed(desk, kept(desk)[0].text)) == ""
    assert desk.state() is State.SEALED and s.kinds(desk.site)[-1] == "sealed"
    desk.restart()
    assert desk.state() is State.SEALED


def test_nothing_enabled_needs_no_certification(desk: s.Desk) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    desk.revoke(s.revocation(desk.site, filed))
    desk.later(71 * 3600)
    assert desk.state() is State.REVOKED
    desk.later(2 * 3600)
    assert desk.state() is State.SEALED


def test_not_before_its_time_and_then_for_good(desk: s.Desk) -> None:
    ended(desk)
    xid, places = desk.order().xid, [place.index for _, place in desk.order().commands]
    sealed_ns = desk.now_ns
    desk.now_ns += 365 * DAY_S * s.NS + 3600 * s.NS  # its window ended an hour after the sealing
    desk.now_ns -= 120 * s.NS
    desk.orders.advance(desk.now_ns)
    assert desk.state() is State.SEALED and s.kinds(desk.site)[-1] != "destroyed"
    desk.later(200)
    assert desk.orders.of_case("CASE-1") == [] and desk.now_ns > sealed_ns
    _check_gone(desk, xid, places)
    desk.restart()
    assert list(desk.orders) == []
    _check_gone(desk, xid, places)


def _check_gone(desk: s.Desk, xid: str, places: list[int]) -> None:
    for path in (path for path in desk.site.path.rglob("*") if path.is_file() and "lab" not in path.parts):
        octets = path.read_bytes()
        assert b"CASE-1" not in octets and b"2125550100" not in octets, path
    report = verify.examine(ledger_files(desk.site), read_verifier(desk.site.keys_dir))
    assert report.problems == () and report.destroyed >= 6
    with pytest.raises(verify.LedgerError, match="destroyed; certificate"):
        verify.line(ledger_files(desk.site), places[0], report.head.size)
    text = (desk.site.path / "destruction" / f"{xid}.json").read_text()
    found = json.loads(text)
    assert set(places) <= set(found["entries"]) and found["retention_days"] == 365 and found["approvers"] == []
    records: list[entry.Destroyed] = []
    verify.examine(
        ledger_files(desk.site), read_verifier(desk.site.keys_dir),
        on_record=lambda _, record: records.append(record) if isinstance(record, entry.Destroyed) else None,
    )  # fmt: skip
    assert {record.certificate_sha256 for record in records} == {retention.digest(text)}
    printed = documents.destruction(text)
    assert printed == documents.destruction(text)
    words = PdfReader(io.BytesIO(printed)).pages[0].extract_text()
    assert xid in words and "1.20004(b)" in words


def test_a_record_that_was_taken_away_without_a_certificate_is_told(desk: s.Desk) -> None:
    ended(desk)
    place = desk.order().commands[0][1].index
    desk.orders.ledger.destroy([place], "ab" * 32)
    report = verify.examine(ledger_files(desk.site), read_verifier(desk.site.keys_dir))
    assert "no certificate of destruction" in report.problems[0].what


def test_two_persons_and_not_before_its_time(desk: s.Desk) -> None:
    ended(desk)
    by_order(desk)
    assert destroy(desk) == Check.KEPT
    desk.later(370 * DAY_S)
    assert desk.state() is State.SEALED  # nothing by itself
    assert destroy(desk, 1) == Check.DISTINCT_PERSONS
    assert destroy(desk, same=True) == Check.DISTINCT_PERSONS
    xid = desk.order().xid
    assert destroy(desk) == ""
    assert desk.orders.of_case("CASE-1") == []
    found = json.loads((desk.site.path / "destruction" / f"{xid}.json").read_text())
    assert found["approvers"] == ["lab-executive-2", "lab-officer"]


def test_never_while_a_hold_stands(desk: s.Desk) -> None:
    ended(desk)
    assert hold(desk, role=Role.OFFICER) == "key-role"
    assert hold(desk, on=False) == Check.REPLAYED
    assert hold(desk) == ""
    desk.restart()
    desk.later(400 * DAY_S)
    assert desk.state() is State.SEALED
    assert destroy(desk) == Check.KEPT
    assert hold(desk, on=False) == ""
    assert desk.orders.of_case("CASE-1") == []  # its time had passed


@pytest.mark.parametrize("restarted", [False, True])
def test_the_end_of_one_hold_ends_no_later_one(desk: s.Desk, restarted: bool) -> None:
    """Whoever kept the text, and has no key, once could lift the next hold with it, and have the records destroyed."""
    ended(desk)
    assert hold(desk) == ""
    kept_text = hold_text(desk, on=False)
    assert desk.orders.records.act(Hold(hold=kept_text), desk.now_ns).check == ""
    assert hold(desk) == ""
    if restarted:
        desk.restart()
    assert desk.orders.records.act(Hold(hold=kept_text), desk.now_ns).check == Check.REPLAYED
    desk.later(370 * DAY_S)
    assert desk.state() is State.SEALED
    assert hold(desk, on=False) == ""


@pytest.mark.parametrize("crash", ["key", "rows", "ledger"])
def test_what_was_entered_is_carried_out_at_the_next_start(
    desk: s.Desk, crash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the entry and each of its steps: the next start completes it."""
    ended(desk)
    xid, places = desk.order().xid, [place.index for _, place in desk.order().commands]

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if crash == "key":
            patch.setattr("mediation.runtime.vault.Vault.destroy_order_key", die)
        elif crash == "rows":
            patch.setattr(Store, "remove", die)
        else:
            patch.setattr(Ledger, "destroy", die)
        with pytest.raises(Killed):
            desk.later(370 * DAY_S)
    desk.restart()
    assert list(desk.orders) == []
    _check_gone(desk, xid, places)


@pytest.mark.parametrize("step", ["key", "rows", "ledger"])
def test_what_failed_is_tried_again_under_the_same_certificate(
    desk: s.Desk, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(desk)
    xid, places = desk.order().xid, [place.index for _, place in desk.order().commands]
    failures = {
        "key": (OrderKeys, "destroy", OSError(24, "Too many open files")),
        "rows": (Store, "remove", apsw.FullError()),
        "ledger": (Ledger, "destroy", LedgerError("cannot be written: Input/output error")),
    }
    owner, name, error = failures[step]

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        desk.later(370 * DAY_S)
    assert desk.orders.counters["records_not_kept"] and len(list(desk.orders)) == 1
    desk.later(120)
    assert list(desk.orders) == []
    _check_gone(desk, xid, places)


def test_another_order_of_the_case_stays(desk: s.Desk) -> None:
    ended(desk)
    second = s.filing(desk.site)
    desk.submit(second)
    arm(desk)
    assert sign(desk, signed(desk, kept(desk)[-1].text)) == ""
    desk.now_ns += 365 * DAY_S * s.NS + 3700 * s.NS
    desk.orders.advance(desk.now_ns)
    desk.restart()
    (left,) = desk.orders.of_case("CASE-1")
    assert left.carrier == second.carrier and len(kept(desk)) == 1
    assert certificate.decode(kept(desk)[0].text).xid == left.xid


def test_an_order_that_is_not_certified_is_kept_for_ever(desk: s.Desk) -> None:
    ended(desk, certified=False)
    desk.later(3650 * DAY_S)
    assert desk.state() is State.DEACTIVATED and destroy(desk) in (Check.KEPT, Check.KEY_DATES, Check.PERSON_DATES)


def test_no_file_of_it_outside_its_folder(desk: s.Desk, tmp_path: Path) -> None:
    from mediation.administration.records import destruction

    with pytest.raises(destruction.ConfigurationError):
        destruction.read(desk.site, "../config.toml")
