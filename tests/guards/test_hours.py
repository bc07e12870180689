"""SEC-4: what the daemon's code is stands in the ledger from its start on and every hour after, changed or not."""

from __future__ import annotations

import itertools

import pytest
import trio
from trio.testing import MockClock

from mediation.administration.records.code import CodeWatch
from mediation.runtime.identity import Identity
from tests.administration import site as s
from tests.administration.conftest import desk, site
from tests.reconciliation.test_identity import identities, package

__all__ = ["desk", "package", "site"]
HOURS = 5


@pytest.fixture
def mock() -> MockClock:
    return MockClock(autojump_threshold=0.0)


async def test_the_code_s_identity_is_entered_at_the_start_and_every_hour(
    desk: s.Desk, package: object, mock: MockClock
) -> None:
    begin_ns = desk.now_ns

    def now_ns() -> int:
        return begin_ns + int(mock.current_time() * s.NS)

    begin_ns -= int(mock.current_time() * s.NS)
    watch = CodeWatch(desk.site, desk.orders, now_ns, Identity(desk.site, package))  # type: ignore[arg-type]
    watch.started()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(HOURS * 3_600 + 60)
        nursery.cancel_scope.cancel()
    found = identities(desk)
    assert len(found) == 1 + HOURS
    assert all(round((b.time_us - a.time_us) / 1e6) == 3_600 for a, b in itertools.pairwise(found))
    assert len({(each.code_sha256, each.config_sha256, each.adapters_sha256, each.changed) for each in found}) == 1
