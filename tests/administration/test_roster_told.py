"""A change of persons reaches both functions from the administrator, as a process; its crash between two steps."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from mediation.administration import lab
from mediation.administration.order.orders import Orders
from mediation.administration.persons import roster
from mediation.core.authority.roster import AnyAction, End, Revoke, digest, line
from mediation.core.case import Role, State
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface import control
from mediation.core.interface.control import ChangeRoster, Results, Submit
from mediation.runtime.config import Site
from mediation.runtime.keys import load_trust
from tests.administration import site as s
from tests.administration.peers import Stage, ask, staged


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, s.make) as made:
        yield made


def approvals(site: Site, *actions: AnyAction, now_s: int | None = None) -> tuple[str, ...]:
    held = load_trust(site).roster
    octets = roster.draft(held, actions, int(time.time()) if now_s is None else now_s)
    return tuple(roster.approve(octets, each) for each in lab.executives(site)[1:])


def void(site: Site, role: Role, since_s: int) -> Revoke:
    person = lab.person(site, role)
    return Revoke(person=person.person, kid=person.kid, void_s=since_s)


async def answered(stage: Stage, request: control.Request) -> control.Result:
    answer = await ask(stage.site, request)
    assert isinstance(answer, Results)
    return answer.results[0]


async def test_everywhere_at_once(stage: Stage) -> None:
    """From the request to the last function's stop; a function that was away stops before it is told anything else."""
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    filings = tuple(s.filing(stage.site, f"CASE-{n}") for n in range(20))
    assert (await answered(stage, Submit(filings=filings))).check == ""
    await stage.iap.until(lambda: len(stage.iap.table) == 20)
    stage.stop(stage.mediator)
    gone = void(stage.site, Role.OFFICER, int(time.time()) - 3_600)
    began = time.monotonic()
    assert (await answered(stage, ChangeRoster(approvals=approvals(stage.site, gone)))).check == ""
    await stage.iap.until(lambda: not len(stage.iap.table))
    took = max(each[3] for each in stage.log if each[1] == "stopped") - began
    assert stage.iap.table.fallen == 20, "it was told to stop, and did not by itself"
    assert took < 30  # tens of milliseconds; the bound is for a loaded machine
    await stage.start(stage.mediator)
    await stage.mediator.until(lambda: len(stage.mediator.table.trust.roster.lines) == 2)
    assert not len(stage.mediator.table)
    refused = await answered(stage, Submit(filings=(s.filing(stage.site, "CASE-90"),)))
    assert refused.check == Check.KEY_DATES
    assert s.kinds(stage.site).count("revoked") == 20


def test_orders_that_do_not_stand_are_revoked(desk: s.Desk) -> None:
    """Whose act was entered before the key was void goes on; later acts with it, and other orders, do not."""
    desk.submit(s.filing(desk.site))
    desk.later(100)
    desk.submit(s.filing(desk.site, "CASE-2"))
    now_s = desk.now_ns // s.NS
    texts = approvals(desk.site, void(desk.site, Role.LEGAL, now_s - 50), now_s=now_s)
    assert desk.orders.change_roster(texts, desk.now_ns).check == ""
    assert (desk.state("CASE-1"), desk.state("CASE-2")) == (State.ACTIVE, State.REVOKED)
    desk.restart()
    assert (desk.state("CASE-1"), desk.state("CASE-2")) == (State.ACTIVE, State.REVOKED)
    assert desk.orders.change_roster(texts, desk.now_ns).check == Check.ROSTER
    old = approvals(desk.site, End(person="lab-auditor", role=Role.AUDITOR, at_s=now_s), now_s=now_s)
    desk.later(roster.LIFE_S + 1)
    assert desk.orders.change_roster(old, desk.now_ns).check == Check.ROSTER_DATES


