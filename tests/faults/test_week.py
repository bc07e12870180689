"""A week in seconds: orders expire on their second, are extended, suspended and resumed, emergencies lapse or are
replaced, and every end is announced in its order. All functions are the real ones, in one loop (tests/faults/week.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from mediation.core.case import Act, Authority, State
from mediation.core.check import Check
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from tests.administration import site as s
from tests.faults.week import DAY, HOUR, Week, week


@pytest.fixture
def mock() -> MockClock:
    return MockClock(rate=1.0)


async def at(house: Week, hours: float) -> None:
    await house.go(house.begin_s + hours * HOUR)


async def test_a_week(tmp_path: Path, mock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with week(tmp_path, mock, monkeypatch) as house:
        runs_out = house.submit(house.filing("RUNS-OUT", 2 * DAY))
        first = house.filing("EXTENDED", 3 * DAY)
        extended = house.submit(first)
        lapses = house.submit(house.filing("LAPSES", 2 * DAY, authority=Authority.EMERGENCY_PEN_REGISTER))
        replaced = house.submit(house.filing("REPLACED", 2 * DAY, authority=Authority.EMERGENCY_TRAP_AND_TRACE))
        paused = house.submit(house.filing("PAUSED", 7 * DAY))
        await house.runs(runs_out, extended, lapses, replaced, paused)

        # Day 1: one is suspended, and an ordinary order comes for one emergency.
        await at(house, 20)
        house.act(paused, Act.SUSPEND)
        await house.ends(paused, State.SUSPENDED)
        ordinary = house.submit(house.filing("REPLACED", 4 * DAY, authority=Authority.TRAP_AND_TRACE))
        await house.runs(ordinary)
        await house.ends(replaced, State.EXPIRED)

        # Day 2: one is extended; an emergency that nobody replaced and an order that nobody extended end.
        await at(house, 40)
        end_s = extended.not_after_s
        more = s.extension(house.site, first, end_s + 3 * DAY, case="EXTENDED")
        assert house.extend(more) == ""
        xid = bytes.fromhex(extended.xid)
        for table in house.tables():
            await house.until(lambda table=table: table.get(xid).not_after_ns == (end_s + 3 * DAY) * 10**9)  # type: ignore[misc]
        await house.go(runs_out.not_after_s - 30)
        await house.runs(runs_out, lapses)
        await house.go(runs_out.not_after_s)
        await house.ends(runs_out, State.EXPIRED)
        await house.ends(lapses, State.EXPIRED)
        await house.runs(extended, ordinary)

        # Day 3: what was to end goes on; its task is the same, and neither function saw it stop.
        tasks = [table.get(xid) for table in house.tables()]
        await house.go(end_s + 60)
        await house.runs(extended)
        assert [table.get(xid) for table in house.tables()] == tasks
        house.act(paused, Act.RESUME)
        await house.runs(paused)

        # Day 6: the second end is one, too, and no extension comes after it.
        await house.go(extended.not_after_s)
        await house.ends(extended, State.EXPIRED)
        late = s.extension(house.site, first, house.now_s() + DAY, 3, after=more.legal, case="EXTENDED")
        assert house.extend(late) == Check.EXPIRED
        await house.go(paused.not_after_s)
        await house.ends(paused, State.EXPIRED)

        assert sum(isinstance(record, entry.Expired) for record in house.records()) == 6
        certificates = [(name, hours) for name, _, hours in house.alarms() if name.startswith("certificate")]
        assert {name for name, _ in certificates} == {
            "certificate-due",
            "certificate-overdue",
        }  # nobody signs
        assert all(hours >= 24 for _, hours in certificates)
        told = [(name, case, int(hours)) for name, case, hours in house.alarms() if "certificate" not in name]
        expected = {
            (name, case): hour
            for name, case, hour in [
                *[(Alarm.ENDS_24H, "RUNS-OUT", 24), (Alarm.ENDS_4H, "RUNS-OUT", 44), (Alarm.ENDS_1H, "RUNS-OUT", 47)],
                (Alarm.EMERGENCY_24H, "LAPSES", 24), (Alarm.EMERGENCY_4H, "LAPSES", 44),
                (Alarm.EMERGENCY_1H, "LAPSES", 47), (Alarm.EMERGENCY_LAPSED, "LAPSES", 48),
                *[(f"ends-in-{hours}h", "EXTENDED", 144 - hours) for hours in (72, 24, 4, 1)],
                *[(f"ends-in-{hours}h", "REPLACED", 116 - hours) for hours in (24, 4, 1)],
                *[(f"ends-in-{hours}h", "PAUSED", 168 - hours) for hours in (72, 24, 4, 1)],
            ]
        }  # fmt: skip
        assert sorted((name, case) for name, case, _ in told) == sorted(expected)
        # The test's clock goes by hours, so an alarm can be told at the next of its steps.
        assert all(0 <= hour - expected[name, case] <= 1 for name, case, hour in told), told


async def test_an_extension_without_its_tokens_ends_on_its_second(
    tmp_path: Path, mock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The administration itself is made to believe in an extension: neither function does, and the order ends."""
    async with week(tmp_path, mock, monkeypatch) as house:
        order = house.submit(house.filing("CASE-1", HOUR))
        await house.runs(order)
        end_s = order.not_after_s
        order.not_after_s = end_s + DAY
        house.orders._timetable.add(order)
        await house.go(end_s)
        await house.until(lambda: house.live(order) == (False, False))
        assert order.state is State.ACTIVE  # that is what it believes
