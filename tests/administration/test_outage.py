"""While the witnesses are away, row by row: what waits, what goes on, what never waits, what is entered.

The witnesses are the real client and the real witness with its real key, without a network between them: `away` is a
switch. The functions are task tables behind sockets that admit for themselves, by the same turned clock.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from mediation.administration import desk as front
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import heads, lab_witness, verify
from mediation.administration.ledger.asking import Conversation, Outcome, Place, Told
from mediation.administration.ledger.heads import LOST_AFTER, refuse_other
from mediation.administration.ledger.lab_witness import LabWitness
from mediation.administration.ledger.witnesses import Witnesses
from mediation.administration.tasking import Tasking
from mediation.core.case import Act, State
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, LedgerError
from mediation.core.ledger import entry, note, policy
from mediation.core.records.alarm import Alarm
from mediation.runtime.config import Site
from mediation.runtime.keys import POLICY, read_verifier
from tests.administration import site as s
from tests.administration.peers import Peer

NS, HOUR_S = 1_000_000_000, 3_600
LIMIT_S = 30


class Quorum(Witnesses):
    """The witnesses of a site, in reach or away."""

    def __init__(self, site: Site) -> None:
        ledger = read_verifier(site.keys_dir)
        path = site.keys_dir / POLICY
        path.write_text(path.read_text().replace(policy.LAB_URL + "\n", "http://192.0.2.1:8080\n"))
        super().__init__(policy.parse(path.read_text()), ledger)
        self.away = False
        self.memory = LabWitness(site.lab_dir, ledger)

    async def _talk(self, place: Place, conversation: Conversation, now_s: int) -> Told:
        await trio.lowlevel.checkpoint()
        if self.away:
            return place.told(Outcome.AWAY, "switched off")
        self._lab = self.memory
        return self._talk_lab(conversation, place, now_s)


class House(s.Desk):
    """Orders whose witnesses are elsewhere."""

    def __init__(self, site: Site, quorum: Quorum) -> None:
        self.quorum = quorum
        super().__init__(site)

    async def tick(self, times: int = 1) -> None:
        for _ in range(times):
            await self.orders.heads.show(self.now_ns)

    def entries(self) -> list[entry.Record]:
        found: list[entry.Record] = []
        files = ledger_files(self.site)
        verify.examine(files, self.orders.ledger.verifier, on_record=lambda _, r: found.append(r)).raise_first()
        return found


@pytest.fixture
def house(site: Site, monkeypatch: pytest.MonkeyPatch) -> House:
    quorum = Quorum(site)
    monkeypatch.setattr(heads, "open_witnesses", lambda *_: quorum)
    return House(site, quorum)


@asynccontextmanager
async def functions(house: House) -> AsyncIterator[tuple[Tasking, Peer, Peer]]:
    """Both functions, and the tasking that tells them."""
    log: list[tuple[str, str, str, float]] = []
    peers = [Peer(name, house.site, log) for name in ("mediator", "iap")]
    for peer in peers:
        peer.now_ns = lambda: house.now_ns
    async with trio.open_nursery() as nursery:
        for peer in peers:
            await nursery.start(peer.serve)
        tasking = Tasking(house.orders, house.site.run_dir, lambda: house.now_ns)
        for function in tasking.functions:
            nursery.start_soon(function.run)
        with trio.fail_after(LIMIT_S):
            for function in tasking.functions:
                await function.met.wait()
        yield tasking, peers[0], peers[1]
        nursery.cancel_scope.cancel()


async def until(tasking: Tasking, condition: Callable[[], bool]) -> None:
    with trio.fail_after(LIMIT_S):
        while not condition():
            await tasking.moved()


def dde(*peers: Peer) -> list[bool]:
    return [task.dde for peer in peers for task in peer.table]


async def running(house: House, *, digits: bool = False) -> s.Filing:
    filed = s.filing(house.site, dde=digits)
    house.submit(filed)
    await house.tick()
    return filed


async def test_an_activation_waits_and_is_armed_when_they_return(house: House) -> None:
    house.quorum.away = True
    async with functions(house) as (tasking, mediator, iap):
        house.submit(s.filing(house.site))
        await house.tick(LOST_AFTER)
        assert house.state() is State.LOGGED and not house.orders.wanted(house.order())
        assert tasking.answers(house.order()) == dict.fromkeys(("mediator", "iap"), Check.WITNESSES_AWAY)
        await tasking.settled(None, LIMIT_S)  # nobody waits for what nobody can promise
        assert mediator.cases() == iap.cases() == set()
        house.quorum.away = False
        await house.tick()  # the head that was shown before it
        await house.tick()
        assert house.state() is State.ACTIVE
        await until(tasking, lambda: iap.cases() == {"CASE-1"} and mediator.cases() == {"CASE-1"})


async def test_even_a_hostile_request_without_the_quorum_arms_nothing(house: House) -> None:
    """The administrator's own head, signed by the ledger alone, is no proof to anybody."""
    house.quorum.away = True
    house.submit(s.filing(house.site))
    order = house.order()
    with pytest.raises(AuthorizationError) as refused:
        house.orders.trust.checkpoint(house.orders.ledger.proof(order.commands[0][1]).checkpoint)
    assert refused.value.check == Check.PROOF_WITNESSES


