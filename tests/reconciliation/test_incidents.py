"""What an incident leaves: a letter to each agency with its own cases alone, sealed papers, one entry each."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediation.administration.records.incidents import Incidents, live_cases
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.control import Paper
from mediation.core.records.alarm import Alarm
from mediation.core.records.incident import Finding, Observation, Sight, What
from mediation.runtime import durable
from tests.administration.peers import command
from tests.administration.site import Desk, filing, kinds, make

PHANTOM = Sight(what=What.PACKET_SOCKET, interface="eth9", protocol=3, uid=0, inode=7)
FINDING = Finding(what=PHANTOM.what, first_us=1_795_342_251_000_000, clean_us=0, sight=PHANTOM)
SEEN = Observation(number=1, time_us=2_000_000, interval_s=30, sights=(PHANTOM,))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(make(tmp_path))
    for number, (case, agency) in enumerate((("ALPHA-1", "Alpha"), ("ALPHA-2", "Alpha"), ("BETA-1", "Beta"))):
        result = made.submit(filing(made.site, case, agency=agency, subjects=(f"tel:+1212555010{number}",)))
        assert result[0].check == ""
    return made


def papers(desk: Desk, finding: Finding = FINDING) -> list[Paper]:
    Incidents(desk.orders).open(finding, SEEN, desk.now_ns)
    return list(Incidents(desk.orders).read(finding.identity))


def test_each_agency_is_told_of_its_own_cases_and_of_nobody_elses(desk: Desk) -> None:
    assert live_cases(desk.orders) == {"Alpha": {"ALPHA-1", "ALPHA-2"}, "Beta": {"BETA-1"}}
    letters = [paper.text for paper in papers(desk) if paper.name.startswith("letter-")]
    assert len(letters) == 2
    alpha, beta = letters
    assert "ALPHA-1" in alpha
    assert "ALPHA-2" in alpha
    assert "BETA-1" in beta
    for word in ("BETA", "Beta"):
        assert word not in alpha
    for word in ("ALPHA", "Alpha"):
        assert word not in beta
    assert all("+1212555" not in letter for letter in letters)


def test_the_entries_of_one_incident(desk: Desk) -> None:
    before = kinds(desk.site)
    papers(desk)
    made = kinds(desk.site)[len(before) :]
    assert [kind for kind in made if kind != "padding"] == ["incident", "alarm", "certificate-drafted", "alarm"]
    assert desk.orders.counters[f"alarm_{Alarm.UNAUTHORIZED_TAP}"] == 1


def test_a_tap_that_is_gone_is_no_interception_and_accuses_nobody(desk: Desk) -> None:
    gone = Finding(what=What.TAP_GONE, first_us=1, clean_us=0, detail="a")
    assert [paper.name for paper in papers(desk, gone)] == ["evidence.json"]
    assert "certificate-drafted" not in kinds(desk.site)


def test_without_a_live_case_the_senior_officer_addresses_the_report(tmp_path: Path) -> None:
    (letter,) = [paper for paper in papers(Desk(make(tmp_path))) if paper.name.startswith("letter-")]
    assert "to be addressed by the senior officer" in letter.text


def test_a_changed_paper_does_not_open_and_no_name_leads_elsewhere(desk: Desk) -> None:
    papers(desk)
    folder = desk.site.path / "administrator" / "incidents" / FINDING.identity
    path = folder / "letter-0.txt"
    other = (folder / "letter-1.txt").read_bytes()
    path.write_bytes(other)  # another letter in its place
    with pytest.raises(ConfigurationError):
        list(Incidents(desk.orders).read(FINDING.identity))
    for name in ("..", "../../lab", "", "1-" + "g" * 16):
        with pytest.raises(AuthorizationError) as refused:
            list(Incidents(desk.orders).read(name))
        assert refused.value.check == Check.STRUCTURE


def test_what_a_crash_left_unfinished_hides_no_other_paper(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = papers(desk)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(durable, "_put_in_place", crash)
        with pytest.raises(KeyboardInterrupt):
            Incidents(desk.orders).open(FINDING, SEEN, desk.now_ns)
    assert list(Incidents(desk.orders).read(None)) == before


def test_a_stolen_folder_does_not_tell_how_many_agencies_there_are(desk: Desk, tmp_path: Path) -> None:
    """Two agencies here, none at the other site."""
    papers(desk)
    (tmp_path / "other").mkdir()
    other = Desk(make(tmp_path / "other"))
    assert len(papers(other)) != len(papers(desk))
    assert stolen(desk) == stolen(other)


def test_the_senior_officer_certifies_an_incident_by_its_name(desk: Desk, tmp_path: Path) -> None:
    """47 CFR 1.20004(a)(1)(v): by the command, which an identity longer than any case's must reach."""
    papers(desk)
    desk.orders.close()
    at = ("--site", str(desk.site.path), "--key", str(desk.site.lab_dir / "executive-1.json"))
    assert len(FINDING.identity) > 17 and command("certificate", FINDING.identity + "0", *at).returncode == 1
    read = command("certificate", FINDING.identity, *at)
    assert read.returncode == 0 and "NOT SIGNED" in read.stdout and "entry -1" not in read.stdout, read.stderr
    assert all(len(line) <= 120 for line in read.stdout.splitlines())
    signed = command("certificate", FINDING.identity, *at, "--sign")
    assert signed.returncode == 0 and "NOT SIGNED" not in signed.stdout, signed.stderr
    assert signed.stderr.startswith("to be signed:\ncertification ")  # in words, before
    assert "signed   lab-executive-1 at " in signed.stdout
    pdf = tmp_path / "incident.pdf"
    assert command("certificate", FINDING.identity, *at, "--pdf", str(pdf)).returncode == 0
    assert pdf.read_bytes().startswith(b"%PDF")


def stolen(desk: Desk) -> list[tuple[str, int]]:
    folder = desk.site.path / "administrator" / "incidents" / FINDING.identity
    return sorted((path.name, path.stat().st_size) for path in folder.iterdir())
