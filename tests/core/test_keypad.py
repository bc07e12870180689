"""Digits of a call by signalling: SIP INFO, KPML and voice-band tones beside RFC 4733, through the whole call model."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.call import CallModel
from mediation.core.case import Capability
from mediation.core.channel.digits import FLASH
from mediation.core.errors import RemoteProtocolError
from mediation.core.interface.x2 import INBAND_DIGIT, PayloadFormat
from mediation.core.message import cdc
from mediation.core.network import info, kpml
from mediation.core.network.keypad import MAX_SUBSCRIPTIONS
from tests.core.call_rig import MS, S_URI, Wire, incoming, press, surveillance

UP = ["origination", "networkSignal RINGBACK_TONE", "answer"]
RELAY, DTMF = "application/dtmf-relay", "application/dtmf"
KPML = (
    '<?xml version="1.0"?>\n<kpml-response xmlns="urn:ietf:params:xml:ns:kpml-response" version="1.0" '
    'code="200" text="OK" digits="{}" tag="d"/>'
)


@pytest.fixture
def wire() -> Wire:
    wire = Wire(CallModel(surveillance()))
    wire.connect()
    return wire


def relay(wire: Wire, key: str, cseq: int, *, kind: str = RELAY, status: int = 200, **more: object) -> None:
    body = f"Signal={key}\r\nDuration=160\r\n" if kind == RELAY else key
    by_caller = bool(more.get("from_caller", True))
    wire.request("INFO", cseq=cseq, headers=(f"Content-Type: {kind}",), body=body, **more)  # type: ignore[arg-type]
    wire.response(status, method="INFO", cseq=cseq, from_caller=not by_caller)


def dialed(wire: Wire) -> list[tuple[str, str]]:
    wire.wait(5)
    found = [each for each in wire.messages if isinstance(each, cdc.DialedDigitExtraction)]
    assert all(len(each.sip_headers) == 1 for each in found)
    return [(each.digits, each.sip_headers[0].removeprefix("Content-Type: ")) for each in found]


# INFO


@pytest.mark.parametrize("kind", [RELAY, DTMF])
@pytest.mark.parametrize("span", [1, 2])
def test_digits_by_info(kind: str, span: int) -> None:
    wire = Wire(CallModel(surveillance()), span=span)
    wire.connect()
    for cseq, key in enumerate("2125*", 20):
        relay(wire, key, cseq, kind=kind)
        wire.now_ns += 200 * MS
    assert dialed(wire) == [("2125*", kind)]
    assert wire.story[:3] == UP and len(wire.story) == 4
    assert wire.model.counters["unreported_INFO"] == 0


def test_digits_by_info_before_the_answer_and_after_the_end() -> None:
    wire = Wire(CallModel(surveillance()))
    wire.invite()
    wire.ring()
    relay(wire, "1", 5)
    wire.answer()
    wire.bye()
    relay(wire, "2", 6)
    assert dialed(wire) == []
    assert wire.model.counters["digits_before_answer"] == 1


@pytest.mark.parametrize("role", ["calling", "called"])
def test_digits_by_info_of_the_other_party_are_never_given(role: str) -> None:
    model = CallModel(surveillance())
    wire = Wire(model) if role == "calling" else incoming(model)
    wire.connect()
    own = role == "calling"
    relay(wire, "1", 20, from_caller=not own)
    relay(wire, "2", 21, from_caller=own)
    relay(wire, "3", 22, from_caller=not own)
    assert dialed(wire) == [("2", RELAY)]
    assert model.counters["digits_of_others"] == 2


def test_scenario_21_the_same_keys_by_telephone_event_and_info(wire: Wire) -> None:
    for n, key in enumerate("5551"):
        wire.play(press(key, 4000 * n))
        relay(wire, key, 20 + n)
        wire.now_ns += 50 * MS
    assert dialed(wire) == [("5551", "audio/telephone-event")]
    assert wire.model.counters["digits_again"] == 4


def test_a_held_key_whose_end_packets_are_lost(wire: Wire) -> None:
    wire.play(press("7", 0)[:1])
    wire.now_ns += 2000 * MS
    wire.request("INFO", cseq=20, headers=(f"Content-Type: {RELAY}",), body="Signal=7\r\nDuration=2000\r\n")
    assert [digits for digits, _ in dialed(wire)] == ["7"]


def test_the_toggle_holds_for_every_source(wire: Wire) -> None:
    wire.events += wire.model.set_dde(False, wire.now_ns)
    relay(wire, "1", 20)
    report(wire, "1", 21)
    tone(wire, "1")
    assert wire.model.counters["digits_off"] == 3
    wire.events += wire.model.set_dde(True, wire.now_ns)
    relay(wire, "2", 22)
    assert dialed(wire) == [("2", RELAY)]


def test_without_the_capability_no_source_is_looked_at() -> None:
    wire = Wire(CallModel(surveillance(capabilities=frozenset({Capability.CONTENT}))))
    wire.events += wire.model.set_dde(True, wire.now_ns)
    wire.connect()
    relay(wire, "1#", 20)
    report(wire, "1#", 21)
    tone(wire, "1")
    wire.wait(5)
    assert wire.story == UP
    assert wire.model.counters["digits_off"] == 3


def test_info_out_of_order_and_refused(wire: Wire) -> None:
    """What a client does that fires them all at once: each key once, in the order meant, and the refusals counted."""
    for cseq, key in ((20, "1"), (22, "3"), (21, "2"), (23, "4")):
        relay(wire, key, cseq, status=500 if cseq == 21 else 200)
    assert dialed(wire) == [("1234", RELAY)]
    assert wire.model.counters["digits_refused"] == 1


def test_info_that_was_challenged_is_one_key(wire: Wire) -> None:
    relay(wire, "7", 20, status=407)
    relay(wire, "7", 21)
    assert dialed(wire) == [("7", RELAY)]
    assert (wire.model.counters["digits_refused"], wire.model.counters["digits_copies"]) == (0, 1)


@pytest.mark.parametrize("key", ["16", "hf", "!", "Hookflash"])
def test_a_hook_flash_by_info(wire: Wire, key: str) -> None:
    relay(wire, "1", 20)
    relay(wire, key, 21)
    assert wire.story[3:] == ["dialedDgtExtrn 1", "subjectSignal flash"]


def test_a_hook_flash_without_a_body(wire: Wire) -> None:
    wire.request("INFO", cseq=20, headers=("Content-Type: application/hook-flash",))
    assert wire.story[3:] == ["subjectSignal flash"]


def test_a_hash_sign_and_the_split_at_32_hold_for_info(wire: Wire) -> None:
    relay(wire, "#", 20)
    assert wire.story[3:] == ["dialedDgtExtrn #"]
    for cseq in range(21, 54):
        relay(wire, "1", cseq)
    assert dialed(wire) == [("#", RELAY), ("1" * 32, RELAY), ("1", RELAY)]


def test_digits_by_info_of_a_call_that_was_up_before() -> None:
    """The INFO is the first that is seen of it: it joins the call (scenario 35)."""
    wire = Wire(CallModel(surveillance()))
    relay(wire, "1", 20)
    wire.wait(5)
    assert (wire.story, wire.model.counters["calls_joined"]) == (["dialedDgtExtrn 1"], 1)


def test_digits_by_info_outside_of_any_dialog() -> None:
    wire = Wire(CallModel(surveillance()))
    wire.request(
        "INFO", to_tag=None, cseq=20, headers=("Content-Type: application/dtmf-relay",), body="Signal=1\r\nDuration=160"
    )
    assert (wire.story, wire.model.counters["unknown_call"]) == ([], 1)


@pytest.mark.parametrize(
    ("kind", "body", "keys"),
    [
        (RELAY, "Signal=5\r\nDuration=160", ("5", 160)),
        (RELAY, "Signal= 5\nDuration= 250\n", ("5", 250)),
        (RELAY, "signal : a\r\nduration:3000000", ("A", 10_000)),
        (RELAY, "Signal=10\r\n", ("*", 0)),
        (RELAY, "Signal=11\r\n", ("#", 0)),
        (RELAY, "Signal=15", ("D", 0)),
        (RELAY, "Signal=*", ("*", 0)),
        (RELAY, "5", ("5", 0)),
        (DTMF, "5\r\n", ("5", 0)),
        (DTMF, "16", (FLASH, 0)),
        (DTMF, "17", ("17", 0)),
        (DTMF, "05", ("05", 0)),
        (DTMF, "2015550199", ("2015550199", 0)),
        (DTMF, "Signal=3\r\nDuration=5\r\n", ("3", 5)),
        ("application/hook-flash", "anything", (FLASH, 0)),
    ],
)
def test_bodies_of_info(kind: str, body: str, keys: tuple[str, int]) -> None:
    assert info.is_keys(kind)
    assert info.read(kind, body.encode()) == keys


@pytest.mark.parametrize("body", ["", "\r\n", "Signal=\r\n", "Signal=x", "E", "5" * 33, "1" * 600, "٣", "Duration=5"])
def test_bodies_without_a_key(wire: Wire, body: str) -> None:
    with pytest.raises(RemoteProtocolError):
        info.read(DTMF, body.encode())
    wire.request("INFO", cseq=20, headers=(f"Content-Type: {DTMF}",), body=body)
    assert wire.story == UP
    assert wire.model.counters["unparsable"] == 1


@given(st.binary(max_size=700))
def test_no_body_does_harm(body: bytes) -> None:
    for read in (lambda: info.read(DTMF, body), lambda: info.read(RELAY, body), lambda: kpml.read(body)):
        try:
            read()
        except RemoteProtocolError:
            continue


# KPML


def report(wire: Wire, keys: str, cseq: int, *, call_id: str = "", about: str = "", from_caller: bool = True) -> None:
    """A NOTIFY with a report, inside of the call or beside it."""
    event = "Event: kpml" + (f';remote-tag="x";call-id="{about}"' if about else "")
    inside = wire.call_id
    wire.call_id = call_id or inside
    wire.request("NOTIFY", cseq=cseq, headers=(event, "Content-Type: application/kpml-response+xml"),
                 body=KPML.format(keys), from_caller=from_caller)  # fmt: skip
    wire.response(200, method="NOTIFY", cseq=cseq, from_caller=not from_caller)
    wire.call_id = inside


@pytest.mark.parametrize("span", [1, 2])
def test_digits_by_kpml_inside_the_call(span: int) -> None:
    wire = Wire(CallModel(surveillance()), span=span)
    wire.connect()
    for cseq, key in enumerate("2015", 20):
        report(wire, key, cseq)
        wire.now_ns += 100 * MS
    report(wire, "", 40)  # the subscription ended
    assert dialed(wire) == [("2015", "application/kpml-response+xml")]


def test_digits_by_kpml_beside_the_call(wire: Wire) -> None:
    report(wire, "20*", 1, call_id="kpml-1", about=wire.call_id)
    assert dialed(wire) == [("20*", "application/kpml-response+xml")]


def test_a_report_that_leaves_out_its_call_is_known_by_its_subscription(wire: Wire) -> None:
    inside = wire.call_id
    wire.call_id = "kpml-1"
    wire.request("SUBSCRIBE", from_caller=False, to_tag=None, headers=(f"Event: kpml ;call-id={inside}",))
    wire.call_id = inside
    report(wire, "77", 2, call_id="kpml-1")
    assert dialed(wire) == [("77", "application/kpml-response+xml")]
    report(wire, "8", 2, call_id="kpml-2")
    assert wire.model.counters["unknown_call"] == 1
    for n in range(MAX_SUBSCRIPTIONS + 9):
        wire.call_id = f"other-{n}"
        wire.request("SUBSCRIBE", to_tag=None, headers=("Event: kpml;call-id=y",))
    assert len(wire.model._extraction._keypad._about) == MAX_SUBSCRIPTIONS


def test_reports_of_the_other_party_are_never_given(wire: Wire) -> None:
    report(wire, "1", 20, from_caller=False)
    report(wire, "1", 1, call_id="kpml-1", about=wire.call_id, from_caller=False)
    assert dialed(wire) == []
    assert wire.model.counters["digits_of_others"] == 2


def test_the_same_keys_by_kpml_and_telephone_event(wire: Wire) -> None:
    for n, key in enumerate("77"):
        wire.play(press(key, 4000 * n))
        report(wire, key, 20 + n, call_id="kpml-1", about=wire.call_id)
    assert dialed(wire) == [("77", "audio/telephone-event")]


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (KPML.format("*3"), "*3"),
        (KPML.format("1 2\n3"), "123"),
        (KPML.format("R"), FLASH),
        (KPML.format(""), ""),
        ("<kpml-response digits='4a'/>", "4A"),
        ("<k:kpml-response xmlns:k='x' code='423' digits = \"5\" ></k:kpml-response>", "5"),
        ("<kpml-response code='481'/>", ""),
        ("<kpml-response xdigits='5'/>", ""),
    ],
)
def test_reports(body: str, keys: str) -> None:
    assert kpml.read(body.encode()) == keys


@pytest.mark.parametrize(
    "body",
    ["", "<kpml-request/>", KPML.format("&e;"), KPML.format("x"), KPML.format("1" * 129), "<kpml-response " * 999],
)
def test_reports_that_cannot_be_read(body: str) -> None:
    with pytest.raises(RemoteProtocolError):
        kpml.read(body.encode())


@pytest.mark.parametrize(
    ("event", "call_id"),
    [
        ('kpml ;remote-tag="sip:p@x;tag=j" ;local-tag="sip:g@x;tag=o" ;call-id="12@sub.example"', "12@sub.example"),
        ("kpml;Call-Id=12@sub.example", "12@sub.example"),
        ("kpml", None),
        ("kpml;call-id=", None),
    ],
)
def test_the_call_that_a_subscription_is_about(event: str, call_id: str | None) -> None:
    assert kpml.call_id(event) == call_id


# Tones


def tone(wire: Wire, key: str, *, codec: int = 0, ms: int = 60, from_subject: bool = True, octets: bytes = b"") -> None:
    wire.now_ns += 20 * MS
    wire.give(octets or INBAND_DIGIT.pack(1, ord(key), codec, 0, ms, 0), from_caller=from_subject,
              form=PayloadFormat.PROPRIETARY)  # fmt: skip


@pytest.mark.parametrize(("codec", "label"), [(0, "audio/PCMU"), (8, "audio/PCMA")])
def test_digits_in_the_voice_band(wire: Wire, codec: int, label: str) -> None:
    for key in "119":
        tone(wire, key, codec=codec)
        tone(wire, "5", codec=codec, from_subject=False)
        wire.now_ns += 60 * MS
    assert dialed(wire) == [("119", label)]
    assert wire.model.counters["digits_of_others"] == 3


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x01", INBAND_DIGIT.pack(2, 0x31, 0, 0, 60, 0), INBAND_DIGIT.pack(1, 0x21, 0, 0, 60, 0),
     INBAND_DIGIT.pack(1, 0x31, 9, 0, 60, 0), INBAND_DIGIT.pack(1, 0x31, 0, 0, 60, 0) + b"\0"],
)  # fmt: skip
def test_tones_that_cannot_be_read(wire: Wire, octets: bytes) -> None:
    wire.give(octets, from_caller=True, form=PayloadFormat.PROPRIETARY)
    assert wire.story == UP
    assert wire.model.counters["unparsable"] == 1


def test_a_tone_and_its_info(wire: Wire) -> None:
    tone(wire, "5")
    wire.now_ns += 250 * MS
    relay(wire, "5", 20)
    assert dialed(wire) == [("5", RELAY)]


# The KPML subscription's own PDUs carry another correlation than the call's: nothing but the Call-ID joins them.


def test_the_correlations_differ(wire: Wire) -> None:
    report(wire, "1", 1, call_id="kpml-1", about=wire.call_id)
    assert wire.sent[-1].correlation == zlib.crc32(b"kpml-1") != wire.sent[0].correlation
    assert S_URI.encode() in wire.sent[-1].payload
    again = msgspec.structs.replace(wire.sent[-2], correlation=0)
    assert wire.model.observe(again) == []
    assert dialed(wire) == [("1", "application/kpml-response+xml")]
