"""The same orders after any crash, with a full disk, and beside a store that was put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from mediation.administration import desk as administration_desk
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.order.live import load_live
from mediation.administration.order.store import Store
from mediation.core.case import Act, State
from mediation.core.check import Check
from mediation.core.errors import LedgerError
from mediation.core.interface.control import Failed, Perform, Submit
from mediation.runtime.order_keys import OrderKeys
from tests.administration import site as s
from tests.administration.site import admitted, kinds

# --- crashes, full disks, and stores that were put back ---------------------------------------------------------------


class Cut(Exception):
    """The power is cut."""


def cutting(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, *, after: bool) -> None:
    real = getattr(kind, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if after:
            real(*args, **kwargs)
        raise Cut

    monkeypatch.setattr(kind, name, call)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("kind", "name", "entered"),
    [(Store, "add_command", False), (Ledger, "append", None), (Store, "set_head", False)],
)
def test_power_cut_during_an_activation(
    *, desk: s.Desk, monkeypatch: pytest.MonkeyPatch, kind: type, name: str, entered: bool | None, after: bool
) -> None:
    """Either the ledger has the act, and then it is carried out after the restart; or nothing happened at all."""
    filed = s.filing(desk.site, activate=False)
    desk.submit(filed)
    text = s.act(desk.site, filed.carrier, "CASE-1", dde=True)
    with monkeypatch.context() as patch:
        cutting(patch, kind, name, after=after)
        with pytest.raises(Cut):
            desk.perform(text)
    assert desk.changes == []
    desk.restart()
    has_entry = "command-accepted" in kinds(desk.site)
    assert has_entry is (after if entered is None else entered)
    assert desk.state() is (State.ACTIVE if has_entry else State.FILED)
    if has_entry:
        assert admitted(desk).dde
    else:
        assert desk.perform(text)[0].check == ""
        assert admitted(desk).dde
    assert desk.orders.held == set()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("kind", "name"), [(Store, "add_order"), (Ledger, "append"), (Store, "set_head")])
def test_power_cut_during_a_filing(
    desk: s.Desk, monkeypatch: pytest.MonkeyPatch, kind: type, name: str, after: bool
) -> None:
    filings = [s.filing(desk.site, f"CASE-{n}") for n in range(3)]
    with monkeypatch.context() as patch:
        cutting(patch, kind, name, after=after)
        with pytest.raises(Cut):
            desk.submit(*filings)
    desk.restart()
    states = {desk.orders.of_case(f"CASE-{n}")[-1].state for n in range(3) if desk.orders.of_case(f"CASE-{n}")}
    if "order-filed" in kinds(desk.site):
        assert states == {State.ACTIVE}
        assert [admitted(desk, f"CASE-{n}").case for n in range(3)] == ["CASE-0", "CASE-1", "CASE-2"]
        assert "recovered" in kinds(desk.site)
    else:
        assert states == set()
        assert [result.check for result in desk.submit(*filings)] == ["", "", ""]


@pytest.mark.parametrize("how", ["revoked", "deactivated", "expired"])
def test_a_full_disk_stops_no_stop(desk: s.Desk, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The ledger cannot be written: nothing can be started, everything can be stopped, and the entry is owed."""
    filed = s.filing(desk.site)
    desk.submit(filed)

    def full(*_: Any) -> None:
        raise LedgerError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", full)
        with pytest.raises(LedgerError):
            desk.submit(s.filing(desk.site, "CASE-2"))
        with pytest.raises(LedgerError):
            desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DDE, dde=True))
        assert not admitted(desk).dde
        if how == "revoked":
            assert desk.revoke(s.revocation(desk.site, filed))[0].check == ""
        elif how == "deactivated":
            assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DEACTIVATE))[0].check == ""
        else:
            desk.later(3700)
    assert desk.changes[-1] == ("CASE-1", State(how)) and desk.state() is State(how)
    assert desk.orders.counters["ledger_append_failed"] == 3
    assert desk.orders.of_case("CASE-2") == []
    desk.revoke("rubbish")  # the disk has room again, and something is entered
    assert len(kinds(desk.site)) == 5  # the site, the filing, the activation, the stop that was owed, the refusal
    assert kinds(desk.site)[3] == {"deactivated": "command-accepted"}.get(how, how)
    desk.restart()
    assert desk.state() is State(how)


