"""One agency's authority is withdrawn (SEC-24), and a token by another person of its maker's role."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio

from mediation.administration import lab, making
from mediation.administration.order import agencies
from mediation.administration.persons import roster
from mediation.core.authority import jws
from mediation.core.authority.roster import ANY_AGENCY, Contact, EndContact
from mediation.core.case import Act, AgencyRevocation, Role, State
from mediation.core.check import Check
from mediation.core.errors import LedgerError
from mediation.core.interface.control import Results, RevokeAgency, Submit
from mediation.core.ledger import entry
from mediation.runtime.config import Site
from tests.administration import site as s
from tests.administration.peers import ask, command, staged

BAD, GOOD = "BAD-AGENCY", "GOOD-AGENCY"
DAY_NS = 86_400 * s.NS


def withdrawal(site: Site, agency: str = BAD, role: Role = Role.LEGAL, **changes: Any) -> str:
    person = lab.person(site, role)
    facts = {
        "type": "agency-revocation", "agency": agency, "reason": "test", "issued_s": int(time.time()),
        "nonce": "0a" * 16, "lab": True, **changes,
    }  # fmt: skip
    return jws.sign(AgencyRevocation(**facts), "mediation-agency-revocation", person.kid, person.key())


def furnished(desk: s.Desk) -> None:
    """Of each agency one order that runs, one that waits, one that nobody has activated, one that has ended."""
    now = int(time.time())
    for agency in (BAD, GOOD):
        name = agency.partition("-")[0]
        ended = s.filing(desk.site, f"{name}-ENDED", agency=agency)
        results = desk.submit(
            s.filing(desk.site, f"{name}-RUNS", agency=agency), ended,
            s.filing(desk.site, f"{name}-WAITS", agency=agency, not_before_s=now + 600),
            s.filing(desk.site, f"{name}-FILED", agency=agency, activate=False),
        )  # fmt: skip
        assert [each.check for each in results] == [""] * 4
        assert desk.perform(s.act(desk.site, ended.carrier, f"{name}-ENDED", 2, Act.DEACTIVATE))[0].check == ""
    desk.changes.clear()


def states(desk: s.Desk) -> dict[str, State]:
    return {order.case: order.state for order in desk.orders}


AFTER = {
    "BAD-RUNS": State.REVOKED, "BAD-WAITS": State.REVOKED, "BAD-FILED": State.REVOKED, "BAD-ENDED": State.DEACTIVATED,
    "GOOD-RUNS": State.ACTIVE, "GOOD-WAITS": State.WAITING, "GOOD-FILED": State.FILED, "GOOD-ENDED": State.DEACTIVATED,
}  # fmt: skip


@pytest.mark.parametrize("role", [Role.LEGAL, Role.CARRIER])
def test_all_of_one_agency_ends_and_nothing_of_another(desk: s.Desk, role: Role) -> None:
    furnished(desk)
    told: list[str] = []
    desk.orders.revoked = told.append
    text = withdrawal(desk.site, role=role)
    result = desk.orders.revoke_agency(text, desk.now_ns)
    assert (result.check, result.detail) == ("", "3 orders")
    assert states(desk) == AFTER and told == [text]
    assert sorted(case for case, _ in desk.changes) == ["BAD-FILED", "BAD-RUNS", "BAD-WAITS"]
    assert s.kinds(desk.site)[-4:] == ["agency-revoked", "revoked", "revoked", "revoked"]
    assert desk.submit(s.filing(desk.site, "NEW", agency=BAD))[0].check == Check.REVOKED
    assert desk.submit(s.filing(desk.site, "NEW", agency=GOOD))[0].check == ""
    assert desk.orders.revocations(desk.now_ns) == [text]  # a function that comes back is told once
    desk.restart()
    assert {case: state for case, state in states(desk).items() if case != "NEW"} == AFTER
    assert desk.submit(s.filing(desk.site, "NEWER", agency=BAD))[0].check == Check.REVOKED
    assert s.admitted(desk, "GOOD-RUNS").agency == GOOD
    desk.orders._store._db.execute("DELETE FROM revocations")  # who empties the store gains nothing
    desk.restart()
    assert desk.submit(s.filing(desk.site, "NEWEST", agency=BAD))[0].check == Check.REVOKED


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"role": Role.OFFICER}, Check.KEY_ROLE),
        ({"lab": False}, Check.LAB_TOKEN),
        ({"issued_s": int(time.time()) + 3_600}, Check.COMMAND_DATES),
    ],
)
def test_who_may_not_ends_nothing(desk: s.Desk, changes: dict[str, Any], check: Check) -> None:
    furnished(desk)
    before = states(desk)
    assert desk.orders.revoke_agency(withdrawal(desk.site, **changes), desk.now_ns).check == check
    assert states(desk) == before and desk.changes == [] and s.kinds(desk.site)[-1] == "refused"


def test_a_text_of_yesterday_ends_nothing(desk: s.Desk) -> None:
    """By then another contact can have made a new beginning."""
    text = withdrawal(desk.site)
    desk.submit(s.filing(desk.site, agency=BAD, not_after_s=int(time.time()) + 200_000))
    desk.later(86_401)
    assert desk.orders.revoke_agency(text, desk.now_ns).check == Check.COMMAND_DATES
    assert desk.state() is State.ACTIVE


def test_a_contact_that_is_ended_backwards_ends_its_orders(desk: s.Desk) -> None:
    """The same that every function would say of them after its next start: nothing goes on until then."""
    desk.submit(s.filing(desk.site))
    desk.later(120)
    for at_s, state in ((desk.now_ns // s.NS - 60, State.ACTIVE), (desk.now_ns // s.NS - 3600, State.REVOKED)):
        held = desk.orders.trust.roster
        octets = roster.draft(held, [EndContact(agency=ANY_AGENCY, at_s=at_s)], desk.now_ns // s.NS)
        approvals = [roster.approve(octets, key) for key in lab.executives(desk.site)[:2]]
        assert desk.orders.change_roster(approvals, desk.now_ns).check == ""
        assert desk.state() is state
    desk.restart()
    assert desk.state() is State.REVOKED


def test_it_waits_neither_for_the_witnesses_nor_for_the_ledger(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    furnished(desk)

    def full(_: Any) -> Any:
        raise LedgerError("no space")

    monkeypatch.setattr(desk.orders.heads, "show_at_once", full)  # nobody cosigns from here on
    with monkeypatch.context() as patch:
        patch.setattr(desk.orders.ledger, "append", full)
        assert desk.orders.revoke_agency(withdrawal(desk.site), desk.now_ns).check == ""
        assert states(desk) == AFTER and len(desk.changes) == 3
    desk.orders.note(entry.Recovered(time_us=desk.now_ns // 1000, first=0, size=0))  # what was owed goes with the next
    assert s.kinds(desk.site)[-5:] == ["agency-revoked", *["revoked"] * 3, "recovered"]


@pytest.mark.parametrize("crashed", [False, True])
def test_what_the_ledger_could_not_take_for_days_is_carried_out_at_the_next_start(
    desk: s.Desk, monkeypatch: pytest.MonkeyPatch, crashed: bool
) -> None:
    furnished(desk)
    text = withdrawal(desk.site)

    def full(_: Any) -> Any:
        raise LedgerError("no space")

    if crashed:  # between the store and the ledger
        with desk.orders._books.saving(stop=False):
            desk.orders._store.add_withdrawal(text)
        desk.now_ns += 2 * DAY_NS  # nothing of it was carried out
    else:
        with monkeypatch.context() as patch:
            patch.setattr(desk.orders.ledger, "append", full)
            assert desk.orders.revoke_agency(text, desk.now_ns).detail == "3 orders"
            desk.now_ns += 2 * DAY_NS
    for _ in range(2):
        desk.restart()
        after = states(desk)
        assert {case: after[case] for case in AFTER if case.startswith("BAD")} == {
            case: state for case, state in AFTER.items() if case.startswith("BAD")
        }
        assert State.REVOKED not in {state for case, state in after.items() if case.startswith("GOOD")}
        assert s.kinds(desk.site).count("agency-revoked") == 1 and s.kinds(desk.site).count("revoked") == 3
        assert desk.orders.revocations(desk.now_ns) == [text]
    monkeypatch.setattr(time, "time", lambda: desk.now_ns / s.NS)
    assert desk.submit(s.filing(desk.site, "NEW", agency=BAD))[0].check == Check.REVOKED
    assert desk.submit(s.filing(desk.site, "NEW", agency=GOOD))[0].check == ""


def test_an_old_one_ends_nothing_that_stands_by_a_later_contact(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who puts it into the store gains no more than it was good for."""
    text = withdrawal(desk.site)
    monkeypatch.setattr(time, "time", lambda: desk.now_ns / s.NS)
    month = int(time.time()) + 30 * 86_400
    assert desk.submit(s.filing(desk.site, "BEFORE", agency=BAD, not_after_s=month))[0].check == ""
    desk.later(3600)
    now_s = desk.now_ns // s.NS
    octets = roster.draft(
        desk.orders.trust.roster, [Contact(agency=BAD, number="+12025550111", from_s=now_s + 86_400)], now_s
    )
    approvals = [roster.approve(octets, key) for key in lab.executives(desk.site)[:2]]
    assert desk.orders.change_roster(approvals, desk.now_ns).check == ""
    desk.later(3 * 86_400)
    assert desk.submit(s.filing(desk.site, "AFTER", agency=BAD, not_after_s=month))[0].check == ""
    assert states(desk) == {"BEFORE": State.ACTIVE, "AFTER": State.ACTIVE}
    with desk.orders._books.saving(stop=False):
        desk.orders._store.add_withdrawal(text)
    desk.restart()
    assert states(desk) == {"BEFORE": State.REVOKED, "AFTER": State.ACTIVE}


