"""What the functions are shown of the roster's changes: when, in which order, under which head, and again after either
side has restarted. The witnesses are those of test_outage.py; the functions begin with the founding alone, as real
ones do.
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from mediation.administration import lab
from mediation.administration.ledger import heads, kept
from mediation.administration.ledger.heads import LOST_AFTER
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.ledger.tiles import WITNESSED_HISTORY
from mediation.administration.order import drafting
from mediation.administration.persons import entries, roster
from mediation.core.authority.roster import AnyAction, Contact, End, Revoke
from mediation.core.case import Proof, Role
from mediation.core.check import Check
from mediation.core.errors import LedgerError
from mediation.core.interface import x1
from mediation.core.interface.control import Filing
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.runtime.config import Site
from mediation.signing.file import PersonKey, new_person
from tests.administration import site as s
from tests.administration.peers import Peer
from tests.administration.test_outage import House, Quorum, functions, until
from tests.core import cosigning

LIMIT_S = 30
DAY_S = 86_400
HASH = "ab" * 32


@pytest.fixture
def house(site: Site, monkeypatch: pytest.MonkeyPatch) -> House:
    quorum = Quorum(site)
    monkeypatch.setattr(heads, "open_witnesses", lambda *_: quorum)
    return House(site, quorum)


def change(house: House, *actions: AnyAction) -> str:
    now_s = house.now_ns // s.NS
    octets = roster.draft(house.orders.trust.roster, actions, now_s)
    approvals = tuple(roster.approve(octets, each) for each in lab.executives(house.site)[1:])
    return house.orders.change_roster(approvals, house.now_ns).check


def second_officer(house: House) -> tuple[PersonKey, tuple[AnyAction, ...]]:
    now_s = house.now_ns // s.NS
    person = new_person(Role.OFFICER, "second-officer", now_s, lab=True)
    member = roster.Member(name="Second", function="officer", key=person.ring_key())
    office = roster.appoint(member, Role.OFFICER, now_s, now_s + DAY_S, HASH, senior=False)
    return person, (office, roster.enroll(member.key))


def filing(house: House, person: PersonKey, case: str) -> Filing:
    """An order that this officer activates."""
    filed = s.filing(house.site, case, activate=False)
    act = drafting.command(
        s.Act.ACTIVATE, case, s.jws.sha256_hex(filed.carrier), 1, person, dde=False, lab=True
    )  # fmt: skip
    return msgspec.structs.replace(filed, commands=(act,))


def proven(*peers: Peer) -> set[int]:
    return {peer.table.trust.believed for peer in peers}


async def test_additions_wait_for_the_witnesses_and_ends_do_not(house: House) -> None:
    person, actions = second_officer(house)
    officer = lab.person(house.site, Role.OFFICER)
    house.submit(s.filing(house.site))
    await house.tick()
    async with functions(house) as (tasking, mediator, iap):
        await until(tasking, lambda: iap.cases() == mediator.cases() == {"CASE-1"})
        house.quorum.away = True
        now_s = house.now_ns // s.NS
        void = Revoke(person=officer.person, kid=officer.kid, void_s=now_s - DAY_S)
        assert change(house, *actions, void) == ""
        house.submit(filing(house, person, "CASE-2"))
        await house.tick(LOST_AFTER)
        await until(tasking, lambda: iap.cases() == mediator.cases() == set())
        await tasking.settled(None, LIMIT_S)
        assert {len(peer.table.trust.roster.lines) for peer in (iap, mediator)} == {2}
        assert proven(iap, mediator) == {1}
        house.quorum.away = False
        await house.tick(2)
        await until(tasking, lambda: iap.cases() == mediator.cases() == {"CASE-2"})
        assert proven(iap, mediator) == {2} and tasking.counters["x1_refusals"] == 0


async def test_it_is_shown_again_after_either_side_has_restarted(house: House) -> None:
    person, actions = second_officer(house)
    assert change(house, *actions) == ""
    house.submit(filing(house, person, "CASE-2"))
    await house.tick()
    for _ in range(2):  # with the administrator that entered it, and with one that reads the ledger
        async with functions(house) as (tasking, mediator, iap):
            await until(tasking, lambda: iap.cases() == mediator.cases() == {"CASE-2"})
            assert proven(iap, mediator) == {2} and tasking.counters["x1_refusals"] == 0
        house.restart()


async def test_who_approved_it_has_left_since(house: House) -> None:
    """A function that hears of a change years later, from the start: the head of that time shows that it was good."""
    _, actions = second_officer(house)
    assert change(house, *actions) == ""
    await house.tick()
    years_s = max(each.to_s for each in house.orders.trust.roster.appointments if each.role is Role.EXECUTIVE)
    house.later(years_s - house.now_ns // s.NS)
    await house.tick()
    async with functions(house) as (tasking, mediator, iap):
        await until(tasking, lambda: proven(iap, mediator) == {2})
        assert tasking.counters["x1_refusals"] == 0
    (house.site.ledger_dir / WITNESSED_HISTORY).unlink()  # nothing shows it any more
    async with functions(house) as (tasking, mediator, iap):
        await until(tasking, lambda: tasking.counters["x1_refusals"] == 2)
        assert proven(iap, mediator) == {1}
        await house.tick()  # and it is not shown again with each head
        await tasking.settled(None, LIMIT_S)
        assert tasking.counters["x1_refusals"] == 2
    alarms = [each for each in house.entries() if isinstance(each, entry.Alarm)]
    details = [each.detail for each in alarms if each.alarm == Alarm.FUNCTION_REFUSED]
    assert sorted(details) == [f"{name} {Check.ROSTER_DATES} roster of 2" for name in ("iap", "mediator")]


async def test_many_changes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one message holds, some of which no quorum has seen."""
    monkeypatch.setattr(x1, "CHANGES_AT_ONCE", 3)
    now_s = house.now_ns // s.NS
    for number in range(7):
        agency = Contact(agency=f"AGENCY-{number}", number="+12125550155", from_s=now_s + DAY_S)
        assert change(house, agency) == ""
    await house.tick()
    house.quorum.away = True
    assert change(house, End(person="lab-auditor", role=Role.AUDITOR, at_s=now_s)) == ""
    async with functions(house) as (tasking, mediator, iap):
        await until(tasking, lambda: proven(iap, mediator) == {8})
        assert {len(peer.table.trust.roster.lines) for peer in (iap, mediator)} == {9}
        house.quorum.away = False
        await house.tick(2)
        await until(tasking, lambda: proven(iap, mediator) == {9})


