"""Ends whose entry the ledger could not take, and orders that the store has lost: what the next start makes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Any

import pytest

from mediation.administration import lab
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.ledger.ledger import Entered, Ledger
from mediation.administration.order import drafting
from mediation.administration.persons import roster
from mediation.core.authority import jws
from mediation.core.authority.roster import Revoke
from mediation.core.case import Role, State
from mediation.core.errors import LedgerError
from mediation.core.interface.control import Results, Settle, Submit
from mediation.core.ledger import entry
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import Stage, ask, staged
from tests.administration.site import kinds
from tests.administration.test_life import emergency


def records(site: Site, kind: type[Any] | UnionType) -> list[Any]:
    """All entries of these kinds, by what stands on the disk."""
    found: list[Any] = []
    verify.examine(
        ledger_files(site),
        read_verifier(site.keys_dir),
        on_record=lambda _, record: found.append(record) if isinstance(record, kind) else None,
    ).raise_first()
    return found


@pytest.mark.parametrize("how", ["revoked", "agency", "roster", "expired", "replaced"])
def test_an_end_whose_entry_is_owed_outlives_the_process(
    desk: s.Desk, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order stayed ended, and had never been sealed: the ledger did not know its end."""
    filed = emergency(desk) if how == "replaced" else s.filing(desk.site)
    desk.submit(filed)
    later = s.filing(desk.site, activate=False)
    if how == "replaced":
        desk.submit(later)
    real = Ledger.append
    only = {"roster": "roster-changed", "replaced": "command-accepted"}.get(how, "-")

    def full(self: Ledger, records: Sequence[str]) -> list[Entered]:
        if records and f'"kind":"{only}"' in records[-1]:  # the last for which there is room
            return real(self, records)
        raise LedgerError("No space left on device")

    now_s = desk.now_ns // s.NS
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", full)
        if how == "revoked":
            assert desk.revoke(s.revocation(desk.site, filed, token="carrier"))[0].check == ""
        elif how == "agency":
            text = drafting.agency_revocation(lab.AGENCY, "test", lab.person(desk.site, Role.LEGAL), lab=True)
            assert desk.orders.revoke_agency(text, desk.now_ns).check == ""
        elif how == "roster":
            person = lab.person(desk.site, Role.LEGAL)
            gone = Revoke(person=person.person, kid=person.kid, void_s=now_s - 3600)
            octets = roster.draft(desk.orders.trust.roster, [gone], now_s)
            approvals = [roster.approve(octets, each) for each in lab.executives(desk.site)[1:]]
            assert desk.orders.change_roster(approvals, desk.now_ns).check == ""
        elif how == "replaced":
            assert desk.perform(s.act(desk.site, later.carrier, "CASE-1"))[0].check == ""
        else:
            desk.later(3700)
    first = desk.orders.of_case("CASE-1")[0]
    state = State.EXPIRED if how in ("expired", "replaced") else State.REVOKED
    assert first.state is state
    assert not {"revoked", "expired"} & set(kinds(desk.site))
    for _ in range(2):
        desk.restart()
        first = desk.orders.of_case("CASE-1")[0]
        assert first.state is state
        found = records(desk.site, entry.Revoked | entry.Expired)
        assert [record.carrier_sha256 for record in found] == [first.carrier_sha256]
        match found[0]:
            case entry.Expired(by=by):
                assert by == ("" if how == "expired" else jws.sha256_hex(later.carrier))
            case entry.Revoked(token_sha256=token, person=person_, revocation_sha256=by):
                assert token == (first.legal_sha256 if how == "agency" else first.carrier_sha256)
                assert person_ and len(by) == 64


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, s.make) as made:
        yield made


async def test_an_order_that_the_store_has_lost_is_stopped(stage: Stage) -> None:
    """Nobody could withdraw it any more, and the functions had it: they are told to stop it, one alarm says so."""
    path = stage.site.store_path
    old = path.read_bytes()
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    filed = s.filing(stage.site)
    answer = await ask(stage.site, Submit(filings=(filed, s.filing(stage.site, "CASE-2", activate=False))))
    assert isinstance(answer, Results)
    xid = answer.results[0].xid
    await stage.iap.until(lambda: len(stage.iap.table) == 1)
    await stage.kill()
    for each in path.parent.glob("store.sqlite*"):
        each.unlink()
    path.write_bytes(old)
    for start in range(2):
        await stage.run()
        await stage.iap.until(lambda: not len(stage.iap.table))
        await stage.mediator.until(lambda: not len(stage.mediator.table))
        again = await ask(stage.site, Submit(filings=(filed,)))
        assert isinstance(again, Results)
        await ask(stage.site, Settle())
        alarms = [(each.alarm, each.case, each.detail) for each in records(stage.site, entry.Alarm)]
        assert alarms.count(("order-lost", "CASE-1", f"xid {xid}")) == 1
        told = [each for each in records(stage.site, entry.Outcome) if each.act == "disarmed" and not each.refused]
        assert {(each.function, each.xid, each.case) for each in told} >= {
            (name, xid, "CASE-1") for name in ("mediator", "iap")
        }, start
        assert not len(stage.iap.table), "filed again, it is not armed: it was stopped for good"
        await stage.kill()
