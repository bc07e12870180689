"""Content packets in both forms: a golden vector, an independent codec, tshark, hostile octets, streams in pieces."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediation.collection import decoder
from mediation.collection.content_decoder import MAX_APDU_OCTETS, ApduCutter, decode_apdu, decode_datagram
from mediation.core.channel import content_pdu
from mediation.core.channel.content_pdu import PacketDirection, cc_apdu, correlation_info, datagram
from mediation.core.errors import LocalProtocolError, RemoteProtocolError
from mediation.core.message import cdc, encoding
from tests.core.encoding_samples import STAMP_NS
from tests.core.test_encoding_vectors import GOLDEN

CALL = cdc.CallIdentity(main="a84b4c76e66710@pc33")
RTP = bytes.fromhex("8000000100000001000000015555")
PACKET = bytes.fromhex("4500002a00000000401100000a0000010a000002") + struct.pack("!4H", 4000, 4002, 22, 0) + RTP


def apdu(call: cdc.CallIdentity = CALL, sequence: int = 1, packet: bytes = b"\x45\x00", stamp: int = STAMP_NS) -> bytes:
    return cc_apdu(correlation_info("CASE-0001", "SBC1", call), stamp, PacketDirection.FROM_SUBJECT, sequence, packet)


def test_the_golden_vector_is_hit_and_read() -> None:
    assert apdu() == GOLDEN["CC-APDU"]
    read = decode_apdu(GOLDEN["CC-APDU"])
    assert (read.case, read.iap, read.call, read.leg) == ("CASE-0001", "SBC1", "a84b4c76e66710@pc33", None)
    assert (read.direction, read.sequence, read.timestamp_ns, read.packet) == ("fromSubject", 1, STAMP_NS, b"\x45\x00")


@settings(deadline=None)
@given(
    st.text(min_size=1, max_size=300),
    st.none() | st.text(max_size=200),
    st.none() | st.just("SBC1"),
    st.integers(0, 1 << 62),
    st.tuples(st.sampled_from(PacketDirection), st.integers(0, content_pdu.MAX_SEQUENCE), st.binary(max_size=1600)),
)
def test_an_independent_codec_reads_and_writes_the_same(
    main: str, leg: str | None, iap: str | None, stamp: int, sent: tuple[PacketDirection, int, bytes]
) -> None:
    direction, sequence, packet = sent
    octets = cc_apdu(
        correlation_info("C", iap, cdc.CallIdentity(main=main, leg=leg)), stamp, direction, sequence, packet
    )
    tree = decoder.decode_as("CC-APDU", octets)
    assert decoder.specification("der").encode("CC-APDU", tree) == octets
    read = decode_apdu(octets)
    assert (read.call, read.leg, read.iap, read.packet) == (main, leg, iap, packet)
    assert (read.sequence, read.timestamp_ns) == (sequence, stamp // 1000 * 1000)
    assert read.direction == ("fromSubject", "toSubject")[direction]


def test_content_names_the_call_as_the_call_data_channel_does() -> None:
    call = cdc.CallIdentity(main="\udcff" + "x" * 3_000, leg="y" * 2_000)
    octets = encoding.encode(cdc.Answer(case_id="C", iap_system_id="I", timestamp_ns=0, call_id=call))
    assert octets is not None
    told = decoder.decode(octets)
    read = decode_apdu(apdu(call))
    assert (read.call, read.leg) == (told.call, told.leg)


def test_limits_are_ours_to_keep() -> None:
    largest = bytes(content_pdu.MAX_PACKET_OCTETS)
    assert decode_apdu(apdu(packet=largest)).packet == largest
    for sequence, packet in ((-1, b""), (1 << 63, b""), (0, largest + b"\0")):
        with pytest.raises(LocalProtocolError):
            apdu(sequence=sequence, packet=packet)
    for identifier, packet in ((-1, b""), (1 << 32, b""), (0, largest + b"\0")):
        with pytest.raises(LocalProtocolError):
            datagram(identifier, 0, packet)


@pytest.mark.parametrize(
    ("stamp_ns", "seconds", "fraction"),
    [
        (0, 0x83AA7E80, 0),
        (500_000_000, 0x83AA7E80, 0x80000000),
        (999_999_999, 0x83AA7E80, 0xFFFFFFFB),
        (2_085_978_495 * 10**9, 0xFFFFFFFF, 0),  # 2036-02-07T06:28:15Z
        (2_085_978_496 * 10**9, 0, 0),
    ],
)
def test_the_datagram_is_identifier_ntp_time_and_packet(stamp_ns: int, seconds: int, fraction: int) -> None:
    octets = datagram(0x0A0B0C0D, stamp_ns, PACKET)
    assert octets == struct.pack("!3I", 0x0A0B0C0D, seconds, fraction) + PACKET
    read = decode_datagram(octets)
    assert (read.channel, read.timestamp_ns, read.packet) == ("0A0B0C0D", stamp_ns, PACKET)


@given(st.integers(0, 4_233_462_143 * 10**9))  # until the second half of era 1 begins
def test_the_time_of_a_datagram_is_exact_to_the_nanosecond(stamp_ns: int) -> None:
    assert decode_datagram(datagram(1, stamp_ns, b"")).timestamp_ns == stamp_ns


@given(st.lists(st.binary(max_size=400), max_size=6), st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_a_stream_is_cut_wherever_it_breaks(packets: list[bytes], pieces: list[int]) -> None:
    sent = [apdu(sequence=at, packet=packet) for at, packet in enumerate(packets)]
    stream = b"".join(sent)
    cutter = ApduCutter()
    found: list[bytes] = []
    for at in pieces:
        piece, stream = stream[:at], stream[at:]
        found += cutter.feed(piece)
    found += cutter.feed(stream)
    assert found == sent
    assert cutter.held == 0


@pytest.mark.parametrize("octets", [b"\x31\x00", b"\x30\x80", b"\x30\x85\0\0\0\0\0", b"\x30\x83\x02\x00\x00", b"HTTP"])
def test_a_stream_of_something_else_is_refused(octets: bytes) -> None:
    cutter = ApduCutter()
    assert cutter.feed(apdu()[:-1]) == []
    with pytest.raises(RemoteProtocolError, match="cc-apdu"):
        cutter.feed(apdu()[-1:] + octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x04\x00",
        b"\x30\x00",
        GOLDEN["CC-APDU"][:-1],
        GOLDEN["CC-APDU"].replace(b"\x82\x01\x00", b"\x82\x01\x02"),
        GOLDEN["CC-APDU"].replace(b"20261121", b"20261321"),
        GOLDEN["CC-APDU"].replace(b".123Z", b".12+0"),
        GOLDEN["CC-APDU"].replace(b"SBC1", b"SB\xff1"),
        b"\x30\x84\x00\x02\x00\x00" + bytes(MAX_APDU_OCTETS),
    ],
)
def test_what_is_no_content_packet_is_refused(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_apdu(octets)
    with pytest.raises(RemoteProtocolError):
        decode_datagram(octets[:11])


@given(st.binary(max_size=80), st.integers(0, 80))
def test_any_octets_are_a_packet_or_an_error(junk: bytes, at: int) -> None:
    for octets in (junk, GOLDEN["CC-APDU"][:at] + junk + GOLDEN["CC-APDU"][at + len(junk) :]):
        with contextlib.suppress(RemoteProtocolError):
            decode_apdu(octets)
        with contextlib.suppress(RemoteProtocolError):
            decode_datagram(octets)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_packet_in_the_datagram(tmp_path: Path) -> None:
    payload = datagram(0x0A0B0C0D, STAMP_NS, PACKET)
    udp = struct.pack("!4H", 9000, 9000, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x0a\0\0\x09", b"\x0a\0\0\x0a") + udp
    capture = tmp_path / "content.pcap"
    capture.write_bytes(struct.pack("<IHHiIIIIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101, 0, 0, len(ip), len(ip)) + ip)
    shown = subprocess.run(
        ["tshark", "-r", capture, "-d", "udp.port==9000,pcli12", "-d", "pcli.payload,ip", "-T", "fields",
         "-e", "pcli.cccid", "-e", "ip.src", "-e", "udp.dstport"],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout.split()  # fmt: skip
    assert int(shown[0], 0) == 0x0A0B0C0D
    assert shown[1] == "10.0.0.9,10.0.0.1"
    assert shown[2] == "9000,4002"
