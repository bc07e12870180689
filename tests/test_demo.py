"""The demo as a person runs it, in both its forms, and the manners that all commands share."""

from __future__ import annotations

import io
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mediation.cli.demo import network, proof
from mediation.cli.demo.media import Speech, checksum, udp_frame, write_speech
from mediation.cli.demo.people import Person
from mediation.cli.demo.recording import Recording
from mediation.cli.demo.screen import Screen
from mediation.cli.demo.site import Lines, label

MEDIATION = [sys.executable, "-m", "mediation.cli.main"]
ALICE = Person("Alice", "+12025550147", "10.77.1.1")
BOB = Person("Bob", "+13035550123", "fd77::2")


def run(*words: str, limit: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MEDIATION, *words], capture_output=True, text=True, timeout=limit, check=False)


# ---- the whole demo -------------------------------------------------------------------------------------------------


@pytest.mark.rig
@pytest.mark.root
def test_demo_with_real_calls() -> None:
    if missing := network.possible():
        pytest.skip(f"real calls cannot be made: {missing}")
    done = run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 20 checks held" in done.stdout
    assert "octet by octet and in order  (100 of 100 packets" in done.stdout
    assert "✗" not in done.stdout


def test_demo_on_generated_captures() -> None:
    done = run("demo", "--captured")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No real calls" in done.stdout, "it has to say that nothing of it was live"
    assert "✗" not in done.stdout


def test_a_check_that_fails_fails_the_demo() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.check("what holds", True)
    screen.check("what does not", False, "proof")
    assert screen.end() == 1
    assert "✗ what does not" in stream.getvalue()


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """A search that cannot find proves nothing: each spelling alone is found, in any file, at any depth."""
    words = proof.wanted([ALICE], ["call-7"])
    (tmp_path / "deep" / "er").mkdir(parents=True)
    texts = [b"+12025550147", b"2025550147", b"Alice", b"10.77.1.1", b"call-7"]
    packed = [bytes.fromhex("2025550147"), bytes.fromhex("0252551074")]
    for spelling in (*texts, *(text.hex().encode() for text in texts), *packed):
        (tmp_path / "deep" / "er" / "file").write_bytes(b"\0\xff" + spelling + b"\0")
        assert proof.search(tmp_path, words)[2], spelling
    (tmp_path / "deep" / "er" / "file").write_bytes(b"\0\xffnothing of hers\0")
    assert proof.search(tmp_path, words) == (1, 18, [])


# ---- the manners of all commands ------------------------------------------------------------------------------------


def test_help_and_version() -> None:
    assert run("--help").returncode == 0
    assert "mediation" in run("--version").stdout


@pytest.mark.parametrize("words", [("nosuchnoun",), ("run",), ("replay", "--site"), ("lab", "order", "--nosuch")])
def test_wrong_usage_is_status_2(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_refusal_is_status_1_and_one_line(tmp_path: Path) -> None:
    """A folder that is no site."""
    done = run("run", "--site", str(tmp_path))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("mediation: ")


# ---- what the demo and the live tests are made of -------------------------------------------------------------------


def test_keys_are_distinct_events() -> None:
    """RFC 4733: the packets of one key share a time stamp, the next key has another, the last packets carry E."""
    packets = [packet for _, packet in Speech(ssrc=7).keys("55", frames=3, gap=0)]
    stamps = [struct.unpack_from("!I", packet, 4)[0] for packet in packets]
    assert stamps == [stamps[0]] * 6 + [stamps[6]] * 6 and stamps[0] != stamps[6]
    assert [packet[13] >> 7 for packet in packets] == [0, 0, 0, 1, 1, 1] * 2
    assert [packet[1] >> 7 for packet in packets] == [1, 0, 0, 0, 0, 0] * 2
    sequences = [struct.unpack_from("!H", packet, 2)[0] for packet in packets]
    assert sequences == list(range(sequences[0], sequences[0] + 12))


@pytest.mark.parametrize(("source", "destination"), [("10.0.0.1", "10.0.0.2"), ("fd77::1", "fd77::2")])
def test_frames_have_right_checksums(source: str, destination: str) -> None:
    frame = udp_frame((source, 5060), (destination, 5062), b"odd")
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    datagram = frame[-11:]
    assert checksum(ends + struct.pack("!IHBB", 11, 0, 0, 17) + datagram) == 0
    if family == socket.AF_INET:
        assert checksum(frame[14:34]) == 0


def test_a_recording_is_a_capture_in_order(tmp_path: Path) -> None:
    from scapy.layers import inet6, l2  # noqa: F401 - the reader knows a link layer once its module is loaded
    from scapy.utils import rdpcap

    calls = Recording()
    calls.call(ALICE, Person("Bob", "+13035550123", "10.77.2.1"), "one", 1_700_000_000_000_000_000, keys="5#")
    calls.call(Person("Alice", "+12025550147", "fd77::1"), BOB, "two", 1_700_000_000_100_000_000)
    count = calls.write(tmp_path / "calls.pcap")
    packets = rdpcap(str(tmp_path / "calls.pcap"))
    assert len(packets) == count
    times = [packet.time for packet in packets]
    assert times == sorted(times)
    methods = [bytes(packet["UDP"].payload).split(b" ")[0] for packet in packets if packet["UDP"].dport == 5060]
    assert methods.count(b"INVITE") == methods.count(b"BYE") == methods.count(b"ACK") == 2
    assert methods.count(b"SIP/2.0") == 6


def test_speech_says_how_long_it_is(tmp_path: Path) -> None:
    voice = Speech(ssrc=1)
    assert write_speech(tmp_path / "a.pcap", [*voice.silence(5), *voice.keys("1")]) == 160


def test_lines_are_awaited_and_end() -> None:
    lines = Lines(io.StringIO('{"case": "A", "message": "answer"}\nnot json\n'))
    assert lines.wait(lambda line: line.get("message") == "answer", 5) == {"case": "A", "message": "answer"}
    assert lines.wait(lambda line: line.get("message") == "release", 5) is None
    assert lines.since(1) == [{"text": "not json"}]


@pytest.mark.parametrize(
    ("message", "fields", "expected"),
    [
        ("networkSignal", {"alertingSignal": "notUsed", "subjectAudibleSignal": "busyTone"}, "networkSignal busyTone"),
        ("dialedDgtExtrn", {"digits": "12#"}, "dialedDgtExtrn 12#"),
        ("release", {"cause": {"signalingType": "SIP", "cause": {"sip": ["SIP/2.0 486 Busy Here"]}}}, "release 486"),
        ("release", {}, "release"),
        ("release", {"callId": {"main": "x", "leg": "y"}}, "release of a leg"),
        ("subjectSignal", {"signal": {"otherSignalingInformation": "hold"}}, "subjectSignal hold"),
    ],
)
def test_labels(message: str, fields: dict[str, object], expected: str) -> None:
    assert label({"message": message, "fields": fields}) == expected
