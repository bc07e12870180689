"""The reconciler's log against the ledger, in both ways: what was hidden, and what was invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediation.administration import making
from mediation.core.ledger import entry
from mediation.core.records.incident import Finding, Sight, What
from mediation.reconciliation import stays
from mediation.reconciliation.journal import CLEAN, SEEN, START, Journal, Line
from mediation.reconciliation.stays import LATE_US, US
from mediation.runtime.config import Site
from tests.administration import site as s
from tests.administration.peers import command

PHANTOM = Sight(what=What.PACKET_SOCKET, interface="eth9", protocol=3, uid=0, inode=7)
OTHER = Sight(what=What.MIRROR, interface="eth8", detail="clsact")
HOUR_US = 3_600 * US


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return making.make(tmp_path / "site", is_lab=True)


def line(kind: str, time_us: int, *sights: Sight, beyond: int | None = None, rounds: int = 1, more: int = 0) -> Line:
    counted = len(sights) if beyond is None else beyond
    return Line(
        number=0, time_us=time_us, previous="", kind=kind, sights=sights, beyond=counted, rounds=rounds, more=more
    )  # fmt: skip


def incident(sight: Sight, first_us: int) -> entry.Incident:
    finding = Finding(what=sight.what, first_us=first_us, clean_us=0, sight=sight)
    return entry.Incident(
        time_us=first_us, incident=finding.identity, what=sight.what.value, evidence_sha256="ee" * 32, agencies=0
    )  # fmt: skip


def hidden(site: Site, lines: list[Line], *incidents: entry.Incident) -> list[Sight]:
    return [each.sight for each in stays.hidden(stays.stays(site, lines), {each.incident for each in incidents})]


def invented(site: Site, lines: list[Line], *incidents: entry.Incident) -> list[str]:
    return stays.invented(stays.stays(site, lines), lines, incidents)


STILL_THERE = [line(START, 0), line(SEEN, 0, PHANTOM), line(SEEN, LATE_US + 1, beyond=1, rounds=3)]
GONE_AGAIN = [line(START, 0), line(SEEN, 0, PHANTOM), line(SEEN, HOUR_US, rounds=120), line(CLEAN, 2 * HOUR_US)]
WITH_ANOTHER = [line(SEEN, 0, PHANTOM), line(SEEN, US, PHANTOM, OTHER), line(SEEN, LATE_US + US, OTHER, rounds=9)]


def another(second: int) -> Sight:
    return Sight(what=What.PACKET_SOCKET, interface="eth9", protocol=3, uid=0, inode=1000 + second)


def test_who_was_another_socket_at_each_look_and_was_kept_from_the_ledger_is_found(site: Site) -> None:
    seconds = range(0, LATE_US // US + 4, 2)
    lines = [line(START, 0), *(line(SEEN, second * US, another(second)) for second in seconds)]
    last = another(seconds[-1])
    assert hidden(site, lines) == []
    assert [each.sight for each in stays.moving(site, lines, ())] == [last]
    reported = incident(another(22), US)  # as the judge tells it: from the first look on
    assert stays.moving(site, lines, {reported.incident}) == []
    assert invented(site, lines, reported) == []
    pause = [*lines[:10], line(SEEN, 19 * US), *lines[11:]]
    assert stays.moving(site, pause, ()) == []


@pytest.mark.parametrize("lines", [STILL_THERE, GONE_AGAIN])
def test_what_the_administrator_kept_from_the_ledger_is_found(site: Site, lines: list[Line]) -> None:
    """A compromised administrator hides what it was told; the log that it cannot write has it, also afterwards."""
    assert hidden(site, lines) == [PHANTOM]
    assert hidden(site, lines, incident(PHANTOM, 3 * US)) == []
    assert hidden(site, lines, incident(OTHER, 3 * US)) == [PHANTOM]


@pytest.mark.parametrize(
    "lines",
    [
        [line(START, 0), line(SEEN, 0, PHANTOM), line(SEEN, 4 * US), line(CLEAN, LATE_US * 2)],
        [line(SEEN, 0, PHANTOM), line(SEEN, LATE_US, rounds=9), line(SEEN, LATE_US + US, PHANTOM)],  # twice, not long
        [line(SEEN, 0, PHANTOM), line(START, HOUR_US), line(SEEN, HOUR_US)],  # nobody looked between
        WITH_ANOTHER,
    ],
)
def test_what_stood_too_short_for_an_incident_is_not_missed(site: Site, lines: list[Line]) -> None:
    assert hidden(site, lines) == []


def test_an_incident_of_what_nobody_saw_is_found(site: Site) -> None:
    true, other = incident(PHANTOM, US), incident(OTHER, US)
    assert invented(site, STILL_THERE, true) == []
    assert invented(site, STILL_THERE, true, other) == [other.incident]
    assert invented(site, [line(START, 0)], true) == [true.incident]
    assert invented(site, [], true) == [true.incident]
    nothing = entry.Incident(time_us=0, incident="x", what="packet-socket", evidence_sha256="ee" * 32, agencies=0)
    assert invented(site, STILL_THERE, nothing) == ["x"]


def test_an_incident_of_another_time_or_of_another_name_is_found(site: Site) -> None:
    for first_us, known in ((US, True), (HOUR_US, True), (HOUR_US + 2 * LATE_US, False), (9 * HOUR_US, False)):
        record = incident(PHANTOM, first_us)
        assert (invented(site, GONE_AGAIN, record) == []) is known, first_us
    renamed = entry.Incident(
        time_us=US, incident=incident(PHANTOM, US).incident, what="mirror", evidence_sha256="ee" * 32, agencies=0
    )  # fmt: skip
    assert invented(site, GONE_AGAIN, renamed) == [renamed.incident]


def test_what_the_administration_draws_from_its_own_books_is_not_judged(site: Site) -> None:
    records = [
        entry.Incident(time_us=0, incident=f"1-{'0a' * 8}", what=what.value, evidence_sha256="ee" * 32, agencies=0)
        for what in What
        if what not in (What.OVERFLOW,)
    ]
    assert {each.what for each in records} - stays.BOOKS == {
        each.what for each in records if invented(site, STILL_THERE, each)
    }
    overflow = entry.Incident(
        time_us=0, incident=f"1-{'0a' * 8}", what=What.OVERFLOW.value, evidence_sha256="ee" * 32, agencies=0
    )  # fmt: skip
    assert invented(site, STILL_THERE, overflow) == [overflow.incident]
    assert invented(site, [*STILL_THERE, line(SEEN, LATE_US, PHANTOM, more=3)], overflow) == []


def test_by_the_command(tmp_path: Path) -> None:
    site = s.make(tmp_path)
    log = Journal(site)
    for each in (line(START, 0), line(SEEN, US, PHANTOM), line(SEEN, HOUR_US, beyond=1, rounds=120)):
        log.append(each)
    at = ("reconcile", "check", "--site", str(site.path))
    lacking = command(*at)
    assert lacking.returncode == 1 and "! logged and not in the ledger: packet-socket eth9" in lacking.stdout
    desk = s.Desk(site)
    desk.orders.note(incident(PHANTOM, US))
    desk.orders.close()
    assert command(*at).returncode == 0
    desk = s.Desk(site)
    forged = incident(OTHER, US)
    desk.orders.note(forged)
    desk.orders.close()
    found = command(*at)
    assert found.returncode == 1 and f"! in the ledger and never logged: {forged.incident}" in found.stdout
    assert found.stderr.startswith("mediation: reconcile: 0 differences") and "1 incidents in it" in found.stderr
