"""`replay`, `status` and `preflight` as commands: what they print, what they refuse, and their exit status."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mediation.cli.demo.people import Person
from mediation.cli.demo.recording import Recording
from tests import warm

ALICE = Person("Alice", "+12025550123", "192.0.2.10")
BOB = Person("Bob", "+13035550123", "192.0.2.20")
CAROL = Person("Carol", "+14045550123", "192.0.2.30")
CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "captures"
CALL = ["origination", "networkSignal", "answer", "release"]


def run(*words: str, status: int = 0) -> tuple[str, str]:
    """Standard output and error of a command that must end with this status."""
    done = warm.run(*words)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


class Site:
    def __init__(self, path: Path) -> None:
        self.path = path
        run("init", str(path), "--lab")

    def order(self, case: str, target: str, *more: str) -> None:
        printed, _ = run(
            "lab", "order", "--site", str(self.path), "--case", case, "--target", target, "--authority", "title3", *more
        )
        assert printed == f"{case}\n"

    def replay(self, *captures: Path, status: int = 0) -> tuple[list[dict[str, Any]], str]:
        printed, said = run("replay", "--site", str(self.path), *map(str, captures), status=status)
        return [json.loads(line) for line in printed.splitlines()], said


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("cli") / "site")
    made.order("CASE-1", f"tel:{ALICE.number}", "--dde", "on")
    return made


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Alice calls Bob and presses keys; Carol calls Bob at the same time and presses others."""
    calls = Recording()
    now = time.time_ns()
    calls.call(ALICE, BOB, "alice@test", now, keys="11#")
    calls.call(CAROL, BOB, "carol@test", now + 1_000_000, keys="77#")
    calls.write(tmp_path / "calls.pcap")
    return tmp_path / "calls.pcap"


