"""The administrator, the access function and the mediator in one loop, under a clock that the test turns.

Nothing in the daemon lets anybody move time: `WeekClock` is put in the place of `AuthorityClock` by the test, in the
test's own process, and trio's own mock clock wakes whoever sleeps. The functions are the real ones, with their real
sockets between them; what they leave out is giving up privileges, for the process is the tests'. The access function
has one feed and no tap, so that no frame of the machine's is looked at. The witnesses are the real programs, processes
of their own on loopback, whose clock is turned with the others' (tests/witness/clocked.py).
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from mediation.access.handover import Handover
from mediation.access.iap import AccessFunction
from mediation.administration.control import Administrator, remembered
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.order import drafting
from mediation.administration.order.orders import Orders
from mediation.administration.order.stored import Stored
from mediation.core.case import Act, State
from mediation.core.interface.control import Extending, Filing
from mediation.core.interface.task_table import TaskTable
from mediation.core.ledger import entry
from mediation.delivery import process
from mediation.delivery.mediator import Mediator
from mediation.runtime import clock as clocks
from mediation.runtime import config
from mediation.runtime.config import Hep, Site
from mediation.runtime.keys import POLICY, read_verifier
from mediation.witness import folder as witness_folder
from tests.administration import site as s
from tests.witness import clocked, processes

NS = 1_000_000_000
HOUR, DAY = 3600, 86_400
GRACE = 12 * HOUR  # the site's own, by its configuration
STEP_S = GRACE * 3 / 4  # well inside the lease, which every head renews
LIMIT_S = 60.0
WITNESSES = ("counsel", "peer")
SETTINGS = f"\n[ledger]\ntick_ms = 200\ngrace_hours = {GRACE // HOUR}\n"
FEED = Hep(name="feed", interface="lo", listen="127.0.0.1")


class Programs:
    """Two witness programs, each of which makes the quorum with both of its keys; started and stopped by the test."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.clock = folder / "clock"
        clocked.turn(self.clock, 0)
        self._folder = folder
        self._ports: dict[str, int] = {}
        self._running: dict[str, ExitStack] = {}
        ledger = (site.keys_dir / "ledger.pub").read_text().strip()
        lines = [f"log {ledger}"]
        for name in WITNESSES:
            keys = witness_folder.init(folder / name, f"witness.example/{name}")
            witness_folder.add(folder / name, ledger)
            self.start(name)
            url = f"http://127.0.0.1:{self._ports[name]}"
            lines += [f"witness {name}{n} {key} {url}" for n, key in enumerate(keys)]
            lines.append(f"group {name} all " + " ".join(f"{name}{n}" for n in range(len(keys))))
        lines += [f"group one any {' '.join(WITNESSES)}", "quorum one"]
        (site.keys_dir / POLICY).write_text("\n".join(lines) + "\n")

    def start(self, name: str) -> None:
        """Blocks until it answers; at the same address as before."""
        command = (sys.executable, "-m", "tests.witness.clocked", str(self.clock))
        stack = self._running[name] = ExitStack()
        program = stack.enter_context(
            processes.running(self._folder / name, port=self._ports.get(name, 0), command=command)
        )
        self._ports[name] = program.ready["port"]

    def stop(self, name: str) -> None:
        self._running.pop(name).close()

    def close(self) -> None:
        for name in list(self._running):
            self.stop(name)


