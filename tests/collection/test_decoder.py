"""The reading side: hostile octets are refused in one way, unknown members are skipped, messages become JSON lines."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediation.collection import decoder, present, tlv
from mediation.core.errors import RemoteProtocolError
from mediation.core.message import cdc, encoding
from tests.core.encoding_samples import FULL, STAMP_NS

ANSWER = bytes.fromhex("a120a11e80024331821332303236313132313136323030352e3132335aa303800178")
ENCODED = [octets for message in FULL if (octets := encoding.encode(message))]
PCESP = [octets for message in FULL if (octets := encoding.encode(message, encoding.PCESP))]


def wrapped(identifier: int, contents: bytes) -> bytes:
    assert len(contents) < 0x80
    return bytes((identifier, len(contents))) + contents


def answer(contents: str) -> bytes:
    return wrapped(0xA1, wrapped(0xA1, bytes.fromhex(contents)))


PREFIX = "80024331" + "8213" + b"20261121162005.123Z".hex() + "a303800178"


def test_the_facts_of_a_message() -> None:
    decoded = decoder.decode(ENCODED[0])
    assert decoded.message == "origination"
    assert decoded.protocol == "1.2.840.113737.2.1.0.0.0.1"
    assert (decoded.case, decoded.iap) == ("CASE-0001", "SBC1")
    assert decoded.timestamp_ns == STAMP_NS
    assert decoded.call == "a84b4c76e66710@pc33.example.com"
    assert decoded.leg == "1928301774.a6c85cf"
    assert decoded.fields["calling"]["ipAddress"] == {"ipV4": "192.0.2.1"}
    assert decoded.fields["called"]["ipAddress"] == {"ipV6": "2001:db8::1"}
    assert decoded.fields["timestamp"] == "2026-11-21T16:20:05.123000Z"
    assert decoded.fields["input"] == {"userInput": {"generic": "sip:+12025550199@example.com"}}
    assert decoded.fields["subjectMedia"]["status"] == "requested"
    assert decoder.decode(ENCODED[8]).call == "f81d4fae-7dec-11d0@192.0.2.4"  # the first of several
    status = decoder.decode(ENCODED[-1])
    assert (status.iap, status.call, status.leg) == ("SBC1", None, None)


def test_the_facts_of_messages_about_content_and_merging() -> None:
    found = {decoded.message: decoded for decoded in map(decoder.decode, reversed(ENCODED))}
    for name in ("ccOpen", "ccChange", "ccClose", "ccUnavailable"):
        assert (found[name].call, found[name].leg) == ("a84b4c76e66710@pc33.example.com", "1928301774.a6c85cf"), name
    assert found["change"].call == "f81d4fae-7dec-11d0@192.0.2.4"
    assert found["ccOpen"].fields["deliveryIdentifier"] == {
        "cccId": {"sepCCCpair": {"sepXmitCCC": "0A0B0C0D", "sepRecvCCC": "0A0B0C0E"}}
    }
    assert found["directSignalReporting"].call is None


def test_the_facts_of_a_pcesp_message() -> None:
    decoded = decoder.decode(PCESP[0])
    assert (decoded.profile, decoded.message, decoded.protocol) == ("pcesp", "origination", "v4")
    assert (decoded.case, decoded.iap, decoded.timestamp_ns) == ("CASE-0001", "SBC1", STAMP_NS)
    assert decoded.call == decoded.fields["callId"]["sequencenumber"]
    assert decoded.leg is None
    assert decoded.fields["input"] == {"userinput": "+12025550199"}
    by_name = {each.message: each for each in map(decoder.decode, reversed(PCESP))}
    assert len({by_name[name].call for name in ("origination", "redirection", "ccopen", "ccchange", "answer")}) == 1
    assert by_name["ccclose"].call is None  # PCESP names only its channel
    facts = present.LinkFacts(sequence=1, received_ns=0, error_us=0, disciplined=True)
    for octets in PCESP:
        shown = json.loads(present.line(present.present(decoder.decode(octets), octets, facts)))
        assert (shown["profile"], bytes.fromhex(shown["ber"])) == ("pcesp", octets)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"\x30\x00", "pcesp: not decodable at CdcPdu.protocolVersion"),
        (b"\x30\x07\x80\x01\x04\xa1\x02\x84\x00", "pcesp: a message this edition does not have"),
        (b"\x30\x08\x80\x01\x04\xa1\x03\x9f\x30\x00", "pcesp: a message this edition does not have"),
        (PCESP[0].replace(b".123Z", b".12+0"), "pcesp: not decodable"),
        (PCESP[0].replace(b".123Z", b".1234"), "pcesp: timestamp without a zone"),
    ],
)
def test_what_is_no_pcesp_message_is_refused(octets: bytes, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decoder.decode(octets)
    assert str(caught.value) == text


def test_unknown_members_are_skipped_at_every_level() -> None:
    decoded = decoder.decode(answer(PREFIX.replace("a303800178", "a3068001789e0107") + "9e03010203bf810b03800101"))
    assert decoded.call == "x"
    assert set(decoded.fields) == {"caseId", "timestamp", "callId"}


def test_an_unknown_alternative_inside_is_shown_as_unknown() -> None:
    decoded = decoder.decode(answer(PREFIX + "a705a103800101"))
    assert decoded.fields["protocolSpecificParameters"] == {"unknown": None}


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"", "ber: no message"),
        (ANSWER[:-1], "ber: longer than what holds it"),
        (ANSWER[:2] + b"\xa1\x1f", "ber: longer than what holds it"),
        (ANSWER + b"\0", "ber: octets after the message"),
        (b"\xa1", "ber: cut short in a header"),
        (ANSWER + ANSWER, "ber: octets after the message"),
        (b"\xa1\x80\xa1\x80\0\0\0\0", "ber: length indefinite, too large or cut short"),
        (b"\xa1\x85\0\0\0\0\0", "ber: length indefinite, too large or cut short"),
        (b"\xa1\x82\x01", "ber: length indefinite, too large or cut short"),
        (b"\xbf\x81\x81", "ber: cut short in a header"),
        (b"\xa1\x00", "t1678: not decodable at LAESProtocol.laesMessage"),
        (b"\xa7\x00", "t1678: neither enhancedProtocol nor laesMessage"),
        (b"\x02\x01\x00", "t1678: neither enhancedProtocol nor laesMessage"),
        (b"\xa1\x02\x86\x00", "t1678: a message this edition does not have"),
        (b"\xa1\x04\xbf\x81\x0b\x00", "t1678: a message this edition does not have"),
        (answer(PREFIX.replace("80024331", "")), "t1678: not decodable at LAESProtocol.laesMessage.answer.caseId"),
        (answer(PREFIX.replace("303236", "ff3236")), "t1678: contents of a wrong form"),
        (answer(PREFIX.replace("35a3", "31a3").replace("5aa3", "31a3")), "t1678: timestamp without a zone"),
        (answer(PREFIX.replace("800178", "8001ff")), "t1678: contents of a wrong form"),
    ],
)
def test_what_is_no_message_is_refused(octets: bytes, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decoder.decode(octets)
    assert str(caught.value) == text


def test_nesting_and_size_are_bounded() -> None:
    deep = b""
    for _ in range(60):
        deep = wrapped(0xA0, deep)
    with pytest.raises(RemoteProtocolError, match="nested too deep"):
        decoder.decode(deep)
    with pytest.raises(RemoteProtocolError, match="too long"):
        decoder.decode(bytes(tlv.MAX_OCTETS + 1))


def test_errors_hold_no_octets_of_the_message() -> None:
    for at in range(len(ENCODED[0])):
        changed = ENCODED[0][:at] + bytes((ENCODED[0][at] ^ 0x40,)) + ENCODED[0][at + 1 :]
        try:
            decoder.decode(changed)
        except RemoteProtocolError as error:
            assert "2025550" not in str(error)
            assert "example" not in str(error)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_changed_octets_are_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from([ANSWER, *ENCODED, *PCESP])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not octets:
            break
    try:
        decoded = decoder.decode(bytes(octets))
        facts = present.LinkFacts(sequence=1, received_ns=0, error_us=0, disciplined=False)
        json.loads(present.line(present.present(decoded, bytes(octets), facts)))
    except RemoteProtocolError:
        pass


# JSON ----------------------------------------------------------------------------------------------------------------


def test_a_message_is_one_line_with_the_agreed_keys() -> None:
    facts = present.LinkFacts(
        sequence=7, received_ns=STAMP_NS, error_us=12, disciplined=True, arrived_ns=STAMP_NS + 4_567_899
    )
    line = present.line(present.present(decoder.decode(ENCODED[7]), ENCODED[7], facts))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "case": "CASE-0001",
        "profile": "t1678",
        "message": "dialedDgtExtrn",
        "timestamp": "2026-11-21T16:20:05.123000Z",
        "call": "a84b4c76e66710@pc33.example.com",
        "sequence": 7,
        "fields": {
            "caseId": "CASE-0001",
            "iAPSystemId": "SBC1",
            "timestamp": "2026-11-21T16:20:05.123000Z",
            "callId": {"main": "a84b4c76e66710@pc33.example.com", "leg": "1928301774.a6c85cf"},
            "digits": "0123456789*#ABCD",
        },
        "ber": ENCODED[7].hex(),
        "stamp_error_us": 12,
        "clock": "disciplined",
        "arrived": "2026-11-21T16:20:05.127567Z",
        "latency_us": 4567,
    }


def test_a_replayed_message_did_not_arrive() -> None:
    facts = present.LinkFacts(sequence=1, received_ns=0, error_us=present.UNKNOWN_ERROR_US, disciplined=False)
    shown = present.present(decoder.decode(ENCODED[0]), ENCODED[0], facts)
    assert "arrived" not in shown
    assert "latency_us" not in shown
    assert shown["stamp_error_us"] is None
    assert shown["clock"] == "undisciplined"


@pytest.mark.parametrize("octets", ENCODED, ids=[message.name for message in FULL])
def test_every_message_can_be_shown(octets: bytes) -> None:
    facts = present.LinkFacts(sequence=1, received_ns=0, error_us=0, disciplined=True)
    shown = json.loads(present.line(present.present(decoder.decode(octets), octets, facts)))
    assert bytes.fromhex(shown["ber"]) == octets


def test_text_of_the_network_cannot_break_the_line() -> None:
    message = cdc.NetworkSignal(
        case_id="C", iap_system_id="I", timestamp_ns=0, other='"}\n{"case":"other"\u2028\x00\x1b[2J'
    )
    octets = encoding.encode(message)
    facts = present.LinkFacts(sequence=1, received_ns=0, error_us=0, disciplined=True)
    line = present.line(present.present(decoder.decode(octets), octets, facts))
    assert line.count(b"\n") == 1
    assert b"\x1b" not in line
    assert json.loads(line)["fields"]["other"] == message.other


def test_the_codec_is_compiled_once_and_the_daemon_does_not_load_it() -> None:
    assert decoder.specification("ber") is decoder.specification("ber")
    check = "import sys, mediation.core.message.encoding; sys.exit('asn1tools' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