def test_the_subjects_call_and_no_other(site: Site, capture: Path) -> None:
    lines, _ = site.replay(capture)
    assert [line["message"] for line in lines] == [
        "origination",
        "networkSignal",
        "answer",
        "dialedDgtExtrn",
        "release",
    ]
    assert {(line["case"], line["call"], line["profile"]) for line in lines} == {("CASE-1", "alice@test", "t1678")}
    assert [line["sequence"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[3]["fields"]["digits"] == "11#"
    assert all(line["clock"] == "undisciplined" and line["stamp_error_us"] is None for line in lines)
    assert CAROL.number.encode() not in b"".join(bytes.fromhex(line["ber"]) for line in lines)


def test_an_order_for_the_other_profile_gets_it(capture: Path, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.order("CASE-1", f"tel:{ALICE.number}", "--dde", "on", "--profile", "pcesp")
    lines, _ = site.replay(capture)
    assert [line["message"] for line in lines] == [
        "origination",
        "networksignal",
        "answer",
        "dialeddigitextraction",
        "release",
    ]
    assert {(line["case"], line["profile"]) for line in lines} == {("CASE-1", "pcesp")}
    assert len({line["call"] for line in lines}) == 1
    assert [line["sequence"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[3]["fields"]["digits"] == "11#"


def test_event_times_are_the_captures_own(site: Site, tmp_path: Path) -> None:
    calls = Recording()
    calls.call(ALICE, BOB, "old@test", 1_000_000_000_123_456_000)
    calls.write(tmp_path / "old.pcap")
    assert site.replay(tmp_path / "old.pcap")[0][0]["timestamp"] == "2001-09-09T01:46:40.123456Z"


def test_a_capture_that_ends_too_early_gives_what_was_good(site: Site, capture: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-7])
    lines, said = site.replay(cut, status=1)
    assert [line["message"] for line in lines][:3] == CALL[:3]
    assert "cut.pcap: capture: packet cut short, at octet" in said
    assert said.splitlines()[-1] == "mediation: replay: malformed capture"


def test_what_is_no_capture(site: Site, tmp_path: Path) -> None:
    (tmp_path / "none.pcap").write_bytes(b"neither of the two formats, but long enough")
    lines, said = site.replay(tmp_path / "none.pcap", status=1)
    assert (lines, "none.pcap: capture: neither pcap nor pcapng" in said) == ([], True)


def test_without_an_order_in_force_nothing_comes(tmp_path: Path, capture: Path) -> None:
    site = Site(tmp_path / "site")
    assert site.replay(capture)[0] == []
    site.order("CASE-2", f"tel:{ALICE.number}", "--start", "+1h")
    lines, said = site.replay(capture)
    assert (lines, said.startswith("replay: an order is not in force: not-yet-valid")) == ([], True)
    site.order("CASE-3", f"tel:{ALICE.number}")
    assert len(site.replay(capture)[0]) == 4
    run("case", "deactivate", "CASE-3", "--site", str(site.path))
    assert site.replay(capture)[0] == []


def test_an_act_by_an_officer_whose_key_was_voided_counts_no_more(tmp_path: Path, capture: Path) -> None:
    site = Site(tmp_path / "site")
    site.order("CASE-4", f"tel:{ALICE.number}")
    listed = map(json.loads, run("person", "list", "--site", str(site.path), "--json")[0].splitlines())
    (kid,) = next(person["keys"] for person in listed if person["role"] == "officer")
    run("person", "revoke", "--site", str(site.path), "--kid", kid, "--since", "2020-01-01T00:00:00Z")
    assert site.replay(capture)[0] == []


def test_status_counts_and_names_nobody(site: Site) -> None:
    printed, _ = run("status", "--site", str(site.path), "--json", status=1)
    report = json.loads(printed)
    assert (report["orders"], report["lab"]) == ({"active": 1}, True)
    assert "unwitnessed" in report["ledger"]["witness"]
    assert "2025550123" not in printed + run("status", "--site", str(site.path), status=1)[0]


def test_preflight_names_each_check(site: Site) -> None:
    printed, said = run("preflight", "--site", str(site.path), status=1)
    checks = {line[8:25].strip(): line.startswith("ok") for line in printed.splitlines()}
    assert set(checks) >= {"configuration", "roster", "ledger", "clock", "kernel filter", "interfaces", "spool"}
    assert (checks["roster"], checks["ledger"], checks["interfaces"]) == (True, True, False)
    assert "interfaces" in said.splitlines()[-1]


def test_a_real_site_has_no_reference_collection_function(tmp_path: Path) -> None:
    run("init", str(tmp_path / "real"))
    assert "only a lab site" in run("collect", "--site", str(tmp_path / "real"), status=1)[1]


RECORDINGS = {  # file -> subject, what the recording shows of them
    "sample-captures__sip-rtp-g711.pcap": ("sip:test@10.0.2.15", ["termAttempt", "networkSignal", "answer", "release",
                                                                   "termAttempt", "networkSignal", "answer"]),
    "sipnab__register-invite-reinvite-bye.pcap": ("sip:alice@example.com", ["servingSystem", *CALL[:3],
                                                                             "mediaAndAddressReporting", "release"]),
    "sipnab__sip-proxy.pcap": ("sip:201@10.33.6.101", CALL),
    "sngrep__ipv6frag.pcap": ("sip:sipp@[fd17:625c:f037:2:a00:27ff:feb9:1521]", None),
    "sample-captures__nb6-telephone.pcap": ("tel:+33360653674", ["origination", "mediaAndAddressReporting", "answer",
                                                                 "release"]),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_of_real_devices(tmp_path: Path, name: str) -> None:
    if not (CORPUS / name).exists():
        pytest.skip(f"{CORPUS} is not there")
    target, expected = RECORDINGS[name]
    site = Site(tmp_path / "site")
    site.order("CASE-9", target)
    messages = [line["message"] for line in site.replay(CORPUS / name)[0]]
    if expected is not None:
        assert messages == expected
    assert next(name for name in messages if name != "servingSystem") in ("origination", "termAttempt")
    assert messages.count("answer") >= 1
