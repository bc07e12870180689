"""Octets that other codecs have made or accepted: golden vectors hit exactly, every message frozen (vectors/)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediation.collection import decoder
from mediation.core.message import cdc, encoding, t1678
from tests.core.encoding_names import arranged, expected
from tests.core.encoding_samples import FULL, STAMP_NS

VECTORS = [
    tuple(line.split())
    for line in (Path(__file__).parents[1] / "vectors" / "t1678.txt").read_text().splitlines()
    if not line.startswith("#")
]
GOLDEN = {name: bytes.fromhex(octets) for kind, name, octets in VECTORS if kind == "golden"}
FROZEN = [bytes.fromhex(octets) for kind, _, octets in VECTORS if kind == "full"]


def test_bare_answer_hits_its_golden_vector() -> None:
    message = cdc.Answer(case_id="C1", iap_system_id=None, timestamp_ns=STAMP_NS, call_id=cdc.CallIdentity(main="x"))
    assert encoding.encode(message, encoding.Profile(bare=True)) == GOLDEN["answer"]


def test_dialed_digit_extraction_hits_its_golden_vector() -> None:
    message = cdc.DialedDigitExtraction(
        case_id="CASE-0001",
        iap_system_id="SBC1",
        timestamp_ns=STAMP_NS,
        call_id=cdc.CallIdentity(main="a84b4c76e66710@pc33", leg="1"),
        digits="123#",
    )
    assert encoding.encode(message) == GOLDEN["dialedDgtExtrn"]


def test_our_module_reads_and_writes_the_golden_content_header() -> None:
    tree = decoder.decode_as("CC-APDU", GOLDEN["CC-APDU"])
    assert tree["payload"] == bytes.fromhex("4500")
    header = tree["ccDeliveryHeader"]
    assert header["packetDirection"] == "fromSubject"
    assert header["correlationInfo"]["contentIdentifier"] == ("callID", {"main": "a84b4c76e66710@pc33"})
    assert decoder.specification("der").encode("CC-APDU", tree) == GOLDEN["CC-APDU"]


def test_every_message_is_frozen() -> None:
    assert {type(message) for message in FULL} == set(t1678.MESSAGES)
    assert len(FROZEN) == len(FULL)


@pytest.mark.parametrize(
    ("message", "octets"), list(zip(FULL, FROZEN, strict=True)), ids=lambda value: getattr(value, "name", "")
)
def test_full_message_gives_the_octets_that_an_unrelated_codec_accepted(message: cdc.Message, octets: bytes) -> None:
    assert encoding.encode(message) == octets


@pytest.mark.parametrize("octets", [*FROZEN, GOLDEN["answer"], GOLDEN["dialedDgtExtrn"]], ids=lambda o: o[:24].hex())
def test_independent_codec_reads_and_writes_the_same_octets(octets: bytes) -> None:
    assert decoder.reencode(decoder.decode(octets)) == octets


@pytest.mark.parametrize("message", FULL, ids=lambda m: m.name)
def test_reader_finds_every_field_under_the_standards_name(message: cdc.Message) -> None:
    decoded = decoder.decode(encoding.encode(message))
    assert decoded.message == message.name
    name, content = decoded.tree[1]["laesMessage"]
    assert (name, arranged("", content)) == (message.name, expected(message))
