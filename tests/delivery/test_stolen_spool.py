"""SEC-19: who steals the spool of a delivery function that ran does not learn its orders, calls, stops and links."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

from mediation.core.interface import x1
from mediation.delivery.mediator import CLOCK_FILE
from tests.delivery.house import call, xid_of
from tests.delivery.links import free_port, until
from tests.delivery.rig import Rig, arrived, rig

COLLECTED = 24  # messages of six calls, at least
FOLDERS, FILES = 4, 3  # of links and decoys; a cursor and two segments each
SEGMENT = (64 << 20) // 16


def seen(spool: Path) -> Counter[tuple[int, str, int]]:
    """Files by the depth they lie at, the form of their names and their sizes."""
    found = Counter[tuple[int, str, int]]()
    for path in spool.rglob("*"):
        if path.name == CLOCK_FILE:  # tells whether it ran for two seconds
            continue
        depth = len(path.relative_to(spool).parts)
        name = path.name if depth == 1 and path.is_file() else path.suffix or ("" if path.is_dir() else path.name)
        found[depth, name, path.stat().st_size if path.is_file() else 0] += 1
    return found


async def stolen(r: Rig) -> Counter[tuple[int, str, int]]:
    """A copy that a thief takes while it runs, when all decoys are there and no file is just being made."""
    spool, copy = r.house.path / "spool", r.house.path / "copy"

    def taken() -> bool:
        shutil.rmtree(copy, ignore_errors=True)
        with suppress(shutil.Error):  # a file went while it was copied
            shutil.copytree(spool, copy)
        return len(list(copy.glob("*/*.seg"))) == FOLDERS * (FILES - 1) and not list(copy.rglob("*.new"))

    await until(taken)
    return seen(copy)


async def test_one_order_without_a_call_or_twelve_with_calls_and_stops(tmp_path: Path) -> None:
    quiet, busy = tmp_path / "quiet", tmp_path / "busy"
    for folder in (quiet, busy):
        folder.mkdir()
    async with rig(quiet) as r, r.collector.running(r.port):
        assert await r.ask(x1.ActivateTask(request=r.house.order(r.port))) == x1.Ok()
        await r.report_where(lambda found: found["links"][0]["queued"] == 0)
        of_one = await stolen(r)
    async with rig(busy) as r, r.collector.running(r.port):
        ports = (r.port, free_port())  # nobody is there: what goes to the second waits
        orders = [r.house.order(ports[n % 2], case=f"CASE-{n}") for n in range(12)]
        for order in orders:
            assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        for number, order in enumerate(orders):
            await r.tap.send(r.tap.pdus(xid_of(order), call(f"call-{number}"), number + 1))
        await arrived(r.collector, COLLECTED)  # of the first six
        for order in orders[:3]:
            assert await r.ask(x1.DeactivateTask(xid=xid_of(order).hex())) == x1.Ok()
        assert await r.ask(x1.SuspendTask(xid=xid_of(orders[3]).hex(), sequence=1)) == x1.Ok()
        report = await r.report_where(lambda found: any(link["queued"] == 0 for link in found["links"]))
        assert any(link["queued"] >= COLLECTED for link in report["links"])
        assert (report["tasks"], len(report["links"])) == (9, 2)
        of_twelve = await stolen(r)
    assert of_one == of_twelve
    assert of_one[2, ".seg", SEGMENT] == FOLDERS * (FILES - 1)
    for folder in (quiet, busy):  # the same after its end
        assert seen(folder / "spool") == of_one
