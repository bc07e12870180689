"""The acceptance scenarios with real clients on a real interface: tap, mediator, link and collection function.

Every scenario has an order of its own on one running site (tests/rig). A failure shows the expected and the received
messages side by side; `python -m tests.rig.report` prints the whole table.
"""

from __future__ import annotations

import pytest

from tests.rig.report import play
from tests.rig.scenario import Scenario
from tests.rig.scenarios import scenario as table
from tests.rig.stage import Rig

pytestmark = [pytest.mark.rig, pytest.mark.root]


@pytest.mark.parametrize("scenario", table.ready(), ids=lambda scenario: scenario.name)
def test_scenario(rig: Rig, scenario: Scenario) -> None:
    missing = scenario.wants()
    if missing:
        pytest.skip(f"not played: {missing}")
    outcome = play(rig, scenario)
    assert outcome.passed, "\n" + outcome.table()
