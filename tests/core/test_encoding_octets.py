"""The octets themselves (X.690): lengths, times, addresses, SET OF order, the protocol identifier."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import struct
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.collection import decoder
from mediation.collection.tlv import walk
from mediation.core import _ber
from mediation.core.errors import EncodingError
from mediation.core.message import cdc, encoding, syntax
from tests.core.encoding_samples import FULL, STAMP_NS

EPOCH = datetime.datetime(1970, 1, 1)
CALL = cdc.CallIdentity(main="c")


def answer(timestamp_ns: int = STAMP_NS, call: cdc.CallIdentity = CALL, **party: object) -> cdc.Answer:
    answering = cdc.Party(**party) if party else None  # type: ignore[arg-type]
    return cdc.Answer(case_id="C", iap_system_id=None, timestamp_ns=timestamp_ns, call_id=call, answering=answering)


def elements(message: cdc.Message, *path: int) -> list[bytes]:
    """Whole encodings of what stands directly under the context tags `path` of the bare form."""
    octets = encoding.encode(message, encoding.Profile(bare=True))
    tlvs = walk(octets)
    first, end = 0, len(octets)
    for depth, tag in enumerate(path):
        (found,) = [
            tlv
            for tlv in tlvs
            if tlv.depth == depth and first <= tlv.first < end and tlv.identifier[0] & 0x9F == 0x80 | tag
        ]
        first, end = found.start, found.end
    return [octets[tlv.first : tlv.end] for tlv in tlvs if tlv.depth == len(path) and first <= tlv.first < end]


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_time_is_the_one_der_form(nanoseconds: int) -> None:
    text = _time(nanoseconds)
    past = EPOCH + datetime.timedelta(microseconds=nanoseconds // 1000)
    whole = past.strftime("%Y%m%d%H%M%S").rjust(14, "0")
    fraction = f".{past.microsecond:06}".rstrip("0").rstrip(".")
    assert text == f"{whole}{fraction}Z"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("1970-01-01T00:00:00.000000", "19700101000000Z"),
        ("2000-02-29T23:59:59.999999", "20000229235959.999999Z"),
        ("2100-02-28T23:59:59.900000", "21000228235959.9Z"),
        ("2100-03-01T00:00:00.000001", "21000301000000.000001Z"),
        ("1969-12-31T23:59:59.999999", "19691231235959.999999Z"),
        ("2026-11-21T16:20:00.120000", "20261121162000.12Z"),
        ("2028-12-31T00:00:00.000000", "20281231000000Z"),
    ],
)
def test_time_at_the_edges(moment: str, text: str) -> None:
    past = datetime.datetime.fromisoformat(moment) - EPOCH
    nanoseconds = (past // datetime.timedelta(microseconds=1)) * 1000
    assert _time(nanoseconds) == text
    assert _time(nanoseconds + 999) == text  # below a microsecond: cut, never rounded up


def _time(nanoseconds: int) -> str:
    (element,) = [e for e in elements(answer(nanoseconds), 1, 1) if e[0] == 0x82]
    return element[2:].decode()


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 1024])
def test_lengths_are_the_shortest(size: int) -> None:
    (element,) = elements(answer(call=cdc.CallIdentity(main="x" * size)), 1, 1, 3)
    head = bytes((size,)) if size < 128 else bytes((0x81, size)) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    assert element == b"\x80" + head + b"x" * size


@pytest.mark.parametrize("size", [65_535, 4_000, 5_000, 9_000])
def test_the_buffer_grows_without_losing_what_is_written(size: int) -> None:
    message = msgspec.structs.replace(FULL[3], answering_media=cdc.Media(sdp="s" * size))
    octets = encoding.encode(message)
    decoded = decoder.decode(octets)
    assert decoded.fields["answeringMedia"]["characteristics"] == {"sdp": "s" * size}
    assert decoder.reencode(decoded) == octets
    assert encoding.encode(FULL[0]) == encoding.encode(FULL[0])


class Number(msgspec.Struct):
    number: int


ANY_INTEGER = syntax.Member("number", (0,), syntax.Integer(-(1 << 63), (1 << 63) - 1), "number", mandatory=True)
NUMBERS = _ber.Encoder({Number: syntax.Message("number", 1, syntax.Sequence(Number, (ANY_INTEGER,)))}, 1, 0)


@given(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-70_000, 70_000))
def test_integers_have_the_fewest_octets(number: int) -> None:
    octets = NUMBERS.encode(Number(number))
    length = ((number if number >= 0 else ~number).bit_length() + 8) // 8
    assert octets[6:] == number.to_bytes(length, "big", signed=True)
    assert octets[4:6] == bytes((0x80, length))


@given(st.ip_addresses())
def test_addresses_are_octets_of_their_family(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    (element,) = elements(answer(ip_address=str(address)), 1, 1, 4, 10)
    assert element == bytes((0x81 if address.version == 4 else 0x82, len(address.packed))) + address.packed


@given(st.lists(st.text(max_size=40), max_size=syntax.MAX_ELEMENTS))
def test_set_of_is_in_der_order(uris: list[str]) -> None:
    message = answer(uri=tuple(uris), dn="1")
    found = elements(message, 1, 1, 4, 21) if uris else []
    assert found == sorted(found)
    assert sorted(_texts(found)) == sorted(uris)


def _texts(found: list[bytes]) -> list[str]:
    return [each[walk(each)[0].start :].decode() for each in found]


def test_a_list_has_at_most_so_many_elements_and_an_empty_one_is_left_out() -> None:
    assert len(elements(answer(uri=tuple(map(str, range(syntax.MAX_ELEMENTS)))), 1, 1, 4, 21)) == syntax.MAX_ELEMENTS
    assert elements(answer(dn="1"), 1, 1, 4) == [b"\x86\x011"]


# Envelope ------------------------------------------------------------------------------------------------------------


@given(
    st.tuples(st.integers(0, 1), st.integers(0, 39)) | st.tuples(st.just(2), st.integers(0, 1 << 40)),
    st.lists(st.integers(0, (1 << 63) - 1), max_size=4),
)
def test_protocol_identifier_is_configuration(first: tuple[int, int], rest: list[int]) -> None:
    oid = ".".join(map(str, (*first, *rest)))
    profile = encoding.Profile(oid=oid)
    decoded = decoder.decode(encoding.encode(FULL[7], profile))
    # asn1tools divides the first two arcs by 40 whatever they are, so compare under 2 by the octets of X.690 8.19.4
    if first[0] < 2 or first[1] < 40:
        assert decoded.protocol == oid
    assert decoder.reencode(decoded) == encoding.encode(FULL[7], profile)


@pytest.mark.parametrize(
    "oid",
    ["", "1", "3.1", "1.40", "1.2.", "1..2", ".1.2", "1.02", "1.2.a", "1.2.-3", "1.2 ", "1.2\n", "1.2.9" + "9" * 19,
     "1.2." + "9" * 19, "1.2" + ".4294967295" * 20, "١.٢"],
)  # fmt: skip
def test_what_is_no_object_identifier_is_refused(oid: str) -> None:
    with pytest.raises(EncodingError, match="oid"):
        encoding.Profile(oid=oid)


def test_bare_form_is_the_message_alone() -> None:
    bare = encoding.encode(FULL[0], encoding.Profile(bare=True))
    enhanced = encoding.encode(FULL[0])
    assert bare[0] == 0xA1
    assert enhanced[0] == 0xA0
    assert enhanced.endswith(bare)
    decoded = decoder.decode(bare)
    assert (decoded.protocol, decoded.message) == (None, "origination")
    assert decoder.decode(enhanced).protocol == "1.2.840.113737.2.1.0.0.0.1"


# A third reader ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_walks_every_message_whole(tmp_path: Path) -> None:
    """Its generic BER dissector, on an exported-PDU capture: as many elements as we count, and nothing malformed."""
    capture = tmp_path / "messages.pcap"
    with capture.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 252))
        for message in FULL:
            # Exported PDU tags: 12 dissector name, 0 end of tags
            octets = struct.pack(">HH4sHH", 12, 4, b"ber\0", 0, 0) + encoding.encode(message)
            file.write(struct.pack("<IIII", 0, 0, len(octets), len(octets)) + octets)
    show = ["-T", "fields", "-e", "_ws.malformed", "-e", "ber.length"]
    shown = subprocess.run(
        ["tshark", "-o", "ber.show_internals:TRUE", "-r", capture, *show],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    rows = [line.split("\t") for line in shown.splitlines()]
    assert len(rows) == len(FULL)
    for (malformed, lengths), message in zip(rows, FULL, strict=True):
        assert malformed == ""
        ours = [tlv.end - tlv.start for tlv in walk(encoding.encode(message))]
        assert [int(length) for length in lengths.split(",")] == ours
