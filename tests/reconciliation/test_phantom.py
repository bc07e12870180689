"""SEC-1: a tap that belongs to no case is found within the minute, certified as unauthorized, reported by letters."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from tests.reconciliation.site import INTERVAL_S, Running, running
from tests.reconciliation.world import World, tap

pytestmark = pytest.mark.root
MINUTE_S = 60


def incidents(records: list[entry.Record]) -> list[entry.Incident]:
    return [record for record in records if isinstance(record, entry.Incident)]


def test_a_phantom_tap_is_found_certified_and_reported_within_the_minute(world: World) -> None:
    with running(world, "CASE-A", "CASE-B") as site:
        site.until_observed(2)
        assert incidents(site.records()) == []
        begun = time.monotonic()
        with world.running(*tap("one"), ready="open"):
            site.until(lambda records: any(isinstance(r, entry.Alarm) and r.alarm == Alarm.UNAUTHORIZED_TAP
                                           for r in records))  # fmt: skip
            took = time.monotonic() - begun
            looked = site.command("reconcile", "once", "--site", str(site.path), check=False)
            assert "! packet-socket one" in looked
            assert "administrator: told" in looked
            assert "not accounted for" in looked
        assert "!" not in site.command("reconcile", "once", "--site", str(site.path))
        assert "1 incidents in the ledger" in site.command("reconcile", "check", "--site", str(site.path))
        print(f"found after {took:.1f} s at an interval of {INTERVAL_S} s")
        assert took < MINUTE_S
        site.until(lambda records: any(isinstance(r, entry.CertificateDrafted) and r.unauthorized for r in records))
        (found,) = incidents(site.records())
        assert found.what == "packet-socket"
        assert found.agencies == 1
        shown = site.command("reconcile", "papers", found.incident, "--site", str(site.path))
        assert "47 CFR 1.20003(c)(1) and (2)" in shown
        assert "CASE-A" in shown
        assert found.evidence_sha256 in shown
        evidence = json.loads(shown.split("evidence.json\n")[1].split("\n===")[0])
        assert evidence["finding"]["sight"]["interface"] == "one"
        assert evidence["finding"]["sight"]["commands"] == ["python3"]
        reads = [r for r in site.records() if isinstance(r, entry.CaseRead)]
        assert [read.what for read in reads] == ["incident"]
        papers = b"".join(p.read_bytes() for p in (site.path / "administrator" / "incidents").rglob("*") if p.is_file())
        assert b"CASE-A" not in papers  # sealed (SEC-19)


@pytest.fixture(scope="module")
def site(shared_world: World) -> Iterator[Running]:
    """Of the tests that leave nothing behind but entries."""
    with running(shared_world, "CASE-A") as made:
        made.until_observed(1)
        yield made


def test_the_reconciler_has_neither_root_nor_the_ledger_nor_a_packet_socket(site: Running) -> None:
    status = Path(f"/proc/{site.pid('reconciler')}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(facts["Uid"].split()) == {"65534"}
    assert int(facts["CapEff"], 16) == 1 << 12 | 1 << 21 | 1 << 19 | 1 << 2  # NET_ADMIN and what the settings add
    assert facts["Seccomp"] == "2"
    assert facts["NoNewPrivs"] == "1"
    assert site.log("reconciler")


def alarmed(site: Running, alarm: Alarm) -> int:
    return sum(isinstance(record, entry.Alarm) and record.alarm == alarm for record in site.records())


@pytest.mark.parametrize(
    ("function", "alarm"),
    [("reconciler", Alarm.RECONCILER_SILENT), ("iap", Alarm.TAP_GONE)],  # its socket stays, its word does not come
    ids=["a silent reconciler", "an access function that is away"],
)
def test_one_that_stands_still_is_an_alarm(site: Running, function: str, alarm: Alarm) -> None:
    before = alarmed(site, alarm)
    os.kill(site.pid(function), signal.SIGSTOP)
    try:
        site.until(lambda _: alarmed(site, alarm) > before)
    finally:
        os.kill(site.pid(function), signal.SIGCONT)
