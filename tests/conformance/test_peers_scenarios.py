"""The acceptance scenarios with real switches and phones (Kamailio, rtpengine, pjsua2) and exact ladders beside them.

One exchange serves all tests of this file. A failure shows the expected and the received messages side by side;
`python -m tests.rig.report` prints the whole table, the rows that wait for a part of the product too.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig import exchange
from tests.rig.report import exchange_tables, play
from tests.rig.scenario import Scenario

pytestmark = [pytest.mark.rig, pytest.mark.root]
READY = [row for table in exchange_tables() for row in table.ready()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[exchange.Exchange]:
    missing = exchange.possible()
    if missing:
        pytest.skip(f"real peers cannot be started: {missing}")
    with exchange.built(tmp_path_factory.mktemp("exchange")) as made:
        yield made


@pytest.mark.parametrize("scenario", READY, ids=lambda scenario: scenario.name)
def test_scenario(built: exchange.Exchange, scenario: Scenario) -> None:
    missing = scenario.wants()
    if missing:
        pytest.skip(f"not played: {missing}")
    outcome = play(built, scenario)
    assert outcome.passed, "\n" + outcome.table()


def test_the_exchange_leaves_nothing_of_its_own_behind(built: exchange.Exchange) -> None:
    """The shared switch has answered for all of them: nothing died on the way that would have hidden a failure."""
    dead = [peer.name for peer in (built.kamailio, built.rtpengine) if peer.process.poll() is not None]
    assert not dead
