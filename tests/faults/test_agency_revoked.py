"""SEC-24 from the administrator's desk to both functions: one agency's cases end within a minute, others are untouched.

What the agency's link does then is shown at the mediator's own process (tests/guards/test_agencies.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from mediation.core.case import State
from mediation.core.ledger import entry
from tests.administration import site as s
from tests.faults.week import DAY, NS, WITNESSES, week

STOP_LIMIT_S = 60
CASES = 12  # of each agency
AGENCIES = ("ALPHA", "BETA")


@pytest.fixture
def mock() -> MockClock:
    return MockClock(rate=1.0)


@pytest.mark.parametrize("witnessed", [True, False], ids=["witnessed", "witnesses away"])
async def test_one_agency_stops_everywhere_and_no_other(
    tmp_path: Path, mock: MockClock, monkeypatch: pytest.MonkeyPatch, witnessed: bool
) -> None:
    async with week(tmp_path, mock, monkeypatch) as (house, _):
        filings = {
            f"{agency}-{n}": house.filing(f"{agency}-{n}", DAY, agency=agency, subjects=(f"tel:+121255{k}{n:02d}99",))
            for k, agency in enumerate(AGENCIES, 50)
            for n in range(CASES)
        }
        results = house.orders.submit(list(filings.values()), house.now_ns())
        assert not [each.check for each in results if each.check]
        orders = {case: house.orders.of_case(case)[0] for case in filings}
        await house.runs(*orders.values())
        if not witnessed:
            for name in WITNESSES:
                house.programs.stop(name)
        others = {
            table: {task.xid: task for task in table if orders_of(orders, "BETA", task.xid)} for table in house.tables()
        }
        began_ns = house.now_ns()
        texts = [s.revocation(house.site, filings[case], case) for case in orders if case.startswith("ALPHA")]
        assert not [each.check for each in house.orders.revoke(texts, house.now_ns()) if each.check]
        for case, order in orders.items():
            if case.startswith("ALPHA"):
                await house.ends(order, State.REVOKED)
        assert house.now_ns() - began_ns < STOP_LIMIT_S * NS
        for table, before in others.items():
            assert len(before) == CASES and {task.xid: task for task in table} == before
        await house.runs(*(order for case, order in orders.items() if case.startswith("BETA")))
        said = [record.case for record in house.records() if isinstance(record, entry.Revoked)]
        assert sorted(said) == sorted(case for case in orders if case.startswith("ALPHA"))


def orders_of(orders: dict[str, object], agency: str, xid: bytes) -> bool:
    return any(order.xid == xid.hex() for case, order in orders.items() if case.startswith(agency))  # type: ignore[attr-defined]
