"""A week in seconds, and the weeks after it: orders expire on their second, are extended, suspended and resumed,
emergencies lapse or are replaced, the witnesses go and return, what must be filed is counted down, and all of it is
announced in its order. All functions are the real ones, in one loop, and the witnesses are real programs
(tests/faults/week.py).
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from mediation.administration import lab
from mediation.administration.ledger.heads import LEASE_WARN
from mediation.administration.order import drafting
from mediation.administration.persons import roster
from mediation.core.authority import jws
from mediation.core.authority.roster import Appoint
from mediation.core.case import RUNNING, Act, Authority, Role, State
from mediation.core.check import Check
from mediation.core.interface.policies import AdoptPlan, FilePlan, PlanView
from mediation.core.ledger import entry
from mediation.core.records import plan
from mediation.core.records.alarm import Alarm
from mediation.runtime import config
from tests.administration import site as s
from tests.faults.week import DAY, GRACE, HOUR, WITNESSES, Week, week

FILED_H = 97  # when the orders of the outage are filed
LOST_H = 101  # when the second witness goes, too
AGAIN_H = 115  # when one returns: two hours after the grace of twelve
SLACK_H = 0.2  # between a moment and its alarm: what this machine needs until then passes on the week's clock, too

EXPIRED = ["REPLACED", "LAPSES", "RUNS-OUT", "REPLACED", "EXTENDED", "ENDS", "PROLONGED", "MOVED", "PAUSED"]
ANNOUNCED = sorted(
    [
        *[(49 - left, f"ends-in-{left}h", "RUNS-OUT") for left in (24, 4, 1)],
        *[(48 - left, f"emergency-ends-in-{left}h", "LAPSES") for left in (24, 4, 1)],
        (48, Alarm.EMERGENCY_LAPSED, "LAPSES"),
        *[(96 - left, f"ends-in-{left}h", "EXTENDED") for left in (24, 4, 1)],
        *[(92 - left, f"ends-in-{left}h", "REPLACED") for left in (24, 4, 1)],
        *[(168 - left, f"ends-in-{left}h", "PAUSED") for left in (72, 24, 4, 1)],
        *[(FILED_H + 10 - left, f"ends-in-{left}h", "ENDS") for left in (4, 1)],
        *[(FILED_H + 48 - left, f"ends-in-{left}h", "PROLONGED") for left in (24, 4, 1)],
        *[(LOST_H + 48 - left, f"ends-in-{left}h", "MOVED") for left in (24, 4, 1)],
        (LOST_H + 9, Alarm.LEASE_ENDING, "end"),
    ]
)
NAMED = {name for _, name, _ in ANNOUNCED}


def rounded(each: tuple[float, str, str]) -> tuple[int, str, str]:
    return round(each[0]), each[1], each[2]


def amendments(house: Week) -> list[tuple[str, str]]:
    """The alarms about what must be filed, by what the ledger says."""
    found = house.orders.records._history.raised
    return sorted(each for each in found if each[0].startswith("amendment-"))


@pytest.fixture
def mock() -> MockClock:
    return MockClock(rate=1.0)


async def at(house: Week, hours: float) -> None:
    await house.go(house.begin_s + hours * HOUR)


async def test_a_week(tmp_path: Path, mock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with week(tmp_path, mock, monkeypatch) as (house, nursery):
        await ordinary_days(house)
        await changes(house, nursery)
        await an_outage(house)
        paused = house.orders.of_case("PAUSED")[0]
        await house.go(paused.not_after_s)
        await house.ends(paused, State.EXPIRED)
        assert [r.case for r in house.records() if isinstance(r, entry.Expired)] == EXPIRED
        certificates = [(name, hours) for name, _, hours in house.alarms() if name.startswith("certificate")]
        assert {name for name, _ in certificates} == {Alarm.CERTIFICATE_DUE, Alarm.CERTIFICATE_OVERDUE}  # nobody signs
        assert all(hours >= 24 for _, hours in certificates)
        told = [(hours, name, about.partition(" ")[0]) for name, about, hours in house.alarms() if name in NAMED]
        assert [hours for hours, *_ in told] == sorted(hours for hours, *_ in told)
        assert [each[1:] for each in sorted(told, key=rounded)] == [each[1:] for each in sorted(ANNOUNCED)], told
        assert [round(hours) for hours, *_ in told] == [hours for hours, *_ in ANNOUNCED]
        assert all(abs(hours - round(hours)) <= SLACK_H for hours, *_ in told), told
        await ninety_days(house)


async def ordinary_days(house: Week) -> None:
    """Four days with their witnesses."""
    runs_out = house.submit(house.filing("RUNS-OUT", 2 * DAY + HOUR))
    first = house.filing("EXTENDED", 3 * DAY)
    extended = house.submit(first)
    lapses = house.submit(house.filing("LAPSES", 2 * DAY, authority=Authority.EMERGENCY_PEN_REGISTER))
    replaced = house.submit(house.filing("REPLACED", 2 * DAY, authority=Authority.EMERGENCY_TRAP_AND_TRACE))
    paused = house.submit(house.filing("PAUSED", 7 * DAY))
    assert {order.state for order in (runs_out, extended)} == {State.LOGGED}  # no head covers them yet
    await house.runs(runs_out, extended, lapses, replaced, paused)

    # Day 1: one is suspended, and an ordinary order comes for one emergency. One of two witnesses is away from now on.
    await at(house, 20)
    house.programs.stop(WITNESSES[1])
    house.act(paused, Act.SUSPEND)
    await house.ends(paused, State.SUSPENDED)
    ordinary = house.submit(house.filing("REPLACED", 3 * DAY, authority=Authority.TRAP_AND_TRACE))
    await house.runs(ordinary)
    await house.ends(replaced, State.EXPIRED)

    # Day 2: one is extended; an emergency that nobody replaced and an order that nobody extended end.
    await at(house, 40)
    end_s = extended.not_after_s
    more = s.extension(house.site, first, end_s + DAY, case="EXTENDED")
    assert house.extend(more) == ""
    await house.until(lambda: house.not_after(extended) == [end_s + DAY] * 2)
    await house.go(lapses.not_after_s - 30)
    await house.runs(runs_out, lapses)
    for order in (lapses, runs_out):
        await house.go(order.not_after_s)
        await house.ends(order, State.EXPIRED)
    await house.runs(extended, ordinary)

    # Day 3: what was to end goes on; its task is the same, and neither function saw it stop.
    tasks = [table.get(bytes.fromhex(extended.xid)) for table in house.tables()]
    await house.go(end_s + 60)
    await house.runs(extended)
    assert [table.get(bytes.fromhex(extended.xid)) for table in house.tables()] == tasks

    # Day 4: the second end is one, too, and no extension comes after it.
    await house.go(extended.not_after_s)
    await house.ends(extended, State.EXPIRED)
    late = s.extension(house.site, first, house.now_s() + DAY, 3, after=more.legal, case="EXTENDED")
    assert house.extend(late) == Check.EXPIRED


async def an_outage(house: Week) -> None:
    """The witnesses are away: what waits, what goes on and how long, what never waits, and the return."""
    await at(house, FILED_H)
    paused = house.orders.of_case("PAUSED")[0]
    filings = {
        name: house.filing(name, seconds)
        for name, seconds in {
            "GOES-ON": 5 * DAY, "PROLONGED": DAY, "MOVED": 2 * DAY, "STOPPED": 3 * DAY, "WITHDRAWN": 3 * DAY,
            "HALTED": 5 * DAY, "ENDS": 10 * HOUR,
        }.items()
    }  # fmt: skip
    orders = {name: house.submit(filing) for name, filing in filings.items()}
    await house.runs(*orders.values())
    await at(house, LOST_H)
    house.programs.stop(WITNESSES[0])
    await house.until(lambda: house.orders.heads.lost)
    grace_ends_s = house.orders.heads.cosigned_s + GRACE
    await house.runs(*orders.values())

    # What waits: an activation, an extension, a change of destination (another order after the stop), a resumption.
    new = house.submit(house.filing("NEW", 5 * DAY))
    end_s = orders["PROLONGED"].not_after_s
    assert house.extend(s.extension(house.site, filings["PROLONGED"], end_s + DAY, case="PROLONGED")) == ""
    house.act(orders["MOVED"], Act.DEACTIVATE)
    await house.ends(orders["MOVED"], State.DEACTIVATED)
    elsewhere = msgspec.structs.replace(lab.destination(house.site), port=41_999)
    moved = house.submit(house.filing("MOVED", 2 * DAY, destination=elsewhere))
    house.act(paused, Act.RESUME)

    # What does not: stops, withdrawals, suspensions and ends.
    house.act(orders["STOPPED"], Act.DEACTIVATE)
    house.revoke(filings["WITHDRAWN"], "WITHDRAWN")
    house.act(orders["HALTED"], Act.SUSPEND)
    await house.ends(orders["STOPPED"], State.DEACTIVATED)
    await house.ends(orders["WITHDRAWN"], State.REVOKED)
    await house.ends(orders["HALTED"], State.SUSPENDED)
    await house.go(orders["ENDS"].not_after_s - 30)
    await house.runs(orders["ENDS"])
    await house.go(orders["ENDS"].not_after_s)
    await house.ends(orders["ENDS"], State.EXPIRED)

    # What runs goes on to the last minute of the grace that is configured, and not beyond: by each function's lease.
    goes_on = [orders["GOES-ON"], orders["PROLONGED"]]
    await house.go(grace_ends_s - GRACE // LEASE_WARN)
    await house.until(lambda: house.orders.counters[f"alarm_{Alarm.LEASE_ENDING}"] == 1)
    await house.go(grace_ends_s - 60)
    await house.runs(*goes_on)
    for order in (new, moved, paused):
        assert house.live(order) == (False, False)
    assert house.not_after(orders["PROLONGED"]) == [end_s] * 2
    assert [table.lapses for table in house.tables()] == [0, 0]
    await house.go(grace_ends_s)
    await house.until(lambda: [len(table) for table in house.tables()] == [0, 0])
    assert all(order.state in RUNNING for order in goes_on)  # whatever the administrator believes
    assert all(house.live(order) == (False, False) for order in goes_on)

    # The return heals, though it remembers a head of the first day; what waited is armed, what was stopped stays so.
    await at(house, AGAIN_H)
    house.programs.start(WITNESSES[1])
    await house.runs(*goes_on, new, moved, paused)
    assert not house.orders.heads.lost and house.orders.heads.cosigned_s >= house.begin_s + AGAIN_H * HOUR
    assert house.not_after(orders["PROLONGED"]) == [end_s + DAY] * 2
    task = house.mediator.table.get(bytes.fromhex(moved.xid))
    assert task is not None and task.destination.port == 41_999
    for name in ("STOPPED", "WITHDRAWN", "HALTED", "ENDS"):
        assert house.live(orders[name]) == (False, False)
    said = [r for r in house.records() if isinstance(r, entry.WitnessesLost | entry.WitnessesFound)]
    assert [type(record) for record in said] == [entry.WitnessesLost, entry.WitnessesFound]
    assert isinstance(said[0], entry.WitnessesLost) and said[0].grace_ends_us == grace_ends_s * 1_000_000
    assert all(0 <= house.hours(record) - due <= SLACK_H for record, due in zip(said, (LOST_H, AGAIN_H), strict=True))


# --- what must be filed -----------------------------------------------------------------------------------------------


def view(house: Week, *, draft: bool = False, days: int | None = None) -> PlanView:
    return house.orders.records.plans.view(house.now_ns(), draft=draft, retention_days=days)


def adopt(house: Week, found: PlanView) -> None:
    adoption = plan.Adoption(
        type="adoption", version=found.version, plan_sha256=plan.digest(found.plan),
        appendix_sha256=plan.digest(found.appendix), previous_sha256=found.previous_sha256, issued_s=house.now_s(),
        nonce=drafting.nonce(), lab=True,
    )  # fmt: skip
    payload = msgspec.json.encode(adoption)
    approvals = tuple(
        jws.sign_octets(payload, plan.ADOPTION_TYP, key.kid, key.key()) for key in lab.executives(house.site)[:2]
    )
    request = AdoptPlan(plan=found.plan, appendix=found.appendix, approvals=approvals)
    assert house.orders.records.act(request, house.now_ns()).check == ""


def file(house: Week) -> None:
    found = view(house)
    filing = plan.PlanFiling(
        type="plan-filing", version=found.version, plan_sha256=plan.digest(found.plan),
        appendix_sha256=plan.digest(found.appendix), filed_s=house.now_s(), confirmation="CEFS-1",
        issued_s=house.now_s(), nonce=drafting.nonce(), lab=True,
    )  # fmt: skip
    key = lab.person(house.site, Role.OFFICER)
    text = jws.sign(filing, plan.FILING_TYP, key.kid, key.key())
    assert house.orders.records.act(FilePlan(filing=text), house.now_ns()).check == ""


async def set_config(house: Week, nursery: trio.Nursery, text: str) -> None:
    """The administrator starts anew, with another configuration; the functions run on."""
    await house.stop()
    path = house.site.path / config.FILE
    path.write_text(path.read_text() + text)
    await house.start(nursery)


async def changes(house: Week, nursery: trio.Nursery) -> None:
    """Another senior officer, another retention, another contact: each change opens ninety days of its own. The
    contact comes with a restart."""
    executives, now_s = lab.executives(house.site), house.now_s()
    new = Appoint(
        person=executives[1].person, name="LAB new", role=Role.EXECUTIVE, function="LAB new", from_s=now_s,
        to_s=now_s + 300 * DAY, document_sha256="ab" * 32, senior=True,
    )  # fmt: skip
    change = roster.draft(house.orders.trust.roster, [new], now_s)
    approvals = [roster.approve(change, key) for key in (executives[0], executives[2])]
    assert house.orders.change_roster(approvals, house.now_ns()).check == ""
    house.orders.records.keep(house.now_ns(), now=True)  # what is done each minute
    assert set(view(house).amendments) == {"officer"}
    adopt(house, view(house, draft=True, days=400))
    assert set(view(house).amendments) == {"officer", "plan", "retention"}
    await set_config(house, nursery, '\n[retention]\ndays = 400\n\n[contact]\ntelephone = "+12125550123"\n')
    assert set(view(house).amendments) == {"officer", "plan", "retention", "contact"}
    assert all(0 <= due_s - now_s - 90 * DAY <= SLACK_H * HOUR for due_s in view(house).amendments.values())


async def ninety_days(house: Week) -> None:
    """What is filed in time is closed; what is not is counted down, and is overdue on the ninetieth day."""
    await at(house, 221)  # the last orders have ended: nothing needs a lease
    await house.until(lambda: [len(table) for table in house.tables()] == [0, 0])
    due_s = view(house).amendments["contact"]
    every = sorted(view(house).amendments.items())
    raised: list[tuple[str, str]] = []

    async def told(when_s: float, *alarms: tuple[Alarm, str]) -> None:
        """Nothing until a minute before all these alarms' moments, and then they alone."""
        await house.go(when_s - 2 * 60, step_s=10 * DAY)
        assert amendments(house) == raised
        await house.go(when_s + 60)
        raised.extend(alarms)
        raised.sort()
        await house.until(lambda: len(amendments(house)) >= len(raised))
        assert amendments(house) == raised

    assert len(every) == 4 and all(abs(each - due_s) < 60 for _, each in every)
    await told(due_s - 30 * DAY, *[(Alarm.AMENDMENT_DUE, f"{cause} {each} 30 d") for cause, each in every])
    file(house)  # the plan that was adopted: before the contact was another
    assert view(house).amendments == {"contact": due_s}
    for days in (7, 1):
        await told(due_s - days * DAY, (Alarm.AMENDMENT_DUE, f"contact {due_s} {days} d"))
    await told(due_s, (Alarm.AMENDMENT_OVERDUE, f"contact {due_s}"))
    await house.go(due_s + 30 * DAY, step_s=10 * DAY)
    assert amendments(house) == raised
    assert house.orders.records.report()["amendment_due_seconds"] <= -30 * DAY


async def test_an_extension_without_its_tokens_ends_on_its_second(
    tmp_path: Path, mock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The administration itself is made to believe in an extension: neither function does, and the order ends."""
    async with week(tmp_path, mock, monkeypatch) as (house, _):
        order = house.submit(house.filing("CASE-1", HOUR))
        await house.runs(order)
        end_s = order.not_after_s
        order.not_after_s = end_s + DAY
        house.orders._timetable.add(order)
        await house.go(end_s)
        await house.until(lambda: house.live(order) == (False, False))
        assert order.state is State.ACTIVE  # that is what it believes