@pytest.mark.parametrize("act", [Act.SUSPEND, Act.DEACTIVATE])
def test_a_stop_whose_entry_is_owed_outlives_the_process(
    desk: s.Desk, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's act has let it go on; and what was done stands in the ledger at last."""
    filed = s.filing(desk.site)
    desk.submit(filed)

    def full(*_: Any) -> None:
        raise LedgerError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", full)
        assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, act))[0].check == ""
    state = desk.state()
    for _ in range(2):
        desk.restart()
        assert desk.state() is state in (State.SUSPENDED, State.DEACTIVATED)
        assert [kind for kind in kinds(desk.site) if kind == "command-accepted"] == ["command-accepted"] * 2
        assert len(desk.order().commands) == 2
        assert load_live(desk.site) == []
    if act is Act.SUSPEND:
        assert admitted(desk).suspended
        assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 3, Act.RESUME))[0].check == ""
        assert not admitted(desk).suspended


def test_a_stop_that_was_not_carried_out_is_forgotten(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    with monkeypatch.context() as patch:
        cutting(patch, Store, "add_command", after=True)
        with pytest.raises(Cut):
            desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.SUSPEND))
    desk.restart()
    assert desk.state() is State.ACTIVE and len(desk.order().commands) == 1


def test_a_store_that_cannot_be_written_stops_no_stop(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)

    def full(*_: Any) -> None:
        raise apsw.FullError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_state", full)
        assert desk.revoke(s.revocation(desk.site, filed))[0].check == ""
    assert desk.changes[-1] == ("CASE-1", State.REVOKED)
    desk.restart()  # the store says active; the ledger knows better
    assert desk.state() is State.REVOKED


FULL = [
    (Store, "add_order", apsw.FullError()), (Store, "add_command", apsw.IOError()),
    (OrderKeys, "flush", OSError(28, "No space left on device")), (Store, "set_head", apsw.FullError()),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "error"), FULL, ids=[name for _, name, _ in FULL])
def test_what_a_full_disk_refuses_takes_no_stop_with_it(
    desk: s.Desk, monkeypatch: pytest.MonkeyPatch, kind: type, name: str, error: Exception
) -> None:
    """Neither a filing nor an act that cannot be written ends the administrator, which could not start again then."""
    filed, later = s.filing(desk.site), s.filing(desk.site, "CASE-3", activate=False)
    desk.submit(filed, later)

    def full(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(kind, name, full)
        answers = [
            administration_desk.handle(desk.orders, asked, desk.now_ns)
            for asked in (
                Submit(filings=(s.filing(desk.site, "CASE-2"),)),
                Perform(commands=(s.act(desk.site, later.carrier, "CASE-3"),)),
            )
        ]
        assert any(isinstance(answer, Failed) for answer in answers)
        assert desk.revoke(s.revocation(desk.site, filed))[0].check == ""
        assert desk.changes[-1] == ("CASE-1", State.REVOKED)
    memory = {order.case: order.state for order in desk.orders}
    desk.restart()
    assert {order.case: order.state for order in desk.orders} == memory
    assert desk.state() is State.REVOKED


@pytest.mark.parametrize("how", ["revoked", "deactivated"])
def test_a_store_that_was_put_back_brings_nothing_back(desk: s.Desk, how: str) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    desk.orders.close()
    old = desk.site.store_path.read_bytes()
    desk.restart()
    if how == "revoked":
        desk.revoke(s.revocation(desk.site, filed))
    else:
        desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DEACTIVATE))
    desk.orders.close()
    for path in desk.site.store_path.parent.glob("store.sqlite*"):
        path.unlink()
    desk.site.store_path.write_bytes(old)
    desk.restart()
    assert desk.state() is State(how)
    assert load_live(desk.site) == []


def test_an_order_whose_last_word_is_lost_is_held(desk: s.Desk) -> None:
    """The toggle was switched off after the store's copy was made: it must not come on again."""
    filed = s.filing(desk.site, dde=True)
    desk.submit(filed)
    desk.orders.close()
    old = desk.site.store_path.read_bytes()
    desk.restart()
    desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DDE, dde=False))
    desk.orders.close()
    for path in desk.site.store_path.parent.glob("store.sqlite*"):
        path.unlink()
    desk.site.store_path.write_bytes(old)
    desk.restart()
    assert not desk.orders.wanted(desk.order())
    assert desk.orders.counters["orders_held"] == 1
    assert load_live(desk.site) == []
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DDE, dde=True))[0].check == Check.SUPERSEDED
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DEACTIVATE))[0].check == ""


def test_a_ledger_that_was_put_back_is_refused(desk: s.Desk, tmp_path: Path) -> None:
    desk.submit(s.filing(desk.site))
    desk.orders.close()
    for path in desk.site.ledger_dir.rglob("*"):
        if path.name == "checkpoint":
            path.write_text(path.read_text().replace("\n3\n", "\n2\n"))
    with pytest.raises(LedgerError):
        s.Desk(desk.site)
    desk.orders = s.Desk(s.make(tmp_path / "other")).orders  # something to close
