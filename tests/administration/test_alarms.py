"""An outage of the witnesses, a witness of another history, a function that refuses: an alarm when it begins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from mediation.administration import desk as front
from mediation.administration.disputes import AGAIN_NS, Disputes
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import lab_witness, verify
from mediation.administration.ledger.asking import Outcome, Told
from mediation.administration.ledger.heads import CONFLICT_AGAIN_NS, LOST_AFTER
from mediation.administration.ledger.lab_witness import LabWitness
from mediation.administration.ledger.witnesses import Cosigned
from mediation.core.errors import LedgerError
from mediation.core.interface.control import Results, Submit
from mediation.core.ledger import entry, note
from mediation.core.ledger.policy import Judgement
from mediation.core.records.alarm import Alarm
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import LIMIT_S, Stage, ask, mediation, staged
from tests.administration.test_outage import House, house

__all__ = ["house"]

MANY = 300
SUBJECT = "2125550100"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, s.make) as made:
        yield made


def alarms(site: Site) -> list[tuple[str, str, str]]:
    """All that the ledger has: name, case, detail."""
    found: list[tuple[str, str, str]] = []

    def read(_: object, record: entry.Record) -> None:
        if isinstance(record, entry.Alarm):
            found.append((record.alarm, record.case, record.detail))

    verify.examine(ledger_files(site), read_verifier(site.keys_dir), on_record=read).raise_first()
    return found


def names(house: House) -> list[str]:
    return [name for name, _, _ in alarms(house.site)]


def status(house: House) -> dict[str, str]:
    return front.report(house.orders, {}).alarms


# --- the witnesses ----------------------------------------------------------------------------------------------------


async def test_an_outage_is_an_alarm_each_time_it_begins(house: House) -> None:
    for outage in (1, 2):
        await house.tick()
        house.quorum.away = True
        await house.tick(LOST_AFTER - 1)
        assert len(names(house)) == outage - 1 and status(house) == {}  # one slow answer is no outage
        await house.tick(5)
        house.restart()  # and in the midst of it the administrator is started again
        await house.tick(LOST_AFTER + 2)
        assert names(house) == [Alarm.WITNESSES_AWAY] * outage
        assert list(status(house)) == [Alarm.WITNESSES_AWAY]
        house.quorum.away = False
        await house.tick(2)
        assert status(house) == {}
    assert house.orders.counters["alarm_witnesses-away"] == 0  # the second was raised before the second start


async def test_an_outage_that_the_ledger_cannot_take_is_entered_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise LedgerError("no space")

    await house.tick()
    house.quorum.away = True
    with monkeypatch.context() as patch:
        patch.setattr(house.orders.ledger, "append", full)
        await house.tick(LOST_AFTER)
    assert names(house) == [] and list(status(house)) == [Alarm.WITNESSES_AWAY]
    house.quorum.away = False
    await house.tick(2)
    assert names(house) == [Alarm.WITNESSES_AWAY]


def misled(house: House) -> LabWitness:
    """The site's witness as it is when it was shown another history first, of as many entries."""
    signer = note.Signer.parse((house.site.path / "administrator" / "ledger.key").read_text())
    other = note.Checkpoint(origin=signer.verifier.name, size=1, root=bytes(32))
    (house.site.lab_dir / lab_witness.STATE).write_bytes(b"")
    fresh = LabWitness(house.site.lab_dir, signer.verifier)
    octets = f"old 0\n\n{signer.sign(other.text())}".encode()
    assert fresh.answer("POST", "/add-checkpoint", octets, house.now_ns // s.NS).status == 200
    return fresh


async def test_a_witness_of_another_history_is_an_alarm_at_once(house: House) -> None:
    await house.tick()
    house.quorum.memory = misled(house)
    for place in house.quorum._places:
        place.size = 0
    await house.tick()
    assert names(house) == [Alarm.WITNESSES_CONFLICT] and status(house) == {Alarm.WITNESSES_CONFLICT: "lab"}
    assert alarms(house.site)[0][2].startswith("lab since ")
    await house.tick(LOST_AFTER)  # not each minute; that nobody cosigns is another one
    assert names(house) == [Alarm.WITNESSES_CONFLICT, Alarm.WITNESSES_AWAY]


def judged(*told: tuple[str, Outcome]) -> Cosigned:
    """What three witnesses say, of whom any one makes a quorum."""
    agree = tuple(name for name, outcome in told if outcome is Outcome.COSIGNED)
    judgement = Judgement(cosigners=agree, times=(0,) * len(agree), quorum=bool(agree), time_s=0)
    return Cosigned(
        note="", judgement=judgement, told=tuple(Told(witness=name, outcome=outcome) for name, outcome in told)
    )


async def test_it_is_one_whatever_the_others_say_and_once_an_hour_for_who_wavers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.orders.ledger, "accept_cosigned", lambda *_: None)
    forked = judged(("a", Outcome.COSIGNED), ("b", Outcome.FORKED), ("c", Outcome.AHEAD))
    agreed = judged(("a", Outcome.COSIGNED), ("b", Outcome.COSIGNED), ("c", Outcome.COSIGNED))
    for hours in range(LOST_AFTER + 1):  # for hours: it has begun once
        assert not house.orders.heads._judge(forked, house.now_ns - (LOST_AFTER - hours) * CONFLICT_AGAIN_NS)
    begun = [Alarm.WITNESSES_CONFLICT, Alarm.LEDGER_REPLACED]  # and nobody says that there is no quorum
    assert names(house) == begun
    assert status(house) == {Alarm.WITNESSES_CONFLICT: "b", Alarm.LEDGER_REPLACED: "c"}
    house.orders.heads._judge(judged(("b", Outcome.AWAY), ("c", Outcome.AWAY)), house.now_ns)
    assert len(status(house)) == 3, "who is away has taken nothing back"
    for n in range(20):
        house.orders.heads._judge(agreed, house.now_ns + n * s.NS)
        assert status(house) == {}
        house.orders.heads._judge(forked, house.now_ns + n * s.NS)
    assert names(house).count(Alarm.WITNESSES_CONFLICT) == names(house).count(Alarm.LEDGER_REPLACED) == 2


