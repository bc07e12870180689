"""The withdrawal of an agency's authority reaches a function that was away, whether the agency had orders or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediation.administration.order import agencies
from mediation.core.case import TaskRequest
from mediation.core.check import Check
from mediation.core.interface import task_table, x1
from mediation.core.interface.control import Results, RevokeAgency
from mediation.runtime.config import Site
from tests.administration import site as s
from tests.administration.peers import Peer, Stage, ask, staged
from tests.administration.test_agencies import AFTER, BAD, GOOD, furnished, states, withdrawal


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, s.make) as made:
        yield made


def forgotten(site: Site, *names: str) -> list[TaskRequest]:
    """Orders that stand in the ledger with all their proofs, and that the administrator's store does not have."""
    desk = s.Desk(site)
    try:
        desk.submit(*(s.filing(site, f"{agency}-1", agency=agency) for agency in names))
        orders = [desk.order(f"{agency}-1") for agency in names]
        made = [desk.orders.request(order) for order in orders]
        with desk.orders._store.transaction():
            desk.orders._store.drop(order.carrier_sha256 for order in orders)
        return made
    finally:
        desk.orders.close()


def refusal(peer: Peer, table: task_table.TaskTable, request: TaskRequest) -> str:
    """What the function itself says to an order, whoever brings it."""
    answer = table.handle(x1.ActivateTask(request=request), peer.now_ns())
    return answer.check if isinstance(answer, x1.Refused) else ""


async def test_of_an_agency_without_orders(stage: Stage) -> None:
    bad, good = forgotten(stage.site, BAD, GOOD)
    await stage.start(stage.mediator, stage.iap)
    await stage.run()
    stage.stop(stage.mediator)
    answer = await ask(stage.site, RevokeAgency(revocation=withdrawal(stage.site)))
    assert isinstance(answer, Results) and answer.results[0].detail == "0 orders"
    await stage.iap.until(lambda: bool(stage.iap.table.trust.revoked))
    assert refusal(stage.mediator, stage.mediator.fresh(), bad) == "", "whoever was not told would take it"
    for again in (False, True):  # not by what the administrator has in its memory either
        if again:
            stage.stop(stage.mediator)
            await stage.kill()
            stage.nursery.start_soon(stage.run)  # which waits for the mediator before it says that it is ready
        await stage.start(stage.mediator)
        await stage.mediator.until(lambda: bool(stage.mediator.table.trust.revoked))
        assert refusal(stage.mediator, stage.mediator.table, bad) == Check.REVOKED
        # Of this one nothing is withdrawn; but the store has lost it, and so it is stopped, now or in a moment.
        assert refusal(stage.mediator, stage.mediator.table, good) in ("", Check.DEACTIVATED)


@pytest.mark.parametrize("where", ["before its entry", "after its entry"])
def test_a_crash_in_the_midst_of_it(desk: s.Desk, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    furnished(desk)
    text = withdrawal(desk.site)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if where == "before its entry":
            patch.setattr(desk.orders._books, "enter", crash)
        else:
            patch.setattr(desk.orders._store, "add_revocation", crash)
        with pytest.raises(KeyboardInterrupt):
            desk.orders.revoke_agency(text, desk.now_ns)
    for _ in range(2):  # once
        desk.restart()
        assert states(desk) == AFTER and desk.orders.revocations(desk.now_ns) == [text]
        assert s.kinds(desk.site).count("agency-revoked") == 1 and s.kinds(desk.site).count("revoked") == 3
    assert desk.submit(s.filing(desk.site, "NEW", agency=BAD))[0].check == Check.REVOKED


def test_of_each_agency_the_latest_is_told(desk: s.Desk) -> None:
    now_s = desk.now_ns // s.NS
    texts = [withdrawal(desk.site, agency, issued_s=now_s - ago) for agency in (BAD, GOOD) for ago in (0, 60)]
    for text in texts:
        assert desk.orders.revoke_agency(text, desk.now_ns).detail == "0 orders"
    assert sorted(desk.orders.revocations(desk.now_ns)) == sorted([texts[0], texts[2]])
    desk.later(90 * 86_400)  # an old one as well: what was activated before it can have been extended ever since
    assert len(desk.orders.revocations(desk.now_ns)) == 2
    assert agencies.to_tell([f"{texts[0]}x", "no token"], desk.orders.trust) == []


def test_a_stop_goes_on_when_the_store_cannot_keep_it(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    import apsw

    def full(*_: object) -> None:
        raise apsw.FullError("disk")

    furnished(desk)
    monkeypatch.setattr(desk.orders._store, "add_withdrawal", full)
    assert desk.orders.revoke_agency(withdrawal(desk.site), desk.now_ns).detail == "3 orders"
    assert states(desk) == AFTER and desk.orders.counters["store_write_failed"] == 1