async def test_a_change_waits_and_the_case_runs_on(house: House) -> None:
    async with functions(house) as (tasking, mediator, iap):
        filed = await running(house)
        await until(tasking, lambda: iap.cases() == {"CASE-1"})
        house.quorum.away = True
        assert house.perform(s.act(house.site, filed.carrier, "CASE-1", 2, Act.DDE, dde=True))[0].check == ""
        await house.tick(2)
        await tasking.settled(None, 0.2)
        assert dde(mediator, iap) == [False, False] and house.orders.standing(house.order()) == (1, False)
        house.quorum.away = False
        await house.tick(2)
        await until(tasking, lambda: dde(mediator, iap) == [True, True])


async def test_switching_digits_off_never_waits(house: House) -> None:
    async with functions(house) as (tasking, mediator, iap):
        filed = await running(house, digits=True)
        await until(tasking, lambda: dde(mediator, iap) == [True, True])
        house.quorum.away = True
        house.perform(s.act(house.site, filed.carrier, "CASE-1", 2, Act.DDE))
        await until(tasking, lambda: dde(mediator, iap) == [False, False])
        house.quorum.away = False
        await house.tick(2)
        await until(tasking, lambda: all(function.armed == {house.order().carrier_sha256: (2, False)}
                                         for function in tasking.functions))  # fmt: skip
        assert dde(mediator, iap) == [False, False]


async def test_a_function_that_restarts_meanwhile_is_told_of_what_was_witnessed(house: House) -> None:
    filed = await running(house, digits=True)
    house.quorum.away = True
    house.perform(s.act(house.site, filed.carrier, "CASE-1", 2, Act.DDE))  # and not of what that has taken back
    async with functions(house) as (tasking, mediator, iap):
        await until(tasking, lambda: dde(mediator, iap) == [False, False])


@pytest.mark.parametrize("how", ["deactivated", "revoked", "expired"])
async def test_stops_never_wait(house: House, how: str) -> None:
    async with functions(house) as (tasking, mediator, iap):
        filed = await running(house)
        await until(tasking, lambda: iap.cases() == {"CASE-1"})
        house.quorum.away = True
        if how == "deactivated":
            house.perform(s.act(house.site, filed.carrier, "CASE-1", 2, Act.DEACTIVATE))
        elif how == "revoked":
            house.revoke(s.revocation(house.site, filed))
        else:
            house.later(HOUR_S)
        await until(tasking, lambda: mediator.cases() == iap.cases() == set())
        assert house.state().value == how


async def test_an_outage_and_its_end_are_entered_once(house: House) -> None:
    await house.tick()
    grace_ends = house.now_ns // NS * 1_000_000 + 24 * HOUR_S * 1_000_000
    house.quorum.away = True
    await house.tick(LOST_AFTER - 1)
    assert not house.orders.heads.lost
    await house.tick(5)
    report = front.report(house.orders, {}).ledger
    assert report["witnesses_lost"] and report["witnesses"] == {"lab": "away"}
    house.quorum.away = False
    await house.tick(3)
    said = [each for each in house.entries() if isinstance(each, entry.WitnessesLost | entry.WitnessesFound)]
    assert [type(each) for each in said] == [entry.WitnessesLost, entry.WitnessesFound]
    assert isinstance(said[0], entry.WitnessesLost) and said[0].grace_ends_us == grace_ends
    assert not front.report(house.orders, {}).ledger["witnesses_lost"]