class Week:
    """A lab site whose functions run; times are UTC seconds of the week's clock, `begin_s` is its first."""

    def __init__(self, site: Site, mock: MockClock, programs: Programs) -> None:
        self.site = site
        self.programs = programs
        self._mock = mock
        self._from = mock.current_time()
        self._begin_ns = time.time_ns()
        self._quiet = trio.Lock()  # held while a head is at the witnesses, and while time jumps
        self.begin_s = self._begin_ns // NS
        self.orders: Orders
        self.iap: AccessFunction
        self.mediator: Mediator

    def now_ns(self) -> int:
        return self._begin_ns + int((self._mock.current_time() - self._from) * NS)

    def now_s(self) -> int:
        return self.now_ns() // NS

    async def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline
            await trio.sleep(0.01)

    async def jump(self, seconds: float) -> None:
        """Time passes at once, for all three functions and the witnesses."""
        async with self._quiet:
            self._mock.jump(seconds)
            clocked.turn(self.programs.clock, self.now_ns() - time.time_ns())

    async def go(self, to_s: float, step_s: float = STEP_S) -> None:
        """To a second of the week, in steps that end where something is due of an order; each waits until that was
        done, and, but for the time of an outage, until both functions have seen a head of that time."""
        while (left_s := to_s - self.now_ns() / NS) > 0:
            moment_s = self.orders.next_moment_s()
            due_s = moment_s - self.now_ns() / NS if moment_s is not None else step_s
            await self.jump(min(step_s, left_s, max(due_s, 0.001)))
            await self.until(self._caught_up(self.now_ns()))

    def _caught_up(self, now_ns: int) -> Callable[[], bool]:
        def check() -> bool:
            moment_s = self.orders.next_moment_s()
            if moment_s is not None and moment_s * NS <= now_ns:
                return False
            lease_ns = now_ns + self.site.ledger.grace_ns - NS
            return self.orders.heads.lost or all(table.lease.ends_ns >= lease_ns for table in self.tables())

        return check

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

    def revoke(self, filing: Filing, case: str) -> None:
        assert not self.orders.revoke([s.revocation(self.site, filing, case)], self.now_ns())[0].check

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

    def not_after(self, order: Stored) -> list[int]:
        """Until when each function takes it, in UTC seconds."""
        tasks = [table.get(bytes.fromhex(order.xid)) for table in self.tables()]
        return [task.not_after_ns // NS for task in tasks if task is not None]

    def records(self) -> list[entry.Record]:
        found: list[entry.Record] = []
        report = verify.examine(
            ledger_files(self.site),
            read_verifier(self.site.keys_dir),
            on_record=lambda _, record: found.append(record),
        )
        assert report.problems == ()
        return found

    def hours(self, record: entry.Record) -> float:
        """Since the week began."""
        return (record.time_us / 1e6 - self.begin_s) / HOUR

    def alarms(self) -> list[tuple[str, str, float]]:
        """Name, case (or what else it is about), hours since the week began; none of what each month asks for."""
        return [
            (record.alarm, record.case or record.detail, round(self.hours(record), 1))
            for record in self.records()
            if isinstance(record, entry.Alarm) and not record.alarm.startswith(("statement", "contact"))
        ]

    # --- the administrator ---------------------------------------------------------------------------------------

    async def start(self, nursery: trio.Nursery) -> None:
        """The administrator, as its process begins: after the witnesses were asked what they remember."""
        self.site = msgspec.structs.replace(config.load(self.site.path), heps=(FEED,))
        clock = clocks.AuthorityClock()
        self.orders = Orders(self.site, clock.now_ns(), told=await remembered(self.site, clock.now_ns()))
        self.orders.records.plans.check_retention()
        show = self.orders.heads.show

        async def quietly(_: int) -> bool:
            async with self._quiet:
                return await show(self.now_ns())

        self.orders.heads.show = quietly  # type: ignore[method-assign]
        self._ended = trio.Event()
        self._scope = trio.CancelScope()
        nursery.start_soon(self._administer, Administrator(self.site, self.orders, clock))
        await self.until(lambda: all(table.lease.ends_ns > self.now_ns() for table in self.tables()))

    async def _administer(self, administrator: Administrator) -> None:
        with self._scope:
            await administrator.run(None)
        self._ended.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._ended.wait()
        self.orders.close()


@contextmanager
def programs_of(folder: Path, site: Site) -> Iterator[Programs]:
    (folder / "witnesses").mkdir()
    programs = Programs(folder / "witnesses", site)
    try:
        yield programs
    finally:
        programs.close()


@asynccontextmanager
async def week(
    folder: Path, mock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Week, trio.Nursery]]:
    site = s.make(folder)
    path = site.path / config.FILE
    path.write_text(path.read_text() + SETTINGS)
    site = msgspec.structs.replace(config.load(site.path), heps=(FEED,))
    with programs_of(folder, site) as programs:
        house = Week(site, mock, programs)

        class WeekClock(clocks.AuthorityClock):
            def __init__(self, high_water: clocks.HighWater | None = None) -> None:
                super().__init__(high_water, wall=house.now_ns, monotonic=house.now_ns)

        monkeypatch.setattr(clocks, "AuthorityClock", WeekClock)
        monkeypatch.setattr(drafting, "now_s", house.now_s)
        monkeypatch.setattr(process, "prepare", lambda: None)  # this process is the tests'
        monkeypatch.setattr(process, "confine_to", lambda site: (site.run_dir, site.spool_dir))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hep:
            hep.bind(("127.0.0.1", 0))
            handed = Handover(taps=(), feeds=(FEED.name,), filter_counters=(), processors=1, holds_cpu_latency=False)
            house.iap = AccessFunction(site, handed, [hep.fileno()])
            house.iap._thread.start()  # what `seal` does, among giving things up
            async with trio.open_nursery() as nursery:
                house.mediator = Mediator(site, nursery)
                nursery.start_soon(house.iap.run)
                nursery.start_soon(house.mediator.run)
                await house.start(nursery)
                try:
                    yield house, nursery
                finally:
                    nursery.cancel_scope.cancel()
            house.mediator.close()
            house.orders.close()
