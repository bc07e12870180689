"""The life of an order: filed, acted upon, revoked, begun and ended; nothing told before it is durable."""

from __future__ import annotations

import pytest

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.order import recovery
from mediation.administration.order.store import Store
from mediation.administration.order.stored import Stored
from mediation.core.authority import authorization
from mediation.core.case import ENDED, LIFE, LIVE, Act, Event, Role, State
from mediation.core.check import Check
from mediation.core.interface.control import Filing
from mediation.runtime import vault
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.site import admitted, kinds

# --- the life of an order ---------------------------------------------------------------------------------------------


def test_filed_with_its_activation(desk: s.Desk) -> None:
    result = desk.submit(s.filing(desk.site, dde=True))[0]
    assert result.check == "" and desk.state() is State.ACTIVE
    assert desk.orders.wanted(desk.order())
    assert desk.changes == [("CASE-1", State.ACTIVE)]
    assert kinds(desk.site) == ["site-made", "order-filed", "command-accepted"]
    task = admitted(desk)
    assert (task.case, task.dde, task.xid.hex()) == ("CASE-1", True, result.xid)


def test_filed_first_and_activated_later(desk: s.Desk) -> None:
    filed = s.filing(desk.site, activate=False)
    assert desk.submit(filed)[0].check == ""
    assert desk.state() is State.FILED and desk.changes == [] and not desk.orders.wanted(desk.order())
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1"))[0].check == ""
    assert desk.state() is State.ACTIVE and admitted(desk).sequence == 1


def test_nothing_is_told_before_it_is_durable(site: Site) -> None:
    """Log before act: when the tasking hears of an order, its entry and its text are on the disk."""
    heard: list[int] = []

    def changed(order: Stored) -> None:
        seen = recovery.Seen()
        report = verify.examine(ledger_files(site), read_verifier(site.keys_dir), on_record=seen.read)
        assert report.problems == ()
        store = Store(site.store_path, vault.unlock(site), readonly=True)
        stored = next(each for each in store.orders() if each.carrier_sha256 == order.carrier_sha256)
        store.close()
        assert recovery.place(stored, seen)
        assert all(0 <= entered.index < report.head.size for _, entered in stored.commands)
        assert len(stored.commands) == len(order.commands) > 0
        heard.append(report.head.size)

    desk = s.Desk(site)
    desk.orders.changed = changed
    filed = s.filing(site)
    desk.submit(filed)
    desk.perform(s.act(site, filed.carrier, "CASE-1", 2, Act.DDE, dde=True))
    desk.perform(s.act(site, filed.carrier, "CASE-1", 3, Act.DEACTIVATE))
    desk.orders.close()
    assert heard == [3, 4, 5]


def test_the_toggle(desk: s.Desk) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    for sequence, state in ((2, True), (3, False), (4, True)):
        assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", sequence, Act.DDE, dde=state))[0].check == ""
        assert (admitted(desk).dde, admitted(desk).sequence) == (state, sequence)
        desk.restart()
        assert admitted(desk).dde is state
    assert desk.state() is State.ACTIVE


def test_an_end_and_a_suspension_do_not_lapse(desk: s.Desk) -> None:
    """The site's clock was set forward by an hour and back, and runs no more backwards: other acts wait until then."""
    filed = s.filing(desk.site)
    desk.submit(filed)
    desk.later(2_000)
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DDE))[0].check == Check.COMMAND_DATES
    suspension = s.act(desk.site, filed.carrier, "CASE-1", 2, Act.SUSPEND)
    assert desk.perform(suspension)[0].check == ""
    assert desk.state() is State.SUSPENDED and admitted(desk).suspended  # for the functions as well
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 3, Act.RESUME))[0].check == Check.COMMAND_DATES
    assert desk.perform(suspension)[0].check == Check.SEQUENCE  # once, whoever kept it
    end = s.act(desk.site, filed.carrier, "CASE-1", 3, Act.DEACTIVATE)
    desk.restart()
    assert desk.state() is State.SUSPENDED
    assert desk.perform(end)[0].check == ""
    assert desk.state() is State.DEACTIVATED
    assert desk.perform(end)[0].check == Check.DEACTIVATED
    desk.restart()
    assert desk.state() is State.DEACTIVATED


def test_deactivated_for_good(desk: s.Desk) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DEACTIVATE))[0].check == ""
    assert desk.state() is State.DEACTIVATED and desk.changes[-1] == ("CASE-1", State.DEACTIVATED)
    again = s.act(desk.site, filed.carrier, "CASE-1", 3, Act.DDE, dde=True)
    assert desk.perform(again)[0].check == Check.DEACTIVATED
    assert desk.submit(filed)[0].check == Check.ALREADY_FILED
    with pytest.raises(authorization.AuthorizationError, match="deactivated"):
        admitted(desk)
    assert desk.submit(s.filing(desk.site))[0].check == ""  # a new order of the same case