def test_a_crash_before_the_orders_are_judged(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change stands, and nobody has looked yet for whom it ends: the next start does, and enters it."""
    desk.submit(s.filing(desk.site))
    desk.later(100)
    desk.submit(s.filing(desk.site, "CASE-2", activate=False))
    now_s = desk.now_ns // s.NS
    texts = approvals(desk.site, void(desk.site, Role.LEGAL, now_s - 200), now_s=now_s)

    def crash(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(roster, "stands", crash)
        with pytest.raises(KeyboardInterrupt):
            desk.orders.change_roster(texts, desk.now_ns)
    for _ in range(2):
        desk.restart()
        assert (desk.state(), desk.state("CASE-2")) == (State.REVOKED, State.FILED)
        assert s.kinds(desk.site).count("revoked") == 1
    with pytest.raises(AuthorizationError, match=Check.REVOKED):
        roster.check_stands(desk.order(), desk.orders.trust)


@pytest.mark.parametrize("entered", [True, False], ids=["entered", "not entered"])
@pytest.mark.parametrize("torn", [b"", b'{"approvals":["ey'], ids=["whole", "torn"])
def test_a_crash_while_it_changes(desk: s.Desk, monkeypatch: pytest.MonkeyPatch, entered: bool, torn: bytes) -> None:
    now_s = desk.now_ns // s.NS
    texts = approvals(desk.site, End(person="lab-auditor", role=Role.AUDITOR, at_s=now_s), now_s=now_s)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if entered:
        monkeypatch.setattr(roster, "append", crash)
    else:
        monkeypatch.setattr(desk.orders._books, "note", crash)
    with pytest.raises(KeyboardInterrupt):
        desk.orders.change_roster(texts, desk.now_ns)
    monkeypatch.undo()
    path = desk.site.keys_dir / "roster.jsonl"
    if entered:
        path.write_bytes(path.read_bytes() + torn)
    desk.restart()
    assert len(desk.orders.trust.roster.lines) == 1 + entered == len(load_trust(desk.site).roster.lines)
    assert not (desk.site.path / roster.PENDING_LINE).exists()
    assert desk.orders.change_roster(texts, desk.now_ns).check == (Check.ROSTER if entered else "")


def test_a_line_without_an_entry_is_refused(desk: s.Desk) -> None:
    """Approved by two executives, and yet never entered: the site does not start with it."""
    texts = approvals(desk.site, End(person="lab-auditor", role=Role.AUDITOR, at_s=desk.now_ns // s.NS))
    roster.append(desk.site.keys_dir, line(texts))
    assert digest(load_trust(desk.site).roster.lines[1]) == digest(line(texts))
    desk.orders.close()
    with pytest.raises(ConfigurationError, match="change 1 is not the one that the ledger has"):
        Orders(desk.site, desk.now_ns)


async def test_a_peer_that_hangs_up_is_told_again(stage: Stage) -> None:
    """Withdrawals travel as the signed texts, also to a function that was away when they came."""
    await stage.start(stage.iap, stage.mediator)
    await stage.run()
    filed = s.filing(stage.site)
    await answered(stage, Submit(filings=(filed,)))
    await stage.iap.until(lambda: len(stage.iap.table) == 1)
    stage.stop(stage.mediator)
    await answered(stage, control.Revoke(revocations=(s.revocation(stage.site, filed),)))
    await stage.iap.until(lambda: bool(stage.iap.table.trust.revoked))
    await stage.start(stage.mediator)
    await stage.mediator.until(lambda: bool(stage.mediator.table.trust.revoked))
    assert not len(stage.mediator.table)
    with trio.fail_after(60):
        await stage.terminate()


def test_what_the_administrator_remembers_is_what_admission_says(desk: s.Desk) -> None:
    """By whose signatures an order stands: from its stored texts the same as from all its proofs, extensions too."""
    filed = s.filing(desk.site)
    desk.submit(filed)
    now_s = desk.now_ns // s.NS
    assert desk.extend(s.extension(desk.site, filed, now_s + 7_200))[0].check == ""
    found = roster.standing_of(desk.order(), desk.orders.trust)
    assert found == s.admitted(desk).standing
    assert len(found.tokens) == 5 and [each[0] for each in found.signers] == [
        Role.LEGAL, Role.CARRIER, Role.OFFICER, Role.OFFICER, Role.LEGAL, Role.CARRIER,
    ]  # fmt: skip