# --- a function that refuses ------------------------------------------------------------------------------------------


class Sounded:
    """The alarms, as the disputes see them."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def sound(self, name: Alarm, now_ns: int, *, detail: str) -> bool:
        assert name is Alarm.FUNCTION_REFUSED
        self.told.append(detail)
        return True


def test_ten_thousand_refusals_are_one_alarm_for_each_function() -> None:
    sounded, ended = Sounded(), set[str]()
    disputes = Disputes(sounded, lambda carrier: carrier not in ended)  # type: ignore[arg-type]
    for n in range(10_000):
        for function in ("iap", "mediator"):
            disputes.answered(function, f"{n}", "lease" if n else "clock")
        if n % 1_000 == 0:
            disputes.announce(n)
    disputes.announce(10_000)
    assert sounded.told == ["iap clock since 0", "mediator clock since 0"]
    assert disputes.standing() == {Alarm.FUNCTION_REFUSED: "iap 10000 orders, mediator 10000 orders"}
    # It is over when nothing is refused any more, for whatever reason; what begins then is another one.
    for n in range(5_000):
        disputes.answered("iap", f"{n}", "")
    ended.update(f"{n}" for n in range(5_000, 10_000))
    assert disputes.standing() == {Alarm.FUNCTION_REFUSED: "mediator 5000 orders"}
    disputes.answered("iap", "7", "revoked")
    disputes.announce(AGAIN_NS - 1)  # so soon it waits
    assert len(sounded.told) == 2
    disputes.announce(AGAIN_NS)
    assert sounded.told[2:] == ["iap revoked since 60"]
    disputes.announce(10 * AGAIN_NS)
    disputes.answered("iap", "8", "revoked")
    disputes.announce(20 * AGAIN_NS)
    assert len(sounded.told) == 3


def test_what_ended_while_it_was_on_its_way_is_no_dispute() -> None:
    sounded = Sounded()
    disputes = Disputes(sounded, lambda _: False)  # type: ignore[arg-type]
    disputes.answered("iap", "1", "revoked")
    disputes.announce(0)
    assert sounded.told == [] and disputes.standing() == {}


async def test_a_function_that_refuses_all_is_one_alarm_and_shows_in_status(stage: Stage) -> None:
    """Whatever it says its reason is: an alarm, a log and an entry have no words of a peer's."""
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    stage.mediator.refuse = f"sip:+1{SUBJECT}@example.net"
    filings = tuple(s.filing(stage.site, f"CASE-{n}") for n in range(MANY))
    answer = await ask(stage.site, Submit(filings=filings))
    assert isinstance(answer, Results)
    assert Counter(each.functions["mediator"] for each in answer.results) == {"other": MANY}

    async def standing() -> dict[str, str]:
        done = await mediation("status", "--site", str(stage.site.path), "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["alarms"]
        assert isinstance(found, dict)
        return found

    assert await standing() == {Alarm.FUNCTION_REFUSED: f"mediator {MANY} orders"}
    with trio.fail_after(LIMIT_S):
        while not (found := alarms(stage.site)):
            await trio.sleep(0.1)
    assert [(name, case) for name, case, _ in found] == [(Alarm.FUNCTION_REFUSED, "")]
    assert found[0][2].startswith("mediator other since ")
    assert "alarm_function-refused" in (await mediation("status", "--site", str(stage.site.path))).stdout
    # It comes back and refuses still: the same one. Then it takes them, and that is its end.
    stage.stop(stage.mediator)
    await stage.start(stage.mediator)
    with trio.fail_after(LIMIT_S):
        while f"mediator {MANY} orders" not in (await standing()).values():
            await trio.sleep(0.1)
    stage.mediator.refuse = ""
    stage.stop(stage.mediator)
    await stage.start(stage.mediator)
    await stage.mediator.until(lambda: len(stage.mediator.table) == MANY)
    with trio.fail_after(LIMIT_S):
        while await standing():
            await trio.sleep(0.1)
    assert len(alarms(stage.site)) == 1
    assert SUBJECT not in stage.said()
