"""What the functions say of themselves is anybody's word: it is taken apart, and one that is none ends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from mediation.administration.records.incidents import Incidents
from mediation.administration.records.reconciling import Reconciling
from mediation.core.records.alarm import Alarm
from mediation.core.records.incident import Observation, Sight, What
from tests.administration.site import Desk, make

PHANTOM = Sight(what=What.PACKET_SOCKET, interface="eth9", protocol=3, uid=0, inode=7)


class Said:
    """A function that is connected and reports `report`."""

    def __init__(self, report: Any) -> None:
        self.connected = True
        self.armed: dict[str, object] = {}
        self._report = report

    async def report(self) -> Any:
        return self._report

    def busy(self, _: object) -> bool:
        return False


class Told:
    def __init__(self, iap: Any, mediator: Any) -> None:
        self.iap, self.mediator = Said(iap), Said(mediator)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(make(tmp_path))
    yield made
    made.orders.close()


def reconciling(desk: Desk, iap: Any, mediator: Any) -> Reconciling:
    return Reconciling(desk.site, desk.orders, Told(iap, mediator), lambda: desk.now_ns)  # type: ignore[arg-type]


def look(number: int, *sights: Sight, unseen: tuple[str, ...] = ()) -> Observation:
    return Observation(number=number, time_us=number * 1_000_000, interval_s=30, sights=sights, unseen=unseen)


def blind(desk: Desk) -> int:
    return desk.orders.counters[f"alarm_{Alarm.RECONCILER_BLIND}"]


async def test_what_can_no_longer_be_looked_at_is_an_alarm(desk: Desk) -> None:
    there = reconciling(desk, {"tasks": 0, "taps": []}, {"tasks": 0, "taps": []})
    await there.observed(look(1, unseen=("namespace a",)))
    assert (blind(desk), desk.orders.counters["not_looked_at"]) == (0, 1)
    await there.observed(look(2, unseen=("namespace a", "netfilter rules")))
    assert (blind(desk), desk.orders.counters["not_looked_at"]) == (1, 2)


async def test_a_look_by_hand_neither_breaks_the_process_silence_nor_hides_what_it_cannot_see(desk: Desk) -> None:
    """`mediation reconcile once`, as root, looks everywhere; the process that is silent or blind is so all the same."""
    there = reconciling(desk, {"tasks": 0, "taps": []}, {"tasks": 0, "taps": []})
    await there.observed(look(1, unseen=("namespace a",)))
    heard = there._heard_us
    desk.now_ns += 3_000_000_000
    await there.observed(look(0))
    assert (there._heard_us, desk.orders.counters["not_looked_at"]) == (heard, 1)
    await there.observed(look(2, unseen=("namespace a",)))
    assert blind(desk) == 0  # nothing was lost
    assert there._heard_us > heard


@pytest.mark.parametrize(
    "report",
    [
        {}, {"tasks": "many"}, {"tasks": None, "taps": []}, {"tasks": 0, "taps": None}, {"tasks": 0, "taps": [{}]},
        {"tasks": 0, "taps": [{"name": [], "interface": "lo", "inode": 1}]}, {"tasks": 1 << 80, "taps": {}},
    ],
    ids=str,
)  # fmt: skip
async def test_a_report_that_is_none_counts_like_none_at_all(desk: Desk, report: dict[str, Any]) -> None:
    good = {"tasks": 0, "taps": []}
    assert await reconciling(desk, report, good)._reported() is None
    assert desk.orders.counters["reports_malformed"] == 1
    found = await reconciling(desk, good, report if "taps" not in report else {})._reported()
    assert found is not None and found.tasks == {"iap": 0}


async def test_an_incident_whose_certification_cannot_be_kept_ends_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr(Incidents, "open", full)
    there = reconciling(desk, {"tasks": 0, "taps": []}, {"tasks": 0, "taps": []})
    for number in (1, 2, 3):
        await there.observed(look(number, PHANTOM))
    assert desk.orders.counters["incidents_not_kept"] == 1


async def test_others_have_their_turn_between_two_incidents(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever took the reconciler over could say a thousand things at once, and keep every stop out for a minute."""
    there = reconciling(desk, {"tasks": 0}, {"tasks": 0})
    happened: list[str] = []

    def opened(*_: object) -> int:
        happened.append("incident")
        return 0

    async def stops() -> None:
        while happened.count("incident") < 8:
            happened.append("stop")
            await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Incidents, "open", opened)
    phantoms = [Sight(what=What.RAW_SOCKET, protocol=1, inode=inode) for inode in range(1, 9)]
    await there.observed(look(1, *phantoms))
    assert happened == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stops)
        await there.observed(look(2, *phantoms))
    assert "iii" not in "".join(each[0] for each in happened) and happened.count("incident") == 8
