"""Recordings of real devices, replayed with orders on their parties: calls, parties, final status and digits must be
what another program (tshark) read from the same files, PROVENANCE.tsv of the corpus.

The files are not part of this repository: `shared/corpus` beside the checkout, or MEDIATION_CORPUS, holds them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mediation.core.channel.digits import KEYS, TelephoneEvents
from mediation.core.errors import RemoteProtocolError
from tests.cli.test_replay import Site

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("MEDIATION_CORPUS", ROOT.parent / "shared" / "corpus"))
TABLE = CORPUS / "PROVENANCE.tsv"
CALL = re.compile(r"\[([^\[\s]+) (\S+)->(\S+) final=(\d*) bye=(\d+)\]")
DIGITS = re.compile(r"INFO (\S+)=(\S+)")
EVENTS = re.compile(r"rtpevent (\S+):(\d+)>(\S+):(\d+) ssrc 0x([0-9a-f]+)=(\S+)")
# The keys came from an address that no party announced and none signalled from: nothing shows that they are the
# subject's, and they are not reported as such (ext/flows.pxd).
SOURCE_UNKNOWN = {"captures/sample-captures__SIP_DTMF2.cap"}
# tshark's called party is To, ours what was asked for, the Request-URI.
ASKED_FOR = {"mcr": "08019200028"}
OPENING = {"origination", "termAttempt"}


class Call(NamedTuple):
    call_id: str
    caller: str
    called: str
    final: str
    byes: int


class Recording(NamedTuple):
    name: str
    calls: tuple[Call, ...]
    info: dict[str, str]  # Call-ID -> digits
    events: dict[tuple[str, int, str, int, int], str]  # source, destination, SSRC -> digits

    @property
    def path(self) -> Path:
        return CORPUS / self.name


def recordings() -> Iterator[Recording]:
    if not TABLE.is_file():
        return
    for row in TABLE.read_text().splitlines()[1:]:
        columns = row.split("\t")
        name, expected = columns[0], columns[8]
        if not name.startswith("captures/"):
            continue
        calls = []
        for found in CALL.findall(expected):
            call_id, caller, called, final, byes = found
            calls.append(Call(call_id, caller, called, final, int(byes)))
        events = {
            (source, int(port), to, int(to_port), int(ssrc, 16)): digits
            for source, port, to, to_port, ssrc, digits in EVENTS.findall(expected)
        }
        yield Recording(name, tuple(calls), dict(DIGITS.findall(expected)), events)


ALL = tuple(recordings())
pytestmark = pytest.mark.skipif(not ALL, reason=f"no recordings: {TABLE} is not there")


def user(party: str) -> str:
    return party.partition("@")[0]


def target(party: str) -> str:
    return f"tel:{user(party)}" if re.fullmatch(r"\+\d+", user(party)) else f"sip:{party}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Every caller of the corpus is somebody's subject."""
    made = Site(tmp_path_factory.mktemp("corpus") / "site")
    subjects = {target(call.caller) for recording in ALL for call in recording.calls}
    for number, subject in enumerate(sorted(subjects)):
        made.order(f"CASE-{number}", subject, "--dde", "on")
    return made


def named(value: Any) -> str:
    """All of a message's fields as one text, to look for a party in."""
    return str(value)


@pytest.mark.parametrize("recording", ALL, ids=lambda one: one.name.split("/")[-1])
def test_a_recording(site: Site, recording: Recording) -> None:
    lines, _ = site.replay(recording.path)
    of_callers = [line for line in lines if line["call"] is not None]
    assert {line["call"] for line in of_callers if line["message"] in OPENING} == {c.call_id for c in recording.calls}
    for call in recording.calls:
        own = [line for line in of_callers if line["call"] == call.call_id]
        opening = next(line for line in own if line["message"] == "origination")
        messages = [line["message"] for line in own if line["case"] == opening["case"]]
        assert user(call.caller) in named(opening["fields"]["calling"])
        assert ASKED_FOR.get(user(call.called), user(call.called)) in named(opening["fields"]["called"])
        assert ("answer" in messages) == (call.final == "200")
        if call.final not in ("", "200"):
            release = [line for line in own if line["message"] == "release"][-1]
            assert f"SIP/2.0 {call.final}" in named(release["fields"]["cause"])
        elif call.final == "200":
            assert messages.count("release") == (1 if call.byes else 0)
    dialed: dict[str, str] = {}
    for line in of_callers:
        if line["message"] == "dialedDgtExtrn":
            dialed[line["call"]] = dialed.get(line["call"], "") + line["fields"]["digits"]
    expected = dict(recording.info)
    if recording.calls and recording.events and recording.name not in SOURCE_UNKNOWN:
        expected[recording.calls[-1].call_id] = "".join(recording.events.values())
    assert dialed == expected


@pytest.mark.parametrize("recording", [one for one in ALL if one.events], ids=lambda one: one.name.split("/")[-1])
def test_digits_of_telephone_events(recording: Recording) -> None:
    """Of recordings without signalling as well, which no order can reach."""
    scapy = pytest.importorskip("scapy.all")
    heard: dict[tuple[str, int, str, int, int], tuple[TelephoneEvents, list[str]]] = {}
    for packet in scapy.rdpcap(str(recording.path)):
        if scapy.IP not in packet or scapy.UDP not in packet:
            continue
        octets = bytes(packet[scapy.UDP].payload)
        place = (packet[scapy.IP].src, packet[scapy.UDP].sport, packet[scapy.IP].dst, packet[scapy.UDP].dport)
        if len(octets) < 16 or octets[0] >> 6 != 2 or octets[1] & 0x7F not in (96, 101) or len(octets) > 60:
            continue
        events, keys = heard.setdefault((*place, int.from_bytes(octets[8:12])), (TelephoneEvents(), []))
        try:
            keys += [KEYS[event] for event in events.feed(octets).began if event < len(KEYS)]
        except RemoteProtocolError:
            continue
    assert {place: "".join(keys) for place, (_, keys) in heard.items() if keys} == recording.events
