"""Whoever changes a row of the store stops what it was about, and keeps nobody from stopping anything else."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from mediation.administration import lab
from mediation.administration.order import drafting
from mediation.administration.order.live import load_live
from mediation.administration.records.certificates import FILE
from mediation.core.authority import jws
from mediation.core.case import Act, Role, State
from mediation.core.errors import ConfigurationError
from mediation.core.records.alarm import Alarm
from tests.administration import site as s
from tests.administration.test_certificate import arm, kept, sign, signed


def change(desk: s.Desk, table: str, column: str, path: Path | None = None) -> None:
    """Turns the last octet of each cell."""
    desk.orders.close()
    db = apsw.Connection(str(path or desk.site.store_path))
    for (cell,) in list(db.execute(f"SELECT {column} FROM {table}")):
        turned = cell[:-1] + bytes((cell[-1] ^ 1,))
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (turned, cell))
    db.close()


@pytest.mark.parametrize(("table", "column"), [("orders", "body"), ("commands", "text"), ("states", "state")])
def test_an_order_that_was_changed_is_stopped_and_the_others_go_on(desk: s.Desk, table: str, column: str) -> None:
    filed, other = s.filing(desk.site), s.filing(desk.site, "CASE-2")
    desk.submit(filed)
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DDE, dde=True))[0].check == ""
    desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 3, Act.SUSPEND))
    change(desk, table, column)
    desk._open()
    desk.submit(other)
    for _ in range(2):
        desk.restart()
        assert [order.case for order in desk.orders] == ["CASE-2"] and desk.state("CASE-2") is State.ACTIVE
        assert [(order.xid, order.state) for order in desk.orders.lost] == [
            (jws.sha256_hex(filed.carrier)[:32], State.DEACTIVATED)
        ]
        assert len(load_live(desk.site)) == 1
    assert desk.orders.counters[f"alarm_{Alarm.ORDER_LOST}"] == 0, "it was raised once, at the first start"
    assert desk.revoke(s.revocation(desk.site, other, "CASE-2"))[0].check == ""


@pytest.mark.parametrize("column", ["facts", "text", "signature"])
def test_a_certification_that_was_changed_is_drafted_again(desk: s.Desk, column: str) -> None:
    """By its facts it is not found at all; else it does not open, and what it certifies goes on."""
    desk.submit(s.filing(desk.site), s.filing(desk.site, "CASE-2"))
    arm(desk)
    assert sign(desk, signed(desk, kept(desk)[0].text)) == ""
    change(desk, "certificates", column, desk.site.path / FILE)
    desk._open()
    desk.later(60)
    assert desk.state() is desk.state("CASE-2") is State.ACTIVE
    arm(desk, "CASE-2")
    assert len(kept(desk, "CASE-2")) == 1, "it keeps no other from its draft"
    if column == "facts":
        assert [each.signature for each in kept(desk)] == [""]
        assert sign(desk, signed(desk, kept(desk)[0].text)) == ""
        desk.restart()
        assert kept(desk)[0].signature
    else:
        with pytest.raises(ConfigurationError):
            kept(desk)


@pytest.mark.parametrize(("table", "column"), [("revocations", "withdrawn"), ("revocations", "text"),
                                               ("withdrawals", "text")])  # fmt: skip
def test_a_withdrawal_that_was_changed_stands_all_the_same(desk: s.Desk, table: str, column: str) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    text = drafting.agency_revocation(lab.AGENCY, "test", lab.person(desk.site, Role.LEGAL), lab=True)
    assert desk.orders.revoke_agency(text, desk.now_ns).check == ""
    revoked = desk.orders.trust.revoked
    change(desk, table, column)
    desk._open()
    assert desk.state() is State.REVOKED
    assert desk.orders.trust.revoked >= revoked
    assert desk.orders.revocations(desk.now_ns) == [text], "it stands in two places"