def test_no_number_of_acts_keeps_the_last_one_out(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toggle switched to and fro for long enough would have left an order that no officer can end."""
    monkeypatch.setattr(authorization, "MAX_COMMANDS", 4)
    filed = s.filing(desk.site)
    desk.submit(filed)
    checks = [
        desk.perform(s.act(desk.site, filed.carrier, "CASE-1", number, Act.DDE, dde=number % 2 == 0))[0].check
        for number in (2, 3, 4)
    ]
    assert checks == ["", "", Check.STRUCTURE]
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 4, Act.DEACTIVATE))[0].check == ""
    assert desk.state() is State.DEACTIVATED


@pytest.mark.parametrize("token", ["legal", "carrier"])
def test_revoked(desk: s.Desk, token: str) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    assert desk.revoke(s.revocation(desk.site, filed, token=token))[0].check == ""
    assert desk.state() is State.REVOKED and desk.changes[-1] == ("CASE-1", State.REVOKED)
    assert kinds(desk.site)[-1] == "revoked"
    for _ in range(2):
        with pytest.raises(authorization.AuthorizationError, match="revoked"):
            authorization.admit(desk.orders.request(desk.order()), desk.orders.trust, desk.now_ns)
        assert desk.revoke(s.revocation(desk.site, filed, token=token))[0].check == Check.REVOCATION
        assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DDE))[0].check == Check.REVOKED
        desk.restart()
        assert desk.state() is State.REVOKED
    if token == "legal":
        carrier = s.drafting.carrier(filed.legal, s.HASH, s.lab.person(desk.site, Role.CARRIER))
        assert desk.submit(Filing(legal=filed.legal, carrier=carrier))[0].check == Check.REVOKED


@pytest.mark.parametrize(
    ("token", "signer", "check"),
    [
        ("legal", Role.CARRIER, Check.KEY_ROLE),
        ("carrier", Role.LEGAL, Check.KEY_ROLE),
        ("legal", Role.OFFICER, Check.KEY_ROLE),
    ],
)
def test_only_its_own_role_withdraws_a_token(desk: s.Desk, token: str, signer: Role, check: Check) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    assert desk.revoke(s.revocation(desk.site, filed, token=token, signer=signer))[0].check == check
    assert desk.state() is State.ACTIVE


def test_a_revocation_is_of_its_case(desk: s.Desk) -> None:
    filed, other = s.filing(desk.site), s.filing(desk.site, "CASE-2")
    desk.submit(filed, other)
    assert desk.revoke(s.revocation(desk.site, filed, "CASE-2"))[0].check == Check.REVOCATION
    text = s.revocation(desk.site, filed)
    assert desk.revoke(text[:-4] + "AAAA")[0].check == Check.STRUCTURE or desk.state() is State.ACTIVE
    assert desk.revoke("rubbish")[0].check == Check.STRUCTURE
    assert desk.revoke(filed.legal)[0].check == Check.STRUCTURE
    assert {desk.state("CASE-1"), desk.state("CASE-2")} == {State.ACTIVE}


def test_windows_begin_and_end_on_the_second(desk: s.Desk) -> None:
    now = desk.now_ns // s.NS
    desk.submit(s.filing(desk.site, not_before_s=now + 10, not_after_s=now + 20))
    assert desk.state() is State.WAITING and desk.changes == []
    desk.now_ns = now * s.NS
    desk.later(9.999_999_999)
    assert desk.state() is State.WAITING
    assert desk.orders.next_moment_s() == now + 10
    desk.later(0.000_000_001)
    assert desk.state() is State.ACTIVE and desk.changes == [("CASE-1", State.ACTIVE)]
    desk.restart()
    assert desk.state() is State.ACTIVE
    desk.later(9.999_999_999)
    assert desk.state() is State.ACTIVE
    desk.later(0.000_000_001)
    assert desk.state() is State.EXPIRED and desk.changes[-1] == ("CASE-1", State.EXPIRED)
    assert kinds(desk.site)[-1] == "expired"
    desk.restart()
    assert desk.state() is State.EXPIRED and desk.orders.next_moment_s() is None


def test_a_window_that_ended_while_nobody_ran(desk: s.Desk) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    desk.now_ns += 3700 * s.NS
    desk.restart()
    assert desk.state() is State.EXPIRED
    assert desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DDE))[0].check == Check.EXPIRED


def test_an_order_that_was_never_activated_expires(desk: s.Desk) -> None:
    desk.submit(s.filing(desk.site, activate=False))
    desk.later(3700)
    assert desk.state() is State.EXPIRED


def test_the_table_of_life() -> None:
    """What has ended never lives again; every state can be reached, and left but the last."""
    assert all(to in ENDED for (state, _), to in LIFE.items() if state in ENDED)
    assert {state for state, _ in LIFE} == set(State) - {State.DESTROYED}
    assert set(LIFE.values()) == set(State) - {State.DRAFTED}
    assert all(LIFE[state, Event.END] is State.EXPIRED for state in LIVE | {State.FILED})
    assert all(LIFE[state, Event.REVOKE] is State.REVOKED for state in LIVE | {State.FILED})
    assert all(LIFE[state, Event.DEACTIVATE] is State.DEACTIVATED for state in LIVE)