def test_an_approver_who_has_left_before_it_is_entered(house: House) -> None:
    """Nothing of it would be armed anywhere: it is refused, and not entered for nothing."""
    executives = lab.executives(house.site)
    now_s = house.now_ns // s.NS
    octets = roster.draft(
        house.orders.trust.roster, [End(person=executives[2].person, role=Role.EXECUTIVE, at_s=now_s + 60)], now_s
    )
    leaves = tuple(roster.approve(octets, each) for each in executives[:2])
    assert house.orders.change_roster(leaves, house.now_ns).check == ""
    auditor = End(person="lab-auditor", role=Role.AUDITOR, at_s=now_s)
    octets = roster.draft(house.orders.trust.roster, [auditor], now_s)
    approvals = tuple(roster.approve(octets, each) for each in executives[1:])
    house.later(60)
    assert house.orders.change_roster(approvals, house.now_ns).check == Check.ROSTER_DATES
    house.now_ns -= s.NS
    assert house.orders.change_roster(approvals, house.now_ns).check == ""


async def test_a_tile_that_was_changed_stops_the_showing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The changes from there on begin nothing; the orders by those before go on, and nothing is asked for ever."""
    _, actions = second_officer(house)
    assert change(house, *actions) == ""
    house.submit(s.filing(house.site))
    await house.tick()

    def broken(*_: object) -> Proof:
        raise LedgerError("a tile was changed")

    monkeypatch.setattr(entries.Entries, "proof", broken)
    async with functions(house) as (tasking, mediator, iap):
        await until(tasking, lambda: iap.cases() == mediator.cases() == {"CASE-1"})
        assert proven(iap, mediator) == {1} and not any(each.shown.due for each in tasking.functions)


def test_the_first_kept_head_that_covers_an_entry(tmp_path: Path) -> None:
    """Found by halving as by reading all, whatever the lines' lengths; a torn last line is none."""
    draw = random.Random(7)
    tree = cosigning.grown(300)
    file = tmp_path / "witnessed.jsonl"
    assert kept.first_covering(file, 0) == ""
    for count in (1, 2, 3, 40):
        sizes = sorted(draw.sample(range(1, 301), count))
        texts = [cosigning.signed(tree, size) for size in sizes]
        texts = [text + draw.choice((0, 1, 9)) * f"{text.splitlines()[-1]}\n" for text in texts]
        file.write_bytes(b"".join(msgspec.json.encode(text) + b"\n" for text in texts) + b'"torn')
        for index in (0, *(size + by for size in sizes for by in (-1, 0)), 300):
            expected = next((text for text, size in zip(texts, sizes, strict=True) if size > index), "")
            assert kept.first_covering(file, index) == expected
    file.write_bytes(b"17\n" * 9)
    with pytest.raises(LedgerError):
        kept.first_covering(file, 0)


def test_a_kept_head_of_another_ledger_is_of_no_use(house: House) -> None:
    assert isinstance(house.orders.ledger, Ledger)
    _, actions = second_officer(house)
    assert change(house, *actions) == ""
    text = cosigning.signed(cosigning.grown(300), 300)
    (house.site.ledger_dir / WITNESSED_HISTORY).write_bytes(msgspec.json.encode(text) + b"\n")
    with pytest.raises(LedgerError):
        house.orders.ledger.kept_proof(house.orders.entries.places[1])