def test_who_withdraws_is_told_when_nothing_could_be_written(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    furnished(desk)

    def full(*_: Any) -> Any:
        raise LedgerError("no space")

    def unwritable(*_: Any) -> Any:
        raise OSError("no space")

    text = withdrawal(desk.site)
    with monkeypatch.context() as patch:
        patch.setattr(desk.orders.ledger, "append", full)
        patch.setattr(desk.orders._store, "set_head", unwritable)
        result = desk.orders.revoke_agency(text, desk.now_ns)
    assert result.check == "" and result.detail == f"3 orders{agencies.NOT_KEPT}"
    assert states(desk) == AFTER and len(desk.changes) == 3  # it is carried out all the same
    again = desk.orders.revoke_agency(text, desk.now_ns)
    assert again.detail == "0 orders"
    desk.restart()
    assert {case: state for case, state in states(desk).items() if case.startswith("BAD")} == {
        case: state for case, state in AFTER.items() if case.startswith("BAD")
    }


async def test_by_the_functions(tmp_path: Path) -> None:
    """A running administrator: both functions are told by the one text, and only of that agency."""
    async with staged(tmp_path, s.make) as stage:
        await stage.start(stage.mediator, stage.iap)
        await stage.run()
        filings = [s.filing(stage.site, f"{name}-{n}", agency=name) for name in (BAD, GOOD) for n in range(20)]
        answer = await ask(stage.site, Submit(filings=tuple(filings)))
        assert isinstance(answer, Results) and {each.check for each in answer.results} == {""}
        began = time.monotonic()
        answer = await ask(stage.site, RevokeAgency(revocation=withdrawal(stage.site)))
        assert isinstance(answer, Results) and answer.results[0].detail == "20 orders"
        for peer in (stage.mediator, stage.iap):
            with trio.fail_after(30):
                while len(peer.table) > 20:
                    await trio.sleep(0.05)
            assert {task.agency for task in peer.table} == {GOOD} and len(peer.table) == 20
            assert peer.table.fallen == 20  # by the text itself, before it was told to stop each
        assert time.monotonic() - began < 60.0  # SEC-24


def test_by_the_commands(tmp_path: Path) -> None:
    site = making.make(tmp_path / "site", is_lab=True)
    desk = s.Desk(site)
    filings = [s.filing(site, f"CASE-{n}", agency=BAD if n < 2 else GOOD) for n in range(4)]
    desk.submit(*filings)
    desk.orders.close()
    at = ("--site", str(site.path))
    done = command("order", "revoke-agency", BAD, *at)
    assert (done.returncode, done.stdout) == (0, "2 orders\n"), done.stderr
    assert "agency-contact" not in done.stderr
    # Another person's token, by its file: who withdraws it need not see the case.
    for n, token in ((2, "legal"), (3, "carrier")):
        file = tmp_path / f"{token}.token"
        file.write_text(getattr(filings[n], token) + "\n")
        gone = command("order", "revoke", "--file", str(file), *at)
        assert gone.returncode == 0, gone.stderr
    (tmp_path / "act").write_text(filings[2].commands[0])
    wrong = command("order", "revoke", "--file", str(tmp_path / "act"), *at)
    assert wrong.returncode == 1 and "token-type" in wrong.stderr
    neither = command("order", "revoke", "--case", "CASE-2", *at)
    assert neither.returncode == 2
    desk = s.Desk(site)
    assert set(states(desk).values()) == {State.REVOKED}
    desk.orders.close()