async def test_the_end_of_the_grace_is_announced_once(house: House) -> None:
    """In its last quarter; that of another outage is announced anew."""

    def told() -> list[str]:
        found = [each.alarm for each in house.entries() if isinstance(each, entry.Alarm)]
        return [name for name in found if name == Alarm.LEASE_ENDING]  # others have a date of their own to come at

    announced: list[str] = []
    for _ in range(2):
        await house.tick()
        house.quorum.away = True
        await house.tick(LOST_AFTER)
        house.later(18 * HOUR_S - 60)
        await house.tick(2)
        assert told() == announced
        house.later(120)
        await house.tick(2)
        announced.append("lease-ending")
        assert told() == announced
        house.quorum.away = False
        await house.tick(2)
    assert told() == announced


async def test_nothing_grows_while_the_witnesses_are_away(house: House) -> None:
    await house.tick()
    house.quorum.away = True
    await house.tick()
    shown = house.orders.ledger.published
    await house.tick(20)
    assert house.orders.ledger.published == shown
    house.quorum.away = False
    sizes = [shown]
    for _ in range(4):
        await house.tick()
        sizes.append(house.orders.ledger.witnessed.size)
    assert [after - before for before, after in itertools.pairwise(sizes)] == [0, 4, 4, 4]


async def test_after_the_grace_the_functions_stop_and_with_a_new_head_they_resume(house: House) -> None:
    now_s = house.now_ns // NS
    async with functions(house) as (tasking, mediator, iap):
        house.submit(s.filing(house.site, not_after_s=now_s + 20 * 24 * HOUR_S))
        await house.tick()
        await until(tasking, lambda: iap.cases() == {"CASE-1"})
        house.quorum.away = True
        house.later(24 * HOUR_S - 60)
        await house.tick()
        assert all(peer.table.expire(house.now_ns) == [] and peer.cases() for peer in (mediator, iap))
        house.later(120)
        for peer in (mediator, iap):  # each by its own clock, whatever the administrator says
            assert peer.table.expire(house.now_ns) == [] and peer.cases() == set() and peer.table.lapses == 1
        house.quorum.away = False
        await house.tick()
        await until(tasking, lambda: iap.cases() == {"CASE-1"} and mediator.cases() == {"CASE-1"})


# --- a ledger that was put back ---------------------------------------------------------------------------------------


async def test_a_site_put_back_as_a_whole_does_not_start(house: House) -> None:
    """All of root's files of an earlier moment, the store and the clock with them; only the witness remembers."""
    await house.tick()
    before = house.orders.ledger.head
    house.submit(s.filing(house.site))
    await house.tick()
    told = await house.quorum.fetch_states(now_s=house.now_ns // NS)
    refuse_other(told, house.orders.ledger)
    house.orders.close()
    with pytest.raises(LedgerError, match="put back"):
        refuse_other(told, OtherDay(before))
    house.restart()
    assert house.state() is State.ACTIVE


class OtherDay:
    """What `refuse_other` asks of a ledger: the head of another day."""

    def __init__(self, head: note.Checkpoint) -> None:
        self.size = head.size
        self.tree = self

    def root(self, _: int) -> bytes:
        raise AssertionError("the size says it")


async def test_a_ledger_that_was_rewritten_while_it_runs_is_told_at_the_next_contact(house: House) -> None:
    await running(house)
    other = LabWitness(house.site.lab_dir, house.orders.ledger.verifier)
    forked = note.Checkpoint(origin=house.orders.ledger.verifier.name, size=1 << 20, root=bytes(32))
    text = (house.site.path / "administrator" / "ledger.key").read_text()
    signed = note.Signer.parse(text).sign(forked.text())
    told = other.answer("POST", "/add-checkpoint", f"old 0\n\n{signed}".encode(), house.now_ns // NS)
    assert told.status == 409
    (house.site.lab_dir / lab_witness.STATE).write_bytes(b"")  # the witness was shown another history first
    fresh = LabWitness(house.site.lab_dir, house.orders.ledger.verifier)
    assert fresh.answer("POST", "/add-checkpoint", f"old 0\n\n{signed}".encode(), house.now_ns // NS).status == 200
    house.quorum.memory = fresh
    before = house.orders.ledger.witnessed
    await house.tick(LOST_AFTER)
    assert house.orders.ledger.witnessed == before and house.orders.heads.lost
    alarms = [each.alarm for each in house.entries() if isinstance(each, entry.Alarm)]
    assert alarms == [Alarm.LEDGER_REPLACED, Alarm.WITNESSES_AWAY]
    house.submit(s.filing(house.site, "CASE-2"))
    await house.tick()
    assert not house.orders.wanted(house.order("CASE-2")) and house.orders.wanted(house.order("CASE-1"))
