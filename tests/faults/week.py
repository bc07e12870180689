"""The administrator, the access function and the mediator in one loop, under a clock that the test turns.

Nothing in the daemon lets anybody move time: `WeekClock` is put in the place of `AuthorityClock` by the test, in the
test's own process, and trio's own mock clock wakes whoever sleeps. The functions are the real ones, with their real
sockets between them; what they leave out is giving up privileges, for the process is the tests'. The access function
has one feed and no tap, so that no frame of the machine's is looked at.
"""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from mediation.access.handover import Handover
from mediation.access.iap import AccessFunction
from mediation.administration.control import Administrator
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.order import drafting
from mediation.administration.order.orders import Orders
from mediation.administration.order.store import Stored
from mediation.core.case import Act, State
from mediation.core.interface.control import Extending, Filing
from mediation.core.interface.x1 import TaskTable
from mediation.core.ledger import entry
from mediation.delivery import process
from mediation.delivery.mediator import Mediator
from mediation.runtime import clock as clocks
from mediation.runtime.config import Hep, Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s

NS = 1_000_000_000
HOUR, DAY = 3600, 86_400
STEP_S = HOUR  # well inside the lease of 24 hours, which every head renews
LIMIT_S = 60.0


class Week:
    """A lab site whose functions run; times are UTC seconds of the week's clock, `begin_s` is its first."""

    def __init__(self, site: Site, mock: MockClock) -> None:
        self.site = site
        self._mock = mock
        self._from = mock.current_time()
        self._begin_ns = time.time_ns()
        self.begin_s = self._begin_ns // NS
        self.orders: Orders
        self.iap: AccessFunction
        self.mediator: Mediator

    def now_ns(self) -> int:
        return self._begin_ns + int((self._mock.current_time() - self._from) * NS)

    def now_s(self) -> int:
        return self.now_ns() // NS

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(LIMIT_S):
            while not condition():
                await trio.sleep(0.01)

    async def go(self, to_s: float) -> None:
        """To a second of the week, in steps; each waits until both functions have seen a head of that time."""
        while (left_s := to_s - self.now_ns() / NS) > 0:
            self._mock.jump(min(STEP_S, left_s))
            now_ns = self.now_ns()
            await trio.testing.wait_all_tasks_blocked()
            self.orders.heads.show_at_once(now_ns)
            await self.until(
                lambda now_ns=now_ns: all(  # type: ignore[misc]
                    table.lease.ends_ns >= now_ns + self.site.ledger.grace_ns - NS for table in self.tables()
                )
            )

    def tables(self) -> tuple[TaskTable, TaskTable]:
        return self.iap.tasking.table, self.mediator.table

    def submit(self, filing: Filing) -> Stored:
        result = self.orders.submit([filing], self.now_ns())[0]
        assert not result.check, result
        return self.orders.of_case(result.case)[-1]

    def filing(self, case: str, seconds: int, **changes: Any) -> Filing:
        now_s = self.now_s()
        facts = {"not_before_s": now_s, "not_after_s": now_s + seconds, "issued_s": now_s, **changes}
        return s.filing(self.site, case, **facts)

    def act(self, order: Stored, what: Act) -> None:
        text = s.act(self.site, order.carrier, order.case, len(order.commands) + 1, what)
        result = self.orders.perform([text], self.now_ns())[0]
        assert not result.check, result

    def extend(self, extension: Extending) -> str:
        return self.orders.extend([extension], self.now_ns())[0].check

    def live(self, order: Stored) -> tuple[bool, bool]:
        """Whether the access function and the mediator take something of this order now."""
        iap, mediator = (table.live(bytes.fromhex(order.xid), self.now_ns()) is not None for table in self.tables())
        return iap, mediator

    async def runs(self, *orders: Stored) -> None:
        """Until both functions take what is of these orders."""
        await self.until(lambda: all(self.live(order) == (True, True) for order in orders))

    async def ends(self, order: Stored, state: State) -> None:
        """Until it has ended everywhere."""
        await self.until(lambda: order.state is state and self.live(order) == (False, False))
        xid = bytes.fromhex(order.xid)
        if state is not State.SUSPENDED:
            await self.until(lambda: all(table.get(xid) is None for table in self.tables()))

    def records(self) -> list[entry.Record]:
        found: list[entry.Record] = []
        report = verify.examine(
            ledger_files(self.site),
            read_verifier(self.site.keys_dir),
            on_record=lambda _, record: found.append(record),
        )
        assert report.problems == ()
        return found

    def alarms(self) -> list[tuple[str, str, float]]:
        """Name, case, hours since the week began."""
        return [
            (record.alarm, record.case, round((record.time_us / 1e6 - self.begin_s) / HOUR, 1))
            for record in self.records()
            if isinstance(record, entry.Alarm)
        ]


@asynccontextmanager
async def week(folder: Path, mock: MockClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Week]:
    made = s.make(folder)
    feed = Hep(name="feed", interface="lo", listen="127.0.0.1")
    site = msgspec.structs.replace(made, heps=(feed,))
    house = Week(site, mock)

    class WeekClock(clocks.AuthorityClock):
        def __init__(self, high_water: clocks.HighWater | None = None) -> None:
            super().__init__(high_water, wall=house.now_ns, monotonic=house.now_ns)

    monkeypatch.setattr(clocks, "AuthorityClock", WeekClock)
    monkeypatch.setattr(drafting, "now_s", house.now_s)
    monkeypatch.setattr(process, "prepare", lambda: None)  # this process is the tests'
    monkeypatch.setattr(Mediator, "_confine", lambda self: (site.run_dir, site.spool_dir))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hep:
        hep.bind(("127.0.0.1", 0))
        handed = Handover(taps=(), feeds=(feed.name,), filter_counters=(), processors=1, holds_cpu_latency=False)
        house.iap = AccessFunction(site, handed, [hep.fileno()])
        house.iap._thread.start()  # what `seal` does, among giving things up
        async with trio.open_nursery() as nursery:
            house.mediator = Mediator(site, nursery)
            clock = WeekClock()
            house.orders = Orders(site, clock.now_ns())
            nursery.start_soon(house.iap.run)
            nursery.start_soon(house.mediator.run)
            nursery.start_soon(Administrator(site, house.orders, clock).run, None)
            await house.until(lambda: all(table.lease.ends_ns > house.now_ns() for table in house.tables()))
            try:
                yield house
            finally:
                nursery.cancel_scope.cancel()
        house.mediator.close()
        house.orders.close()
