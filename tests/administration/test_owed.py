"""Ends whose entry the ledger could not take, and orders that the store has lost: what the next start makes of them."""

from __future__ import annotations

from collections.abc import Sequence
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
from mediation.core.ledger import entry
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
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
